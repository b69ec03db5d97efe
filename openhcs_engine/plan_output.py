"""What ``openhcs compile`` prints of a plan: a table for people, and JSON beside the plan document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from openhcs_engine.cli_output import well_span
from openhcs_engine.compiler import Compilation
from openhcs_engine.compiler.contracts import conversions, function_name
from openhcs_engine.context import CPU, FunctionCall, ProcessingContext, Route, StepPlan, plan_fingerprint
from openhcs_engine.model.components import Component

JsonRow = dict[str, Any]  # Any: what JSON may hold


def explanation(compilation: Compilation) -> JsonRow:
    """What follows from a plan, as ``openhcs compile --json`` prints it below ``explained``."""
    contexts = compilation.contexts
    return {
        "notes": compilation.notes,
        "steps": [
            {
                "number": step.number,
                "name": step.name,
                "routes": [_route(route, _on_gpu(step, contexts)) for route in step.routes],
                "devices": devices_of(step, contexts),
                "wells": list(contexts) if step.wells is None else [well for well in contexts if step.applies_to(well)],
                "kept_in": step.materialize.place if step.materialize else None,
            }
            for step in _first(contexts).steps
        ],
    }


def devices_of(step: StepPlan, contexts: Mapping[str, ProcessingContext]) -> dict[str, int]:
    """How many wells run a step on each logical device."""
    return dict(sorted(Counter(context.device_of(step) for context in contexts.values()).items()))


def print_plan(compilation: Compilation) -> None:
    """The steps of a plan, its wells, and what a person should know."""
    contexts = compilation.contexts
    first = _first(contexts)
    columns = ("step", "name", "functions", "arrays", "conversions", "stacks along", "reads", "writes", "device")
    table = Table(*columns, title="Plan", title_justify="left")
    for step in first.steps:
        table.add_row(
            str(step.number),
            escape(step.name + _asked_of(step, contexts)),
            escape("\n".join(_key(step, route, first) + _functions(route) for route in step.routes)),
            "\n".join(f"{route.calls[0].input_type} -> {route.calls[-1].output_type}" for route in step.routes),
            "\n".join(", ".join(conversions(route, on_gpu=_on_gpu(step, contexts))) or "none" for route in step.routes),
            ", ".join(component.value for component in step.variable_components),
            step.reads,
            step.writes if step.materialize is None else f"{step.writes}\n{step.materialize.place}",
            "\n".join(
                f"{device}: {wells} well{'s' if wells != 1 else ''}"
                for device, wells in devices_of(step, contexts).items()
            ),
        )
    console = Console()
    console.print(table)
    planes = sum(len(context.index) for context in contexts.values())
    fingerprint = plan_fingerprint(contexts.values())[:12]
    console.print(f"{len(contexts)} wells ({well_span(tuple(contexts))}), {planes} planes, fingerprint {fingerprint}")
    for kind, sentences in (("warning", first.plate.warnings), ("note", compilation.notes)):
        for sentence in sentences:
            console.print(f"[yellow]{kind}:[/] {escape(sentence)}", soft_wrap=True)


def _asked_of(step: StepPlan, contexts: Mapping[str, ProcessingContext]) -> str:
    """How many of the wells a step is for, where it is not for all of them."""
    count = sum(step.applies_to(well) for well in contexts)
    return "" if count == len(contexts) else f"\n({count} of {len(contexts)} wells)"


def _on_gpu(step: StepPlan, contexts: Mapping[str, ProcessingContext]) -> bool:
    return set(devices_of(step, contexts)) != {CPU}


def _route(route: Route, on_gpu: bool) -> JsonRow:
    return {
        "key": route.key,
        "calls": [
            {
                "function": call.reference,
                "declared": call.declared,
                "input_type": call.input_type,
                "output_type": call.output_type,
                "dtype": call.dtype,
            }
            for call in route.calls
        ],
        "conversions": conversions(route, on_gpu=on_gpu),
    }


def _first(contexts: Mapping[str, ProcessingContext]) -> ProcessingContext:
    return next(iter(contexts.values()))


def _key(step: StepPlan, route: Route, context: ProcessingContext) -> str:
    if step.group_by is None or route.key is None:
        return ""
    if step.group_by is Component.CHANNEL:
        return f"{context.plate.channel(route.key).label}: "
    return f"{step.group_by.value} {route.key}: "


def _functions(route: Route) -> str:
    return " → ".join(function_name(call) + _kwargs(call) for call in route.calls)


def _kwargs(call: FunctionCall) -> str:
    return f"({', '.join(f'{name}={value}' for name, value in call.kwargs.items())})" if call.kwargs else ""
