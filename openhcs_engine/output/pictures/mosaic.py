"""The sites of a well side by side, as one small picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
        """All sites where ``wells`` pictures of ``side`` pixels can show them; else the first one."""
        count = len(plate.sites)
        grid = plate.grid
        known = grid is not None and grid.rows * grid.columns == count
        columns = grid.columns if grid is not None and known else math.ceil(math.sqrt(count))
        rows = -(-count // columns)
        if side // max(rows, columns) < SMALLEST_PX or wells * count > MOST_SITES:
            return cls(sites=plate.sites[:1], columns=1)
        return cls(sites=plate.sites, columns=columns)

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
        whole = np.full((self.rows * height, self.columns * width), darkest, np.float32)
        for site, plane in small.items():
            row, column = divmod(self.sites.index(site), self.columns)
            whole[row * height : row * height + plane.shape[0], column * width : column * width + plane.shape[1]] = (
                plane
            )
        return whole
