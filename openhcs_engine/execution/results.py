"""What happened to each well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from openhcs_engine.memory.conversion.cast_loss import Cast, CastNote, CastResult
from openhcs_engine.memory.conversion.convert import Conversion
from openhcs_engine.model.wording import counted


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
    def summary(self) -> str:
        """The rung as a person reads it."""
        count = f" ({self.stacks} stacks)" if self.stacks > 1 else ""
        return f"{self.rung} {self.outcome}: {self.detail}{count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRecord:
    """What a step made of one name beside its planes."""

    name: str
    kind: str
    """``table``, ``measurements``, ``positions``, ``labels`` or ``object``."""
    count: int
    """Rows of a table or of positions, planes of labels, objects."""
    stacks: int
    """Stacks that it was made of."""

    @property
    def is_stored(self) -> bool:
        """False for what lives within the well only."""
        return self.kind != "object"

    @property
    def summary(self) -> str:
        """As a person reads it."""
        of = f"of {counted(self.stacks, 'stack')}"
        if not self.is_stored:
            return f"object {self.name} {of}, which lives within the well only"
        what = "plane" if self.kind == "labels" else "row"
        return f"{self.kind} {self.name}: {counted(self.count, what)} {of}"


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
    side_outputs: tuple[ArtifactRecord, ...] = ()
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


@dataclass(slots=True)
class StepRecord:
    """Conversions, casts, devices, rungs and fallbacks of one step so far, each once, with its number of stacks."""

    routes: Counter[str] = field(default_factory=Counter)
    rungs: Counter[RungResult] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)
    devices: dict[str, None] = field(default_factory=dict)
    casts: dict[tuple[str, str, str], CastResult] = field(default_factory=dict)
    """By function, its dtype, and the one that was asked for."""

    def converted(self, conversion: Conversion, cast: str = "") -> None:
        """Count a boundary that a stack crossed; nothing where it stayed what and where it was."""
        if conversion.source != conversion.target or not conversion.zero_copy or cast:
            self.routes[conversion.describe() + (f"; {cast}" if cast else "")] += 1

    def noting_casts(self, function: str) -> CastNote:
        """What takes note of the casts of a function's results."""

        def note(cast: Cast) -> None:
            found = CastResult(
                function=function,
                source=cast.source,
                wanted=cast.wanted,
                low=cast.low,
                high=cast.high,
                values=cast.values,
                clipped=cast.clipped,
                flattened=cast.flattened,
            )
            key = function, cast.source, cast.wanted
            self.casts[key] = self.casts[key].joined(found) if key in self.casts else found

        return note

    def climbed(self, rungs: Iterable[RungResult]) -> None:
        """Count the rungs of one stack."""
        self.rungs.update(rungs)

    def fell_back(self, reason: str) -> None:
        """Count a stack that did not run where it was planned to."""
        self.fallbacks[reason] += 1

    def ran_on(self, device: str) -> None:
        """Remember a device that a function ran on."""
        self.devices[device] = None

    def describe_routes(self) -> tuple[str, ...]:
        """The conversions, in order of appearance."""
        return tuple(route if count == 1 else f"{route} ({count} times)" for route, count in self.routes.items())

    def counted_rungs(self) -> tuple[RungResult, ...]:
        """The rungs, in order of appearance, with the stacks they happened to."""
        return tuple(replace(rung, stacks=count) for rung, count in self.rungs.items())

    def describe_fallbacks(self, stacks: int) -> str | None:
        """The fallbacks as one sentence; None: there were none."""
        if not self.fallbacks:
            return None
        reasons = (
            reason if count == stacks else f"{reason} ({count} of {stacks} stacks)"
            for reason, count in self.fallbacks.items()
        )
        return "; ".join(reasons) + "."

    def describe_devices(self, default: str) -> str:
        """Where the functions ran; ``default`` if none did."""
        return ", ".join(self.devices) or default
