"""Headers of image files, TIFF or PNG: what each says of itself before a pixel is decoded.

A plate folder may hold anything. Here every count and offset of the file is checked against the file's size and fixed
bounds before a byte is read, so a header of absurd claims costs nothing; a TIFF library believes the file.

*Source*: TIFF 6.0 specification, sections 2 and 8; the BigTIFF design; PNG specification, section 11.2.2.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

import numpy as np

MAX_EDGE: Final = 1 << 17
"""Longest edge of a plane in pixels; no camera comes near."""
_MAX_PIXELS_A_BYTE: Final = 2000
"""What the best compression makes of a byte; a file that claims more is no image."""
_ALWAYS_ALLOWED: Final = 1 << 25
"""Pixels that a file of any size may claim: it may have been cut off behind its header."""
_MAX_DESCRIPTION: Final = 1 << 20
"""Bytes of an ImageDescription; MetaSeries writes 7 KB."""
_MAX_TAGS, _MAX_STRIPS = 4096, MAX_EDGE
_MAX_PREVIEWS: Final = 16
"""Pages of reduced resolution behind the first that are skipped; a pyramid of 128 K pixels has 10."""
_FIRST_READ: Final = 4096
"""Most headers that lie before the pixels fit; one read instead of many."""

_SUBFILE, _PREVIEW_OR_MASK = 254, 1 | 4
_IMAGEJ: Final = b"ImageJ="
_STACK_TAG = 33629  # UIC2Tag of MetaMorph stacks; it counts their planes
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _FILL_ORDER = 256, 257, 258, 259, 266
_DESCRIPTION, _SAMPLES, _PREDICTOR, _FORMAT = 270, 277, 317, 339
_STRIP_OFFSETS, _STRIP_COUNTS, _TILE_OFFSETS, _TILE_COUNTS = 273, 279, 324, 325
_INTEGER_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_KINDS = {1: "uint", 2: "int", 3: "float"}
_DTYPES = frozenset({"uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64"})

PNG_START: Final = b"\x89PNG\r\n\x1a\n"
PNG_MODES: Final = {
    0: "grey",
    2: "colour",
    3: "a colour palette",
    4: "grey with transparency",
    6: "colour with transparency",
}
"""Colour types of PNG."""
_PNG_HEADER: Final = struct.Struct(">I4sIIBB")
_PNG_END: Final = b"\0\0\0\0IEND\xaeB`\x82"


class ImageHeaderError(ValueError):
    """The file is no image of one grey plane, is cut short, or claims what cannot be; the message is the reason."""


class _CutShortError(ImageHeaderError):
    """The file ends before its header does."""


@dataclass(frozen=True, slots=True, order=True)
class ImageForm:
    """What all images of a channel have in common."""

    shape: tuple[int, int]
    """(y, x) in pixels."""
    dtype: str
    """NumPy name of the pixel type."""
    is_stack: bool = False
    """True for a file of several planes; previews and masks are none."""

    def __str__(self) -> str:
        height, width = self.shape
        return f"{width} x {height} pixels of {self.dtype}" + (", several planes a file" if self.is_stack else "")


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What one file says of itself."""

    form: ImageForm
    cut: str = ""
    """How one sees that the file was cut short; empty for a whole one."""
    description: str = ""
    """ImageDescription of a TIFF, empty if there is none."""

    def oddities(self, path: str) -> tuple[str, ...]:
        """Sentences about what the file at ``path`` has too little or too much of."""
        cut = (f"{path} is cut short: {self.cut}.",) if self.cut else ()
        stack = (
            f"{path} is a stack of several planes, of which only one has a place on the plate: wells with such "
            "files fail when they are run. Export each plane to a file of its own."
        )
        return (*cut, stack) if self.form.is_stack else cut


def read_image_header(stream: BinaryIO, size: int) -> ImageHeader:
    """Read the header of a file of ``size`` bytes. Its first bytes say what it is; file names were changed before.

    Raises
    ------
    OSError
        If the file cannot be read.
    ImageHeaderError
        If it is no image of one grey plane.
    """
    if stream.read(len(PNG_START)) == PNG_START:
        png = read_png_header(stream, size)
        if not all(0 < edge <= MAX_EDGE for edge in png.shape):
            raise ImageHeaderError(f"it claims {png.shape[0]} x {png.shape[1]} pixels")
        if PNG_MODES.get(png.mode) != "grey" or png.bits not in (1, 2, 4, 8, 16):
            raise ImageHeaderError("it is a coloured image, expected one grey value a pixel")
        return ImageHeader(ImageForm(png.shape, png.dtype), "" if png.is_whole else "it does not end as a PNG does")
    stream.seek(0)
    return read_tiff_header(stream, size)


@dataclass(frozen=True, slots=True)
class PngHeader:
    """What a PNG says of itself."""

    shape: tuple[int, int]
    """(y, x) in pixels."""
    bits: int
    """Of one value of a pixel."""
    mode: int
    """A key of ``PNG_MODES``, if the file is right."""
    is_whole: bool
    """True if the file ends as a PNG does."""

    @property
    def dtype(self) -> str:
        """NumPy name of the pixel type, if it is grey."""
        return "uint16" if self.bits == 16 else "uint8"


def read_png_header(stream: BinaryIO, size: int) -> PngHeader:
    """Read the header of a PNG of ``size`` bytes from behind its first eight.

    Raises
    ------
    ImageHeaderError
        If it is cut short or does not begin with the image's header.
    """
    content = stream.read(_PNG_HEADER.size)
    if len(content) < _PNG_HEADER.size:
        raise _CutShortError("it is cut short")
    length, name, width, height, bits, mode = _PNG_HEADER.unpack(content)
    if length != 13 or name != b"IHDR":
        raise ImageHeaderError("it does not begin as a PNG does")
    stream.seek(max(size - 1024, 0))  # a few bytes behind the end do no harm: some programs write them
    return PngHeader((height, width), bits, mode, _PNG_END in stream.read(1024))


def read_tiff_header(stream: BinaryIO, size: int) -> ImageHeader:
    """Read the header of the first page of a classic or Big TIFF of ``size`` bytes.

    Raises
    ------
    ImageHeaderError
        If it is no TIFF of one grey plane, or its header cannot be true.
    """
    page = _first_page(stream, size)
    shape = page.shape
    if not all(0 < edge <= MAX_EDGE for edge in shape):
        raise ImageHeaderError(f"it claims {shape[0]} x {shape[1]} pixels")
    if shape[0] * shape[1] > max(_MAX_PIXELS_A_BYTE * size, _ALWAYS_ALLOWED):
        raise ImageHeaderError(f"it claims {shape[0]} x {shape[1]} pixels, more than its {size} bytes can hold")
    description, dtype, (offsets, counts) = page.description, page.dtype, page.pieces
    if not offsets or len(offsets) != len(counts):
        raise ImageHeaderError("it does not say where its pixels are")
    end = max(offset + count for offset, count in zip(offsets, counts, strict=True))
    cut = "its pixels end beyond the end of the file" if end > size else ""
    return ImageHeader(ImageForm(shape, dtype, page.is_stack), cut, description)


def is_tiff_stack(stream: BinaryIO, size: int) -> bool:
    """True if a TIFF of ``size`` bytes holds more than one plane; previews and masks are none.

    Raises
    ------
    ImageHeaderError
        If the first page cannot be read.
    """
    return _first_page(stream, size).is_stack


@dataclass(frozen=True, slots=True)
class PlainPage:
    """The pixels of an uncompressed grey page, which lie in one run."""

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


def read_plain_page(stream: BinaryIO, size: int) -> PlainPage | None:
    """Layout of a TIFF's only page; None if it is anything but plain, contiguous, uncompressed grey pixels."""
    try:
        page = _first_page(stream, size)
        if page.following or page.is_stack or _TILE_OFFSETS in page.tags:
            return None
        if not page.one(_COMPRESSION, 1) == page.one(_PREDICTOR, 1) == page.one(_FILL_ORDER, 1) == 1:
            return None
        shape, dtype, (offsets, counts) = page.shape, np.dtype(page.dtype), page.pieces
    except ImageHeaderError:
        return None
    plain = PlainPage(shape, dtype.newbyteorder(page.file.order), offsets[0] if offsets else 0)
    if len(offsets) != len(counts) or 0 in shape or sum(counts) != plain.nbytes:
        return None
    ends = (offset + count for offset, count in zip(offsets, counts, strict=True))
    return plain if all(end == offset for end, offset in zip(ends, offsets[1:], strict=False)) else None


@dataclass(slots=True)
class _File:
    """A TIFF, the start of which is in memory."""

    stream: BinaryIO
    size: int
    start: bytes
    order: Literal["<", ">"]
    is_big: bool

    def at(self, offset: int, length: int) -> bytes:
        if offset + length > self.size:
            raise _CutShortError("it is cut short: its header lies beyond the end of the file")
        content = self.at_most(offset, length)
        if len(content) != length:
            raise _CutShortError("it is cut short")
        return content

    def at_most(self, offset: int, length: int) -> bytes:
        if offset + length <= len(self.start):
            return self.start[offset : offset + length]
        self.stream.seek(offset)
        return self.stream.read(length)

    def number(self, content: bytes) -> int:
        return int.from_bytes(content, "little" if self.order == "<" else "big")


def _first_page(stream: BinaryIO, size: int) -> _Page:
    start = stream.read(_FIRST_READ)
    orders: dict[bytes, Literal["<", ">"]] = {b"II": "<", b"MM": ">"}
    order = orders.get(start[:2])
    if order is None or len(start) < 8:
        raise ImageHeaderError("it is not a TIFF" if start else "it is empty")
    file = _File(stream, size, start, order, start[2:4] in (b"+\0", b"\0+"))
    if file.number(start[2:4]) != (43 if file.is_big else 42) or (file.is_big and len(start) < 16):
        raise ImageHeaderError("it is not a TIFF")
    return _Page(file, file.number(start[8:16] if file.is_big else start[4:8]))


class _Page:
    """The tags of one page; a value that does not fit into its tag is read when it is asked for."""

    def __init__(self, file: _File, offset: int, which: str = "first") -> None:
        self.file = file
        counter, pointer, entry = (8, 8, "HHQ8s") if file.is_big else (2, 4, "HHI4s")
        count = file.number(file.at(offset, counter))
        if not count:  # nothing was written there: links into zeros are harmless behind the first page
            raise _CutShortError(f"its {which} page claims 0 tags")
        if count > _MAX_TAGS:
            raise ImageHeaderError(f"its {which} page claims {count} tags")
        table = file.at(offset + counter, count * struct.calcsize(file.order + entry))
        # Of a tag that is given twice the first counts, as for tifffile, which decodes.
        self.tags = {tag[0]: tag for tag in reversed([*struct.iter_unpack(file.order + entry, table)])}
        self.following = file.number(file.at_most(offset + counter + len(table), pointer))
        """Offset of the next page; 0 behind the last."""

    def content(self, inline: bytes, length: int) -> bytes:
        return inline[:length] if length <= len(inline) else self.file.at(self.file.number(inline), length)

    def numbers(self, code: int) -> tuple[int, ...]:
        _, kind, count, inline = self.tags.get(code, (code, 3, 0, b""))
        if kind not in _INTEGER_TYPES or count > _MAX_STRIPS:
            raise ImageHeaderError(f"its tag {code} claims {count} values of type {kind}")
        form = f"{self.file.order}{count}{_INTEGER_TYPES[kind]}"
        return struct.unpack(form, self.content(inline, struct.calcsize(form)))

    def one(self, code: int, default: int | None = None) -> int:
        values = self.numbers(code)
        if values:
            return values[0]
        if default is None:
            raise ImageHeaderError(f"its tag {code} is missing")
        return default

    @property
    def shape(self) -> tuple[int, int]:
        return self.one(_LENGTH), self.one(_WIDTH)

    @property
    def dtype(self) -> str:
        samples, bits = self.one(_SAMPLES, 1), self.one(_BITS, 1)
        name = f"{_KINDS.get(self.one(_FORMAT, 1), 'type')}{bits}"
        if samples != 1 or name not in _DTYPES:
            raise ImageHeaderError(f"it has {samples} samples of {bits} bits a pixel, expected one of 8, 16, 32 or 64")
        return name

    @property
    def pieces(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Offsets and bytes of the strips, or of the tiles."""
        tiled = _TILE_OFFSETS in self.tags
        return (
            self.numbers(_TILE_OFFSETS if tiled else _STRIP_OFFSETS),
            self.numbers(_TILE_COUNTS if tiled else _STRIP_COUNTS),
        )

    @property
    def description(self) -> str:
        _, _, count, inline = self.tags.get(_DESCRIPTION, (_DESCRIPTION, 2, 0, b""))
        if count > _MAX_DESCRIPTION:
            raise ImageHeaderError(f"its description claims {count} bytes")
        content = self.content(inline, count).split(b"\0")[0]
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            return content.decode("latin-1")

    @property
    def is_stack(self) -> bool:
        """True if another plane lies in this page or behind it; a preview has another size, a mask says what it is."""
        if self.tags.get(_STACK_TAG, (0, 0, 1, b""))[2] > 1 or self._planes_of_imagej() > 1:
            return True
        seen: set[int] = set()
        offset = self.following
        while offset and offset not in seen and len(seen) < _MAX_PREVIEWS:
            seen.add(offset)
            try:
                page = _Page(self.file, offset, "next")
                edges = page.one(_LENGTH, 0), page.one(_WIDTH, 0)
                if not page.one(_SUBFILE, 0) & _PREVIEW_OR_MASK and edges == self.shape:
                    return True
            except _CutShortError:  # behind the first plane, whose pixels are judged by themselves
                return False
            offset = page.following
        return False

    def _planes_of_imagej(self) -> int:
        """Planes that ImageJ's description counts; beyond 4 GB it writes one page for all of them."""
        _, _, count, inline = self.tags.get(_DESCRIPTION, (_DESCRIPTION, 2, 0, b""))
        if count <= len(inline):
            return 1
        offset = self.file.number(inline)
        try:
            if self.file.at(offset, len(_IMAGEJ)) != _IMAGEJ:  # others' descriptions are long: one more read a plane
                return 1
            description = self.file.at(offset, min(count, _FIRST_READ)).split(b"\0")[0]
        except ImageHeaderError:  # a plane may be right without it
            return 1
        stated = re.search(rb"^images=([0-9]{1,9})\s*$", description, re.MULTILINE)
        return int(stated[1]) if stated else 1


__all__ = [
    "MAX_EDGE",
    "PNG_MODES",
    "PNG_START",
    "ImageForm",
    "ImageHeader",
    "ImageHeaderError",
    "PlainPage",
    "PngHeader",
    "is_tiff_stack",
    "read_image_header",
    "read_plain_page",
    "read_png_header",
    "read_tiff_header",
]
