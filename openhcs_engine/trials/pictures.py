"""Pictures of a trial: raw planes in grey, and the outlines of objects to lay over them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.output.pictures.greyscale import Plane, Scale, shrink, to_grey

LONGEST_PX: Final = 1200
"""Longest edge of a picture; larger images are drawn smaller."""
_THICK_PX: Final = 600
"""From here on an outline is two pixels wide, or it would be lost where the page shows the picture smaller."""
_QUALITY: Final = 88
"""Of a JPEG; the pictures are for looking, the numbers are taken of the pixels."""

Colour = tuple[int, int, int]


def grey_picture(plane: Plane, scale: Scale) -> bytes:
    """A plane as a JPEG."""
    from imagecodecs import jpeg8_encode

    small = shrink(plane, LONGEST_PX) if max(plane.shape) > LONGEST_PX else np.nan_to_num(plane)
    return bytes(jpeg8_encode(np.ascontiguousarray(to_grey(small, scale)), level=_QUALITY))


def outlines(labels: NDArray[Any], colour: Colour) -> bytes:
    """The rims of objects ``(y, x)`` as a PNG that is transparent elsewhere, as large as the plane's picture.

    A rim lies inside its object, so that two objects that touch have two.
    """
    from imagecodecs import png_encode

    rims = _rims(labels)
    if max(labels.shape) > LONGEST_PX:
        rims = _shrunk(rims)
    picture = np.zeros((*rims.shape, 4), np.uint8)
    picture[rims] = (*colour, 255)
    return bytes(png_encode(picture, level=6))


def count_objects(labels: NDArray[Any]) -> int:
    """How many numbers there are but 0."""
    present = np.unique(labels)
    return int(np.count_nonzero(present))


def _rims(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels of objects with a neighbour, within one or two pixels, that is not of theirs."""
    rims = np.zeros(labels.shape, bool)
    for reach in range(1, 3 if max(labels.shape) > _THICK_PX else 2):
        for axis in (0, 1):
            if labels.shape[axis] > reach:
                ahead = np.moveaxis(labels, axis, 0)
                rim = np.moveaxis(rims, axis, 0)  # a view
                differs = ahead[reach:] != ahead[:-reach]
                rim[reach:] |= differs
                rim[:-reach] |= differs
    found: NDArray[np.bool_] = rims & (labels != 0)
    return found


def _shrunk(rims: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """As ``shrink`` makes a picture smaller: a pixel is of a rim if one of its block is."""
    factor = -(-max(rims.shape) // LONGEST_PX)
    rows, columns = (max(1, edge // factor) for edge in rims.shape)
    fy, fx = (min(factor, edge) for edge in rims.shape)
    return np.asarray(rims[: rows * fy, : columns * fx].reshape(rows, fy, columns, fx).any(axis=(1, 3)))


__all__ = ["Colour", "count_objects", "grey_picture", "outlines"]
