"""The first page of a classic TIFF file, if its pixels lie in one uncompressed run.

*Source*: TIFF 6.0 specification, sections 2 and 8.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

_TYPE_CODES = {1: "B", 3: "H", 4: "I"}
"""BYTE, SHORT, LONG: the field types a plain image's tags have."""
_KINDS = {1: "u", 2: "i", 3: "f"}
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _OFFSETS, _SAMPLES, _COUNTS = 256, 257, 258, 259, 273, 277, 279
_FILL_ORDER, _PREDICTOR, _TILE_WIDTH, _SAMPLE_FORMAT = 266, 317, 322, 339
_DESCRIPTION, _STACK = 270, 33629
_WANTED = frozenset(
    {
        *(_WIDTH, _LENGTH, _BITS, _COMPRESSION, _OFFSETS, _SAMPLES, _COUNTS),
        *(_FILL_ORDER, _PREDICTOR, _TILE_WIDTH, _SAMPLE_FORMAT),
    }
)
_FIRST_READ = 4096
"""Most headers that lie before the pixels fit; one read instead of many."""
_MAX_STRIPS = 1 << 20
"""A table of more strips is not an image of this trade."""


@dataclass(frozen=True, slots=True)
class PlainPage:
    """Where the pixels of an uncompressed grey page are."""

    shape: tuple[int, int]
    """(y, x)."""
    dtype: np.dtype[np.generic]
    """With the byte order of the file."""
    offset: int
    """Of the first pixel, bytes from the start of the file."""

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize


def read_plain_page(file: BinaryIO) -> PlainPage | None:
    """Layout of the only page; None if it is anything but plain, contiguous, uncompressed grey pixels."""
    head = file.read(_FIRST_READ)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])
    if order is None or len(head) < 8:
        return None
    (start,) = struct.unpack_from(order + "I", head, 4)
    tags = _read_tags(_Source(file, head), order, start)
    return None if tags is None else _plain_page(tags, order)


def _plain_page(tags: dict[int, tuple[int, ...]], order: str) -> PlainPage | None:
    def one(tag: int, default: int = 0) -> int:
        return tags.get(tag, (default,))[0]

    special = one(_COMPRESSION, 1) != 1 or one(_SAMPLES, 1) != 1 or one(_PREDICTOR, 1) != 1 or one(_FILL_ORDER, 1) != 1
    kind, bits = _KINDS.get(one(_SAMPLE_FORMAT, 1)), one(_BITS, 1)
    if special or _TILE_WIDTH in tags or kind is None or bits not in (8, 16, 32, 64) or (kind == "f" and bits == 8):
        return None
    offsets, counts = tags.get(_OFFSETS, ()), tags.get(_COUNTS, ())
    dtype = np.dtype(f"{order}{kind}{bits // 8}")
    page = PlainPage((one(_LENGTH), one(_WIDTH)), dtype, offsets[0] if offsets else 0)
    whole = len(offsets) == len(counts) and 0 not in page.shape and sum(counts) == page.nbytes
    return page if whole and _follow_each_other(offsets, counts) else None


def _follow_each_other(offsets: tuple[int, ...], counts: tuple[int, ...]) -> bool:
    expected = offsets[0]
    for offset, count in zip(offsets, counts, strict=True):
        if offset != expected:
            return False
        expected += count
    return True


class _Source:
    """The start of a file in memory, the rest by seeking."""

    def __init__(self, file: BinaryIO, head: bytes) -> None:
        self.file, self.head = file, head

    def at(self, offset: int, count: int) -> bytes:
        if offset + count <= len(self.head):
            return self.head[offset : offset + count]
        self.file.seek(offset)
        return self.file.read(count)


def _read_tags(source: _Source, order: str, start: int) -> dict[int, tuple[int, ...]] | None:
    """The tags that matter, of the directory at ``start``; None if it is not the only one, cut off, or unusual."""
    try:
        (entries,) = struct.unpack(order + "H", source.at(start, 2))
        table = source.at(start + 2, 12 * entries)
        if any(source.at(start + 2 + 12 * entries, 4)):
            return None  # another page follows
        tags = {}
        for position in range(0, 12 * entries, 12):
            tag, kind, count = struct.unpack_from(order + "HHI", table, position)
            if tag == _STACK or (tag == _DESCRIPTION and _may_hold_more(source, order, table, position)):
                return None  # one page for a whole stack: MetaMorph's and ImageJ's way
            if tag in _WANTED:
                tags[tag] = _values(source, order, kind, count, table[position + 8 : position + 12])
    except (struct.error, KeyError, OverflowError, ValueError):
        return None
    return tags


def _may_hold_more(source: _Source, order: str, table: bytes, position: int) -> bool:
    """True if ImageJ wrote the description and counts several images: they may have no pages of their own."""
    count, offset = struct.unpack_from(order + "II", table, position + 4)
    start = source.at(offset, min(count, 256)) if count > 7 else b""
    return start.startswith(b"ImageJ=") and b"\nimages=" in start


def _values(source: _Source, order: str, kind: int, count: int, inline: bytes) -> tuple[int, ...]:
    if not 0 < count <= _MAX_STRIPS:
        raise ValueError("not the tag of a plain image")
    form = f"{order}{count}{_TYPE_CODES[kind]}"
    size = struct.calcsize(form)
    if size <= 4:
        return struct.unpack_from(form, inline)
    (offset,) = struct.unpack(order + "I", inline)
    return struct.unpack(form, source.at(offset, size))
