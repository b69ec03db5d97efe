"""Steps as tables of the UI: what a plan says of them, and what they did in a well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from openhcs_engine.context import CPU, ProcessingContext, Route, StepPlan
from openhcs_engine.execution.results import StepResult
from openhcs_engine.model.components import Component

if TYPE_CHECKING:
    from openhcs_engine.compiler.stacks import StepStacks

Lines = Sequence[str]
Row = Mapping[str, Lines]
"""Lines of each cell by the name of its column."""
_USUAL: Final = "numpy → numpy"
"""Not told where every step is so."""


def markdown_table(rows: Iterable[Row]) -> str:
    """A table in markdown; columns that no row fills are left out. Empty text without rows."""
    filled = list(rows)
    columns = [name for name in (filled[0] if filled else ()) if any(row[name] for row in filled)]
    # Dagster's markdown knows no line break inside of a cell.
    cells = [["; ".join(map(_cell, row[name])) for name in columns] for row in filled]
    return _lines([columns, ["---"] * len(columns), *cells]) if columns else ""


def markdown_sheet(rows: Iterable[Row]) -> str:
    """The same on its side, for the UI's narrow column: a line a value, each row begun by its first one in bold."""
    lines = [["", ""], ["---", "---"]]
    for row in rows:
        (heading, *_), *others = row.items()
        lines.append([heading, f"**{'; '.join(map(_cell, row[heading]))}**"])
        for name, values in others:
            unbroken = name.replace(" ", "\N{NO-BREAK SPACE}")
            lines += [[unbroken if number == 0 else "", _cell(value)] for number, value in enumerate(values)]
    return _lines(lines)


def _lines(cells: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _cell(text: str) -> str:
    """Text that markdown shows as it is: parameters may hold any character."""
    escaped = "".join(f"\\{char}" if char in "\\`*_[]|#~" else char for char in text)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")


def plan_table(contexts: Mapping[str, ProcessingContext]) -> str:
    """The steps of a plan in markdown, as ``openhcs compile`` tells them; stacks and bytes are of the fullest well."""
    from openhcs_engine.compiler.stacks import stacks_of_steps

    fullest = max(contexts.values(), key=lambda context: len(context.index))
    stacks = stacks_of_steps(fullest.plate, fullest.steps, fullest.index)
    return markdown_sheet(
        {
            **_declared(step, contexts, fullest),
            "stacks a well": _stacks(step, facts),
            "reads → writes": (_places(step),),
        }
        for step, facts in zip(fullest.steps, stacks, strict=True)
    )


def _declared(step: StepPlan, contexts: Mapping[str, ProcessingContext], some: ProcessingContext) -> dict[str, Lines]:
    from openhcs_engine.compiler.contracts import conversions

    own = [context for context in contexts.values() if step.applies_to(context.well)]
    devices = Counter(context.device_of(step) for context in own)
    on_gpu = set(devices) - {CPU} != set()
    arrays = _once(f"{route.calls[0].input_type} → {route.calls[-1].output_type}" for route in step.routes)
    return {
        "step": (f"{step.number}. {step.name}",),
        "wells": () if len(own) == len(contexts) else (f"{len(own)} of {len(contexts)}",),
        "functions": [line for route in step.routes for line in _functions(step, route, some)],
        "arrays": () if arrays == (_USUAL,) else arrays,
        "conversions": _once(way for route in step.routes for way in conversions(route, on_gpu=on_gpu)),
        "device": [f"{device}: {count} wells" if len(devices) > 1 else device for device, count in devices.items()],
    }


def _stacks(step: StepPlan, stacks: StepStacks) -> list[str]:
    """How many there are of each size, along which axes they run, and the bytes that enter."""
    import numpy as np

    from openhcs_engine.compiler.devices import size

    alike: Counter[str] = Counter()  # routes with equal stacks are one line
    for facts, count in stacks.items():
        alike[facts.name()] += count
    total = sum(
        count * facts.planes * facts.pixels.count * np.dtype(facts.pixels.dtype).itemsize
        for facts, count in stacks.items()
        if facts.pixels.dtype is not None
    )
    along = ", ".join(component.value for component in step.variable_components)
    told = [f"{count} of {name}, along {along}" for name, count in alike.items()]
    return [*told, size(total)] if total else told


def _places(step: StepPlan) -> str:
    kept = f", kept in {step.materialize.place}" if step.materialize else ""
    return f"{step.reads} → {step.writes}{kept}"


def _once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _functions(step: StepPlan, route: Route, context: ProcessingContext) -> list[str]:
    """The calls of a route, the first with the key that leads to it; parameters are lines of their own."""
    from openhcs_engine.compiler.contracts import function_name

    key = ""
    if route.key is not None and step.group_by is not None:
        of_channel = step.group_by is Component.CHANNEL
        key = f"{context.plate.channel(route.key).label if of_channel else f'{step.group_by} {route.key}'}: "
    lines = []
    for number, call in enumerate(route.calls):
        lines.append(("→ " if number else key) + function_name(call))
        lines += [f"with {', '.join(f'{name}={value}' for name, value in call.kwargs.items())}"] if call.kwargs else []
    return lines


def steps_table(steps: Iterable[StepResult]) -> str:
    """What each step of a well did, in markdown; empty for a well that was not computed."""
    return markdown_table(_done(step) for step in steps)


def _done(step: StepResult) -> Row:
    return {
        "step": (f"{step.number}. {step.name}",),
        "device": (step.device,),
        "seconds": (f"{step.seconds:.2f}",),
        "stacks": (str(step.stacks),),
        "planes": (f"{step.planes_read} → {step.planes_written}",),
        "conversions": step.routes,
        "beside planes": tuple(record.told for record in step.side_outputs),
        "not as planned": (step.fallback,) if step.fallback else (),
        "out of memory": tuple(rung.told for rung in step.rungs),
        "notes": step.notes,
    }


__all__ = ["markdown_sheet", "markdown_table", "plan_table", "steps_table"]
