"""Uneven illumination: the field of light is fitted on a sample of images, and each image is divided by it."""
