"""The facts of a plan, step by step and as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from openhcs_engine.plan.calls import conversions
from openhcs_engine.plan.context import CPU, FunctionCall, ProcessingContext, Route, StepPlan
from openhcs_engine.plan.facts.measurements import Measurements
from openhcs_engine.plan.facts.prediction import Prediction, Predictor
from openhcs_engine.plan.flow import StepStacks, WellFlow, flows_of, output_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactLink:
    """An artifact that a step makes or takes."""

    name: str
    kind: str
    """``table``, ``positions``, ``labels``, ``object``; empty for what the engine knows of the planes."""
    steps: tuple[int, ...]
    """Numbers of the steps that take it, or that make it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFacts:
    """What follows from the plan for one step; bytes and stacks are those of the well with the most planes."""

    step: StepPlan
    """As that well runs it."""
    after: int | None
    """Number of the step whose planes it takes there; None: it reads the plate."""
    wells: tuple[str, ...]
    """Those that it applies to."""
    devices: Mapping[str, int]
    """How many wells run it on each logical device."""
    stacks: StepStacks
    read: int
    """Bytes of pixels that enter it."""
    left: int
    """Bytes of the planes behind it."""
    makes: tuple[ArtifactLink, ...]
    takes: tuple[ArtifactLink, ...]
    time: Prediction

    def conversions(self, route: Route) -> tuple[str, ...]:
        """Where the stacks of a route change their library, and how."""
        return conversions(route, on_gpu=set(self.devices) != {CPU})


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """Bytes that a well, or all of them, move; uncompressed."""

    read: int
    """Raw pixels."""
    peak: int
    """The most that is there at a time: planes between steps, labels, and the working copies of the largest stack."""
    held: int
    """Of that, what lies between two steps."""
    output: int
    """Images at most, with their resolutions, labels and kept planes; tables left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFacts:
    """What follows from a plan."""

    contexts: Mapping[str, ProcessingContext]
    steps: tuple[StepFacts, ...]
    a_well: Volume
    """Of the well with the most planes."""
    plate: Volume
    """Of all wells; ``peak`` and ``held`` are those of one, which each worker needs."""
    time: Prediction

    @property
    def first(self) -> ProcessingContext:
        """The first well's context; all share plate, steps and output."""
        return next(iter(self.contexts.values()))

    @property
    def same_in_all(self) -> bool:
        """True if all wells have as many planes."""
        return len({len(context.index) for context in self.contexts.values()}) == 1


def facts_of_plan(contexts: Mapping[str, ProcessingContext], measured: Measurements | None = None) -> PlanFacts:
    """What follows from a plan and from what earlier runs into its output measured. Reads no pixel and no file.

    Parameters
    ----------
    contexts
        By well, not empty.
    measured
        As ``output.measured.read_measurements`` gives it; default: nothing was measured.
    """
    flows = flows_of(contexts)
    predictor = Predictor(measured or Measurements(), flows)
    steps = tuple(_step(step, contexts, flows, predictor) for step in flows[0].context.steps)
    return PlanFacts(
        contexts=contexts,
        steps=steps,
        a_well=Volume(
            read=max(flow.from_plate for flow in flows),
            peak=max(flow.peak for flow in flows),
            held=max(flow.held for flow in flows),
            output=max(flow.output for flow in flows),
        ),
        plate=Volume(
            read=sum(flow.from_plate * len(flow.wells) for flow in flows),
            peak=max(flow.peak for flow in flows),
            held=max(flow.held for flow in flows),
            output=output_bytes(flows),
        ),
        time=predictor.plan(facts.time for facts in steps),
    )


def _step(
    step: StepPlan, contexts: Mapping[str, ProcessingContext], flows: tuple[WellFlow, ...], predictor: Predictor
) -> StepFacts:
    own = {well: context for well, context in contexts.items() if step.applies_to(well)}
    fullest = next((flow for flow in flows if step.applies_to(flow.context.well)), flows[0])
    steps, run = fullest.context.steps, fullest.context.own_steps
    before = [each.number for each in run if each.number < step.number]
    planned = next((each for each in run if each.number == step.number), step)
    flow = fullest.steps[step.number - 1]
    return StepFacts(
        step=planned,
        after=before[-1] if before and planned.reads != "source" else None,
        wells=tuple(own),
        devices=dict(sorted(Counter(context.device_of(step) for context in own.values()).items())),
        stacks=flow.stacks,
        read=flow.read,
        left=flow.written,
        makes=_makes(step, steps),
        takes=_takes(step),
        time=predictor.step(step),
    )


def _makes(step: StepPlan, steps: tuple[StepPlan, ...]) -> tuple[ArtifactLink, ...]:
    made = dict.fromkeys((output.name, output.kind.value) for call in _calls(step) for output in call.side_outputs)
    return tuple(
        ArtifactLink(name=name, kind=kind, steps=tuple(_takers(name, step.number, steps))) for name, kind in made
    )


def _takers(name: str, maker: int, steps: tuple[StepPlan, ...]) -> list[int]:
    return [
        step.number
        for step in steps
        if any(
            side.name == name and any(source.step == maker for source in side.sources)
            for call in _calls(step)
            for side in call.side_inputs
        )
    ]


def _takes(step: StepPlan) -> tuple[ArtifactLink, ...]:
    taken: dict[str, dict[int, None]] = {}
    for call in _calls(step):
        for side in call.side_inputs:
            taken.setdefault(side.name, {}).update({source.step: None for source in side.sources})
    return tuple(ArtifactLink(name=name, kind="", steps=tuple(makers)) for name, makers in taken.items())


def _calls(step: StepPlan) -> list[FunctionCall]:
    return [call for route in step.routes for call in route.calls]


__all__ = ["ArtifactLink", "PlanFacts", "StepFacts", "Volume", "facts_of_plan"]
