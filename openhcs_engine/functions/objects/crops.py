"""Connected regions of a mask, each cut out by its own box, all cuttings side by side in one small image.

A field is mostly background. What costs time for each pixel (distances, neighbours) is computed on this sheet of
cuttings, which holds little more than the objects, and in one call for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Mask: TypeAlias = NDArray[np.bool_]
Labels: TypeAlias = NDArray[np.int32]
Box: TypeAlias = tuple[slice, slice]

EIGHT: Final = np.ones((3, 3), bool)
"""Pixels that touch by a corner belong together."""
_MARGIN: Final = 2
"""Pixels around a region that its cutting holds, too: as many as a gradient at its outline looks at."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """Cuttings in rows, with an empty pixel or more between them and along the sheet's border."""

    boxes: tuple[Box, ...]
    """What each region's cutting holds of the plane."""
    windows: tuple[Box, ...]
    """The same of the sheet."""
    labels: Labels
    """``(y, x)``: numbers of the regions, from 1 in the order of their first pixels; 0 around them."""

    @classmethod
    def of(cls, mask: Mask) -> Sheet:
        """All regions of a mask ``(y, x)``; pixels that touch by an edge or a corner are of one region."""
        from scipy import ndimage

        regions, _ = ndimage.label(mask, EIGHT)
        boxes = tuple(_widened(box, mask.shape) for box in ndimage.find_objects(regions))
        windows, shape = _arranged(boxes, mask.shape[1])
        sheet = np.zeros(shape, np.int32)
        for number, (box, window) in enumerate(zip(boxes, windows, strict=True), 1):
            part = regions[box]
            np.copyto(sheet[window], number, where=part == number)
        return cls(boxes, windows, sheet)

    def filled(self) -> Sheet:
        """The same with what regions enclose; a region that another one encloses is a part of it then."""
        from scipy import ndimage

        around, count = ndimage.label(self.labels == 0)
        if count == 1:
            return self
        holes = (around != around[0, 0]) & (around != 0)
        numbers = self.labels.copy()
        enclosed: set[int] = set()
        for number, (box, window) in enumerate(zip(self.boxes, self.windows, strict=True), 1):
            hole = holes[window]
            if hole.any():
                np.copyto(numbers[window], number, where=hole)
                enclosed |= self._inside(number, box, hole)
        return replace(self, labels=numbers)._without(enclosed)

    def cut(self, plane: NDArray[Any], around: float = 0) -> NDArray[Any]:
        """What lies in the boxes of a plane, arranged as the sheet."""
        sheet = np.full(self.labels.shape, around, plane.dtype)
        for box, window in zip(self.boxes, self.windows, strict=True):
            sheet[window] = plane[box]
        return sheet

    def paste(self, numbers: NDArray[Any], plane: NDArray[Any]) -> None:
        """Bring numbers that lie on regions of the sheet to their pixels of a plane."""
        for box, window in zip(self.boxes, self.windows, strict=True):
            part = numbers[window]
            np.copyto(plane[box], part, where=part != 0, casting="unsafe")

    def cut_windows(self, shape: tuple[int, ...]) -> list[Box]:
        """Windows of the regions whose boxes end at the border of a plane of this shape."""
        return [
            window
            for box, window in zip(self.boxes, self.windows, strict=True)
            if any(along.start == 0 or along.stop == edge for along, edge in zip(box, shape, strict=True))
        ]

    def _inside(self, number: int, box: Box, hole: Mask) -> set[int]:
        """Regions of which a pixel lies in a hole of another one."""
        nested = set()
        for other, (small, window) in enumerate(zip(self.boxes, self.windows, strict=True), 1):
            if other == number or not _contains(box, small):
                continue
            at = tuple(slice(s.start - b.start, s.stop - b.start) for s, b in zip(small, box, strict=True))
            if (hole[at] & (self.labels[window] == other)).any():
                nested.add(other)
        return nested

    def _without(self, regions: set[int]) -> Sheet:
        if not regions:
            return self
        remaining = [number for number in range(1, len(self.boxes) + 1) if number not in regions]
        renumbered = np.zeros(len(self.boxes) + 1, np.int32)
        renumbered[remaining] = np.arange(1, len(remaining) + 1)
        return Sheet(
            tuple(self.boxes[number - 1] for number in remaining),
            tuple(self.windows[number - 1] for number in remaining),
            renumbered[self.labels],
        )


def _widened(box: Box, shape: tuple[int, ...]) -> Box:
    rows, columns = (
        slice(max(0, along.start - _MARGIN), min(edge, along.stop + _MARGIN))
        for along, edge in zip(box, shape, strict=True)
    )
    return rows, columns


def _contains(box: Box, small: Box) -> bool:
    return all(b.start <= s.start and s.stop <= b.stop for b, s in zip(box, small, strict=True))


def _arranged(boxes: tuple[Box, ...], width: int) -> tuple[tuple[Box, ...], tuple[int, int]]:
    """Windows for boxes, in rows that are filled from the left, the highest boxes first; and the sheet's shape."""
    shapes = [(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in boxes]
    windows: list[Box] = [(slice(0), slice(0))] * len(boxes)
    y, x, height = 1, 1, 0
    for number in sorted(range(len(boxes)), key=lambda number: -shapes[number][0]):
        rows, columns = shapes[number]
        if x > 1 and x + columns > width:
            y, x, height = y + height + 1, 1, 0
        windows[number] = slice(y, y + rows), slice(x, x + columns)
        x, height = x + columns + 1, max(height, rows)
    return tuple(windows), (y + height + 1, width + 2)


__all__ = ["EIGHT", "Box", "Labels", "Mask", "Sheet"]
