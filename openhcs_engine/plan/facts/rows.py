"""The steps of a plan in words, the same for the command line and for the UI."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from openhcs_engine.model.components import Component
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.quantities.sizes import format_bytes
from openhcs_engine.model.well_spans import format_spans
from openhcs_engine.model.wording import counted
from openhcs_engine.plan.calls import function_name
from openhcs_engine.plan.context import FitPlan, FunctionCall, Route, StepPlan
from openhcs_engine.plan.facts.facts import ArtifactLink, PlanFacts, StepFacts
from openhcs_engine.plan.facts.prediction import NOT_MEASURED

Lines = Sequence[str]
Row = Mapping[str, Lines]
"""Lines of each cell by the name of its column."""
_ARTIFACT_PATHS: Final = {
    "table": "tables/{}",
    "measurements": "tables/{}, summarised in tables/wells",
    "positions": "tables/{}",
    "labels": "the labels of the images",
}


def step_rows(facts: PlanFacts) -> list[Row]:
    """A row for each step; cells without lines say nothing that a person must know."""
    return [_row(step, facts) for step in facts.steps]


def fit_rows(facts: PlanFacts) -> list[Row]:
    """A row for each plate step: what is fitted, and on which images."""
    return [_fit_row(plan, facts.first.plate) for plan in facts.first.fits]


def _fit_row(plan: FitPlan, plate: Plate) -> Row:
    keys = [plane.key for plane in plan.planes]
    wells = tuple(dict.fromkeys(key.well for key in keys))
    sites = len({(key.well, key.site) for key in keys})
    return {
        "step": (f"plate step {plan.name}",),
        "functions": (_call(plan.step.call),),
        "memory types": (plan.step.call.input_type,),
        "images": [
            f"{len(part.planes)} of {plan.step.images} asked for"
            + (f", channel {plate.channel(part.channel).label}" if part.channel is not None else "")
            for part in plan.parts
        ],
        "of": (f"{counted(len(wells), 'well')} ({format_spans(wells, plate.wells)}), {counted(sites, 'site')}",),
        "kept in": (f"fits/{plan.name}/{plan.fingerprint[:12]}…",),
    }


def _row(facts: StepFacts, plan: PlanFacts) -> Row:
    step, of = facts.step, len(plan.contexts)
    return {
        "step": (f"{step.number}. {step.name}",),
        "wells": () if len(facts.wells) == of else (f"{len(facts.wells)} of {of}",),
        "functions": _functions(step, plan.first.plate),
        "memory types": _memory_types(facts),
        "device": [f"{device}: {counted(wells, 'well')}" for device, wells in facts.devices.items()],
        "stacks": _stacks(facts, plan),
        "reads": (_reads(facts),),
        "writes": (_writes(facts),),
        "makes": [_made(link) for link in facts.makes],
        "takes": [_taken(link, plan) for link in facts.takes],
        "time": (NOT_MEASURED if facts.time == plan.time else facts.time.told,),  # the reason stands below once
    }


def _functions(step: StepPlan, plate: Plate) -> list[str]:
    """A line for each chain of calls, led by the keys that it is for."""
    chains: dict[str, list[str]] = {}
    for route in step.routes:
        chains.setdefault(" → ".join(map(_call, route.calls)), []).append(_key(step, route, plate))
    lines = [f"{', '.join(keys)}: {chain}" if keys != [""] else chain for chain, keys in chains.items()]
    left = {"pass": "others pass unchanged", "drop": "others are dropped"}.get(step.uncovered)
    return [*lines, left] if left and step.group_by is not None else lines


def _call(call: FunctionCall) -> str:
    parameters = ", ".join(f"{name}={value}" for name, value in call.kwargs.items())
    return f"{function_name(call)}({parameters})" if parameters else function_name(call)


def _key(step: StepPlan, route: Route, plate: Plate) -> str:
    if route.key is None or step.group_by is None:
        return ""
    return (
        plate.channel(route.key).label if step.group_by is Component.CHANNEL else f"{step.group_by.value} {route.key}"
    )


def _memory_types(facts: StepFacts) -> list[str]:
    """Types that the functions take and return, then the conversions at their boundaries."""
    chains = _once(_types(route) for route in facts.step.routes)
    return [*chains, *_once(way for route in facts.step.routes for way in facts.conversions(route))]


def _types(route: Route) -> str:
    first, last = route.calls[0].input_type, route.calls[-1].output_type
    return first if first == last else f"{first} -> {last}"


def _stacks(facts: StepFacts, plan: PlanFacts) -> list[str]:
    alike: Counter[str] = Counter()  # routes with equal stacks are one line
    for stack, count in facts.stacks.items():
        alike[stack.name()] += count
    along = " and ".join(component.value for component in facts.step.variable_components)
    most = "" if plan.same_in_all else " at most"
    return [f"{count}{most} a well of {name}, along {along}" for name, count in alike.items()]


def _reads(facts: StepFacts) -> str:
    source = "the plate" if facts.after is None else f"step {facts.after}, from {facts.step.reads}"
    return f"{source}, {format_bytes(facts.read)} a well"


def _writes(facts: StepFacts) -> str:
    step = facts.step
    target = "the output" if step.writes == "output" else step.writes
    materialized = f", kept in {step.materialize.place}" if step.materialize else ""
    return f"{target}, {format_bytes(facts.left)} a well{materialized}"


def _made(link: ArtifactLink) -> str:
    path = _ARTIFACT_PATHS.get(link.kind)
    stored = f", kept in {path.format(link.name)}" if path else "" if link.steps else ", for nobody"
    return f"{link.name} ({link.kind}){_arrow('→', link)}{stored}"


def _taken(link: ArtifactLink, plan: PlanFacts) -> str:
    fitted = any(fit.name == link.name for fit in plan.first.fits)
    return f"{link.name}{_arrow('←', link) or (' ← its plate step' if fitted else ' ← the plate')}"


def _arrow(arrow: str, link: ArtifactLink) -> str:
    if not link.steps:
        return ""
    return f" {arrow} step{'s' * (len(link.steps) > 1)} {', '.join(map(str, link.steps))}"


def _once(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


__all__ = ["Lines", "Row", "fit_rows", "step_rows"]
