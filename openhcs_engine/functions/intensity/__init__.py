"""Functions that give pixels other values: normalisation, background, noise, contrast.

What makes one plane of many is in ``planes``.
"""
