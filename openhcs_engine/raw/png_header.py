"""The header of a PNG, and nothing else."""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

from openhcs_engine.raw.tiff_header import MAX_EDGE

PNG_START: Final = b"\x89PNG\r\n\x1a\n"
_HEADER: Final = struct.Struct(">I4sIIBB")
_GREY: Final = 0


class PngHeaderError(ValueError):
    """The file is no PNG of one grey plane, or claims what cannot be; the message is the reason."""


def read_png_header(stream: BinaryIO) -> tuple[tuple[int, int], str]:
    """Shape (y, x) and pixel type of a PNG, from behind its first eight bytes.

    Raises
    ------
    PngHeaderError
        If it is no PNG of one grey plane.

    Notes
    -----
    *Source*: PNG specification, section 11.2.2: IHDR comes first and holds width, height, bit depth, colour type.
    """
    content = stream.read(_HEADER.size)
    if len(content) < _HEADER.size:
        raise PngHeaderError("it is cut short")
    length, name, width, height, bits, colour = _HEADER.unpack(content)
    if length != 13 or name != b"IHDR":
        raise PngHeaderError("it does not begin as a PNG does")
    if not (0 < width <= MAX_EDGE and 0 < height <= MAX_EDGE):
        raise PngHeaderError(f"it claims {height} x {width} pixels")
    if colour != _GREY or bits not in (1, 2, 4, 8, 16):
        raise PngHeaderError("it is a coloured image, expected one grey value a pixel")
    return (height, width), "uint16" if bits == 16 else "uint8"
