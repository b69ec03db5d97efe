"""The frozen plan, the one home of what will happen: contexts, calls, flow of planes and bytes, documents.

It reads no pixel and runs nothing.
"""
