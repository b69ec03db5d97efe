"""Convex hulls of all objects at once, in whole numbers, so that what lies on an edge is decided exactly.

A hull is held as two *chains* from its first to its last row: the left one and the right one. Points that lie between
their neighbours' connection and the object are removed, all at once, until none is left: a removed point lies inside
the hull of points of the object, so that the order does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openhcs_engine.functions.measurement.objects import Floats, Integers, Objects, sums


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """First and last column of each object in each row that it has pixels in, ordered by object and row."""

    owner: Integers
    row: Integers
    first: Integers
    last: Integers

    def boxes(self, count: int) -> tuple[Integers, Integers, Integers, Integers]:
        """First row, first column, last row and last column of each object."""
        if not count:
            return (self.row,) * 4
        begin = np.searchsorted(self.owner, np.arange(count))
        end = np.append(begin[1:], len(self.owner)) - 1
        left, right = np.minimum.reduceat(self.first, begin), np.maximum.reduceat(self.last, begin)
        return self.row[begin], left, self.row[end], right


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """Vertices of one side of the hulls, ordered by object and row; y is strictly ascending within an object."""

    owner: Integers
    y: Integers
    x: Integers


@dataclass(frozen=True, slots=True, eq=False)
class Hulls:
    """Both sides of the hulls; the right one with x negated, so that it has the smallest, too."""

    left: Chain
    right: Chain


def spans_of(objects: Objects) -> Spans:
    """The spans of all objects."""
    key = objects.run_object * objects.shape[0] + objects.run_row
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    first = objects.run_column[order]
    last = first + objects.run_length[order] - 1
    if not len(starts):
        return Spans(key, key, key, key)
    # Runs of a row are in raster order: the first begins the span, and the last ends it.
    stops = np.append(starts[1:], len(key)) - 1
    return Spans(key[starts] // objects.shape[0], key[starts] % objects.shape[0], first[starts], last[stops])


def hulls_of(spans: Spans) -> Hulls:
    """The hulls of all objects' pixel centres."""
    return Hulls(_chain(spans.owner, spans.row, spans.first), _chain(spans.owner, spans.row, -spans.last))


def convex_areas(hulls: Hulls, top: Integers, bottom: Integers) -> Floats:
    """Pixels whose centres lie in or on the hull of the middles of all pixels' edges, as scikit-image counts them.

    ``top`` and ``bottom`` are the first and last row of each object.
    """
    height = bottom - top + 1
    owner = np.repeat(np.arange(len(top)), height)
    row = np.arange(int(height.sum())) - np.repeat(np.cumsum(height) - height - top, height)
    low = _first_column(_chain(*_edge_middles(hulls.left)), owner, row)
    high = -_first_column(_chain(*_edge_middles(hulls.right)), owner, row)
    return sums(high - low + 1, owner, len(top))


def feret_diameters(hulls: Hulls, count: int) -> tuple[Floats, Floats]:
    """Smallest and largest distance between parallel lines that touch the hull of the pixels' centres, in pixels."""
    left, right = hulls.left, hulls.right
    owner = np.concatenate((left.owner, right.owner))
    y, x = np.concatenate((left.y, right.y)), np.concatenate((left.x, -right.x))
    # Around each hull: the left chain downwards, the right one upwards.
    step = np.concatenate((np.arange(len(left.y)), len(owner) - np.arange(len(right.y))))
    order = np.lexsort((step, owner))
    owner, y, x = owner[order], y[order], x[order]
    number = np.bincount(owner, minlength=count)
    begin = np.cumsum(number) - number
    following = np.arange(1, len(owner) + 1)
    following[(begin + number - 1)[number > 0]] = begin[number > 0]
    edge_y, edge_x = y[following] - y, x[following] - x

    # Each vertex with every vertex of its hull.
    one = np.repeat(np.arange(len(owner)), number[owner])
    other = np.arange(len(one)) - np.repeat(np.cumsum(number[owner]) - number[owner] - begin[owner], number[owner])
    away_y, away_x = y[other] - y[one], x[other] - x[one]
    starts = np.cumsum(number[owner]) - number[owner]
    if not len(starts):
        return np.zeros(count), np.zeros(count)
    longest = np.maximum.reduceat(away_y**2 + away_x**2, starts)
    across = np.maximum.reduceat(np.abs(edge_y[one] * away_x - edge_x[one] * away_y), starts)
    length = np.hypot(edge_y, edge_x)
    width = np.divide(across, length, out=np.full(len(length), np.inf), where=length > 0)
    smallest, largest = np.full(count, np.inf), np.zeros(count)
    np.minimum.at(smallest, owner, width)
    np.maximum.at(largest, owner, np.sqrt(longest))
    return np.where(np.isfinite(smallest), smallest, 0.0), largest  # one pixel alone has no edge


def _edge_middles(chain: Chain) -> tuple[Integers, Integers, Integers]:
    """The middles of the edges of the pixels at a chain's vertices, in halves of a pixel; of two in a row, the outer.

    The hull of these middles is that of the centres with such a rhombus at each vertex.
    """
    owner = np.repeat(chain.owner, 3)
    y = (2 * chain.y[:, None] + np.array([-1, 0, 1])).ravel()
    x = (2 * chain.x[:, None] + np.array([0, -1, 0])).ravel()
    twice = np.flatnonzero((y[1:] == y[:-1]) & (owner[1:] == owner[:-1]))
    x[twice + 1] = np.minimum(x[twice], x[twice + 1])
    once = np.ones(len(y), bool)
    once[twice] = False
    return owner[once], y[once], x[once]


def _chain(owner: Integers, y: Integers, x: Integers) -> Chain:
    """The vertices of the smallest x, by y, of points ordered by object and y."""
    while len(y) > 2:
        inner = (owner[2:] == owner[:-2]).nonzero()[0] + 1
        before, after = inner - 1, inner + 1
        right_of = (x[inner] - x[before]) * (y[after] - y[before]) - (x[after] - x[before]) * (y[inner] - y[before])
        needless = inner[right_of >= 0]
        if not len(needless):
            break
        needed = np.ones(len(y), bool)
        needed[needless] = False
        owner, y, x = owner[needed], y[needed], x[needed]
    return Chain(owner, y, x)


def _first_column(chain: Chain, owner: Integers, row: Integers) -> Integers:
    """The first column whose pixel centre lies in or on the hull, by rows of objects."""
    span = int(chain.y.max()) + 2 if len(chain.y) else 1
    edge = np.searchsorted(chain.owner * span + chain.y, owner * span + 2 * row, side="right") - 1
    y0, x0 = chain.y[edge], chain.x[edge]
    down, across = chain.y[edge + 1] - y0, chain.x[edge + 1] - x0
    # The smallest whole x with 2 x >= x0 + across * (2 row - y0) / down.
    columns: Integers = -((-(x0 * down + across * (2 * row - y0))) // (2 * down))
    return columns


__all__ = ["Hulls", "Spans", "convex_areas", "feret_diameters", "hulls_of", "spans_of"]
