"""Uneven light: its field is fitted on a sample of images, and each image is divided by it.

What differs from image to image, such as the haze around objects, is background: see ``intensity``.
"""
