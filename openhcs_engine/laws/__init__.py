"""The laws of fingerprints: what makes a well another one. Each has a number, which manifests name.

What a function uses is found in ``uses``, and what a plan says in ``plan``.
"""
