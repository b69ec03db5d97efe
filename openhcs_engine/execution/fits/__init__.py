"""What is fitted once a plate: made before the wells are run, and given to their functions.

How it is stored is ``output``'s.
"""
