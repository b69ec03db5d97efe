"""Planes in squares of pixels: made smaller, larger again, and whole where they have holes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]


def means_of_squares(plane: NDArray[Any], edge: int) -> Floats:
    """Means of squares of ``edge`` pixels; the plane's edges are multiples of it."""
    rows = plane[0::edge].astype(np.float32)
    for offset in range(1, edge):
        rows += plane[offset::edge]
    means: Floats = rows[:, 0::edge].copy()
    for offset in range(1, edge):
        means += rows[:, offset::edge]
    means *= np.float32(1 / edge**2)
    return means


def enlarged(plane: Floats, factor: int) -> Floats:
    """Each pixel as a square of ``factor`` pixels, bilinear between the middles of squares."""
    from scipy.ndimage import zoom

    if factor == 1:
        return plane
    larger: Floats = zoom(plane, factor, order=1, mode="nearest", grid_mode=True)
    return larger


def filled(plane: Floats, known: NDArray[np.bool_]) -> Floats:
    """The plane with what surrounds them where pixels are not known: means of the smallest squares that know one."""
    if known.all():
        return plane
    if not known.any() or any(size % 2 for size in plane.shape):
        rest = plane[known].mean() if known.any() else np.float32(1)
        return np.where(known, plane, rest)
    share = means_of_squares(known, 2)
    means = means_of_squares(np.where(known, plane, np.float32(0)), 2) / np.maximum(share, np.float32(1e-6))
    around = enlarged(filled(means.astype(np.float32), share > 0), 2)
    return np.where(known, plane, around)
