"""What a step's planes are kept as, beside the results of the last step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openhcs_engine.model.well_filter import WellFilter


@dataclass(frozen=True, kw_only=True)
class Materialize:
    """Keep what a step makes as an image set of its own in the plate's output folder."""

    sub_folder: str = "checkpoints"
    """``<sub_folder>.zarr/``, an OME-Zarr plate, or ``<sub_folder>/<well>/`` with OME-TIFF files."""
    backend: Literal["zarr", "disk"] | None = None
    """None: as the results themselves."""
    wells: WellFilter = None
    """Which of the wells that the step applies to; None: all of them."""

    @classmethod
    def of(cls, declared: object) -> object:
        """The short forms written out: ``True``, and the name of a sub-folder. Anything else stays as it is."""
        if declared is True:
            return cls()
        if isinstance(declared, str):
            return cls(sub_folder=declared)
        return None if declared is False else declared
