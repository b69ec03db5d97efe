"""How deep each pixel lies in its object: the distance to the nearest pixel outside, exact and in whole squares.

First along the rows, where a run says it, then along the columns, where the smallest sum of squares counts
(P. F. Felzenszwalb, D. P. Huttenlocher, "Distance Transforms of Sampled Functions", 2012). In a column only the pixel's
own stretch and its two ends matter: beyond them something outside is nearer.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.measurement.objects import Floats, Integers, Objects

_TABLE: Final = 16
"""Counts of all depths of all objects are held if they are at most so many times the pixels."""
_SHORT_DEPTH: Final = 127
"""The sum of two squares of depths up to this fits into 16 bits, which are compared four times as fast as 64."""


def radii(objects: Objects) -> tuple[Floats, Floats, Floats]:
    """Largest, mean and median depth of each object's pixels, in pixels; a pixel at the rim has depth 1."""
    if not objects.count:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    squares, owners = depth_squares(objects)
    area = objects.over_runs(objects.run_length).astype(np.intp)
    low, high = (area - 1) // 2, area // 2
    size = int(squares.max()) + 1
    roots = np.sqrt(np.arange(size))
    if objects.count * size > _TABLE * len(squares):
        ranked = squares[np.lexsort((squares, owners))]
        begin = np.cumsum(area) - area
        mean = np.bincount(owners, weights=roots[squares], minlength=objects.count) / area
        largest, one, two = ranked[begin + area - 1], ranked[begin + low], ranked[begin + high]
    else:
        table = np.bincount(owners * size + squares, minlength=objects.count * size).reshape(-1, size)
        mean = table @ roots / area
        upto = table.cumsum(axis=1)
        # The first value that as many pixels do not exceed.
        largest, one, two = ((upto <= rank[:, None]).sum(axis=1) for rank in (area - 1, low, high))
    return roots[largest], mean, (roots[one] + roots[two]) / 2


def depth_squares(objects: Objects) -> tuple[NDArray[Any], Integers]:
    """Square of the depth of each pixel, and its object, column by column."""
    pixels, length = objects.pixels, objects.run_length
    column = (pixels % objects.width).astype(np.uint16 if objects.width < 1 << 16 else np.int64)
    order = np.argsort(column, kind="stable")  # of 16 bits by counting; rows stay ascending
    place, owners = pixels[order], objects.owners[order]

    from_left = np.arange(1, len(pixels) + 1) - np.repeat(np.cumsum(length) - length, length)
    in_row = np.minimum(from_left, np.repeat(length + 1, length) - from_left)[order]
    kind = np.int16 if int(in_row.max(initial=0)) <= _SHORT_DEPTH else np.int32

    begins = np.ones(len(place), np.intp)  # stretches of columns, and a pixel of depth 0 before and behind each
    begins[1:] = (place[1:] - place[:-1] != objects.width) | (owners[1:] != owners[:-1])
    spot = np.arange(len(place)) + 2 * np.cumsum(begins) - 1
    rows = np.zeros(int(spot[-1]) + 2 if len(spot) else 0, kind)
    rows[spot] = in_row * in_row
    least, moved = rows.copy(), np.empty_like(rows)
    step = 1
    while step * step < least.max(initial=0):
        np.add(rows, kind(step * step), out=moved)
        np.minimum(least[:-step], moved[step:], out=least[:-step])
        np.minimum(least[step:], moved[:-step], out=least[step:])
        step += 1
    return least[spot], owners


__all__ = ["depth_squares", "radii"]
