"""How good images are: in focus, not saturated, not blank, evenly lit; one row a plane."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.any_library import any_library
from openhcs_engine.functions.stack import Pixels, require_stack
from openhcs_engine.memory import checked_by, numpy, special_inputs, special_outputs

if TYPE_CHECKING:
    import pyarrow as pa

_NAME: Final = "measure_quality"
_CAMERA_BITS: Final = (8, 10, 12, 14, 16)
_TILES: Final = 8
"""Tiles along each edge of the plane, of which the background is taken."""
_SAMPLED: Final = 32
"""Rows and columns of a tile that are looked at, at least."""
_ROUNDS: Final = 20
_AXES: Final = ("site", "channel", "z_index", "timepoint")

QUALITY: Final = (
    "power_log_log_slope", "laplacian_variance", "saturated_fraction", "blank_fraction", "background_level",
    "background_gradient",
)  # fmt: skip
"""Columns of the table behind the coordinates."""


def _refusals(maximum: Any = None, **unused: object) -> Iterator[tuple[str, str]]:
    is_number = isinstance(maximum, int | float) and not isinstance(maximum, bool)
    if maximum is not None and not (is_number and 0 < maximum < math.inf):
        yield "maximum", f"maximum={maximum!r} must be a number above 0: the largest value that the camera can write."


@numpy
@checked_by(_refusals)
@special_inputs("plane_keys")
@special_outputs(("quality", "table"))
@any_library
def measure_quality(
    stack: Pixels,
    maximum: float | None = None,
    plane_keys: Sequence[Mapping[str, int | None]] | None = None,
) -> tuple[Pixels, pa.Table]:
    """Measure the quality of each plane of a stack.

    In a pipeline the table is kept as ``tables/quality.parquet``, one row a site and channel.

    Parameters
    ----------
    stack
        ``(plane, y, x)``, any real dtype; never written to. Values that are not finite do not count.
    maximum
        The largest pixel value that the camera can write. None: of whole numbers, the plane's largest value if it is
        that of a camera of 8, 10, 12, 14 or 16 bits.
    plane_keys
        Given by the engine: the coordinates of the planes.

    Returns
    -------
    tuple
        ``stack`` itself, and a pyarrow table with the coordinates of each plane (int64) and six float64 columns; null
        where one is undefined.

        ``power_log_log_slope``
            Slope of the logarithm of the power over that of the spatial frequency: the lower, the more blurred; 1 for
            noise alone. Null for a constant plane and for one with an edge below 32 pixels.
            Source: CellProfiler's MeasureImageQuality (``PowerLogLogSlope``); D. J. Field, N. Brady, "Visual
            sensitivity, blur and the sources of variability in the amplitude spectra of natural scenes" (1997).
        ``laplacian_variance``
            Variance of the Laplacian with four neighbours, mirrored at the border, in squared pixel values; small where
            nothing is in focus. Depends on brightness and noise: compare images of one channel.
            Source: J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy" (2000); known through
            A. Rosebrock, PyImageSearch (2015), ``cv2.Laplacian(plane, cv2.CV_64F).var()``.
        ``saturated_fraction``
            Share of pixels at or above ``maximum``; null if that is not known, as of floating-point pixels.
            Source: CellProfiler's ``PercentMaximal`` / 100, which takes the plane's own maximum, saturated or not.
        ``blank_fraction``
            Share of pixels at the plane's smallest value: 1 for a constant plane, much where a part was never written.
            Source: CellProfiler's ``PercentMinimal`` / 100.
        ``background_level``
            In pixel values, in the middle of the plane. Of each of 8 x 8 tiles the half-sample mode is taken, and
            through these the plane is laid that has the least sum of absolute differences to them.
            Source: D. R. Bickel, R. Frühwirth, "On a fast, robust estimator of the mode" (2006).
        ``background_gradient``
            Difference between the highest and the lowest corner of that plane, in pixel values: at least 0.

    Raises
    ------
    ValueError
        If ``maximum`` is no number above 0.
    """
    import pyarrow as pa

    require_stack(stack, _NAME)
    for _, sentence in _refusals(maximum):
        raise ValueError(sentence)
    keys = plane_keys or [{"channel": number} for number in range(1, len(stack) + 1)]
    rows = [_quality_of(plane, maximum) for plane in stack]
    columns: dict[str, pa.Array] = {
        axis: pa.array([key[axis] for key in keys], pa.int64())
        for axis in _AXES
        if any(key.get(axis) is not None for key in keys)
    }
    for name, values in zip(QUALITY, zip(*rows, strict=True), strict=True):
        columns[name] = pa.array([value if math.isfinite(value) else None for value in values], pa.float64())
    return stack, pa.table(columns)


def _quality_of(plane: Pixels, maximum: float | None) -> tuple[float, ...]:
    """The columns of one plane; NaN where one is undefined."""
    numbers = plane.astype(np.float64)
    finite = np.isfinite(numbers)
    if not finite.any():
        return (math.nan,) * len(QUALITY)
    known = numbers[finite]
    low, high = float(known.min()), float(known.max())
    filled = numbers if finite.all() else np.where(finite, numbers, np.median(known))
    full = _ceiling(plane, high) if maximum is None else maximum
    return (
        power_log_log_slope(filled),
        laplacian_variance(filled),
        math.nan if full is None else float(np.mean(known >= full)),
        float(np.mean(known == low)),
        *_background(filled),
    )


def _ceiling(plane: Pixels, high: float) -> float | None:
    """The value at which the camera is saturated; infinite if no pixel is, None if nobody knows."""
    if plane.dtype.kind not in "iu":
        return None
    return high if high in {float((1 << bits) - 1) for bits in _CAMERA_BITS} else math.inf


def power_log_log_slope(plane: NDArray[np.float64]) -> float:
    """Slope of the logarithm of the power over that of the frequency, of a plane ``(y, x)``; NaN if it is constant.

    The power is summed over rings of whole radii, up to an eighth of the shorter edge, as CellProfiler does: of white
    noise, whose sums grow with the rings, the slope is 1. The rings of negative frequencies lie one pixel further
    inside, as in centrosome's ``rps``.
    """
    from scipy.fft import rfft2

    height, width = plane.shape
    rings = math.floor(min(height, width) / 8)  # beyond, borders would count
    if rings < 4 or np.ptp(plane) == 0:  # two rings are needed for a slope
        return math.nan
    power = np.abs(rfft2(plane - plane.mean())) ** 2
    rows = np.concatenate((np.arange(rings), np.arange(height - rings, height)))
    away = np.minimum(rows, height - 1 - rows)
    columns = np.arange(rings)
    # The spectrum's right half is the left one, turned by half a turn.
    sides = ((power[np.ix_(rows, columns)]), power[np.ix_(-rows % height, columns + 1)])
    ring = np.floor(np.hypot(away[:, None], columns)).astype(np.intp) + 1
    total = sum(np.bincount(ring.ravel(), weights=side.ravel(), minlength=rings) for side in sides)
    radii = np.arange(2, rings)
    sums = np.asarray(total)[2:rings]
    some = sums > 0
    if some.sum() < 2:
        return math.nan
    return float(np.polyfit(np.log(radii[some]), np.log(sums[some]), 1)[0])


def laplacian_variance(plane: NDArray[np.float64]) -> float:
    """Variance of the Laplacian of a plane ``(y, x)``, in squared pixel values."""
    padded = np.pad(plane, 1, mode="reflect" if min(plane.shape) > 1 else "edge")
    sharp = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * plane
    return float(sharp.var())


def _background(plane: NDArray[np.float64]) -> tuple[float, float]:
    """Level and gradient of the background of a plane ``(y, x)``."""
    height, width = plane.shape
    down, across = min(_TILES, height), min(_TILES, width)
    rows, columns = height // down, width // across
    tiles = plane[: down * rows, : across * columns].reshape(down, rows, across, columns)
    tiles = tiles[:, :: max(1, rows // _SAMPLED), :, :: max(1, columns // _SAMPLED)].swapaxes(1, 2)
    modes = _modes(tiles.reshape(down * across, -1))
    y, x = np.indices((down, across)).reshape(2, -1)
    # In shares of the image's edge, from its middle.
    design = np.stack(((y + 0.5) / down - 0.5, (x + 0.5) / across - 0.5, np.ones(y.size)), axis=1)
    slope_y, slope_x, middle = _least_absolute(design, modes)
    return float(middle), float(abs(slope_y) + abs(slope_x))


def _modes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The half-sample mode of each row: where half of its values lie closest together, and half of those, and so on."""
    ranked = np.sort(values, axis=1)
    begin, size = np.zeros(len(ranked), np.intp), ranked.shape[1]
    while size > 2:
        half = (size + 1) // 2
        first = begin[:, None] + np.arange(size - half + 1)
        wide = np.take_along_axis(ranked, first + half - 1, axis=1) - np.take_along_axis(ranked, first, axis=1)
        closest = wide == wide.min(axis=1, keepdims=True)
        # Of several, as of whole numbers, the middle one.
        begin += (closest.argmax(axis=1) + closest.shape[1] - 1 - closest[:, ::-1].argmax(axis=1)) // 2
        size = half
    row = np.arange(len(ranked))
    found: NDArray[np.float64] = (ranked[row, begin] + ranked[row, begin + size - 1]) / 2
    return found


def _least_absolute(design: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The plane with the least sum of absolute differences, by weights: tiles full of cells have little part in it."""
    weights: NDArray[Any] = np.ones(len(values))
    for _ in range(_ROUNDS):
        root = np.sqrt(weights)
        found: NDArray[np.float64] = np.linalg.lstsq(design * root[:, None], values * root, rcond=None)[0]
        away = np.abs(values - design @ found)
        weights = 1 / np.maximum(away, max(1e-9, 1e-3 * float(away.max())))
    return found


__all__ = ["QUALITY", "laplacian_variance", "measure_quality", "power_log_log_slope"]
