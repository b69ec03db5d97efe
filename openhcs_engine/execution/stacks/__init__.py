"""How the planes of a stack come into a step of a well: all at once, or one by one. What is done with them is in the
steps, and where they lie between steps is ``vfs``'s.
"""
