"""What a cast from one pixel type to another loses: values beyond its range, and values that it rounds to nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

_SPREAD: Final = 0.05
"""A range below this part of its largest value is that of a flat image, which may well become one number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """One array that was brought to another pixel type."""

    source: str
    """Its dtype before."""
    wanted: str
    low: float
    """Its smallest value before, NaN aside; where nothing was lost, as it was rounded, or infinite if not measured."""
    high: float
    """Its largest; minus infinite if not measured, so that any other range joins it."""
    values: int
    """Elements."""
    clipped: int = 0
    """Values that ``wanted`` cannot hold, and that became its smallest, its largest, or infinite."""
    flattened: int = 0
    """Values that rounding changed, where it left next to nothing of the array's range; else 0."""


NOT_MEASURED: Final = (math.inf, -math.inf)
"""The range of an array whose dtypes could lose values, and that lost none: floats that became narrower floats."""

CastNote: TypeAlias = Callable[[Cast], None]
"""Told of each cast that could lose something."""


def integer_range(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Smallest and largest value of an integer dtype; 0 and 1 for bool."""
    if dtype.kind == "b":
        return 0, 1
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def can_lose(source: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    """Whether a cast can do more than round: False where ``wanted`` reaches as far as ``source`` and as fine."""
    if source.kind == "b" or np.can_cast(source, wanted):
        return False
    if source.kind in "iu" and wanted.kind == "f":
        return float(integer_range(source)[1]) > float(np.finfo(wanted).max)
    return True


def is_suspect(low: float, high: float, wanted: np.dtype[Any]) -> bool:
    """Whether counts and the true range must be known of an array that is ``low`` to ``high`` once it is rounded.

    A cast has the rounded values at hand, so that this question costs next to nothing.
    """
    if wanted.kind == "f":
        return not (np.isfinite(low) and np.isfinite(high)) or low == high == 0
    return may_clip(low, high, wanted) or low == high or max(abs(low), abs(high)) <= 1


def may_clip(low: float, high: float, wanted: np.dtype[Any]) -> bool:
    """Whether an array from ``low`` to ``high`` has values that ``wanted`` cannot hold, once they are rounded."""
    if wanted.kind == "f":
        largest = float(np.finfo(wanted).max)
        return low < -largest or high > largest
    smallest, largest = integer_range(wanted)
    return _rounded(low) < smallest or _rounded(high) > largest


def may_flatten(low: float, high: float, wanted: np.dtype[Any]) -> bool:
    """Whether rounding leaves next to nothing of a range.

    That is so where floats within -1 and 1 become integers, which leaves three values; where a range of more than 5 %
    of its largest value becomes one number; and where everything becomes 0 that was not.
    """
    if wanted.kind == "f":
        with np.errstate(over="ignore"):
            return (low != 0 or high != 0) and not wanted.type(low) and not wanted.type(high)
    bottom, top, largest = _rounded(low), _rounded(high), max(abs(low), abs(high))
    if bottom == top:
        return (bottom == 0 and largest > 0) or high - low > _SPREAD * largest
    return max(abs(bottom), abs(top)) <= 1


def _rounded(value: float) -> float:
    """A whole number, half to even; integers of any length stay exact."""
    return value if isinstance(value, int) else float(np.rint(value))


__all__ = ["NOT_MEASURED", "Cast", "CastNote", "can_lose", "integer_range", "is_suspect", "may_clip", "may_flatten"]
