"""The pixels at the rim of objects: who their neighbours are, and how long the rim is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.measurement.objects import Floats, Integers, Objects, sums

_STRAIGHT: Final = 4
"""The first of ``Objects.offsets`` are the straight neighbours."""


@dataclass(frozen=True, slots=True, eq=False)
class Rim:
    """Pixels with at least one of the eight neighbours outside their object; beyond the plane is outside."""

    at: Integers
    """Which of ``Objects.pixels`` they are."""
    pixels: Integers
    """Their places in ``Objects.padded``."""
    owners: Integers
    beside: NDArray[Any]
    """``(8, pixel)``: the labels of the neighbours, in the order of ``Objects.offsets``."""
    same: NDArray[np.bool_]
    """``(8, pixel)``: whether each neighbour belongs to the same object."""

    @property
    def straight(self) -> NDArray[np.bool_]:
        """Those with a straight neighbour outside."""
        found: NDArray[np.bool_] = np.logical_and.reduce(self.same[:_STRAIGHT])
        return np.logical_not(found)


def rim_of(objects: Objects) -> Rim:
    """The rims of all objects."""
    padded, pixels, row = objects.padded, objects.pixels, objects.width
    own = padded[pixels]
    outside = (padded[pixels - row] != own) | (padded[pixels + row] != own)
    last = np.cumsum(objects.run_length) - 1
    ends = np.concatenate((last - objects.run_length + 1, last))
    outside[ends] = True
    # A pixel with nothing but a diagonal neighbour outside lies above or below an end of a run.
    at_rim = np.zeros(len(padded), bool)
    at_rim[pixels[outside]] = True
    end, label = pixels[ends], own[ends]
    for step in (-row, row):
        at_rim[end[padded[end + step] == label] + step] = True
    at = np.flatnonzero(at_rim[pixels])
    rim = pixels[at]
    beside = np.stack([padded[rim + offset] for offset in objects.offsets])
    return Rim(at, rim, objects.owners[at], beside, beside == own[at])


def perimeters(objects: Objects, rim: Rim) -> Floats:
    """Length of the line through the centres of the rim's pixels.

    Each pixel of the line (one with a straight neighbour outside) counts by how many pixels of the line are beside it.

    Source: K. Benkrid, D. Crookes, "Design and FPGA implementation of a perimeter estimator" (2000), as
    ``skimage.measure.perimeter`` with ``neighborhood=4``.
    """
    on_line = np.zeros(len(objects.padded), bool)
    straight = np.flatnonzero(rim.straight)
    line = rim.pixels[straight]
    on_line[line] = True
    code = np.ones(len(line), np.uint8)
    for number, offset in enumerate(objects.offsets):
        beside = on_line[line + offset] & rim.same[number, straight]
        code += beside * np.uint8(2 if number < _STRAIGHT else 10)
    weights = _perimeter_weights()[code]
    return sums(weights, rim.owners[straight], objects.count)


def euler_numbers(objects: Objects, rim: Rim) -> Floats:
    """Parts of an object less the holes in them, where pixels that share a corner are connected.

    Source: S. B. Gray, "Local Properties of Binary Images in Two Dimensions" (1971): from squares of four pixels with
    one, three, or two diagonal ones of the object.
    """
    code = np.packbits(rim.same, axis=0, bitorder="little")[0]
    return np.round(sums(_euler_shares()[code], rim.owners, objects.count))


def edge_of(objects: Objects, rim: Rim) -> NDArray[np.bool_]:
    """Pixels of the rim that have a straight neighbour *in the plane* outside their object.

    Source: ``skimage.segmentation.find_boundaries`` with ``mode="inner"``, as CellProfiler's edge intensities.
    """
    row, column = rim.pixels // objects.width, rim.pixels % objects.width
    height, width = objects.shape
    inside = (row > 1, column > 1, column < width, row < height)  # in the order of the offsets
    edge = np.zeros(len(rim.pixels), bool)
    for same, neighbour_inside in zip(rim.same, inside, strict=False):
        edge |= ~same & neighbour_inside
    return edge


@cache
def _perimeter_weights() -> Floats:
    weights = np.zeros(50)
    weights[[5, 7, 15, 17, 25, 27]] = 1
    weights[[21, 33]] = math.sqrt(2)
    weights[[13, 23]] = (1 + math.sqrt(2)) / 2
    return weights


@cache
def _euler_shares() -> Floats:
    """What a pixel adds to its object's Euler number, by its neighbours in the order of ``Objects.offsets``, as bits.

    Each square of four pixels is shared among those of its pixels that see by a straight step what is not there.
    """
    north, west, east, south, north_west, north_east, south_west, south_east = (
        (np.arange(256) >> bit) & 1 for bit in range(8)
    )
    total = np.zeros(256)
    corners = (
        (north, west, north_west),
        (north, east, north_east),
        (south, west, south_west),
        (south, east, south_east),
    )
    for one, two, diagonal in corners:
        pixels = 1 + one + two + diagonal
        total += (pixels == 1) * 1.0
        total -= ((pixels == 2) & (diagonal == 1)) * 1.0  # both pixels of the pair add a half of 2
        total -= ((pixels == 3) & (diagonal == 1)) * 0.5  # the two straight beside what is missing
    return total / 4


__all__ = ["Rim", "edge_of", "euler_numbers", "perimeters", "rim_of"]
