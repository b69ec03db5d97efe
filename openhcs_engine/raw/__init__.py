"""Raw planes and their headers, only ever read. Which plane is which is not known here, but in ``microscopes``."""
