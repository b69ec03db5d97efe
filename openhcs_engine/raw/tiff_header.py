"""The header of a TIFF's first page, and nothing else.

A plate folder may hold anything. Here every count and offset of the file is checked against the file's size and fixed
bounds before a byte is read, so a header of absurd claims costs nothing; a TIFF library believes the file.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

MAX_EDGE: Final = 1 << 17
"""Longest edge of a plane in pixels; no camera comes near."""
_MAX_PIXELS_A_BYTE: Final = 2000
"""What the best compression makes of a byte; a file that claims more is no image."""
_ALWAYS_ALLOWED: Final = 1 << 25
"""Pixels that a file of any size may claim: it may have been cut off behind its header."""
MAX_DESCRIPTION: Final = 1 << 20
"""Bytes of an ImageDescription; MetaSeries writes 7 KB."""
_MAX_TAGS, _MAX_STRIPS = 4096, MAX_EDGE
_MAX_PREVIEWS: Final = 16
"""Pages of reduced resolution behind the first that are skipped; a pyramid of 128 K pixels has 10."""

_SUBFILE, _PREVIEW_OR_MASK = 254, 1 | 4
_STACK_TAG = 33629  # UIC2Tag of MetaMorph stacks; it counts their planes
_WIDTH, _LENGTH, _BITS, _DESCRIPTION, _SAMPLES, _FORMAT = 256, 257, 258, 270, 277, 339
_STRIP_OFFSETS, _STRIP_COUNTS, _TILE_OFFSETS, _TILE_COUNTS = 273, 279, 324, 325
_INTEGER_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_KINDS = {1: "uint", 2: "int", 3: "float"}
_DTYPES = frozenset({"uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64"})


class TiffHeaderError(ValueError):
    """The file is no TIFF, is cut short, or claims what cannot be; the message is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffHeader:
    """What the first page says of itself."""

    shape: tuple[int, int]
    """(y, x) in pixels."""
    dtype: str
    """NumPy name of the pixel type."""
    description: str
    """ImageDescription, empty if there is none."""
    pixels_end: int
    """Offset behind the last byte of the pixels; beyond the end of the file if that was cut."""
    is_stack: bool = False
    """True if the file holds further planes behind this one; previews and masks are none."""

    def oddities(self, path: str, size: int) -> tuple[str, ...]:
        """Sentences about what a file of ``size`` bytes has too little or too much of."""
        found = []
        if self.pixels_end > size:
            found.append(f"{path} is cut short: its pixels end beyond the end of the file.")
        if self.is_stack:
            found.append(
                f"{path} is a stack of several planes, of which only one has a place on the plate: wells with such "
                "files fail when they are run. Export each plane to a file of its own."
            )
        return tuple(found)


@dataclass(frozen=True, slots=True)
class _Layout:
    order: str
    big: bool

    @property
    def entry(self) -> struct.Struct:
        return struct.Struct(self.order + ("HHQ8s" if self.big else "HHI4s"))


_Tags = dict[int, tuple[int, int, bytes]]


def read_tiff_header(stream: BinaryIO, size: int) -> TiffHeader:
    """Read the first page's header of a classic or Big TIFF of ``size`` bytes.

    Raises
    ------
    TiffHeaderError
        If it is no TIFF of one grey plane, or its header cannot be true.
    """
    layout, offset = _read_start(stream)
    tags, following = _read_page(stream, size, layout, offset)
    shape = _one(stream, size, layout, tags, _LENGTH), _one(stream, size, layout, tags, _WIDTH)
    if not all(0 < edge <= MAX_EDGE for edge in shape):
        raise TiffHeaderError(f"it claims {shape[0]} x {shape[1]} pixels")
    if shape[0] * shape[1] > max(_MAX_PIXELS_A_BYTE * size, _ALWAYS_ALLOWED):
        raise TiffHeaderError(f"it claims {shape[0]} x {shape[1]} pixels, more than its {size} bytes can hold")
    description = _description(stream, size, layout, tags)
    return TiffHeader(
        shape=shape,
        dtype=_dtype(stream, size, layout, tags),
        description=description,
        pixels_end=_pixels_end(stream, size, layout, tags),
        is_stack=(
            tags.get(_STACK_TAG, (0, 1, b""))[1] > 1
            or planes_of_imagej(description) > 1
            or _has_more_planes(stream, size, layout, following, shape)
        ),
    )


def planes_of_imagej(description: str) -> int:
    """Planes that ImageJ says a file holds; beyond 4 GB it writes one page for all of them."""
    stated = re.search(r"^images=([0-9]{1,9})\s*$", description, re.MULTILINE | re.ASCII)
    return int(stated[1]) if stated and description.startswith("ImageJ=") else 1


def _has_more_planes(stream: BinaryIO, size: int, layout: _Layout, offset: int, shape: tuple[int, int]) -> bool:
    """True if a page from ``offset`` on is another plane; a preview has another size, a mask says that it is one."""
    seen: set[int] = set()
    while offset and offset not in seen and len(seen) < _MAX_PREVIEWS:
        seen.add(offset)
        try:
            tags, following = _read_page(stream, size, layout, offset)
            kind, *edges = (_one(stream, size, layout, tags, code, 0) for code in (_SUBFILE, _LENGTH, _WIDTH))
        except TiffHeaderError:  # cut off behind the first plane, whose pixels are judged by themselves
            return False
        if not kind & _PREVIEW_OR_MASK and tuple(edges) == shape:
            return True
        offset = following
    return False


def _read_start(stream: BinaryIO) -> tuple[_Layout, int]:
    start = stream.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None or len(start) < 8:
        raise TiffHeaderError("it is not a TIFF" if start else "it is empty")
    version: int = struct.unpack(order + "H", start[2:4])[0]
    if version == 42:
        return _Layout(order, False), struct.unpack(order + "I", start[4:8])[0]
    if version == 43 and len(start) == 16:
        return _Layout(order, True), struct.unpack(order + "Q", start[8:16])[0]
    raise TiffHeaderError("it is not a TIFF")


def _read_page(stream: BinaryIO, size: int, layout: _Layout, offset: int) -> tuple[_Tags, int]:
    """Tags of the page at ``offset``, and where the next page is; 0 behind the last."""
    count_size = 8 if layout.big else 2
    count: int = struct.unpack(layout.order + ("Q" if layout.big else "H"), _read_at(stream, size, offset, count_size))[
        0
    ]
    if not 0 < count <= _MAX_TAGS:
        raise TiffHeaderError(f"its first page claims {count} tags")
    table = _read_at(stream, size, offset + count_size, count * layout.entry.size)
    tags = {code: (kind, number, value) for code, kind, number, value in layout.entry.iter_unpack(table)}
    pointer = stream.read(count_size if layout.big else 4)  # right behind the table
    return tags, int.from_bytes(pointer, "little" if layout.order == "<" else "big")


def _read_at(stream: BinaryIO, size: int, offset: int, length: int) -> bytes:
    if offset + length > size:
        raise TiffHeaderError("it is cut short: its header lies beyond the end of the file")
    stream.seek(offset)
    found = stream.read(length)
    if len(found) != length:
        raise TiffHeaderError("it is cut short")
    return found


def _content(stream: BinaryIO, size: int, layout: _Layout, inline: bytes, length: int) -> bytes:
    if length <= len(inline):
        return inline[:length]
    offset: int = struct.unpack(layout.order + ("Q" if layout.big else "I"), inline)[0]
    return _read_at(stream, size, offset, length)


def _numbers(stream: BinaryIO, size: int, layout: _Layout, tags: _Tags, code: int) -> tuple[int, ...]:
    kind, count, inline = tags.get(code, (3, 0, b""))
    if kind not in _INTEGER_TYPES or count > _MAX_STRIPS:
        raise TiffHeaderError(f"its tag {code} claims {count} values of type {kind}")
    letter = _INTEGER_TYPES[kind]
    content = _content(stream, size, layout, inline, count * struct.calcsize("=" + letter))
    return struct.unpack(f"{layout.order}{count}{letter}", content)


def _one(stream: BinaryIO, size: int, layout: _Layout, tags: _Tags, code: int, default: int | None = None) -> int:
    values = _numbers(stream, size, layout, tags, code)
    if values:
        return values[0]
    if default is None:
        raise TiffHeaderError(f"its tag {code} is missing")
    return default


def _dtype(stream: BinaryIO, size: int, layout: _Layout, tags: _Tags) -> str:
    samples = _one(stream, size, layout, tags, _SAMPLES, 1)
    bits = _one(stream, size, layout, tags, _BITS, 1)
    name = f"{_KINDS.get(_one(stream, size, layout, tags, _FORMAT, 1), 'type')}{bits}"
    if samples != 1 or name not in _DTYPES:
        raise TiffHeaderError(f"it has {samples} samples of {bits} bits a pixel, expected one of 8, 16, 32 or 64")
    return name


def _description(stream: BinaryIO, size: int, layout: _Layout, tags: _Tags) -> str:
    _, count, inline = tags.get(_DESCRIPTION, (2, 0, b""))
    if count > MAX_DESCRIPTION:
        raise TiffHeaderError(f"its description claims {count} bytes")
    content = _content(stream, size, layout, inline, count).split(b"\0")[0]
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _pixels_end(stream: BinaryIO, size: int, layout: _Layout, tags: _Tags) -> int:
    tiled = _TILE_OFFSETS in tags
    offsets = _numbers(stream, size, layout, tags, _TILE_OFFSETS if tiled else _STRIP_OFFSETS)
    counts = _numbers(stream, size, layout, tags, _TILE_COUNTS if tiled else _STRIP_COUNTS)
    if not offsets or len(offsets) != len(counts):
        raise TiffHeaderError("it does not say where its pixels are")
    return max(offset + count for offset, count in zip(offsets, counts, strict=True))
