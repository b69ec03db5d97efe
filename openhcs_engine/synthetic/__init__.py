"""Synthetic plates with known truth, as a microscope would have left them.

``SyntheticPlate`` says what to make, ``SyntheticImages`` makes the pixels, and a ``write_…`` function lays them out as
one vendor does. Every pixel follows from the spec and its seed, plane by plane, so any part can be made again alone.
The truth is written beside the plate folder, never into it.
"""

from openhcs_engine.synthetic.images import SyntheticImages, SyntheticObject, truth_path
from openhcs_engine.synthetic.imagexpress import write_imagexpress
from openhcs_engine.synthetic.plate import NEGATIVE, POSITIVE, SAMPLE, SyntheticPlate

__all__ = [
    "NEGATIVE",
    "POSITIVE",
    "SAMPLE",
    "SyntheticImages",
    "SyntheticObject",
    "SyntheticPlate",
    "truth_path",
    "write_imagexpress",
]
