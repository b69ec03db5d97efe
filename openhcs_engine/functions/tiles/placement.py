"""Positions that fit measured shifts between tiles best, group by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

CONTRADICTION_PX: Final = 2.0
"""A shift that lies further from what all others say is taken for another piece of the sample."""
_NOTHING_ELSE: Final = 1e-6
"""Share of a shift's own say below which no other shift connects its tiles: nothing can contradict it."""

_ALIKE: Final = 0.95
"""Share of the most blame from which shifts are to blame alike."""


@dataclass(frozen=True, slots=True)
class MeasuredShift:
    """Where a tile lies in the frame of another."""

    first: int
    second: int
    shift: tuple[float, float]
    """``(y, x)`` in pixels, from the first tile to the second."""
    weight: float
    """Above 0: how much it counts."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where tiles lie."""

    positions: NDArray[np.float64]
    """``(tile, (y, x))`` in pixels, in the frame of the stage positions that were given."""
    groups: NDArray[np.intp]
    """The group of each tile, from 1, the largest first; 0: no shift to any other tile."""
    contradicted: frozenset[int]
    """Numbers of the shifts that were left out, because they do not fit the others."""


def place_tiles(stage: NDArray[np.float64], shifts: Sequence[MeasuredShift]) -> Placement:
    """Place tiles by least squares over the shifts between them, in each group that shifts connect.

    A group lies where its stage positions lie on average; a tile without shifts, at its own. Of shifts that contradict
    the others by more than ``CONTRADICTION_PX``, the worst is left out, until none does.

    Parameters
    ----------
    stage
        ``(tile, (y, x))`` in pixels.
    shifts
        Measured ones; of two tiles at most one.
    """
    left = dict(enumerate(shifts))
    while True:
        kept = list(left.values())
        groups = _groups(len(stage), kept)
        positions, inverse = _least_squares(stage, kept, groups)
        misses = [_miss(positions, each) for each in kept]
        if max(misses, default=0.0) <= CONTRADICTION_PX:
            return Placement(positions, groups, frozenset(range(len(shifts))) - left.keys())
        blame = np.array([_studentised(miss, each, inverse) for miss, each in zip(misses, kept, strict=True)])
        # In a single loop all are to blame alike: the least certain one goes.
        suspects = np.flatnonzero(blame >= _ALIKE * blame.max())
        culprit = min(suspects, key=lambda number: kept[number].weight)
        del left[list(left)[culprit]]


def _miss(positions: NDArray[np.float64], each: MeasuredShift) -> float:
    return float(np.hypot(*(positions[each.second] - positions[each.first] - each.shift)))


def _studentised(miss: float, each: MeasuredShift, inverse: NDArray[np.float64]) -> float:
    """How far a shift misses, in units of what is expected of it: one that has few others beside it pulls them along.

    Source: R. D. Cook, S. Weisberg, "Residuals and Influence in Regression" (1982), section 2.2.
    """
    first, second = each.first, each.second
    own = each.weight * (inverse[first, first] + inverse[second, second] - 2 * inverse[first, second])
    free = 1 - own
    return miss * float(np.sqrt(each.weight / free)) if free > _NOTHING_ELSE else 0.0


def _groups(tiles: int, shifts: Sequence[MeasuredShift]) -> NDArray[np.intp]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = [each.first for each in shifts], [each.second for each in shifts]
    graph = coo_array((np.ones(len(shifts)), ends), shape=(tiles, tiles))
    _, members = connected_components(graph, directed=False)
    sizes = np.bincount(members, minlength=tiles)
    # By size, then by the first tile; the numbers that scipy gives follow the first tiles.
    ranks = np.empty(tiles, np.intp)
    ranks[np.argsort(-sizes, kind="stable")] = np.arange(1, tiles + 1)
    return np.where(sizes[members] > 1, ranks[members], 0)


def _least_squares(
    stage: NDArray[np.float64], shifts: Sequence[MeasuredShift], groups: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions that fit the shifts best, each group with the mean of its stage positions; and their covariance."""
    tiles = len(stage)
    positions = stage.astype(np.float64)
    inverse = np.zeros((tiles, tiles))
    laplacian = np.zeros((tiles, tiles))
    moved = np.zeros((tiles, 2))
    for each in shifts:
        ends = [each.first, each.second]
        laplacian[np.ix_(ends, ends)] += np.array([[1, -1], [-1, 1]]) * each.weight
        pull = each.weight * (np.array(each.shift) - (stage[each.second] - stage[each.first]))
        moved[each.first] -= pull
        moved[each.second] += pull
    for group in range(1, int(groups.max(initial=0)) + 1):
        members = np.flatnonzero(groups == group)
        block = np.ix_(members, members)
        # A group's mean is not determined by shifts; adding the matrix of ones sets it to 0.
        inverse[block] = np.linalg.inv(laplacian[block] + 1 / len(members))
        positions[members] += inverse[block] @ moved[members]
    return positions, inverse


__all__ = ["CONTRADICTION_PX", "MeasuredShift", "Placement", "place_tiles"]
