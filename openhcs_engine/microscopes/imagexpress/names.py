"""ImageXpress file and folder names, both ways.

Exports name a plane ``<plate>_<well>_s<site>_w<channel>.tif``; the database appends a GUID directly
(``.._s117654C10-92F1-..`` is site 1, GUID ``17654C10-..``), or in brackets (``.._s1_[17654C10-92F1-..]``). ``_s`` and
``_w`` are left out where a plate has one site or one channel. Flat folders may carry ``_z`` and ``_t`` too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from msgspec import Struct

from openhcs_engine.errors import UnknownWellError
from openhcs_engine.model.wells import normalise_well

_DIGITS = r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"
_GUID = rf"{_DIGITS}|_\[{_DIGITS}\]"
_BEGINNING = r"(?:(?P<prefix>.*)_)?(?P<well>[A-Z]{1,2}[0-9]{1,2})"
# The GUID's first part has exactly 8 digits, so the number before it ends where 8 remain.
_ENDING = (
    r"(?:_s(?P<site>[0-9]{1,5}))?(?:_w(?P<channel>[0-9]{1,3}))?"
    r"(?:_z(?P<z>[0-9]{1,5}))?(?:_t(?P<t>[0-9]{1,5}))?"
    rf"(?P<thumb>_thumb)?(?P<guid>{_GUID})?(?P<suffix>\.[Tt][Ii][Ff][Ff]?)"
)
_NAME = re.compile(_BEGINNING + _ENDING, re.ASCII | re.DOTALL)
_HEAD = re.compile(_BEGINNING, re.ASCII | re.DOTALL)
_TAIL = re.compile(_ENDING, re.ASCII)
# Lazy, and without the rows S, T, W and Z: there the letters of site, time, wave and z would be taken for wells.
_ANY_CASE = re.compile(
    r"(?:(?P<prefix>.*?)_)?(?P<well>(?:[A-RUVXY]|A[A-F])[0-9]{1,2})(?=_[SW][0-9])" + _ENDING,
    re.ASCII | re.DOTALL | re.IGNORECASE,
)
_TIMEPOINT = re.compile(r"timepoint[_-]?([0-9]{1,5})", re.ASCII | re.IGNORECASE)
_Z_STEP = re.compile(r"zstep[_-]?([0-9]{1,5})", re.ASCII | re.IGNORECASE)


class ImageName(Struct, frozen=True, gc=False):  # a Struct: plates have 100,000 of them
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
    """As it stands there: ``_[..]`` if it is in brackets."""
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
    if name.startswith("."):  # ._A01_s1_w1.tif: what macOS leaves on shares
        return None
    # A plate's names join few beginnings, up to the well, to few endings: looking up both costs a third of a match.
    cut = name.rfind("_s")
    if cut < 0:
        cut = name.rfind("_w")
    if cut > 0 and (head := _read_head(name[:cut])) is not None and (tail := _read_tail(name[cut:])) is not None:
        prefix, well = head
        site, channel, z_index, timepoint, thumbnail, guid, suffix = tail
        return ImageName(well, site, channel, z_index, timepoint, prefix, thumbnail, guid, suffix)
    return _parse_whole(name)


def _parse_whole(name: str) -> ImageName | None:
    """A name without site and channel, one in other letters, or one with ``_s`` elsewhere."""
    match = _NAME.fullmatch(name)
    if match is None:
        return _read_any_case(name)
    head, tail = _read_head(name[: match.end("well")]), _read_tail(name[match.end("well") :])
    if head is None or tail is None:
        return None
    read = ImageName(head[1], *tail[:4], head[0], *tail[4:])
    # P_A01_S1_W1.TIF is wave 1 of A01, and no well W01.
    return (_read_any_case(name) or read) if not read.is_typical and read.well[:1] in "STWZ" else read


def _read_any_case(name: str) -> ImageName | None:
    """A name that was turned into small letters or capitals as a whole, as some computers do; None if it is none."""
    match = _ANY_CASE.fullmatch(name) if "_s" in name or "_S" in name or "_w" in name or "_W" in name else None
    head = None if match is None else _read_head(match["well"].upper())
    tail = None if match is None else _read_tail(name[match.end("well") :].lower())
    if match is None or head is None or tail is None:
        return None
    guid = None if match["guid"] is None else match["guid"]
    return ImageName(head[1], *tail[:4], match["prefix"], tail[4], guid, match["suffix"])


@lru_cache(maxsize=4096)
def _read_head(text: str) -> tuple[str | None, str] | None:
    """Prefix and canonical well."""
    match = _HEAD.fullmatch(text)
    if match is None:
        return None
    try:
        return match["prefix"], normalise_well(match["well"])
    except UnknownWellError:
        return None


@lru_cache(maxsize=4096)
def _read_tail(
    text: str,
) -> tuple[int | None, int | None, int | None, int | None, bool, str | None, str] | None:
    """What stands behind the well, in the order of the pattern."""
    match = _TAIL.fullmatch(text)
    if match is None:
        return None
    site, channel, z_index, timepoint, thumb, guid, suffix = match.groups()
    numbers = [int(number) if number else None for number in (site, channel, z_index, timepoint)]
    return numbers[0], numbers[1], numbers[2], numbers[3], thumb is not None, guid, suffix


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderInfo:
    """What a folder's path says about the images in it."""

    base: str
    """The plate folder: the path without TimePoint and ZStep folders at its end."""
    timepoint: int | None = None
    z_step: int | None = None

    @property
    def is_numbered(self) -> bool:
        """True for a TimePoint or ZStep folder: images in it are ImageXpress', whatever their names leave out."""
        return self.timepoint is not None or self.z_step is not None


def parse_folder(path: str) -> FolderInfo:
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
    return FolderInfo(base="/".join(parts), timepoint=timepoint, z_step=z_step)
