"""Names of Harmony's images and folders, and the paths that an index's URLs lead to.

A plane is ``r<row>c<column>f<field>p<plane>-ch<channel>sk<time>fk<fast time>fl<lifetime>.tiff``, all counted from 1,
rows and columns as numbers. Archives of Harmony 7 write ``-ch<channel>t<time>`` and keep each well in its own folder.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from openhcs_engine.errors import UnknownWellError
from openhcs_engine.model.wells import normalise_well, row_and_column

_NAME = re.compile(
    r"(?P<well>r[0-9]{1,2}c[0-9]{1,2})f(?P<field>[0-9]{1,5})p(?P<plane>[0-9]{1,5})-ch(?P<channel>[0-9]{1,3})"
    r"(?:sk(?P<slow>[0-9]{1,6})|t(?P<time>[0-9]{1,6}))?(?:fk(?P<fast>[0-9]{1,6}))?(?:fl(?P<lifetime>[0-9]{1,6}))?"
    r"(?P<suffix>\.tiff?)",
    re.ASCII | re.IGNORECASE,
)
_WELL_FOLDER = re.compile(r"r[0-9]{1,2}c[0-9]{1,2}", re.ASCII | re.IGNORECASE)
_GUID_FILE = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\.xml", re.ASCII | re.IGNORECASE)
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|/", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z]+", re.ASCII)
_MAX_URL = 1024
_ROOT_ELEMENT = b"EvaluationInputData"


class HarmonyName(NamedTuple):  # a tuple: plates have 100,000 of them
    """What a file name says."""

    well: str
    """Canonical name."""
    field: int
    plane: int
    channel: int
    timepoint: int = 1
    """Counted from 1, whatever the index counts from."""
    fast: int = 1
    """Number in a fast kinetic series."""
    lifetime: int = 1
    """Number of the lifetime (FLIM) image."""
    suffix: str = ".tiff"

    def __str__(self) -> str:
        row, column = row_and_column(self.well)
        return (
            f"r{row + 1:02d}c{column + 1:02d}f{self.field:02d}p{self.plane:02d}-ch{self.channel}"
            f"sk{self.timepoint}fk{self.fast}fl{self.lifetime}{self.suffix}"
        )


def parse_harmony_name(name: str) -> HarmonyName | None:
    """Read a file name without folders; None if it is not a Harmony image's."""
    match = _NAME.fullmatch(name)
    well = None if match is None else _canonical(match["well"])
    if match is None or well is None:
        return None
    _, field, plane, channel, slow, time, fast, lifetime, suffix = match.groups()
    return HarmonyName(
        well, int(field), int(plane), int(channel), int(slow or time or 1), int(fast or 1), int(lifetime or 1), suffix
    )


def has_image(names: Iterable[str]) -> bool:
    """True if one of the names is a Harmony image's."""
    # The first letter sorts out nearly all of 100,000 other names.
    return any(map(parse_harmony_name, [name for name in names if name[:1] in "rR"]))


@lru_cache(maxsize=4096)
def _canonical(well: str) -> str | None:
    try:
        return normalise_well(well)
    except UnknownWellError:
        return None


def image_base(folder: str) -> str:
    """The plate folder of a folder of images: without ``Images`` and a well's own folder at its end."""
    head, _, last = folder.rpartition("/")
    if _WELL_FOLDER.fullmatch(last):
        folder = head
        head, _, last = folder.rpartition("/")
    return head if last.lower() == "images" else folder


def index_base(folder: str) -> str:
    """The plate folder of the folder that holds an index: without ``Images`` or ``index`` at its end."""
    head, _, last = folder.rpartition("/")
    return head if last.lower() in {"images", "index"} else folder


def may_be_index(folder: str, name: str) -> bool:
    """True if a file of this name can be an index; its beginning decides (``is_index``)."""
    lower = name.lower()
    if not lower.endswith(".xml"):
        return False
    in_archive = folder.rpartition("/")[2].lower() == "index" or _GUID_FILE.fullmatch(lower) is not None
    return in_archive or lower.startswith(("index", "imageindex"))  # ImageIndex.ColumbusIDX.xml: of Columbus


def is_index(head: bytes) -> bool:
    """True if a file with this beginning is Harmony's index, whatever its name, version and encoding."""
    return _ROOT_ELEMENT in head.replace(b"\0", b"")


def url_paths(url: str, folder: str, base: str) -> tuple[str, ...]:
    """Where the URL of an index in ``folder`` may lead to, relative to the listing's root, the likeliest first.

    Absolute URLs (another computer's drive, a server) only give the file's name. Empty if the URL, as it is or
    percent-decoded, leads out of the plate folder ``base``, has control characters, or is too long for a path.
    """
    if len(url) > _MAX_URL:
        return ()
    if _PLAIN.fullmatch(url):
        return (posixpath.join(folder, url),)
    text = url.replace("\\", "/")
    readings = dict.fromkeys((text, unquote(text)))
    paths = [_path_of_url(reading, folder, base) for reading in readings]
    sound = tuple(path for path in paths if path is not None)
    return sound if len(sound) == len(paths) else ()


def _path_of_url(url: str, folder: str, base: str) -> str | None:
    if not url.isprintable():
        return None
    relative = url.rpartition("/")[2] if _ABSOLUTE.match(url) else url
    path = posixpath.normpath(posixpath.join(folder, relative)) if relative else base
    outside = path.startswith("../") or (base != "" and not path.startswith(base + "/"))
    return None if outside or path in {".", "..", base} else path
