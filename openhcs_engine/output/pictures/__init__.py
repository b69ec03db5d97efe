"""Small pictures of wells and plates: mosaics, grey scales, the overview. Full-size pixels are not written here."""
