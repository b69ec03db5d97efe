"""The law of ``restore_dtype`` for arrays that do not lie in NumPy's hands: rounded, clipped, never stretched."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from openhcs_engine.errors import PixelValueError
from openhcs_engine.memory.conversion.aligned import copy_aligned
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
from openhcs_engine.memory.conversion.dtype import restore_dtype
from openhcs_engine.memory.libraries.contract import AnyArray, HostArray

BFLOAT16: Final = "bfloat16"
"""A float that NumPy lacks; float32 holds each of its values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CastOperations:
    """The few operations of which the law is made, as one library spells them."""

    astype: Callable[[AnyArray, str], AnyArray]
    """The library's own cast, called for values that the dtype can hold."""
    round: Callable[[AnyArray], AnyArray]
    """Floats to whole floats, half to even."""
    extent: Callable[[AnyArray], tuple[float, float]]
    """Smallest and largest element, integers exact; NaN if there is one among floats. Waits for the device once."""
    count: Callable[[AnyArray], int]
    """How many elements of a mask are true."""
    total: Callable[[AnyArray], float]
    """Sum of all elements."""
    changed: Callable[[AnyArray, AnyArray], int]
    """How many integers ``clip`` changed: what it gave, and what it got."""
    choose: Callable[[AnyArray, int, AnyArray], AnyArray]
    """``choose(where, number, other)``: the number where true, else the other's element; of the other's dtype."""
    clip: Callable[[AnyArray, int, int], AnyArray]
    """Integers into a range whose ends their dtype can hold."""


def cast_array(
    operations: CastOperations, array: AnyArray, source: str, wanted: str, note: CastNote | None = None
) -> AnyArray:
    """Bring an array of the dtype ``source`` to the dtype ``wanted``, by the law of ``restore_dtype``.

    Parameters
    ----------
    operations
        How the array's library spells what is needed.
    array
        Any shape; bool, integers or floats. Never written to.
    source, wanted
        NumPy's names, or ``bfloat16``.
    note
        As of ``restore_dtype``; what is counted is counted where the array lies.

    Returns
    -------
    array
        ``array`` itself if it has the dtype, else a new array of the same library on the same device.

    Raises
    ------
    PixelValueError
        If a NaN would have to become an integer, or the values are not real numbers.
    """
    if source == wanted:
        return array
    if source == BFLOAT16:
        return cast_array(operations, operations.astype(array, "float32"), "float32", wanted, note)
    kind, wanted_kind = _kind(source), _kind(wanted)
    if not (kind and wanted_kind):
        raise PixelValueError(f"{source} values cannot become {wanted}; return a real-valued stack.")
    if kind == "b" or wanted == BFLOAT16 or not can_lose(np.dtype(source), np.dtype(wanted)):
        return operations.astype(array, wanted)
    if wanted_kind == "f":
        return _narrower_floats(operations, array, source, wanted, note)
    if kind == "f":
        return _integers_of_floats(operations, array, source, wanted, note)
    return _integers_of_integers(operations, array, source, wanted, note)


def cast_on_host(array: HostArray, dtype: str, note: CastNote | None = None) -> HostArray:
    """The law on the host, where NumPy needs no memory but for the result; aligned, so that all libraries can share it.

    ``array`` may be of ``bfloat16``, as some libraries show theirs to NumPy; ``dtype`` may not.
    """
    exact = array.astype(np.float32) if array.dtype.name == BFLOAT16 else array
    return copy_aligned(restore_dtype(exact, np.dtype(dtype), note))


def numpy_like(library: AnyArray) -> CastOperations:
    """The operations of a library that speaks NumPy's interface: ``cupy``, ``jax.numpy``."""
    return CastOperations(
        astype=lambda array, dtype: array.astype(dtype),
        round=library.rint,
        extent=lambda array: _two(library.stack([array.min(), array.max()])),
        count=lambda mask: int(library.count_nonzero(mask)),
        total=lambda array: float(array.sum()),
        changed=lambda kept, array: int(library.count_nonzero(kept != array)),
        choose=lambda where, number, other: library.where(where, library.asarray(number, dtype=other.dtype), other),
        clip=lambda array, low, high: library.clip(array, low, high),
    )


def _kind(dtype: str) -> str | None:
    """``b``, ``i``, ``u`` or ``f``; None for what is no real number."""
    if dtype == BFLOAT16:
        return "f"
    try:
        kind = np.dtype(dtype).kind
    except TypeError:  # a dtype that only its library knows
        return None
    return kind if kind in "biuf" else None


def _two(extremes: AnyArray) -> tuple[float, float]:
    low, high = extremes.tolist()
    return low, high


def _narrower_floats(
    operations: CastOperations, array: AnyArray, source: str, wanted: str, note: CastNote | None
) -> AnyArray:
    made = operations.astype(array, wanted)
    if note is None or 0 in array.shape:
        return made
    numbers = operations.choose(array != array, 0, array) if _kind(source) == "f" else array  # NaN aside
    low, high = operations.extent(operations.choose(made != made, 0, made))
    if is_suspect(low, high, np.dtype(wanted)):
        low, high = operations.extent(numbers)
    cast = Cast(source=source, wanted=wanted, low=float(low), high=float(high), values=math.prod(array.shape))
    if may_clip(low, high, np.dtype(wanted)):
        # What a narrower float made infinite lies beyond its largest number; infinite it was not before.
        largest = float(np.finfo(wanted).max)
        beyond = operations.count(made > largest) + operations.count(made < -largest)
        before = operations.count(numbers == math.inf) + operations.count(numbers == -math.inf)
        cast = replace(cast, clipped=beyond - before)
    if may_flatten(low, high, np.dtype(wanted)):
        cast = replace(cast, flattened=operations.count(numbers != 0))
    note(cast if cast.clipped or cast.flattened else replace(cast, low=NOT_MEASURED[0], high=NOT_MEASURED[1]))
    return made


def _integers_of_floats(
    operations: CastOperations, array: AnyArray, source: str, wanted: str, note: CastNote | None
) -> AnyArray:
    if 0 in array.shape:
        return operations.astype(array, wanted)
    smallest, largest = integer_range(np.dtype(wanted))
    # float16 cannot hold the limits of uint16; any wider float rounds them outwards, to where no value inside lies.
    exact = operations.astype(array, "float32") if source == "float16" else array
    low, high = operations.extent(exact)
    if math.isnan(low):
        raise PixelValueError(
            f"The result holds NaN (not a number), which has no place in {wanted}; "
            "replace NaN in the function, or declare a float dtype."
        )
    rounded = operations.round(exact)
    above, below = rounded >= float(largest), rounded <= float(smallest)
    inside = operations.astype(operations.choose(above | below, 0, rounded), wanted)
    if note is not None:
        bottom, top = float(np.rint(low)), float(np.rint(high))
        if not is_suspect(bottom, top, np.dtype(wanted)):
            low, high = bottom, top
        cast = Cast(source=source, wanted=wanted, low=low, high=high, values=math.prod(array.shape))
        if may_clip(low, high, np.dtype(wanted)):
            held = np.dtype("float32" if source == "float16" else source).type(largest)
            over = above if int(held) > largest else rounded > float(largest)
            cast = replace(cast, clipped=operations.count(over) + operations.count(rounded < float(smallest)))
        if may_flatten(low, high, np.dtype(wanted)) or (
            may_drown(low, high, np.dtype(wanted)) and _drowns(operations, exact, rounded, cast.values)
        ):
            cast = replace(cast, flattened=max(0, operations.count(rounded != exact) - cast.clipped))
        note(cast)
    return operations.choose(above, largest, operations.choose(below, smallest, inside))


def _drowns(operations: CastOperations, exact: AnyArray, rounded: AnyArray, values: int) -> bool:
    mean = operations.total(exact) / values
    return drowns(operations.total((exact - rounded) ** 2), operations.total((exact - mean) ** 2))


def _integers_of_integers(
    operations: CastOperations, array: AnyArray, source: str, wanted: str, note: CastNote | None
) -> AnyArray:
    smallest, largest = integer_range(np.dtype(wanted))
    lowest, highest = integer_range(np.dtype(source))
    kept = operations.clip(array, max(smallest, lowest), min(largest, highest))
    if note is not None and 0 not in array.shape:
        low, high = operations.extent(array)
        cast = Cast(source=source, wanted=wanted, low=float(low), high=float(high), values=math.prod(array.shape))
        clips = may_clip(low, high, np.dtype(wanted))
        note(replace(cast, clipped=operations.changed(kept, array)) if clips else cast)
    return operations.astype(kept, wanted)


__all__ = ["BFLOAT16", "CastOperations", "cast_array", "cast_on_host", "numpy_like"]
