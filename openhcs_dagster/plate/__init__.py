"""The assets of one plate: compilation, wells, index, checks, and the metadata on their events.

What they compute is the engine's.
"""
