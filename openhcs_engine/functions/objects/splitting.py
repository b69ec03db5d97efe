"""Objects that touch, taken apart where they are narrow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.objects.crops import Labels, Mask

_AROUND: Final = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
_AHEAD: Final = _AROUND[4:]
"""Each pair of neighbours once."""
_ROUNDING: Final = 1e-4
"""Pixels by which distances in float32 may be off."""


@dataclass(frozen=True, slots=True)
class Basins:
    """Pixels of a mask by the peak that a climb from them ends on, always to the highest neighbour."""

    numbers: Labels
    """``(y, x)``: from 1; 0 outside of the mask."""
    peaks: NDArray[np.float32]
    """Height of each peak; the first one's is that of basin 1."""

    @classmethod
    def of(cls, heights: NDArray[np.float32], mask: Mask) -> Basins:
        """Basins of a mask ``(y, x)`` that does not touch the border.

        Of equally high neighbours the last one in memory counts, so that no climb runs in circles. A flat top may have
        several basins; the pass between them is as high as the top.
        """
        pixels = np.flatnonzero(mask)
        everywhere = np.where(mask, heights, np.float32(-1)).ravel()
        best, above = everywhere[pixels], pixels.copy()
        for dy, dx in _AROUND:
            neighbours = pixels + (dy * mask.shape[1] + dx)
            beside = everywhere[neighbours]
            higher = (beside > best) | ((beside == best) & (neighbours > above))
            np.copyto(best, beside, where=higher)
            np.copyto(above, neighbours, where=higher)
        position = np.zeros(mask.size, np.intp)
        position[pixels] = np.arange(pixels.size)
        top = position[above]
        while not np.array_equal(top, further := top[top]):
            top = further
        peaks = np.flatnonzero(top == np.arange(top.size))
        number = np.zeros(top.size, np.int32)
        number[peaks] = np.arange(1, peaks.size + 1)
        numbers = np.zeros(mask.shape, np.int32)
        numbers.ravel()[pixels] = number[top]
        return cls(numbers, everywhere[pixels[peaks]])

    def passes(self, heights: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
        """Pairs of neighbouring basins, from 0, and the height of the highest pass between them; highest first."""
        rows, columns = self.numbers.shape
        ones, others, lows = [], [], []
        for dy, dx in _AHEAD:
            near = (slice(0, rows - dy), slice(max(0, -dx), columns - max(0, dx)))
            far = (slice(dy, rows), slice(max(0, dx), columns + min(0, dx)))
            one, other = self.numbers[near], self.numbers[far]
            meet = np.nonzero((one != other) & (one != 0) & (other != 0))
            ones.append(np.minimum(one[meet], other[meet]))
            others.append(np.maximum(one[meet], other[meet]))
            lows.append(np.minimum(heights[near][meet], heights[far][meet]))
        first, second, low = np.concatenate(ones), np.concatenate(others), np.concatenate(lows)
        order = np.lexsort((-low, second, first))
        first, second, low = first[order] - 1, second[order] - 1, low[order]
        new = np.ones(first.size, bool)
        new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
        first, second, low = first[new], second[new], low[new]
        downwards = np.argsort(-low, kind="stable")
        return first[downwards], second[downwards], low[downwards]


def split_by_depth(heights: NDArray[np.float32], mask: Mask, depth: float) -> Labels:
    """Parts of a mask whose peaks stand more than ``depth`` above the pass to a higher one, or to one as high.

    These are the basins of the true h-maxima: where the passes are not deep enough, a lower peak joins the higher one,
    and of two equal peaks, one joins the other. (Subtracting ``depth`` and taking what remains a maximum keeps every
    peak of equal height, so that an ellipse on a grid of pixels may be cut in two.)

    Parameters
    ----------
    heights
        float32 ``(y, x)``, for example the distance to the background in pixels.
    mask
        ``(y, x)``, False along the border.
    depth
        In the unit of the heights.

    Returns
    -------
    ndarray
        int32 ``(y, x)``: parts from 1, in the order of their highest pixels; 0 outside of the mask.
    """
    basins_of_mask = Basins.of(heights, mask)
    joined = _joined(basins_of_mask, heights, depth)
    _, number = np.unique(joined, return_inverse=True)
    return np.concatenate([[0], number + 1]).astype(np.int32)[basins_of_mask.numbers]


def _joined(basins_of_mask: Basins, heights: NDArray[np.float32], depth: float) -> NDArray[np.intp]:
    """For each basin the one that it became a part of, from the highest pass downwards."""
    root = list(range(basins_of_mask.peaks.size))

    def top(basin: int) -> int:
        while root[basin] != basin:
            root[basin] = root[root[basin]]
            basin = root[basin]
        return basin

    peaks = basins_of_mask.peaks.tolist()
    for one, other, low in zip(*(part.tolist() for part in basins_of_mask.passes(heights)), strict=True):
        first, second = top(one), top(other)
        if first == second:
            continue
        lower, higher = sorted((first, second), key=lambda basin: (peaks[basin], basin))
        if peaks[lower] - low <= depth + _ROUNDING:
            root[lower] = higher
    return np.array([top(basin) for basin in range(len(root))], np.intp)


__all__ = ["Basins", "split_by_depth"]
