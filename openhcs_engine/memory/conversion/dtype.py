"""Bringing results back to a pixel type: one law for all functions."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import PixelValueError
from openhcs_engine.memory.conversion.aligned import empty_aligned
from openhcs_engine.memory.conversion.bands import row_bands
from openhcs_engine.memory.conversion.cast_loss import (
    NOT_MEASURED,
    Cast,
    CastNote,
    can_lose,
    drowns,
    integer_range,
    is_suspect,
    may_clip,
    may_drown,
    may_flatten,
)

Pixels: TypeAlias = NDArray[Any]  # Any: the dtype is a matter of run time


def restore_dtype(result: Pixels, wanted: np.dtype[Any], note: CastNote | None = None) -> Pixels:
    """Bring ``result`` to the pixel type ``wanted``: values are rounded and clipped, never stretched.

    Parameters
    ----------
    result
        Any shape; bool, integers or floats. Never written to.
    wanted
        The dtype to return.
    note
        Called with the range of the values, and how many are lost, unless the dtypes alone exclude a loss. Values
        are counted only where the range says that some are lost.

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
    if not can_lose(result.dtype, wanted):
        np.copyto(restored, result, casting="unsafe")
        return restored
    extent = _fill_floats(restored, result) if wanted.kind == "f" else _fill_integers(restored, result)
    if note is not None and result.size:
        note(_measured(result, restored, extent))
    return restored


def _measured(result: Pixels, restored: Pixels, extent: tuple[float, float]) -> Cast:
    """What a cast lost of values that have an extent once they are rounded."""
    wanted, clipped, flattened = restored.dtype, 0, 0
    if extent != NOT_MEASURED and is_suspect(*extent, wanted):
        extent = _extent(result)
        if may_clip(*extent, wanted):
            clipped = sum(_count_clipped(result[band], restored[band]) for band in row_bands(result.shape))
        if may_flatten(*extent, wanted) or (may_drown(*extent, wanted) and _drowns(result)):
            flattened = sum(_count_changed(result[band], restored[band]) for band in row_bands(result.shape)) - clipped
    low, high = extent if wanted.kind != "f" or clipped or flattened else NOT_MEASURED
    return Cast(
        source=result.dtype.name,
        wanted=wanted.name,
        low=float(low),
        high=float(high),
        values=result.size,
        clipped=clipped,
        flattened=flattened,
    )


def _count_clipped(band: Pixels, restored: Pixels) -> int:
    if restored.dtype.kind == "f":
        return int(np.count_nonzero(np.isinf(restored) & np.isfinite(band)))
    smallest, largest = integer_range(restored.dtype)
    if band.dtype.kind != "f":
        return int(np.count_nonzero(band < smallest) + np.count_nonzero(band > largest))
    rounded = np.rint(band, dtype=np.float64)
    # 2**63 - 1 is 2**63 in double precision, which is one too many.
    above = rounded >= float(largest) if float(largest) > largest else rounded > largest
    return int(np.count_nonzero(rounded < smallest) + np.count_nonzero(above))


def _count_changed(band: Pixels, restored: Pixels) -> int:
    return int(np.count_nonzero((restored != band) & (band == band)))  # NaN stays what it is


def _drowns(result: Pixels) -> bool:
    """Whether the errors of rounding are as large as the differences between the values, which are few numbers."""
    errors = total = squares = 0.0
    for band in row_bands(result.shape):
        part = result[band].astype(np.float64)
        total += float(part.sum())
        squares += float(np.square(part).sum())
        errors += float(np.square(part - np.rint(part)).sum())
    return drowns(errors, squares - total**2 / result.size)


def _extent(array: Pixels) -> tuple[float, float]:
    """Smallest and largest value, NaN aside, integers exact; not measured if there is no number."""
    extents = []
    for band in row_bands(array.shape):
        part = array[band]
        if part.size:
            low, high = part.min(), part.max()
            if low != low:
                low, high = np.fmin.reduce(part, axis=None), np.fmax.reduce(part, axis=None)
            extents += [(low.item(), high.item())] if low == low else []
    return _joined(extents)


def _joined(extents: list[tuple[float, float]]) -> tuple[float, float]:
    return (min(low for low, _ in extents), max(high for _, high in extents)) if extents else NOT_MEASURED


def _fill_floats(target: Pixels, result: Pixels) -> tuple[float, float]:
    """Numbers to floats that do not reach as far; returns the extent of these if a value was too large or too small.

    The processor's own flags say whether one was, so that no value is looked at again for it.
    """
    flags: list[str] = []
    with np.errstate(over="call", under="call", call=lambda kind, _: flags.append(kind)):
        np.copyto(target, result, casting="unsafe")
    return _extent(target) if flags else NOT_MEASURED


def _fill_integers(target: Pixels, result: Pixels) -> tuple[float, float]:
    """Numbers to integers; returns their extent, of floats once they are rounded."""
    fill = _fill_from_floats if result.dtype.kind == "f" else _fill_from_integers
    extents = []
    for band in row_bands(result.shape):
        part = result[band]
        if part.size:
            extents.append(fill(target[band], part))
    return _joined(extents)


def _fill_from_floats(target: Pixels, band: Pixels) -> tuple[float, float]:
    """Floats to integers; returns the extent of the rounded values."""
    smallest, largest = integer_range(target.dtype)
    rounded = np.rint(band, dtype=np.float64)
    low, high = float(rounded.min()), float(rounded.max())  # a NaN makes both NaN
    if low != low:
        raise PixelValueError(
            f"The result holds NaN (not a number), which has no place in {target.dtype}; "
            "replace NaN in the function, for example with np.nan_to_num, or declare a float dtype."
        )
    # The smallest integer is a float64, the largest of 64 bits is not: 2**63 - 1 becomes 2**63, whose cast wraps.
    if low >= smallest and (high <= largest if float(largest) == largest else high < largest):
        target[...] = rounded
        return low, high
    # Not np.clip, for the same reason.
    above, below = rounded >= float(largest), rounded <= float(smallest)
    rounded[above | below] = 0
    target[...] = rounded
    target[above] = largest
    target[below] = smallest
    return low, high


def _fill_from_integers(target: Pixels, band: Pixels) -> tuple[int, int]:
    smallest, largest = integer_range(target.dtype)
    low, high = int(band.min()), int(band.max())
    if smallest <= low and high <= largest:
        np.copyto(target, band, casting="unsafe")
    else:
        lowest, highest = integer_range(band.dtype)
        target[...] = np.clip(band, max(smallest, lowest), min(largest, highest))
    return low, high
