"""From a plane to numbered objects: smooth, threshold, fill, split, choose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import PixelValueError
from openhcs_engine.functions.objects.crops import Labels, Sheet
from openhcs_engine.functions.objects.splitting import split_by_depth
from openhcs_engine.functions.objects.threshold import Smooth, Threshold, foreground_threshold, local_background
from openhcs_engine.functions.stack import Pixels

SMOOTHING: Final = 1 / 20
"""Sigma of the Gaussian, in diameters. Twice as much closes the necks between objects that touch."""
DEPTH: Final = 0.03
"""How much narrower than both its sides a neck must be to be a border, in diameters. Measured on planted ellipses, at
diameters from 14 to 60 pixels: at 0.02 one in thirty single ones is cut, at 0.04 one in ten close pairs stays whole."""
SMALLEST: Final = 0.1
"""Area of the smallest object, in areas of a disc of the diameter."""
_LEAST_SIGMA: Final = 0.6
"""In pixels: with less, the noise of single pixels is foreground."""
_FEWEST_PIXELS: Final = 9
_SHALLOWEST: Final = 0.45
"""In pixels: what is left of the grid in the depth of a neck."""
_COARSE: Final = 1.0
"""A depth from which on the grid does not matter, in pixels."""
_FIRST_SIGMA: Final = 1.5
"""In pixels, as long as the diameter is unknown."""
_STEADY: Final = 0.15
"""Change of the diameter that does not change what it is estimated from."""
_ESTIMATES: Final = 3
"""How often the diameter is estimated anew from an image that was smoothed by the diameter before."""
_SMALLEST_DIAMETER: Final = 6.0
"""Smaller ones cannot be distinguished from noise."""
_ROUNDNESS: Final = 1.1
"""Diameter of the disc as large as an object, in diameters of the largest disc inside; of ellipses of axes 1 : 1.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How objects are found. Lengths in pixels; None: estimated from the image."""

    threshold: Threshold
    diameter: float | None
    smoothing: float | None
    split: bool
    depth: float | None
    minimum: float | None
    maximum: float | None
    at_border: bool
    """Whether objects that touch the border of the image stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """What one plane holds."""

    labels: NDArray[np.uint32]
    """``(y, x)``: from 1 without gaps, 0 for none."""
    count: int
    threshold: float | None
    """Of grey levels above the background where it is local; None: nothing stands out."""
    diameter: float | None
    """Given, or estimated from the image; None: there is nothing to estimate it from."""
    minimum: float | None
    """Area in pixels of the smallest object, given or by the diameter; None: there is nothing to choose from."""
    at_border: int
    """Objects left out since they touch the border."""
    too_small: int
    too_large: int


def find_objects(plane: Pixels, recipe: Recipe) -> Objects:
    """Objects of a plane ``(y, x)``, brighter than what is around them."""
    grey = as_grey(plane)
    labels = np.zeros(plane.shape, np.uint32)
    diameter = typical_diameter(grey, recipe) if recipe.diameter is None else recipe.diameter
    foreground = None if diameter is None else _Foreground.of(grey, recipe, diameter)
    if foreground is None or diameter is None or not foreground.sheet.boxes:
        return Objects(
            labels=labels,
            count=0,
            threshold=None if foreground is None else foreground.threshold,
            diameter=diameter,
            minimum=None,
            at_border=0,
            too_small=0,
            too_large=0,
        )
    return _chosen(foreground, foreground.parts(recipe, diameter), recipe, diameter, labels)


def as_grey(plane: Pixels) -> Smooth:
    """A plane in float32; PixelValueError if it holds NaN or infinite pixels."""
    grey = plane.astype(np.float32)
    if not np.isfinite(grey.sum(dtype=np.float64)) and not np.isfinite(grey).all():
        raise PixelValueError("The stack holds NaN (not a number) or infinite pixels; replace them first.")
    return grey


@dataclass(frozen=True, slots=True)
class _Foreground:
    """Regions of a smoothed plane above a threshold."""

    above: Smooth
    """Grey levels above the threshold."""
    threshold: float
    sheet: Sheet

    @classmethod
    def of(cls, grey: Smooth, recipe: Recipe, diameter: float) -> _Foreground | None:
        """None: nothing stands out of the background."""
        scaled = max(_LEAST_SIGMA, diameter * SMOOTHING)
        smooth = gaussian(grey, scaled if recipe.smoothing is None else recipe.smoothing)
        if recipe.threshold == "local":
            smooth -= local_background(smooth, diameter)
        threshold = foreground_threshold(smooth) if isinstance(recipe.threshold, str) else float(recipe.threshold)
        if threshold is None:
            return None
        smooth -= np.float32(threshold)
        return cls(smooth, threshold, Sheet.of(smooth > 0).filled())

    def parts(self, recipe: Recipe, diameter: float) -> Labels:
        """Numbers of the objects on the sheet, from 1."""
        if not recipe.split:
            return self.sheet.labels
        depth = max(_SHALLOWEST, DEPTH * diameter) if recipe.depth is None else recipe.depth
        distances = _distances(self.sheet, self.above, depth)
        return split_by_depth(distances, self.sheet.labels > 0, depth)


def typical_diameter(grey: Smooth, recipe: Recipe) -> float | None:
    """Diameter of the objects of a plane in pixels, estimated from the plane itself; None if there are none.

    It is that of the largest discs inside the regions, so that of a cluster it is the largest object's, and half of the
    foreground lies in larger ones. Half of the resolution is enough for that.
    """
    half = _halved(grey) if min(grey.shape) >= 2 * _SMALLEST_DIAMETER else grey
    scale = grey.shape[0] / half.shape[0]
    coarse = replace(recipe, smoothing=None if recipe.smoothing is None else recipe.smoothing / scale)
    diameter = _FIRST_SIGMA / SMOOTHING / scale
    for _ in range(_ESTIMATES):
        foreground = _Foreground.of(half, coarse, diameter)
        if foreground is None or not foreground.sheet.boxes:
            return None
        before, diameter = diameter, _inner_diameter(foreground.sheet)
        if abs(diameter - before) < _STEADY * before:
            break
    return float(max(_SMALLEST_DIAMETER, scale * diameter))


def _halved(grey: Smooth) -> Smooth:
    """Means of two by two pixels; an odd last row or column is left out."""
    rows, columns = (side // 2 * 2 for side in grey.shape)
    sums = grey[0:rows:2, 0:columns:2] + grey[1:rows:2, 0:columns:2]
    sums += grey[0:rows:2, 1:columns:2]
    sums += grey[1:rows:2, 1:columns:2]
    sums *= np.float32(0.25)
    return sums


def gaussian(grey: Smooth, sigma: float) -> Smooth:
    """A plane blurred in float32; beyond the border, its nearest pixel counts. Sigma 0 leaves it as it is."""
    from scipy import ndimage

    if not sigma:
        return grey.copy()
    blurred: Smooth = ndimage.gaussian_filter(grey, sigma, mode="nearest")
    return blurred


def _distances(sheet: Sheet, above: Smooth, depth: float) -> Smooth:
    """Distance of each pixel of a region to what lies outside; what is beyond the plane's border counts as inside.

    If the depth asks for it, it is the distance to the outline between pixels, where the grey level above the threshold
    is 0: from the nearest pixel outside as far as its level is below 0, over the slope. On the grid alone a distance
    is off by up to a pixel, so that small objects have several peaks, or none of their own.
    """
    from scipy import ndimage

    mask, fine = sheet.labels > 0, depth < _COARSE and min(above.shape) > 1
    distances, nearest = ndimage.distance_transform_edt(mask, return_indices=True)
    levels = sheet.cut(above) if fine else np.zeros((2, 2), np.float32)
    slopes = np.gradient(levels)
    for window in sheet.cut_windows(above.shape):
        part = mask[window]
        if part.all():
            continue  # nothing outside, and one object
        distances[window], places = ndimage.distance_transform_edt(part, return_indices=True)
        nearest[(slice(None), *window)] = places + np.array([[[along.start]] for along in window])
        if fine:
            for slope, of_window in zip(slopes, np.gradient(levels[window]), strict=True):
                slope[window] = of_window
    if not fine:
        return np.asarray(distances, np.float32)
    gap = np.clip(-levels / np.maximum(np.hypot(*slopes), np.float32(1e-6)), 0, 1)
    return np.where(mask, distances - gap[nearest[0], nearest[1]], 0).astype(np.float32)


def _inner_diameter(sheet: Sheet) -> float:
    """Of the largest discs inside the regions, the one that half of all area lies in larger ones of."""
    from scipy import ndimage

    regions = np.arange(1, len(sheet.boxes) + 1)
    distances = ndimage.distance_transform_edt(sheet.labels > 0)
    radii = ndimage.maximum(distances, sheet.labels, regions)
    areas = np.bincount(sheet.labels.ravel(), minlength=regions.size + 1)[1:]
    order = np.argsort(radii)
    middle = np.searchsorted(np.cumsum(areas[order]), areas.sum() / 2)
    return _ROUNDNESS * (2 * float(radii[order][middle]) - 1)


def _chosen(
    foreground: _Foreground, parts: Labels, recipe: Recipe, diameter: float, labels: NDArray[np.uint32]
) -> Objects:
    """The parts that are neither too small nor too large nor cut by the border, numbered in the order of the plane."""
    sheet = foreground.sheet
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    minimum = max(_FEWEST_PIXELS, SMALLEST * np.pi / 4 * diameter**2) if recipe.minimum is None else recipe.minimum
    maximum = np.inf if recipe.maximum is None else recipe.maximum
    small, large = areas < minimum, areas > maximum
    small[0] = False
    cut = np.zeros(areas.size, bool)
    if not recipe.at_border:
        cut[_touching(sheet, parts, labels.shape)] = True
    cut[0] = False
    keep = ~(small | large | cut)
    keep[0] = False
    numbers = np.zeros(areas.size, np.uint32)
    chosen = np.flatnonzero(keep)
    numbers[chosen[np.argsort(_regions_of(sheet, parts, areas.size)[chosen], kind="stable")]] = np.arange(
        1, chosen.size + 1
    )
    sheet.paste(numbers[parts], labels)
    return Objects(
        labels=labels,
        count=int(chosen.size),
        threshold=foreground.threshold,
        diameter=diameter,
        minimum=float(minimum),
        at_border=int((cut & ~small & ~large).sum()),
        too_small=int(small.sum()),
        too_large=int(large.sum()),
    )


def _regions_of(sheet: Sheet, parts: Labels, count: int) -> NDArray[np.int32]:
    """The region of each part."""
    regions = np.zeros(count, np.int32)
    regions[parts.ravel()] = sheet.labels.ravel()
    return regions


def _touching(sheet: Sheet, parts: Labels, shape: tuple[int, ...]) -> NDArray[np.intp]:
    """Parts that have a pixel in the first or last row or column of the plane."""
    at_edges: list[NDArray[Any]] = []
    for (rows, columns), window in zip(sheet.boxes, sheet.windows, strict=True):
        part = parts[window]
        edges = (
            (rows.start == 0, part[0]),
            (rows.stop == shape[0], part[-1]),
            (columns.start == 0, part[:, 0]),
            (columns.stop == shape[1], part[:, -1]),
        )
        at_edges += [edge for at_edge, edge in edges if at_edge]
    return np.unique(np.concatenate(at_edges)) if at_edges else np.zeros(0, np.intp)
