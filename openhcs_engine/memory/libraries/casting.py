"""The law of ``restore_dtype`` for arrays that do not lie in NumPy's hands: rounded, clipped, never stretched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from openhcs_engine.errors import PixelValueError
from openhcs_engine.memory.aligned import copy_aligned
from openhcs_engine.memory.dtype import integer_range, restore_dtype
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
    has_nan: Callable[[AnyArray], bool]
    choose: Callable[[AnyArray, int, AnyArray], AnyArray]
    """``choose(where, number, other)``: the number where true, else the other's element; of the other's dtype."""
    clip: Callable[[AnyArray, int, int], AnyArray]
    """Integers into a range whose ends their dtype can hold."""


def cast_array(operations: CastOperations, array: AnyArray, source: str, wanted: str) -> AnyArray:
    """Bring an array of the dtype ``source`` to the dtype ``wanted``, by the law of ``restore_dtype``.

    Parameters
    ----------
    operations
        How the array's library spells what is needed.
    array
        Any shape; bool, integers or floats. Never written to.
    source, wanted
        NumPy's names, or ``bfloat16``.

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
        return cast_array(operations, operations.astype(array, "float32"), "float32", wanted)
    kind, wanted_kind = _kind(source), _kind(wanted)
    if not (kind and wanted_kind):
        raise PixelValueError(f"{source} values cannot become {wanted}; return a real-valued stack.")
    if wanted_kind == "f" or kind == "b":
        return operations.astype(array, wanted)
    if kind == "f":
        return _integers_of_floats(operations, array, source, wanted)
    return _integers_of_integers(operations, array, source, wanted)


def cast_on_host(array: HostArray, dtype: str) -> HostArray:
    """The law on the host, where NumPy needs no memory but for the result; aligned, so that all libraries can share it.

    ``array`` may be of ``bfloat16``, as some libraries show theirs to NumPy; ``dtype`` may not.
    """
    exact = array.astype(np.float32) if array.dtype.name == BFLOAT16 else array
    return copy_aligned(restore_dtype(exact, np.dtype(dtype)))


def numpy_like(library: AnyArray) -> CastOperations:
    """The operations of a library that speaks NumPy's interface: ``cupy``, ``jax.numpy``."""
    return CastOperations(
        astype=lambda array, dtype: array.astype(dtype),
        round=library.rint,
        has_nan=lambda array: bool(library.isnan(array).any()),
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


def _integers_of_floats(operations: CastOperations, array: AnyArray, source: str, wanted: str) -> AnyArray:
    smallest, largest = integer_range(np.dtype(wanted))
    # float16 cannot hold the limits of uint16; any wider float rounds them outwards, to where no value inside lies.
    rounded = operations.round(operations.astype(array, "float32") if source == "float16" else array)
    if operations.has_nan(rounded):
        raise PixelValueError(
            f"The result holds NaN (not a number), which has no place in {wanted}; "
            "replace NaN in the function, or declare a float dtype."
        )
    above, below = rounded >= float(largest), rounded <= float(smallest)
    inside = operations.astype(operations.choose(above | below, 0, rounded), wanted)
    return operations.choose(above, largest, operations.choose(below, smallest, inside))


def _integers_of_integers(operations: CastOperations, array: AnyArray, source: str, wanted: str) -> AnyArray:
    smallest, largest = integer_range(np.dtype(wanted))
    lowest, highest = integer_range(np.dtype(source))
    return operations.astype(operations.clip(array, max(smallest, lowest), min(largest, highest)), wanted)


__all__ = ["BFLOAT16", "CastOperations", "cast_array", "cast_on_host", "numpy_like"]
