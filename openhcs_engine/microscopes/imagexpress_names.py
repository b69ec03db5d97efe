"""ImageXpress file and folder names, both ways.

Exports name a plane ``<plate>_<well>_s<site>_w<channel>.tif``; the database appends a GUID directly
(``.._s117654C10-92F1-..`` is site 1, GUID ``17654C10-..``). ``_s`` and ``_w`` are left out where a plate has one site
or one channel. Flat folders may carry ``_z`` and ``_t`` too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from openhcs_engine.errors import UnknownWellError
from openhcs_engine.model.wells import normalise_well

_GUID = r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"
# The GUID's first part has exactly 8 digits, so the number before it ends where 8 remain.
_NAME = re.compile(
    r"(?:(?P<prefix>.*)_)?(?P<well>[A-Z]{1,2}[0-9]{1,2})"
    r"(?:_s(?P<site>[0-9]{1,5}))?(?:_w(?P<channel>[0-9]{1,3}))?"
    r"(?:_z(?P<z>[0-9]{1,5}))?(?:_t(?P<t>[0-9]{1,5}))?"
    rf"(?P<thumb>_thumb)?(?P<guid>{_GUID})?(?P<suffix>\.[Tt][Ii][Ff][Ff]?)",
    re.ASCII | re.DOTALL,
)
_TIMEPOINT = re.compile(r"timepoint[_-]?([0-9]{1,5})", re.ASCII | re.IGNORECASE)
_Z_STEP = re.compile(r"zstep[_-]?([0-9]{1,5})", re.ASCII | re.IGNORECASE)


class ImageName(NamedTuple):  # a tuple: plates have 100,000 of them
    """What a file name says; None where it says nothing."""

    well: str
    """Canonical name."""
    site: int | None = None
    channel: int | None = None
    z_index: int | None = None
    timepoint: int | None = None
    prefix: str | None = None
    """What stands before the well: the plate's or the experiment's name."""
    thumbnail: bool = False
    guid: str | None = None
    suffix: str = ".tif"

    @property
    def is_typical(self) -> bool:
        """True if the name alone speaks for ImageXpress; ``A01.tif`` could be anyone's."""
        return self.site is not None or self.channel is not None or self.guid is not None

    def __str__(self) -> str:
        numbered = (("_s", self.site), ("_w", self.channel), ("_z", self.z_index), ("_t", self.timepoint))
        return "".join(
            (
                "" if self.prefix is None else self.prefix + "_",
                self.well,
                *(f"{letter}{number}" for letter, number in numbered if number is not None),
                "_thumb" if self.thumbnail else "",
                self.guid or "",
                self.suffix,
            )
        )


def parse_image_name(name: str) -> ImageName | None:
    """Read a file name without folders; None if it is not an ImageXpress image's."""
    match = _NAME.fullmatch(name)
    if match is None or name.startswith("."):  # ._A01_s1_w1.tif: what macOS leaves on shares
        return None
    prefix, well, site, channel, z_index, timepoint, thumb, guid, suffix = match.groups()
    canonical = _canonical(well)
    if canonical is None:
        return None
    return ImageName(
        well=canonical,
        site=int(site) if site else None,
        channel=int(channel) if channel else None,
        z_index=int(z_index) if z_index else None,
        timepoint=int(timepoint) if timepoint else None,
        prefix=prefix,
        thumbnail=thumb is not None,
        guid=guid,
        suffix=suffix,
    )


@lru_cache(maxsize=4096)
def _canonical(well: str) -> str | None:
    try:
        return normalise_well(well)
    except UnknownWellError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderPlace:
    """What a folder's path says about the images in it."""

    base: str
    """The plate folder: the path without TimePoint and ZStep folders at its end."""
    timepoint: int | None = None
    z_step: int | None = None


def parse_folder(path: str) -> FolderPlace:
    """Split ``a/b/TimePoint_1/ZStep_2`` into the plate folder, the time point and the z step, in either order."""
    parts = path.split("/") if path else []
    timepoint = z_step = None
    while parts:
        if timepoint is None and (match := _TIMEPOINT.fullmatch(parts[-1])):
            timepoint = int(match[1])
        elif z_step is None and (match := _Z_STEP.fullmatch(parts[-1])):
            z_step = int(match[1])
        else:
            break
        parts.pop()
    return FolderPlace(base="/".join(parts), timepoint=timepoint, z_step=z_step)
