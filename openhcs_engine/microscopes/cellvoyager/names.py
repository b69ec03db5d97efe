"""CellVoyager file names, both ways: ``<plate>_<well>_T0001F001L01A01Z01C01.tif``.

T is the time point, F the field, L the time line, A the action, Z the plane and C the channel, all counted from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from openhcs_engine.errors import UnknownWellError
from openhcs_engine.model.wells import normalise_well

IMAGE_SUFFIXES: Final = (".tif", ".tiff", ".png")
"""In lower case. The instrument writes TIFF; laboratories pack it into PNG under the same names."""

_NAME = re.compile(
    r"(?:(?P<prefix>.*)_)?(?P<well>[A-Z]{1,2}[0-9]{1,2})"
    r"_T([0-9]{1,6})F([0-9]{1,5})L([0-9]{1,4})A([0-9]{1,4})Z([0-9]{1,5})C([0-9]{1,4})"
    r"(?P<suffix>\.(?:tiff?|png))",
    re.ASCII | re.DOTALL | re.IGNORECASE,  # some computers turn whole names into small letters
)


class CellVoyagerName(NamedTuple):  # a tuple: plates have 100,000 of them
    """What a file name says."""

    well: str
    """Canonical name."""
    timepoint: int
    field: int
    timeline: int
    action: int
    z_index: int
    channel: int
    prefix: str | None = None
    """What stands before the well: the plate's name."""
    suffix: str = ".tif"

    def __str__(self) -> str:
        return (
            f"{'' if self.prefix is None else self.prefix + '_'}{self.well}_T{self.timepoint:04d}F{self.field:03d}"
            f"L{self.timeline:02d}A{self.action:02d}Z{self.z_index:02d}C{self.channel:02d}{self.suffix}"
        )


def parse_image_name(name: str) -> CellVoyagerName | None:
    """Read a file name without folders; None if it is not a CellVoyager plane's (shading and dark images are not)."""
    # The first test is for folders of 100,000 other names.
    match = _NAME.fullmatch(name) if "_T" in name or "_t" in name else None
    if match is None or name.startswith("."):  # ._…: what macOS leaves on shares
        return None
    prefix, well, *numbers, suffix = match.groups()
    canonical = _canonical(well)
    if canonical is None:
        return None
    timepoint, field, timeline, action, z_index, channel = map(int, numbers)
    return CellVoyagerName(canonical, timepoint, field, timeline, action, z_index, channel, prefix, suffix)


def has_image(names: Iterable[str]) -> bool:
    """True if one of the names is a CellVoyager plane's."""
    return any(map(parse_image_name, [name for name in names if "_T" in name or "_t" in name]))


@lru_cache(maxsize=4096)
def _canonical(well: str) -> str | None:
    try:
        return normalise_well(well)
    except UnknownWellError:
        return None
