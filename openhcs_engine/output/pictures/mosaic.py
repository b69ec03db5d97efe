"""The sites of a well side by side, as one small picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from openhcs_engine.model.plate import Plate
from openhcs_engine.output.pictures.greyscale import Plane, shrink

SMALLEST_PX: Final = 12
"""Below this a site shows nothing; then the first site stands for the well."""
MOST_SITES: Final = 2500
"""Sites of a plate that are read for one picture of a channel; a site takes about a millisecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mosaic:
    """Where each site of a well is drawn: in rows, in the order of their numbers."""

    sites: tuple[int | None, ...]
    columns: int

    @classmethod
    def of(cls, plate: Plate, side: int, wells: int = 1) -> Self:
        """The sites of a plate, as its grid has them if they fill it."""
        grid, count = plate.grid, len(plate.sites)
        columns = grid.columns if grid is not None and grid.rows * grid.columns == count else None
        return cls.fitting(plate.sites, side, wells * count, columns)

    @classmethod
    def fitting(cls, sites: Sequence[int | None], side: int, fields: int, columns: int | None = None) -> Self:
        """All sites where pictures of ``side`` pixels can show them and ``fields`` are few to read; else the first."""
        mosaic = cls(sites=tuple(sites), columns=columns or max(1, math.ceil(math.sqrt(len(sites)))))
        if mosaic.site_side(side) < SMALLEST_PX or fields > MOST_SITES:
            return cls(sites=mosaic.sites[:1], columns=1)
        return mosaic

    @property
    def rows(self) -> int:
        """Rows of sites."""
        return -(-len(self.sites) // self.columns)

    def site_side(self, side: int) -> int:
        """Longest edge of a site, if that of the well is ``side``."""
        return max(1, side // max(self.rows, self.columns))

    def compose(self, planes: Mapping[int | None, Plane], side: int) -> Plane:
        """One picture of the planes by site; a site that is absent is as dark as the darkest pixel."""
        small = {site: shrink(plane, self.site_side(side)) for site, plane in planes.items()}
        if len(small) == 1 and len(self.sites) == 1:
            return next(iter(small.values()))
        height, width = (max(plane.shape[axis] for plane in small.values()) for axis in (0, 1))
        darkest = min(plane.min() for plane in small.values())
        whole = np.full((self.rows * height, self.columns * width), darkest)
        for site, plane in small.items():
            row, column = divmod(self.sites.index(site), self.columns)
            whole[row * height : row * height + plane.shape[0], column * width : column * width + plane.shape[1]] = (
                plane
            )
        return whole
