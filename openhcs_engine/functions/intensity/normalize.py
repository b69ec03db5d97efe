"""Intensity normalisation."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.any_library import any_library
from openhcs_engine.functions.intensity.histogram import COUNTED_DTYPES, percentiles_of
from openhcs_engine.functions.stack import Pixels, require_stack
from openhcs_engine.memory import numpy
from openhcs_engine.memory.conversion.bands import BAND_ELEMENTS, row_bands
from openhcs_engine.memory.conversion.cast_loss import Cast, integer_range, may_flatten, tell_casts
from openhcs_engine.memory.conversion.dtype import restore_dtype

_NAME: Final = "stack_percentile_normalize"
_CAMERA_MAXIMUM: Final = 65535


@numpy
@any_library
def stack_percentile_normalize(
    stack: Pixels,
    low_percentile: float = 1.0,
    high_percentile: float = 99.0,
    target_min: float = 0.0,
    target_max: float | None = None,
) -> Pixels:
    """Clip a stack between two percentiles and stretch what remains over a target range.

    One pair of percentiles holds for the whole stack, so its planes stay comparable. With ``p_low`` and ``p_high`` the
    two percentiles (linear interpolation, as ``np.percentile``), every pixel becomes, in float64,
    ``(clip(pixel, p_low, p_high) - p_low) * (target_max - target_min) / (p_high - p_low) + target_min``,
    and never leaves the target range.

    Parameters
    ----------
    stack
        ``(plane, y, x)``, any real dtype; never written to.
    low_percentile, high_percentile
        In per cent, ``0 <= low_percentile < high_percentile <= 100``.
    target_min, target_max
        Values that ``p_low`` and ``p_high`` get. ``target_max`` None: the dtype's maximum, but at most 65535, because
        array libraries that cannot compute with uint16 hold a camera's pixels in wider integers; 1.0 for floats.

    Returns
    -------
    ndarray
        Shape and dtype of ``stack``; integers are rounded half to even. Where both percentiles are equal (a constant
        stack, for one), every pixel is ``target_min``.

    Raises
    ------
    ValueError
        If percentiles or targets are out of order or range, or the stack holds NaN.
    """
    require_stack(stack, _NAME)
    _check_percentiles(low_percentile, high_percentile)
    bottom, top = _targets(target_min, target_max, stack.dtype)
    counted = _countable(stack)
    low, high = percentiles_of(stack if counted is None else counted, (low_percentile, high_percentile)).tolist()
    if not np.isfinite([low, high]).all():
        raise ValueError(f"{_NAME}: the percentiles of this stack are {low} and {high}; replace infinite pixels first.")
    if counted is not None:
        values = np.arange(np.iinfo(counted.dtype).max + 1, dtype=np.float64)
        scaled = _look_up(restore_dtype(_scale(values, low, high, bottom, top), stack.dtype), counted)
    else:
        scaled = np.empty_like(stack, order="C")
        for band in row_bands(stack.shape):
            scaled[band] = restore_dtype(_scale(stack[band].astype(np.float64), low, high, bottom, top), stack.dtype)
    if stack.dtype.kind in "iu" and may_flatten(bottom, top, stack.dtype):  # pixels are computed again for that alone
        casts: list[Cast] = []
        for band in row_bands(stack.shape):
            restore_dtype(_scale(stack[band].astype(np.float64), low, high, bottom, top), stack.dtype, casts.append)
        tell_casts(casts)
    return scaled


def _check_percentiles(low: float, high: float) -> None:
    if not 0 <= low < high <= 100:
        raise ValueError(
            f"{_NAME}: low_percentile={low} and high_percentile={high} do not fit; "
            "they lie between 0 and 100, the low one below the high one."
        )


def _targets(target_min: float, target_max: float | None, dtype: np.dtype[np.generic]) -> tuple[float, float]:
    """The target range as floats, checked against the dtype."""
    smallest, largest = (-np.inf, np.inf) if dtype.kind == "f" else integer_range(dtype)
    default = 1.0 if dtype.kind == "f" else min(largest, _CAMERA_MAXIMUM)
    top = default if target_max is None else target_max
    if not (np.isfinite([target_min, top]).all() and target_min < top):
        raise ValueError(f"{_NAME}: target_min={target_min} is not below target_max={top}; give finite numbers.")
    if target_min < smallest or top > largest:
        raise ValueError(
            f"{_NAME}: the targets {target_min} to {top} do not fit into {dtype}, which holds {smallest} to {largest}."
        )
    return float(target_min), float(top)


def _scale(pixels: NDArray[np.float64], low: float, high: float, bottom: float, top: float) -> NDArray[np.float64]:
    """The definition; overwrites ``pixels``."""
    if low == high:
        pixels[...] = bottom
        return pixels
    np.clip(pixels, low, high, out=pixels)
    pixels -= low
    pixels *= top - bottom
    pixels /= high - low
    pixels += bottom
    return np.clip(pixels, bottom, top, out=pixels)  # the division may round one step beyond the target


def _countable(stack: Pixels) -> Pixels | None:
    """The stack in a pixel type whose values can be counted, if it has no others: a camera's, in whatever integers."""
    if stack.dtype in COUNTED_DTYPES:
        return stack
    if stack.dtype.kind in "iu" and stack.min() >= 0 and stack.max() <= _CAMERA_MAXIMUM:
        return stack.astype(np.uint16)
    return None


def _look_up(table: Pixels, stack: Pixels) -> Pixels:
    """``table[stack]``, in blocks: np.take widens its indexes to 64 bits."""
    found = np.empty(stack.shape, table.dtype)
    source, target = stack.reshape(-1), found.reshape(-1)
    for start in range(0, source.size, BAND_ELEMENTS):
        block = slice(start, start + BAND_ELEMENTS)
        np.take(table, source[block], out=target[block], mode="clip")
    return found
