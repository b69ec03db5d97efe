"""Tables of wells, and the plate's table made of them. What their columns mean is the functions' to say."""
