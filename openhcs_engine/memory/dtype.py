"""Bringing results back to a pixel type: one law for all functions."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import PixelValueError
from openhcs_engine.memory.aligned import empty_aligned
from openhcs_engine.memory.bands import row_bands

Pixels: TypeAlias = NDArray[Any]  # Any: the dtype is a matter of run time


def restore_dtype(result: Pixels, wanted: np.dtype[Any]) -> Pixels:
    """Bring ``result`` to the pixel type ``wanted``: values are rounded and clipped, never stretched.

    Parameters
    ----------
    result
        Any shape; bool, integers or floats. Never written to.
    wanted
        The dtype to return.

    Returns
    -------
    ndarray
        ``result`` itself if it has the dtype; else a new array, aligned for every array library. Floats become integers
        by rounding half to even and clipping to the integer range; integers are clipped; bool counts as the integers 0
        and 1. Numbers become floats by IEEE rounding, infinite beyond the largest. Needs no more memory than the new
        array and a band of rows.

    Raises
    ------
    PixelValueError
        If a NaN would have to become an integer, or the values are not real numbers.
    """
    wanted = np.dtype(wanted)
    if result.dtype == wanted:
        return result
    if result.dtype.kind not in "biuf" or wanted.kind not in "biuf":
        raise PixelValueError(f"{result.dtype} values cannot become {wanted}; return a real-valued stack.")
    restored = empty_aligned(result.shape, wanted)
    if wanted.kind == "f" or result.dtype.kind == "b":
        with np.errstate(over="ignore"):  # 70000 has no place in float16 but infinity: that is the law, not an accident
            np.copyto(restored, result, casting="unsafe")
        return restored
    fill = _fill_from_floats if result.dtype.kind == "f" else _fill_from_integers
    for band in row_bands(result.shape):
        fill(restored[band], result[band])
    return restored


def integer_range(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Smallest and largest value of an integer dtype; 0 and 1 for bool."""
    if dtype.kind == "b":
        return 0, 1
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _fill_from_floats(target: Pixels, band: Pixels) -> None:
    if not band.size:
        return
    smallest, largest = integer_range(target.dtype)
    rounded = np.rint(band, dtype=np.float64)
    low, high = rounded.min(), rounded.max()  # a NaN makes both NaN
    if np.isnan(low):
        raise PixelValueError(
            f"The result holds NaN (not a number), which has no place in {target.dtype}; "
            "replace NaN in the function, for example with np.nan_to_num, or declare a float dtype."
        )
    if low > smallest and high < largest:
        target[...] = rounded
        return
    # Not np.clip: 64-bit limits are not float64 numbers, float(2**63 - 1) is 2**63, whose cast wraps.
    above, below = rounded >= float(largest), rounded <= float(smallest)
    rounded[above | below] = 0
    target[...] = rounded
    target[above] = largest
    target[below] = smallest


def _fill_from_integers(target: Pixels, band: Pixels) -> None:
    smallest, largest = integer_range(target.dtype)
    lowest, highest = integer_range(band.dtype)
    target[...] = np.clip(band, max(smallest, lowest), min(largest, highest))
