"""Tables of wells, and the plate's table made of them. Which columns they have is not decided here."""
