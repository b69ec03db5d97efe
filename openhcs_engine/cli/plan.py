"""What ``openhcs compile`` prints of a plan: a table for people, and JSON beside the plan document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from openhcs_engine.compiler import Compilation
from openhcs_engine.model.quantities.sizes import format_bytes
from openhcs_engine.model.well_spans import format_spans
from openhcs_engine.model.wording import counted
from openhcs_engine.plan.context import FitPlan, Route, plan_fingerprint
from openhcs_engine.plan.facts import ArtifactLink, PlanFacts, Prediction, StepFacts, facts_of_plan
from openhcs_engine.plan.facts.facts import Volume
from openhcs_engine.plan.facts.measurements import Measurements
from openhcs_engine.plan.facts.prediction import format_seconds
from openhcs_engine.plan.facts.rows import Lines, Row, fit_rows, step_rows

JsonRow = dict[str, Any]  # Any: what JSON may hold
_WIDE: Final = 140
"""Columns from which a step is shown in two halves."""
_WHAT: Final = ("wells", "functions", "memory types", "device")
"""What a step does, on the left of the two; on the right is what it moves."""


def explanation(compilation: Compilation, measured: Measurements | None = None) -> JsonRow:
    """What follows from a plan, as ``openhcs compile --json`` prints it below ``explained``."""
    facts = facts_of_plan(compilation.contexts, measured)
    return {
        "notes": compilation.notes,
        **({"fits": [_fit(plan) for plan in facts.first.fits]} if facts.first.fits else {}),
        "steps": [_step(step) for step in facts.steps],
        "bytes": {"a_well": _volume(facts.a_well), "plate": _volume(facts.plate)},
        "seconds": _seconds(facts.time),
    }


def print_plan(compilation: Compilation, measured: Measurements | None = None, console: Console | None = None) -> None:
    """The steps of a plan, what they move and how long they will take, and what a person should know."""
    facts = facts_of_plan(compilation.contexts, measured)
    screen = console or Console()
    screen.print(_title(facts), soft_wrap=True, highlight=False)
    for rendered in plan_blocks(facts, screen.width):
        screen.print(rendered, highlight=False)
    screen.print(_totals(facts), highlight=False)
    screen.print(f"time: {_time(facts)}", soft_wrap=True, highlight=False)
    screen.print(f"planes between steps: {escape(facts.first.output.scratch.summary)}", soft_wrap=True, highlight=False)
    for kind, sentences in (("warning", facts.first.plate.warnings), ("note", compilation.notes)):
        for sentence in sentences:
            screen.print(f"[yellow]{kind}:[/] {escape(sentence)}", soft_wrap=True, highlight=False)


def plan_blocks(facts: PlanFacts, width: int) -> Iterable[RenderableType]:
    """The steps, each with a line for each thing that there is to say; side by side in two halves on a wide screen.

    A table with a column for each would break its cells into shreds on every screen that people have.
    """
    return [part for row in (*fit_rows(facts), *step_rows(facts)) for part in _block(row, width)]


def _block(row: Row, width: int) -> Iterable[RenderableType]:
    (_, heading), *cells = row.items()
    yield Text(" ".join(heading), style="bold")
    if width < _WIDE:
        yield Padding(_sheet(cells), (0, 0, 1, 2))
        return
    halves = Table.grid(padding=(0, 4), pad_edge=False, expand=True)
    halves.add_column(ratio=1)
    halves.add_column(ratio=1)
    what = [(name, lines) for name, lines in cells if name in _WHAT]
    halves.add_row(_sheet(what), _sheet([cell for cell in cells if cell not in what]))
    yield Padding(halves, (0, 0, 1, 2))


def _sheet(cells: Iterable[tuple[str, Lines]]) -> Table:
    sheet = Table.grid(padding=(0, 2), pad_edge=False)
    sheet.add_column(style="dim", no_wrap=True)
    sheet.add_column(overflow="fold")
    for name, lines in cells:
        for number, line in enumerate(lines):
            sheet.add_row(name if number == 0 else "", Text(line))
    return sheet


def _totals(facts: PlanFacts) -> Table:
    table = Table("bytes", "raw pixels read", "at most at a time", "written", box=SIMPLE_HEAD, pad_edge=False)
    a_well = "a well" if facts.same_in_all else "the fullest well"
    for name, volume in ((a_well, facts.a_well), (f"plate, {counted(len(facts.contexts), 'well')}", facts.plate)):
        at_a_time = format_bytes(volume.peak) + (" a worker" if volume is facts.plate else "")
        table.add_row(name, format_bytes(volume.read), at_a_time, format_bytes(volume.output))
    return table


def _title(facts: PlanFacts) -> str:
    contexts, first = facts.contexts, facts.first
    planes = sum(len(context.index) for context in contexts.values())
    fingerprint = plan_fingerprint(contexts.values())[:12]
    named = f' of "{first.output.pipeline}"' if first.output.pipeline else ""
    spans = format_spans(tuple(contexts), first.plate.wells)
    return escape(
        f"Plan{named} for plate {first.plate.plate_id}: {counted(len(contexts), 'well')} ({spans}), {planes} planes, "
        f"fingerprint {fingerprint}\n"
    )


def _time(facts: PlanFacts) -> str:
    time = facts.time
    if time.seconds is None or time.plate_seconds is None:
        return time.told
    return f"{time.told}, {format_seconds(time.plate_seconds)} for the plate with one worker"


def _fit(plan: FitPlan) -> JsonRow:
    keys = [plane.key for plane in plan.planes]
    return {
        "name": plan.name,
        "function": plan.step.call.reference,
        "parameters": plan.step.call.kwargs.thaw(),
        "images": {"" if part.channel is None else str(part.channel): len(part.planes) for part in plan.parts},
        "asked": plan.step.images,
        "minimum": plan.step.minimum,
        "wells": list(dict.fromkeys(key.well for key in keys)),
        "files": [plane.path for plane in plan.planes],
        "fingerprint": plan.fingerprint,
    }


def _step(facts: StepFacts) -> JsonRow:
    step = facts.step
    return {
        "number": step.number,
        "name": step.name,
        "routes": [_route(facts, route) for route in step.routes],
        "devices": facts.devices,
        "wells": facts.wells,
        "kept_in": step.materialize.place if step.materialize else None,
        "stacks": [
            {
                "count": count,
                "planes": stack.planes,
                "shape": stack.pixels.shape,
                "dtype": stack.pixels.dtype,
                "along": [component.value for component in step.variable_components],
            }
            for stack, count in facts.stacks.items()
        ],
        "reads": step.reads,
        "writes": step.writes,
        "bytes": {"read": facts.read, "left": facts.left},
        "makes": [_link(link) for link in facts.makes],
        "takes": [_link(link) for link in facts.takes],
        "seconds": _seconds(facts.time),
    }


def _route(facts: StepFacts, route: Route) -> JsonRow:
    return {
        "key": route.key,
        "calls": [
            {
                "function": call.reference,
                "parameters": call.kwargs.thaw(),
                "declared": call.declared,
                "input_type": call.input_type,
                "output_type": call.output_type,
                "dtype": call.dtype,
            }
            for call in route.calls
        ],
        "conversions": facts.conversions(route),
    }


def _link(link: ArtifactLink) -> JsonRow:
    return {"name": link.name, "kind": link.kind or None, "steps": link.steps}


def _volume(volume: Volume) -> JsonRow:
    return {"read": volume.read, "peak": volume.peak, "held": volume.held, "output": volume.output}


def _seconds(time: Prediction) -> JsonRow:
    return {"a_well": time.seconds, "plate": time.plate_seconds, "wells_measured": time.wells, "told": time.told}
