"""Steps as tables of the UI: what a plan says of them, and what they did in a well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from openhcs_engine.execution.results import StepResult

if TYPE_CHECKING:
    from openhcs_engine.plan.facts import PlanFacts

Lines = Sequence[str]
Row = Mapping[str, Lines]
"""Lines of each cell by the name of its column."""


def markdown_table(rows: Iterable[Row]) -> str:
    """A table in markdown; columns that no row fills are left out. Empty text without rows."""
    filled = list(rows)
    columns = [name for name in (filled[0] if filled else ()) if any(row[name] for row in filled)]
    # Dagster's markdown knows no line break inside of a cell.
    cells = [["; ".join(map(markdown_text, row[name])) for name in columns] for row in filled]
    return _lines([columns, ["---"] * len(columns), *cells]) if columns else ""


def markdown_sheet(rows: Iterable[Row]) -> str:
    """The same on its side, for the UI's narrow column: a line a value, each row begun by its first one in bold."""
    lines = [["", ""], ["---", "---"]]
    for row in rows:
        (heading, *_), *others = row.items()
        lines.append([heading, f"**{'; '.join(map(markdown_text, row[heading]))}**"])
        for name, values in others:
            unbroken = name.replace(" ", "\N{NO-BREAK SPACE}")
            lines += [[unbroken if number == 0 else "", markdown_text(value)] for number, value in enumerate(values)]
    return _lines(lines)


def _lines(cells: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def markdown_text(text: str) -> str:
    """Text that markdown shows as it is: parameters may hold any character."""
    escaped = "".join(f"\\{char}" if char in "\\`*_[]|#~" else char for char in text)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")


def plan_table(facts: PlanFacts) -> str:
    """The steps of a plan in markdown, as ``openhcs compile`` prints them; stacks and bytes are of the fullest well."""
    from openhcs_engine.plan.facts.rows import step_rows

    return markdown_sheet(step_rows(facts))


def volume_table(facts: PlanFacts) -> str:
    """Bytes that a well and the whole plate move, in markdown."""
    from openhcs_engine.model.quantities.sizes import format_bytes

    return markdown_table(
        {
            "bytes": (name,),
            "raw pixels read": (format_bytes(volume.read),),
            "at most at a time": (f"{format_bytes(volume.peak)}{of}",),
            "written": (format_bytes(volume.output),),
        }
        for name, volume, of in (("a well", facts.a_well, ""), ("plate", facts.plate, " a worker"))
    )


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
        "beside planes": tuple(record.summary for record in step.side_outputs),
        "not as planned": (step.fallback,) if step.fallback else (),
        "out of memory": tuple(rung.summary for rung in step.rungs),
        "values lost": tuple(cast.told for cast in step.lossy_casts),
        "notes": step.notes,
    }


__all__ = ["markdown_sheet", "markdown_table", "markdown_text", "plan_table", "steps_table", "volume_table"]
