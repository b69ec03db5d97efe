"""The assets of one plate: compilation, wells, index, checks, and the metadata on their events.

No pixel is computed here.
"""
