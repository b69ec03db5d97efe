"""Percentiles of whole stacks, without sorting them where the pixel type allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import PixelValueError
from openhcs_engine.functions.stack import Pixels

COUNTED_DTYPES: Final = (np.dtype(np.uint8), np.dtype(np.uint16))
"""Pixel types that have few enough values to be counted one by one."""

_BLOCK: Final = 2**18
# np.bincount widens its input to 64 bits: blocks keep that copy in the cache, and are long against the 65536 counters.


def count_values(stack: Pixels) -> NDArray[np.int64]:
    """How often each value occurs in a uint8 or uint16 array of any shape; 256 or 65536 counts."""
    values = int(np.iinfo(stack.dtype).max) + 1
    counts = np.zeros(values, np.int64)
    flat = stack.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        block = np.bincount(flat[start : start + _BLOCK])  # as long as the brightest pixel asks for
        counts[: block.size] += block
    return counts


def percentile_from_histogram(
    histogram: NDArray[np.integer], percentiles: float | Sequence[float]
) -> NDArray[np.float64]:
    """Percentiles of the pixels that a histogram counts, equal to ``np.percentile`` in every bit.

    Parameters
    ----------
    histogram
        Entry ``v`` is the number of pixels of value ``v``.
    percentiles
        Between 0 and 100.

    Returns
    -------
    ndarray
        float64, of the shape of ``percentiles``; what ``np.percentile(pixels, percentiles)`` gives with its default
        method, linear interpolation between the neighbouring order statistics.

    Raises
    ------
    ValueError
        If the histogram is empty or a percentile is outside 0 to 100.
    """
    cumulative = np.cumsum(histogram, dtype=np.int64)
    if not cumulative.size or cumulative[-1] == 0:
        raise ValueError("The histogram counts no pixels; a percentile needs at least one.")
    previous, following, weight = _neighbours(int(cumulative[-1]), percentiles)
    below = np.searchsorted(cumulative, previous, side="right").astype(np.float64)
    above = np.searchsorted(cumulative, following, side="right").astype(np.float64)
    return _interpolate(below, above, weight)


def percentiles_of(stack: Pixels, percentiles: Sequence[float]) -> NDArray[np.float64]:
    """Percentiles over all pixels of a stack, interpolated linearly in float64.

    Raises
    ------
    PixelValueError
        If the stack holds NaN.
    """
    if stack.dtype in COUNTED_DTYPES:
        return percentile_from_histogram(count_values(stack), percentiles)
    previous, following, weight = _neighbours(stack.size, percentiles)
    ordered = stack.flatten()
    ordered.partition(np.unique([*previous, *following, stack.size - 1]))
    if np.isnan(ordered[-1]):  # NaN sorts last
        raise PixelValueError("The stack holds NaN (not a number), which has no percentile; replace NaN first.")
    with np.errstate(invalid="ignore"):  # between two infinite neighbours there is no number: NaN, as NumPy has it
        return _interpolate(ordered[previous].astype(np.float64), ordered[following].astype(np.float64), weight)


def _neighbours(
    count: int, percentiles: float | Sequence[float]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Ranks left and right of each percentile among ``count`` ordered values, and the weight of the right one."""
    quantiles = np.true_divide(np.asarray(percentiles, np.float64), 100)
    if not ((quantiles >= 0) & (quantiles <= 1)).all():
        raise ValueError(f"Percentiles lie between 0 and 100, but got {percentiles}.")
    position = np.asarray((count - 1) * quantiles)
    previous = np.floor(position).astype(np.intp)
    return previous, np.minimum(previous + 1, count - 1), position - previous


def _interpolate(
    below: NDArray[np.float64], above: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    # NumPy's own rounding: from the nearer neighbour, so that weights of 0 and 1 are exact.
    # Source: _lerp in numpy/lib/_function_base_impl.py.
    step = above - below
    return np.asarray(np.where(weight >= 0.5, above - step * (1 - weight), below + step * weight))
