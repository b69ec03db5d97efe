"""What the scene of a synthetic plate is made of: nuclei with a known outline, sites that overlap, uneven light."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from openhcs_engine.errors import OptionError

TOUCHING_RADII: Final = 1.7
"""Distance between the centres of touching nuclei, in mean radii."""
VIGNETTE: Final = 0.35
"""Share of the light that the farthest corner lacks."""
BODY: Final = 1.6
"""Size of a cell's body, in its nucleus' size."""
RADIUS_RANGE: Final = (0.85, 1.15)
"""Radii of nuclei, in mean radii."""
_CLOSEST, _FARTHEST = 1.2, 1.75
"""Closer, one nucleus hides the other; farther, some pairs do not touch."""
_GAP: Final = 4
"""Least background between objects, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticScene:
    """Nuclei as ellipses whose outline is known to the pixel, in the place of Gaussian spots."""

    overlap: float | None = None
    """Share of its edge that a site has in common with its neighbour, above 0 and below 0.5: the sites of a well are
    windows of one scene. None: each site is a scene of its own, with nothing at its border."""
    jitter_px: float = 0.0
    """Pixels by which the true position of a site may be off the stage's, in y and in x, up and down; not whole."""
    touching: float | None = None
    """Nuclei come in touching pairs, whose centres are so many mean radii apart (1.2 to 1.75). None: none touch."""
    cells: bool = False
    """Cells: the first channel shows nuclei, the second bodies, the last one spots in the cytoplasm."""
    vignette: float = 0.0
    """Share of the light that the farthest corner lacks, from 0 (even light) to below 1."""
    radius_px: float = 8.0
    """Mean radius of a nucleus, ``sqrt(semi-major * semi-minor)``."""

    @property
    def largest_axis_ratio(self) -> float:
        """Of a nucleus' axes."""
        return 1.5 if self.touching is None and not self.cells else 1.3

    @property
    def slack_px(self) -> float:
        """How far a group may lie off the middle of its area, in y and in x."""
        return 0.1 * self.radius_px

    @property
    def area_edge_px(self) -> int:
        """Edge of the square that an object, or a touching pair, has to itself."""
        largest = RADIUS_RANGE[1] * self.radius_px
        reach = largest * math.sqrt(self.largest_axis_ratio) * (BODY if self.cells else 1) + largest * (
            0 if self.touching is None else self.touching / 2
        )
        return math.ceil(2 * (reach + self.slack_px) + _GAP)

    def require_plate(self, sites: int, channels: int, shape: tuple[int, int]) -> None:
        """Raise OptionError if a plate of these numbers cannot show the scene."""
        if self.cells and channels < 2:
            raise OptionError("Cells need at least two channels: the first shows nuclei, the second bodies.")
        if self.overlap is not None and sites < 2:
            raise OptionError("Sites overlap where a well has two or more; give more sites, or no overlap.")
        if min(shape) < self.area_edge_px:
            raise OptionError(
                f"Planes of {shape[0]} x {shape[1]} pixels are too small for these objects; use {self.area_edge_px} or "
                "more."
            )
        if self.overlap is not None and 2 * self.jitter_px >= self.overlap * min(shape):
            raise OptionError(
                f"With a jitter of {self.jitter_px:g} pixels neighbours may lie {2 * self.jitter_px:g} pixels farther "
                f"apart, and {self.overlap:g} of an edge of {min(shape)} is {self.overlap * min(shape):g}: they might "
                "not overlap. Use less jitter, more overlap or larger planes."
            )

    def __post_init__(self) -> None:
        if self.overlap is not None and not 0 < self.overlap < 0.5:
            raise OptionError(
                f"The overlap is a share of a site's edge above 0 and below 0.5, not {self.overlap:g}: from 0.5 on, "
                "a site would overlap its neighbour's neighbour."
            )
        if not (math.isfinite(self.jitter_px) and self.jitter_px >= 0):
            raise OptionError(f"The jitter is a number of pixels, 0 or more, not {self.jitter_px:g}.")
        if self.jitter_px and self.overlap is None:
            raise OptionError("Jitter moves sites that are windows of one scene: give an overlap, too.")
        if self.touching is not None and not _CLOSEST <= self.touching <= _FARTHEST:
            raise OptionError(
                f"Centres of touching nuclei are {_CLOSEST:g} to {_FARTHEST:g} mean radii apart, not "
                f"{self.touching:g}: closer, one hides the other; farther, some do not touch."
            )
        if not 0 <= self.vignette < 1:
            raise OptionError(
                f"The vignette is the share of light that the farthest corner lacks, from 0 to below 1, not "
                f"{self.vignette:g}."
            )
        if not (math.isfinite(self.radius_px) and self.radius_px >= 4):
            raise OptionError(f"The mean radius of nuclei is 4 pixels or more, not {self.radius_px:g}.")


def scene_of(
    *,
    vignette: bool = False,
    overlap: float | None = None,
    jitter_px: float = 0.0,
    touching: bool | float = False,
    cells: bool = False,
) -> SyntheticScene | None:
    """The scene of the command line's options; None where none is given.

    Raises
    ------
    OptionError
        If a value cannot be, or jitter is given without an overlap.
    """
    if touching is True:
        touching = TOUCHING_RADII
    scene = SyntheticScene(
        overlap=overlap,
        jitter_px=jitter_px,
        touching=None if touching is False else touching,
        cells=cells,
        vignette=VIGNETTE if vignette else 0.0,
    )
    return None if scene == SyntheticScene() else scene
