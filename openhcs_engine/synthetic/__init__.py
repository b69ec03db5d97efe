"""Synthetic plates with known truth, as a microscope would have left them.

``SyntheticPlate`` says what to make, ``SyntheticImages`` makes the pixels, and a ``write_…`` function lays them out as
one vendor does. Every pixel follows from the spec and its seed, plane by plane, so any part can be made again alone.
``SyntheticScene`` plants nuclei with a known outline, cells, overlapping
sites and uneven light in the place of spots. The truth is written beside the plate folder, never into it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from openhcs_engine.synthetic.cellvoyager import write_cellvoyager
from openhcs_engine.synthetic.images import SyntheticImages, SyntheticObject
from openhcs_engine.synthetic.imagexpress import write_imagexpress
from openhcs_engine.synthetic.ome_zarr import write_ome_zarr
from openhcs_engine.synthetic.opera_phenix import write_opera_phenix
from openhcs_engine.synthetic.plate import NEGATIVE, POSITIVE, SAMPLE, SyntheticPlate
from openhcs_engine.synthetic.scene import SyntheticScene
from openhcs_engine.synthetic.truth import truth_folder, truth_path

LAYOUTS: Final[Mapping[str, Callable[[Path, SyntheticPlate], Path]]] = {
    "imagexpress": write_imagexpress,
    "phenix": write_opera_phenix,
    "cellvoyager": write_cellvoyager,
    "omezarr": write_ome_zarr,
}
"""Writers by the name of the layout."""

__all__ = [
    "LAYOUTS",
    "NEGATIVE",
    "POSITIVE",
    "SAMPLE",
    "SyntheticImages",
    "SyntheticObject",
    "SyntheticPlate",
    "SyntheticScene",
    "truth_folder",
    "truth_path",
    "write_cellvoyager",
    "write_imagexpress",
    "write_ome_zarr",
    "write_opera_phenix",
]
