"""Objects in images: nuclei, the cells around them, what of a cell is no nucleus, spots.

What objects are like is not measured here: these functions say which pixels are of which object.
"""
