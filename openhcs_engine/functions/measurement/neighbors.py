"""Which objects are beside each other, and which are nearest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.measurement.objects import Floats, Integers, Objects, objects_of
from openhcs_engine.functions.measurement.outline import Rim, rim_of

Reach: TypeAlias = "str | int"
"""``adjacent``, ``expanded``, or within how many pixels."""

_BLOCK: Final = 1 << 22
"""Distances that are held at a time."""


def scale_of(reach: Reach) -> str:
    """The last part of the columns' names, as CellProfiler writes it."""
    return {"adjacent": "Adjacent", "expanded": "Expanded"}.get(str(reach), str(reach))


def measure_neighbors(
    objects: Objects, rim: Rim, centre_y: Floats, centre_x: Floats, reach: Reach
) -> Mapping[str, Floats]:
    """Columns of the group ``Neighbors``; NaN where a measurement is undefined.

    Two objects are neighbours if their pixels share an edge (``adjacent``); if they do once every pixel of the
    background belongs to the object that is nearest (``expanded``); or if a pixel of one lies at most ``reach`` pixels
    from a pixel of the other. Distances are between the centres of the objects as they are.
    """
    if reach == "expanded" and objects.count:
        beside = _expanded(objects)
        count, touching = _beside(beside, rim_of(beside))
    elif isinstance(reach, int):
        count, touching = _within(objects, rim, reach)
    else:
        count, touching = _beside(objects, rim)
    first, second = _nearest(centre_y, centre_x)
    away_1, away_2 = _vectors(centre_y, centre_x, first), _vectors(centre_y, centre_x, second)
    length_1, length_2 = np.hypot(*away_1), np.hypot(*away_2)
    number = np.append(objects.labels, 0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (away_1[0] * away_2[0] + away_1[1] * away_2[1]) / (length_1 * length_2)
    return {
        "AngleBetweenNeighbors": np.degrees(np.arccos(np.clip(cosine, -1, 1))),
        "FirstClosestDistance": length_1,
        "FirstClosestObjectNumber": np.where(first < 0, np.nan, number[first]),
        "NumberOfNeighbors": count,
        "PercentTouching": touching,
        "SecondClosestDistance": length_2,
        "SecondClosestObjectNumber": np.where(second < 0, np.nan, number[second]),
    }


def _beside(objects: Objects, rim: Rim) -> tuple[Floats, Floats]:
    """Number of other objects with a pixel beside one, and the percentage of the rim that has one around it."""
    other = (rim.beside != 0) & ~rim.same
    step, at = np.nonzero(other[:4])
    count = _partners(rim.owners[at], rim.beside[step, at], objects.count)
    return count, _share(rim, other.any(axis=0), objects.count)


def _within(objects: Objects, rim: Rim, reach: int) -> tuple[Floats, Floats]:
    """The same for other objects within so many pixels; of the rim, half a pixel more, as CellProfiler has it."""
    height, width = objects.shape
    plane = objects.padded.reshape(height + 2, width + 2)[1:-1, 1:-1]
    wide = np.pad(plane, reach + 1)
    row = rim.pixels // objects.width + reach
    column = rim.pixels % objects.width + reach
    own = objects.padded[rim.pixels]
    touches = np.zeros(len(own), bool)
    pairs = []
    for y, x in _disk(reach + 0.5):
        found = wide[row + y, column + x]
        other = (found != 0) & (found != own)
        touches |= other
        if y * y + x * x <= reach * reach:
            at = np.flatnonzero(other)
            pairs.append(np.stack((rim.owners[at], found[at].astype(np.intp))))
    owners, others = np.concatenate(pairs, axis=1)
    return _partners(owners, others, objects.count), _share(rim, touches, objects.count)


def _disk(radius: float) -> list[tuple[int, int]]:
    """Steps of at most so many pixels, as centrosome's ``strel_disk``."""
    far = int(radius)
    steps = range(-far, far + 1)
    return [(y, x) for y in steps for x in steps if y * y + x * x <= radius * radius]


def _expanded(objects: Objects) -> Objects:
    """Each pixel of the background given to the nearest object."""
    from scipy.ndimage import distance_transform_edt

    height, width = objects.shape
    plane = objects.padded.reshape(height + 2, width + 2)[1:-1, 1:-1]
    y, x = distance_transform_edt(plane == 0, return_distances=False, return_indices=True)
    return objects_of(plane[y, x])


def _partners(owners: Integers, others: NDArray[Any], count: int) -> Floats:
    """Number of different others of each object."""
    span = int(others.max(initial=0)) + 1
    return np.bincount(np.unique(owners * span + others) // span, minlength=count).astype(np.float64)


def _share(rim: Rim, wanted: NDArray[np.bool_], count: int) -> Floats:
    """Percentage of each object's rim."""
    length = np.bincount(rim.owners, minlength=count)
    return 100.0 * np.bincount(rim.owners[wanted], minlength=count) / np.maximum(length, 1)


def _nearest(y: Floats, x: Floats) -> tuple[Integers, Integers]:
    """The nearest and the second nearest other object of each, the lower number first; -1 where there is none."""
    count = len(y)
    first, second = np.full(count, -1), np.full(count, -1)
    if count < 2:
        return first, second
    rows = max(1, _BLOCK // count)
    for begin in range(0, count, rows):
        here = np.arange(begin, min(begin + rows, count))
        apart = (y[here, None] - y) ** 2 + (x[here, None] - x) ** 2
        at = np.arange(len(here))
        apart[at, here] = np.inf
        first[here] = apart.argmin(axis=1)
        if count > 2:
            apart[at, first[here]] = np.inf
            second[here] = apart.argmin(axis=1)
    return first, second


def _vectors(y: Floats, x: Floats, to: Integers) -> tuple[Floats, Floats]:
    """Steps from each object to another; NaN where there is none."""
    return np.where(to < 0, np.nan, y[to] - y), np.where(to < 0, np.nan, x[to] - x)


__all__ = ["Reach", "measure_neighbors", "scale_of"]
