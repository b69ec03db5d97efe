"""Size, shape and place of objects, from their pixels alone."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from typing import Any, Final

import numpy as np

from openhcs_engine.functions.measurement.depth import radii
from openhcs_engine.functions.measurement.hull import convex_areas, feret_diameters, hulls_of, spans_of
from openhcs_engine.functions.measurement.objects import Floats, Integers, Objects
from openhcs_engine.functions.measurement.outline import Rim, euler_numbers, perimeters

_ROUNDING: Final = 1e-12
"""Differences of second moments below this share of their sum are rounding, not shape."""


class _Everything:
    """Contains every name."""

    def __contains__(self, name: Any) -> bool:
        return True


EVERYTHING: Final = _Everything()


def measure_shape(objects: Objects, rim: Rim, wanted: Container[str] = EVERYTHING) -> Mapping[str, Floats]:
    """Columns of the group ``AreaShape``, at least those wanted; NaN where a measurement is undefined."""
    area = objects.over_runs(objects.run_length)
    spans = spans_of(objects)
    top, left, bottom, right = spans.boxes(objects.count)
    found = {
        "Area": area,
        "BoundingBoxArea": (box := (bottom - top + 1.0) * (right - left + 1)),
        "BoundingBoxMaximum_X": right + 1.0,
        "BoundingBoxMaximum_Y": bottom + 1.0,
        "BoundingBoxMinimum_X": left.astype(np.float64),
        "BoundingBoxMinimum_Y": top.astype(np.float64),
        "EquivalentDiameter": np.sqrt(4 * area / math.pi),
        "Extent": area / box,
        **_ellipse(objects, area, top, left),
    }
    if _any(wanted, "Perimeter", "FormFactor", "Compactness"):
        found["Perimeter"] = perimeter = perimeters(objects, rim)
        circle = 4 * math.pi * area
        found["Compactness"] = perimeter**2 / circle
        found["FormFactor"] = np.divide(circle, perimeter**2, out=np.full(len(area), np.nan), where=perimeter > 0)
    if _any(wanted, "EulerNumber"):
        found["EulerNumber"] = euler_numbers(objects, rim)
    if _any(wanted, "ConvexArea", "Solidity", "MinFeretDiameter", "MaxFeretDiameter"):
        hulls = hulls_of(spans)
        found["ConvexArea"] = convex = convex_areas(hulls, top, bottom)
        found["Solidity"] = area / convex
        if _any(wanted, "MinFeretDiameter", "MaxFeretDiameter"):
            found["MinFeretDiameter"], found["MaxFeretDiameter"] = feret_diameters(hulls, objects.count)
    if _any(wanted, "MaximumRadius", "MeanRadius", "MedianRadius"):
        found["MaximumRadius"], found["MeanRadius"], found["MedianRadius"] = radii(objects)
    return found


def _any(wanted: Container[str], *names: str) -> bool:
    return any(name in wanted for name in names)


def _ellipse(objects: Objects, area: Floats, top: Integers, left: Integers) -> dict[str, Floats]:
    """Centre, and the ellipse with the same second moments.

    The moments are sums of whole numbers over runs, counted from the corner of the object's box, and so exact up to
    2**53. Orientation is the angle from the downward axis to the major axis, as scikit-image and CellProfiler have it:
    0 is vertical, 90 or -90 horizontal.
    """
    owner, length = objects.run_object, objects.run_length
    y = (objects.run_row - top[owner]).astype(np.float64)
    x = (objects.run_column - left[owner]).astype(np.float64)
    sum_x = length * x + length * (length - 1) / 2
    sum_xx = length * x**2 + x * length * (length - 1) + (length - 1) * length * (2 * length - 1) / 6
    total = objects.over_runs
    mean_y, mean_x = total(length * y) / area, total(sum_x) / area
    yy = total(length * y**2) / area - mean_y**2
    xx = total(sum_xx) / area - mean_x**2
    xy = total(y * sum_x) / area - mean_y * mean_x
    yy, xx = np.maximum(yy, 0), np.maximum(xx, 0)

    half, difference = (yy + xx) / 2, (xx - yy) / 2
    apart = np.hypot(difference, xy)
    is_round = apart <= _ROUNDING * half  # a circle has no direction, nor has a single pixel
    major, minor = half + apart, np.maximum(half - apart, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        eccentricity = np.sqrt(np.where(is_round, 0, 1 - minor / major))
    return {
        "Center_X": mean_x + left,
        "Center_Y": mean_y + top,
        "Eccentricity": np.where(half > 0, eccentricity, np.nan),
        "MajorAxisLength": 4 * np.sqrt(major),
        "MinorAxisLength": 4 * np.sqrt(minor),
        "Orientation": np.where(is_round, np.nan, np.degrees(0.5 * np.arctan2(2 * xy, yy - xx))),
    }


__all__ = ["EVERYTHING", "measure_shape"]
