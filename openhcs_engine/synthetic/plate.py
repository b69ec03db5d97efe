"""What a synthetic plate is made of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

from openhcs_engine.errors import OptionError
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.model.wells import normalise_well, row_and_column, well_name
from openhcs_engine.synthetic.scene import SyntheticScene

NEGATIVE, POSITIVE, SAMPLE = "negative", "positive", "sample"
"""Roles of wells; the positive control has twice the objects, three times as bright in all channels but the first."""
CELL: Final = 28
"""Edge, in pixels, of the area that an object has to itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticPlate:
    """What to make. Its wells fill the plate from A01; sites, channels, z and time points count from 1."""

    name: str = "synthetic"
    rows: int = 4
    columns: int = 6
    sites: int = 2
    channels: tuple[str, ...] = ("DAPI", "GFP")
    """Names; the first shows every object alike, the others are brighter in positive controls."""
    z: int = 3
    timepoints: int = 1
    shape: tuple[int, int] = (256, 256)
    """(y, x) in pixels."""
    seed: int = 0
    pixel_size_um: float = 0.65
    z_step_um: float = 2.0
    objects_per_megapixel: int = 180
    """In negative controls and samples; positive controls have twice as many."""
    negative_columns: tuple[int, ...] = (1,)
    """Columns of negative controls, counted from 1."""
    positive_columns: tuple[int, ...] | None = None
    """Columns of positive controls, counted from 1; None: the last."""
    projections: bool = False
    """True: the instrument's maximum projections lie in ZStep_0."""
    thumbnails: bool = True
    """True: ``_thumb`` files lie beside the images."""
    truncated_wells: tuple[str, ...] = ()
    """Wells whose first image is cut in half."""
    missing: tuple[ImageKey, ...] = ()
    """Images that are not written, though the metadata declare them. None on an axis stands for every value of it:
    ``ImageKey("B02", None, None, None, None)`` is a whole well."""
    scene: SyntheticScene | None = None
    """Nuclei with a known outline, cells, overlapping sites, uneven light. None: blurred spots, each site by itself."""

    @property
    def wells(self) -> tuple[str, ...]:
        """All wells, in plate order."""
        return tuple(well_name(row, column) for row in range(self.rows) for column in range(self.columns))

    @property
    def site_grid(self) -> tuple[int, int]:
        """Rows and columns of the smallest nearly square grid that holds the sites."""
        columns = math.ceil(math.sqrt(self.sites))
        return -(-self.sites // columns), columns

    def role(self, well: str) -> str:
        """``negative``, ``positive`` or ``sample``, by the well's column."""
        column = row_and_column(well)[1] + 1
        positive = (self.columns,) if self.positive_columns is None else self.positive_columns
        if column in positive:
            return POSITIVE
        return NEGATIVE if column in self.negative_columns else SAMPLE

    def image_keys(self) -> Iterator[ImageKey]:
        """Coordinates of all planes that are written, in order."""
        times, sites, channels, depths = (
            range(1, count + 1) for count in (self.timepoints, self.sites, len(self.channels), self.z)
        )
        for well, timepoint, site, channel, z_index in product(self.wells, times, sites, channels, depths):
            key = ImageKey(well, site, channel, z_index, timepoint)
            if not self.is_missing(key):
                yield key

    def is_missing(self, key: ImageKey) -> bool:
        """True if the plane was asked to be left out."""
        return any(_fits(key, pattern) for pattern in self.missing)

    def __post_init__(self) -> None:
        if not (1 <= self.rows <= 32 and 1 <= self.columns <= 48):
            raise OptionError(f"A plate has 1 to 32 rows and 1 to 48 columns, not {self.rows} x {self.columns}.")
        if min(self.sites, self.z, self.timepoints, len(self.channels)) < 1:
            raise OptionError("A plate has at least one site, channel, z plane and time point.")
        if min(self.shape) < CELL:
            raise OptionError(f"Planes of {self.shape[0]} x {self.shape[1]} pixels are too small; use {CELL} or more.")
        unknown = [well for well in self.truncated_wells if normalise_well(well) not in self.wells]
        if unknown:
            raise OptionError(f"truncated_wells names wells that are not on the plate: {', '.join(unknown)}.")
        if self.scene is not None:
            self.scene.require_plate(self.sites, len(self.channels), self.shape)


def _fits(key: ImageKey, pattern: ImageKey) -> bool:
    pairs = (
        (pattern.site, key.site),
        (pattern.channel, key.channel),
        (pattern.z_index, key.z_index),
        (pattern.timepoint, key.timepoint),
    )
    return pattern.well == key.well and all(wanted is None or wanted == value for wanted, value in pairs)
