"""What happened to the stacks of a step, counted while it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from openhcs_engine.execution.results import CastResult, RungResult
from openhcs_engine.memory.cast_loss import Cast, CastNote
from openhcs_engine.memory.convert import Conversion


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

    def told_routes(self) -> tuple[str, ...]:
        """The conversions, in order of appearance."""
        return tuple(route if count == 1 else f"{route} ({count} times)" for route, count in self.routes.items())

    def told_rungs(self) -> tuple[RungResult, ...]:
        """The rungs, in order of appearance, with the stacks they happened to."""
        return tuple(replace(rung, stacks=count) for rung, count in self.rungs.items())

    def told_fallback(self, stacks: int) -> str | None:
        """The fallbacks as one sentence; None: there were none."""
        if not self.fallbacks:
            return None
        told = (
            reason if count == stacks else f"{reason} ({count} of {stacks} stacks)"
            for reason, count in self.fallbacks.items()
        )
        return "; ".join(told) + "."

    def told_devices(self, default: str) -> str:
        """Where the functions ran; ``default`` if none did."""
        return ", ".join(self.devices) or default
