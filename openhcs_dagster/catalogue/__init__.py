"""The plates a deployment knows, and how they come to be known: registration and the inbox.

Nothing here runs a plate.
"""
