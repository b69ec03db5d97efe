"""Numbers that may be undefined, the values that they are made of, and their means and spreads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openhcs_engine.model.wording import counted

_Array = TypeVar("_Array", bound=NDArray[np.generic])
Values = NDArray[np.float64]
"""One value a well (or an object); NaN where there is none."""

SD_OF_MAD: Final = 1.482602218505602
"""Times the median absolute deviation: the standard deviation, for a normal distribution. It is 1 / Φ⁻¹(3/4)."""
_ROUNDING: Final = 8 * float(np.finfo(np.float64).eps)
"""Spreads and differences below this share of the largest value are rounding: three times 0.1 has a standard
deviation of 1.7e-17."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number, or the reason why there is none; exactly one of both is None."""

    value: float | None
    """Finite; None where it is undefined."""
    reason: str | None
    """A sentence that says why there is no value."""
    n: tuple[int, ...]
    """How many values it was made of, of each group in the order of the function's arguments."""

    @classmethod
    def of(cls, value: float, *n: int) -> Estimate:
        """A number; undefined if it is not finite, which infinite or very large values lead to."""
        if math.isfinite(value):
            return cls(value=float(value), reason=None, n=n)
        return cls.undefined("The result is no finite number: some value is infinite or too large.", *n)

    @classmethod
    def undefined(cls, reason: str, *n: int) -> Estimate:
        """No number, for a reason."""
        return cls(value=None, reason=reason, n=n)


def as_values(values: ArrayLike, name: str = "values") -> Values:
    """One-dimensional float64 values, NaN for None and for nulls; the array itself where it is that already.

    Raises
    ------
    TypeError
        If they are text, also text that looks like numbers.
    ValueError
        If they have other than one dimension.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biufO" or any(isinstance(each, str) for each in array.flat if array.dtype.kind == "O"):
        raise TypeError(f"{name} are of type {array.dtype}; give numbers, and None where there is no value.")
    floats = array.astype(np.float64, copy=False)
    if floats.ndim != 1:
        raise ValueError(f"{name} have the shape {floats.shape}; give one value a well, in one dimension.")
    return floats


def present(values: ArrayLike, name: str = "values") -> Values:
    """The values that there are, without NaN and None."""
    floats = as_values(values, name)
    return floats[~np.isnan(floats)]


def same_length(**arrays: NDArray[np.generic]) -> None:
    """Raise ValueError if arrays that stand beside each other have several lengths."""
    if len({len(array) for array in arrays.values()}) > 1:
        lengths = ", ".join(f"{name}: {len(array)}" for name, array in arrays.items())
        raise ValueError(f"These arrays need one entry a well each, but their lengths differ ({lengths}).")


def read_only(array: _Array) -> _Array:
    """The same array, which nobody may write into from now on."""
    array.setflags(write=False)
    return array


def finite(values: Values) -> Values:
    """Values that are no finite numbers become NaN: no value."""
    return np.where(np.isfinite(values), values, np.nan)


def standard_deviation(values: Values) -> float:
    """With n - 1 in the denominator; exactly 0 where the values differ by rounding alone."""
    with np.errstate(all="ignore"):  # infinite values are refused by Estimate.of
        return _unless_rounding(float(np.std(values, ddof=1)), values)


def median_absolute_deviation(values: Values) -> float:
    """Median of the absolute differences from the median, times ``SD_OF_MAD``; 0 where they are rounding alone."""
    with np.errstate(all="ignore"):
        deviations = np.abs(values - np.median(values))
    return _unless_rounding(SD_OF_MAD * float(np.median(deviations)), values)


def difference(first: float, second: float) -> float:
    """``first - second``; exactly 0 where it is rounding alone."""
    return _unless_rounding(first - second, np.array([first, second]))


def all_equal(values: Values) -> bool:
    """Whether the values differ by rounding alone."""
    with np.errstate(all="ignore"):
        return _unless_rounding(float(np.ptp(values)), values) == 0


def _unless_rounding(size: float, values: Values) -> float:
    return 0.0 if abs(size) <= _ROUNDING * float(np.max(np.abs(values))) else size


def too_few(values: Values, name: str, fewest: int = 2) -> str | None:
    """The sentence that says that a group has too few values; None if it has enough."""
    if len(values) >= fewest:
        return None
    return f"At least {fewest} {name} with a value are needed, and there {_is_are(len(values))}."


def _is_are(count: int) -> str:
    return "is none" if count == 0 else f"{'is' if count == 1 else 'are'} {count}"


def wells_with_value(count: int) -> str:
    """``1 well with a value``."""
    return f"{counted(count, 'well')} with a value"


__all__ = [
    "SD_OF_MAD",
    "Estimate",
    "Values",
    "all_equal",
    "as_values",
    "difference",
    "finite",
    "median_absolute_deviation",
    "present",
    "read_only",
    "same_length",
    "standard_deviation",
    "too_few",
    "wells_with_value",
]
