"""How long the steps of a plan will take: what earlier runs measured, scaled by pixels. Nothing is ever invented."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from openhcs_engine.model.wording import counted
from openhcs_engine.plan.context import ProcessingContext, StepPlan
from openhcs_engine.plan.diff.step_pairs import functions_of
from openhcs_engine.plan.facts.measurements import MeasuredStep, MeasuredWell, Measurements
from openhcs_engine.plan.flow import WellFlow, flows_of

NOT_MEASURED: Final = "not measured yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Seconds that are expected, and what they rest on."""

    seconds: float | None = None
    """Of one well with the most planes; None: nothing that could be compared was measured."""
    plate_seconds: float | None = None
    """Of all wells one after another."""
    wells: int = 0
    """Wells that were measured."""
    why: str = ""
    """What a person should know: why there is no number, or how the measured wells differed."""

    @property
    def told(self) -> str:
        """``about 0.42 s a well (12 wells measured)``, or why there is no number."""
        if self.seconds is None:
            return f"{NOT_MEASURED}: {self.why}"
        differed = f", {self.why}" if self.why else ""
        return f"about {format_seconds(self.seconds)} a well ({counted(self.wells, 'well')} measured{differed})"


@dataclass(frozen=True, slots=True)
class _Sample:
    """One measured step beside the planned one."""

    rate: float
    """Seconds a pixel."""
    kind: str
    same: bool
    """True: the very same parameters and sources."""


class Predictor:
    """Compares the steps of one plan with what was measured.

    Parameters
    ----------
    measured
        What earlier runs into the same output measured.
    flows
        What flows through the wells of the plan.
    """

    def __init__(self, measured: Measurements, flows: Sequence[WellFlow]) -> None:
        self._measured = measured
        self._flows = flows
        self._seen = list(zip(measured.wells, _flows_of(measured.wells), strict=True))

    def step(self, step: StepPlan) -> Prediction:
        """Seconds of one step, from wells whose step called the same functions on the same kind of device."""
        own = [flow for flow in self._flows if step.applies_to(flow.context.well)]
        kinds = {_kind(flow.context.device_of(step)) for flow in own}
        samples = list(self._samples(step))
        fitting = [sample for sample in samples if sample.kind in kinds]
        if not fitting or len(kinds) > 1:
            return Prediction(why=self._why_not(step, samples, kinds))
        same = [sample for sample in fitting if sample.same]
        used = same or fitting
        weights = [(flow, flow.steps[step.number - 1].weight) for flow in own]
        why = "" if same else "with other parameters or sources"
        return _predicted([sample.rate for sample in used], weights, why)

    def around(self) -> Prediction:
        """Seconds that wells take beside their steps: writing, checksums, publishing."""
        backend = self._flows[0].context.output.backend
        rates = [
            max(0.0, well.seconds - sum(step.seconds for step in well.steps)) / max(1, flow.written_weight)
            for well, flow in self._seen
            if well.context.output.backend == backend
        ]
        if not rates:
            return Prediction(why=self._nothing or f"no well there was written as {backend}")
        return _predicted(rates, [(flow, flow.written_weight) for flow in self._flows])

    def plan(self, steps: Iterable[Prediction]) -> Prediction:
        """Seconds of whole wells; None if any step was never measured."""
        parts = [*steps, self.around()]
        unknown = next((part for part in parts if part.seconds is None), None)
        if unknown is not None:
            return Prediction(why=self._nothing or "not all steps were")
        return Prediction(
            seconds=sum(part.seconds or 0.0 for part in parts),
            plate_seconds=sum(part.plate_seconds or 0.0 for part in parts),
            wells=min(part.wells for part in parts),
        )

    def _samples(self, step: StepPlan) -> Iterable[_Sample]:
        wanted = functions_of(step)
        for well, flow in self._seen:
            for planned, measured in _both(well):
                if functions_of(planned) == wanted:
                    rate = measured.seconds / max(1, flow.steps[planned.number - 1].weight)
                    yield _Sample(rate, measured.kind, _deeds(planned) == _deeds(step))
                    break

    @property
    def _nothing(self) -> str:
        """Why nothing at all was measured; empty if something was."""
        if not self._measured.output:
            return self._measured.why_none or "no output was looked at"
        if not self._measured.published:
            return f"{self._measured.output} holds no results"
        return "" if self._seen else f"the plans of the wells in {self._measured.output} are gone or of another version"

    def _why_not(self, step: StepPlan, samples: Sequence[_Sample], kinds: set[str]) -> str:
        if len(kinds) > 1:
            return "some wells run on the CPU and some on GPUs"
        if samples:
            return f"it ran on the {samples[0].kind.upper()} only"
        return self._nothing or f"no run into {self._measured.output} called the same functions in one step"


def format_seconds(seconds: float) -> str:
    """Seconds as a person reads them: ``0.42 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 99.5:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def _flows_of(wells: Sequence[MeasuredWell]) -> list[WellFlow]:
    """What flowed through each well, plan by plan: wells that were alike are looked at once."""
    plans: dict[int, dict[str, ProcessingContext]] = {}
    for each in wells:
        plans.setdefault(id(each.context.steps), {})[each.context.well] = each.context
    flows = {(plan, well): flow for plan in plans for flow in flows_of(plans[plan]) for well in flow.wells}
    return [flows[id(each.context.steps), each.context.well] for each in wells]


def _both(well: MeasuredWell) -> Iterable[tuple[StepPlan, MeasuredStep]]:
    planned = {step.number: step for step in well.context.own_steps}
    return ((planned[measured.number], measured) for measured in well.steps if measured.number in planned)


def _deeds(step: StepPlan) -> object:
    """What decides how long a stack takes."""
    return step.routes, step.variable_components


def _kind(device: str) -> str:
    return "gpu" if device.startswith("gpu") else "cpu"


def _predicted(rates: Sequence[float], weights: Sequence[tuple[WellFlow, int]], why: str = "") -> Prediction:
    rate = median(rates)
    return Prediction(
        seconds=rate * max((weight for _, weight in weights), default=0),
        plate_seconds=rate * sum(weight * len(flow.wells) for flow, weight in weights),
        wells=len(rates),
        why=why,
    )


__all__ = ["NOT_MEASURED", "Prediction", "Predictor", "format_seconds"]
