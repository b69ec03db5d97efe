"""What a cast from one pixel type to another loses: values beyond its range, and values that it rounds to nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np

CAST_LOSS_LIMIT: Final = 0.01
"""Part of a step's values that may be lost in a cast before it is a warning at the well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CastResult:
    """What became of the results of one function when they were brought to the pixel type that is asked for.

    Of all its stacks together. Values are counted only where the range of a stack says that some are lost.
    """

    function: str
    source: str
    """Dtype that the function returned."""
    wanted: str
    low: float
    """Smallest value before, NaN aside; perhaps infinite."""
    high: float
    values: int
    """Pixels."""
    clipped: int = 0
    """Values that ``wanted`` cannot hold; they became its smallest, its largest, or infinite."""
    flattened: int = 0
    """Values that rounding changed where it left next to nothing of the range, as of floats from 0 to 1."""

    @property
    def loses(self) -> bool:
        """Whether any value was lost."""
        return self.clipped + self.flattened > 0

    @property
    def warns(self) -> bool:
        """Whether so many were lost that the well carries a warning."""
        return self.clipped + self.flattened > CAST_LOSS_LIMIT * self.values

    @property
    def told(self) -> str:
        """What was lost, as a person reads it, with the remedy."""
        lost = [f"{_part(self.flattened, self.values)} was rounded to {self._left}"] if self.flattened else []
        lost += [f"{_part(self.clipped, self.values)} was clipped"] if self.clipped else []
        return (
            f"{self.function} returned {self.source} from {self.low:.4g} to {self.high:.4g}; as {self.wanted}, "
            f"{' and '.join(lost) or 'nothing was lost'}. {self._remedy}"
        )

    @property
    def _remedy(self) -> str:
        if self.function.startswith("openhcs_engine."):
            return 'Give it other parameters, or call it in a function of your own, on floats, with dtype="float32"'
        return 'Declare dtype="float32", or rescale (in scikit-image, preserve_range=True) or clip in the function'

    @property
    def _left(self) -> str:
        """The numbers that are left of a range that is nearly nothing."""
        if self.wanted.startswith("float"):
            return "0"
        smallest, largest = integer_range(np.dtype(self.wanted))
        low, high = max(smallest, round(max(self.low, smallest))), min(largest, round(min(self.high, largest)))
        if high - low < 3:
            return " or ".join(map(str, range(low, high + 1)))
        # A wide range is that of several stacks, of which one was narrow.
        return f"{low}, {low + 1} … {high}" if high - low <= 2 * FEW else "next to nothing"

    def joined(self, other: CastResult) -> CastResult:
        """Both together, of one function and one pair of dtypes."""
        return replace(
            self,
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            values=self.values + other.values,
            clipped=self.clipped + other.clipped,
            flattened=self.flattened + other.flattened,
        )


def _part(count: int, of: int) -> str:
    """``all of it``, or a share that is never shown as none or all of it where it is not."""
    if count == of:
        return "all of it"
    share = 100 * count / of
    return f"{min(share, 99.9):.1f} % of it" if share >= 0.1 else "less than 0.1 % of it"


_SPREAD: Final = 0.05
"""A range below this part of its largest value is that of a flat image, which may well become one number."""

FEW: Final = 16
"""Largest value of a range of so few whole numbers that the error of rounding is measured."""

_NOISE: Final = 0.1
"""Part of the variance of so narrow a range that the error of rounding may be; more is a loss.

Images that were divided by their 98th percentile have 0.1 to 2, counts of a camera with a noise of one count 0.1.
"""


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
"""Called with each cast that could lose something."""

_LISTENER: Final[ContextVar[CastNote | None]] = ContextVar("listener", default=None)


@contextmanager
def listening(note: CastNote) -> Iterator[None]:
    """Within, functions that bring their results to the stack's dtype themselves report to ``note`` what that loses.

    It passes through the signature of a function that may be anybody's, and that people call by hand as well.
    """
    token = _LISTENER.set(note)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def tell_casts(bands: Sequence[Cast]) -> None:
    """Report one result that was cast in bands to who listens; nobody does where a person calls the function."""
    note = _LISTENER.get()
    if note is None or not bands:
        return
    low, high = min(band.low for band in bands), max(band.high for band in bands)
    vanished = all(band.low <= band.high for band in bands) and may_flatten(low, high, np.dtype(bands[0].wanted))
    note(
        replace(
            bands[0],
            low=low,
            high=high,
            values=sum(band.values for band in bands),
            clipped=sum(band.clipped for band in bands),
            # A dark band may lose what the whole image does not.
            flattened=sum(band.flattened for band in bands) if vanished else 0,
        )
    )


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
    clips = may_clip(low, high, wanted)
    return clips or (isinstance(low, float) and (low == high or max(abs(low), abs(high)) <= FEW))


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


def may_drown(low: float, high: float, wanted: np.dtype[Any]) -> bool:
    """Whether rounding leaves so few whole numbers of a range that its error must be held against their variance."""
    largest = max(abs(low), abs(high))
    return wanted.kind != "f" and largest <= FEW and high - low > _SPREAD * largest


def drowns(squared_errors: float, squared_deviations: float) -> bool:
    """Whether rounding changed values by as much as they differ among themselves, as of ratios and multiples of a mean.

    Both are sums over all values: of ``(x - round(x))**2`` and of ``(x - mean)**2``.
    """
    return squared_errors > _NOISE * squared_deviations


def _rounded(value: float) -> float:
    """A whole number, half to even; integers of any length stay exact."""
    return value if isinstance(value, int) else float(np.rint(value))


__all__ = [
    "FEW",
    "NOT_MEASURED",
    "Cast",
    "CastNote",
    "can_lose",
    "drowns",
    "integer_range",
    "is_suspect",
    "listening",
    "may_clip",
    "may_drown",
    "may_flatten",
    "tell_casts",
]
