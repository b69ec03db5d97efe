"""Arrays of one library as arrays of another, and results as a pixel type.

Which device holds them is ``devices``' to say.
"""
