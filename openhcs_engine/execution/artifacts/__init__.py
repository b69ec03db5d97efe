"""What functions make beside pixels, while a well runs: checked, handed on, joined to tables.

Their storage is ``output``'s.
"""
