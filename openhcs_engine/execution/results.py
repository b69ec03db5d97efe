"""What happened to each well."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Final

import numpy as np

from openhcs_engine.memory.cast_loss import FEW, integer_range


class WellStatus(StrEnum):
    """How a well ended."""

    DONE = "done"
    """Computed and published."""
    UNCHANGED = "unchanged"
    """Published before with the same fingerprint; nothing was computed."""
    MADE_BEFORE = "made before the update"
    """Published by an earlier version whose fingerprints were made otherwise, of the same files, steps, parameters,
    sources and packages; nothing was computed, and ``renew`` makes it again."""
    FAILED = "failed"
    """Nothing of this run was published."""


class Rung(StrEnum):
    """What the engine does, in this order, when a function runs out of a device's memory."""

    FREE = "free caches and retry"
    BATCHES = "smaller batches"
    CPU = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class RungResult:
    """One rung that was tried, or skipped, for a stack."""

    rung: Rung
    outcome: str
    """``helped``, ``did not help`` or ``skipped``."""
    detail: str
    """Why, or how: the reason of a skip, the planes a batch, the device that ran out of memory."""
    stacks: int = 1
    """Stacks of the step to which the same happened."""

    @property
    def told(self) -> str:
        """The rung as a person reads it."""
        count = f" ({self.stacks} stacks)" if self.stacks > 1 else ""
        return f"{self.rung} {self.outcome}: {self.detail}{count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SideRecord:
    """What a step made of one name beside its planes."""

    name: str
    kind: str
    """``table``, ``positions``, ``labels`` or ``object``."""
    count: int
    """Rows of a table or of positions, planes of labels, objects."""
    stacks: int
    """Stacks that it was made of."""

    @property
    def is_kept(self) -> bool:
        """False for what lives within the well only."""
        return self.kind != "object"

    @property
    def told(self) -> str:
        """As a person reads it."""
        of = f"of {self.stacks} stack{'s' if self.stacks != 1 else ''}"
        if not self.is_kept:
            return f"object {self.name} {of}, which lives within the well only"
        what = "plane" if self.kind == "labels" else "row"
        return f"{self.kind} {self.name}: {self.count} {what}{'s' if self.count != 1 else ''} {of}"


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
    """``all of it``, or a share that is never told as none or all of it where it is not."""
    if count == of:
        return "all of it"
    share = 100 * count / of
    return f"{min(share, 99.9):.1f} % of it" if share >= 0.1 else "less than 0.1 % of it"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One step of one well."""

    number: int
    name: str
    seconds: float
    stacks: int
    """Stacks the functions were called with."""
    planes_read: int
    planes_written: int
    bytes_read: int
    """Bytes of pixels that entered the step."""
    device: str
    """Where its functions ran, e.g. ``cpu:0``, or ``gpu:1, cpu:0`` for several."""
    routes: tuple[str, ...] = ()
    """Conversions at its boundaries, each once, e.g. ``numpy -> torch: DLPack, zero copy; uint16 as int32 (4 times)``;
    empty: its stacks stayed NumPy arrays."""
    fallback: str | None = None
    """Why it did not run where it was planned to; None: it did."""
    rungs: tuple[RungResult, ...] = ()
    """What was done when memory ran out, in order; empty: it never did."""
    casts: tuple[CastResult, ...] = ()
    """Results that were brought to a pixel type that could lose values, by function; most lose none."""
    side_outputs: tuple[SideRecord, ...] = ()
    """What it made beside its planes."""
    notes: tuple[str, ...] = ()
    """What a person should know: an undeclared collapse, planes passed or dropped."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Casts that lost so many values that the well carries a warning."""
        return tuple(f'step {self.number} "{self.name}": {cast.told}' for cast in self.casts if cast.warns)

    @property
    def lossy_casts(self) -> tuple[CastResult, ...]:
        """Those of ``casts`` that lost values."""
        return tuple(cast for cast in self.casts if cast.loses)


@dataclass(frozen=True, slots=True, kw_only=True)
class WellResult:
    """One well of one run; ``result.get("success")`` and ``result.get("error")`` work as on a dict."""

    well: str
    status: WellStatus
    fingerprint: str
    error: str | None = None
    """The sentence a person reads; None unless failed."""
    error_type: str | None = None
    """Class name of the error."""
    traceback: str | None = None
    """For the log and developers; None unless failed."""
    seconds: float = 0.0
    device: str = "cpu"
    store_path: str | None = None
    """The well's images, absolute; None if nothing is published."""
    bytes_written: int = 0
    files: int = 0
    steps: tuple[StepResult, ...] = ()
    notes: tuple[str, ...] = ()
    """What a person should know about this run of the well, e.g. why threads ran it."""
    warnings: tuple[str, ...] = ()
    """What is probably wrong with its images: values that vanished or were clipped. Those of an unchanged well are of
    the run that made it."""
    missing_planes: int = 0
    """Planes that the well lacks, so that what is published has gaps; ``notes`` say which."""

    @property
    def success(self) -> bool:
        """True if the well is published and whole."""
        return self.status is not WellStatus.FAILED

    def get(self, name: str, default: Any = None) -> Any:  # Any: the dict-like access of the documented API
        """``success``, ``error`` or any field by name; ``default`` for other names."""
        if name == "success":
            return self.success
        return getattr(self, name) if name in {field.name for field in fields(self)} else default

    def __getitem__(self, name: str) -> Any:
        if name != "success" and name not in {field.name for field in fields(self)}:
            raise KeyError(name)
        return self.get(name)
