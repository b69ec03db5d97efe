"""Smaller and smaller copies of a plane."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALLEST = 256
"""No further level once an edge is below it, px."""


def level_shapes(shape: tuple[int, int], levels: int) -> tuple[tuple[int, int], ...]:
    """(y, x) of each level, the full size first: halved until an edge is below 256 px, at most ``levels`` in all."""
    shapes = [shape]
    while len(shapes) < levels and min(shapes[-1]) >= SMALLEST:
        shapes.append((shapes[-1][0] // 2, shapes[-1][1] // 2))
    return tuple(shapes)


def halve(plane: NDArray[Any]) -> NDArray[Any]:
    """Mean of each 2 x 2 block, in the plane's dtype; integers rounded, halves upwards; an odd last row is left out.

    Parameters
    ----------
    plane
        (y, x); booleans and integers of 64 bits are halved by taking every second pixel instead.
    """
    even = plane[: plane.shape[0] // 2 * 2, : plane.shape[1] // 2 * 2]
    if even.dtype == np.uint16:
        return _halve_uint16(even)
    if even.dtype.kind == "f":
        return (_sum_of_blocks(even, np.promote_types(even.dtype, np.float32)) * 0.25).astype(even.dtype)
    if even.dtype.kind == "b" or even.dtype.itemsize == 8:
        return every_second(plane)
    return ((_sum_of_blocks(even, np.dtype(np.int64)) + 2) >> 2).astype(even.dtype)


def _sum_of_blocks(even: NDArray[Any], wide: np.dtype[Any]) -> NDArray[Any]:
    rows = np.add(even[::2], even[1::2], dtype=wide)
    summed: NDArray[Any] = rows[:, ::2] + rows[:, 1::2]
    return summed


def _halve_uint16(even: NDArray[Any]) -> NDArray[Any]:
    # Two neighbours as one 32-bit number: all passes run over contiguous memory, three times faster than strides.
    pairs = np.ascontiguousarray(even, dtype=np.uint16).view(np.uint32)
    rows = (pairs & np.uint32(0xFFFF)) + (pairs >> np.uint32(16))
    blocks = rows[::2] + rows[1::2]
    blocks += np.uint32(2)
    blocks >>= np.uint32(2)
    return blocks.astype(np.uint16)


def every_second(plane: NDArray[Any]) -> NDArray[Any]:
    """The plane at half its size, without new values: what is an object's number stays one."""
    return np.ascontiguousarray(plane[: plane.shape[0] // 2 * 2 : 2, : plane.shape[1] // 2 * 2 : 2])


__all__ = ["SMALLEST", "every_second", "halve", "level_shapes"]
