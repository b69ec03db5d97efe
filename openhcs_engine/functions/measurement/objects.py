"""The objects of a label image as runs of pixels: what all measurements start from, made in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

_SHORT = 1 << 16
"""Labels below fit into 16 bits, which are read twice as fast."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Objects:
    """The pixels of all objects of one plane ``(y, x)``.

    A *run* is a stretch of one row that belongs to one object. Runs and pixels are in raster order. Objects are counted
    from 0 in the order of their labels. ``padded`` has a border of background, so that each pixel has neighbours.
    """

    shape: tuple[int, int]
    """Of the plane."""
    labels: NDArray[np.int64]
    """The label of each object, ascending; gaps are fine."""
    padded: NDArray[Any]
    """The label image, flat, with one row and column of zeros on each side."""
    width: int
    """Of a row of ``padded``."""
    run_start: Integers
    """First pixel of each run in ``padded``."""
    run_length: Integers
    run_object: Integers
    """The object of each run."""
    pixels: Integers
    """Each pixel's place in ``padded``."""
    owners: Integers
    """The object of each pixel."""

    @property
    def count(self) -> int:
        """Objects."""
        return len(self.labels)

    @property
    def run_row(self) -> Integers:
        """Row of each run in the plane."""
        return self.run_start // self.width - 1

    @property
    def run_column(self) -> Integers:
        """Column of the first pixel of each run in the plane."""
        return self.run_start % self.width - 1

    @property
    def offsets(self) -> tuple[int, ...]:
        """Steps in ``padded`` to the neighbours of a pixel: north, west, east, south, then the diagonal ones."""
        row = self.width
        return (-row, -1, 1, row, -row - 1, -row + 1, row - 1, row + 1)

    def plane_pixels(self) -> Integers:
        """Each pixel's place in the plane, flat."""
        return self.pixels - np.repeat(2 * self.run_row + self.width + 1, self.run_length)

    def over_runs(self, values: NDArray[Any]) -> Floats:
        """Sums for each object of one value a run."""
        return sums(values, self.run_object, self.count)


def sums(values: NDArray[Any], owners: Integers, count: int) -> Floats:
    """Sums of values, by the object that each belongs to."""
    found: Floats = np.bincount(owners, weights=values, minlength=count).astype(np.float64, copy=False)
    return found


def objects_of(plane: NDArray[Any]) -> Objects:
    """Find the objects of a label image ``(y, x)`` of whole numbers, 0 where there is none.

    Raises
    ------
    ValueError
        If it is no plane of whole numbers, or has numbers below 0.
    """
    if plane.ndim != 2 or plane.dtype.kind not in "biu":
        raise ValueError(
            f"Labels must be whole numbers (y, x), 0 where there is no object, not {plane.dtype} of {plane.shape}."
        )
    low = int(plane.min(initial=0)) if plane.dtype.kind == "i" else 0
    if low < 0:
        raise ValueError(f"Labels are counted from 1, but there is the number {low}.")
    high = int(plane.max(initial=0))
    height, width = plane.shape
    padded = np.zeros((height + 2, width + 2), np.uint16 if high < _SHORT else plane.dtype)
    padded[1:-1, 1:-1] = plane
    flat = padded.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    start, stop = changes[flat[changes] != 0], changes[flat[changes - 1] != 0]
    length = stop - start
    labels, run_object = _numbered(flat[start], high)
    before = np.cumsum(length) - length
    return Objects(
        shape=(height, width),
        labels=labels,
        padded=flat,
        width=width + 2,
        run_start=start,
        run_length=length,
        run_object=run_object,
        pixels=np.repeat(start - before, length) + np.arange(int(length.sum())),
        owners=np.repeat(run_object, length),
    )


def _numbered(found: NDArray[Any], high: int) -> tuple[NDArray[np.int64], Integers]:
    """The labels that are present, and each one's number among them."""
    if high > 4 * len(found) + _SHORT:  # a table of all numbers up to the highest would be mostly empty
        labels, numbers = np.unique(found, return_inverse=True)
        return labels.astype(np.int64), numbers
    present = np.zeros(high + 1, bool)
    present[found] = True
    present[0] = False
    table = np.cumsum(present) - 1
    return np.flatnonzero(present).astype(np.int64), table[found]


__all__ = ["Floats", "Integers", "Objects", "objects_of", "sums"]
