"""Filters that look at a pixel's neighbours, run on bands of rows so that they need little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from openhcs_engine.functions.stack import Pixels
from openhcs_engine.memory.conversion.aligned import empty_aligned
from openhcs_engine.memory.conversion.bands import BAND_ELEMENTS
from openhcs_engine.memory.conversion.dtype import restore_dtype

PlaneFilter: TypeAlias = Callable[[Pixels], Pixels]
"""Takes an image ``(y, x)``, which it only reads, and returns one of the same shape."""


def filter_planes(stack: Pixels, apply: PlaneFilter, reach: int) -> Pixels:
    """Filter each plane by itself, a band of rows at a time.

    Parameters
    ----------
    stack
        ``(plane, y, x)``; never written to.
    apply
        Gets pieces of a plane: whole rows, with the rows around them that it needs.
    reach
        How many pixels away the filter looks. The result equals that of the whole plane, if this is true.

    Returns
    -------
    ndarray
        A new array of the stack's shape and dtype; integers are rounded half to even and clipped.
    """
    filtered = empty_aligned(stack.shape, stack.dtype)
    for plane, target in zip(stack, filtered, strict=True):
        for rows, around in _bands(plane.shape, reach):
            first = rows.start - around.start
            piece = apply(plane[around])[first : first + rows.stop - rows.start]
            target[rows] = restore_dtype(piece, stack.dtype)
    return filtered


def _bands(shape: tuple[int, ...], reach: int) -> Iterator[tuple[slice, slice]]:
    """Bands of rows, and each with ``reach`` rows more on either side, as far as the plane has them."""
    rows, columns = shape
    height = max(BAND_ELEMENTS // columns, 4 * reach, 1)  # the rows around a band are filtered twice: at most half
    for top in range(0, rows, height):
        bottom = min(rows, top + height)
        yield slice(top, bottom), slice(max(0, top - reach), min(rows, bottom + reach))


__all__ = ["PlaneFilter", "filter_planes"]
