"""What ``openhcs diff`` prints: what changed between two plans, and which wells go stale; for people and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from openhcs_engine.model.well_spans import format_spans
from openhcs_engine.model.wording import counted
from openhcs_engine.output.named_plan import GivenPlan, as_stored, published_with, read_given_plan
from openhcs_engine.plan.context import plan_fingerprint
from openhcs_engine.plan.diff import Change, PlanDiff, compare_plans

JsonRow = dict[str, Any]  # Any: what JSON may hold
_GROUPS: Final = 12
"""Groups of stale wells that are listed one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two plans that a person named, side by side."""

    before: GivenPlan
    after: GivenPlan
    diff: PlanDiff
    output: str | None
    """The output whose wells were looked at: the later plan's, or else the earlier one's."""
    published: tuple[str, ...] = ()
    """Wells that it holds as the later plan would make them."""


def compare_given(before: str, after: str) -> Comparison:
    """Read and compare two plans; see ``read_given_plan`` for what they may be and what it raises."""
    old, new = read_given_plan(before), read_given_plan(after)
    output = new.output or old.output
    later = new.contexts if output is None else as_stored(output, new.contexts)
    return Comparison(
        before=old,
        after=new,
        diff=compare_plans(old.contexts, later),
        output=output,
        published=() if output is None else published_with(output, new.contexts),
    )


def comparison_document(compared: Comparison) -> JsonRow:
    """The comparison as ``openhcs diff --json`` prints it."""
    diff = compared.diff
    return {
        "before": _plan(compared.before),
        "after": _plan(compared.after),
        "equal": diff.equal,
        "changes": [_change(change) for change in diff.changes],
        "stale": [
            {"wells": group.wells, "reasons": [diff.changes.index(reason) for reason in group.reasons]}
            for group in diff.stale
        ],
        "wells": {
            "stale": diff.stale_wells,
            "unchanged": diff.unchanged,
            "added": diff.added,
            "removed": diff.removed,
        },
        "output": compared.output,
        "published": None if compared.output is None else compared.published,
        "notes": [*compared.before.notes, *compared.after.notes],
    }


def print_comparison(compared: Comparison, console: Console | None = None) -> None:
    """The comparison as a person reads it."""
    screen, diff = console or Console(), compared.diff
    _line(screen, f"before: {compared.before.source}")
    _line(screen, f"after:  {compared.after.source}")
    if diff.equal:
        _line(screen, "The plans are equal: nothing changed, and no well goes stale.")
    for heading, changes in (("makes wells stale", True), ("changes no result", False)):
        _changes(screen, heading, [change for change in diff.changes if bool(change.wells) is changes], diff)
    if not diff.equal:
        _wells(screen, diff)
    _published(screen, compared)
    for note in (*compared.before.notes, *compared.after.notes):
        screen.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True, highlight=False)


def _changes(screen: Console, heading: str, changes: list[Change], diff: PlanDiff) -> None:
    if not changes:
        return
    screen.print(f"\n[bold]{heading}[/]", highlight=False)
    for change in changes:
        wells = tuple(well for well in diff.wells if well in change.wells)
        spans = f" [dim]\\[{format_spans(wells, diff.wells)}][/]" if wells else ""
        _item(screen, escape(change.summary) + spans)


def _wells(screen: Console, diff: PlanDiff) -> None:
    screen.print("\n[bold]wells[/]", highlight=False)
    for group in diff.stale[:_GROUPS]:
        _item(screen, f"[yellow]stale[/] {_span(group.wells, diff)}: {escape('; '.join(map(_short, group.reasons)))}")
    rest = sum(len(group.wells) for group in diff.stale[_GROUPS:])
    if rest:
        _item(screen, f"[yellow]stale[/] {rest} more wells, for other sets of these reasons")
    for state, wells in (("new", diff.added), ("gone", diff.removed), ("unchanged", diff.unchanged)):
        if wells:
            _item(screen, f"{state} {_span(wells, diff)}")
    stale = len(diff.stale_wells)
    _line(screen, f"\n{stale} of {counted(len(diff.wells), 'well')} stale" if stale else "\nNo well goes stale.")


def _published(screen: Console, compared: Comparison) -> None:
    if compared.output is None:
        return
    wells, after = compared.published, tuple(compared.after.contexts)
    missing = tuple(well for well in after if well not in set(wells))
    line = f"{compared.output}: {len(wells)} of {counted(len(after), 'well')} published as the later plan makes them"
    if wells and missing:
        line += f" ({format_spans(wells, after)}); not {format_spans(missing, after)}"
    _line(screen, line)


def _span(wells: tuple[str, ...], diff: PlanDiff) -> str:
    return f"{format_spans(wells, diff.wells)} ({counted(len(wells), 'well')})"


def _short(change: Change) -> str:
    """A reason without the files that it names: they stand above."""
    return change.summary.split(" (", 1)[0] if change.where == "raw files" else change.summary


def _plan(given: GivenPlan) -> JsonRow:
    return {
        "plan": given.source,
        "fingerprint": plan_fingerprint(given.contexts.values()),
        "pipeline": next(iter(given.contexts.values())).output.pipeline,
        "wells": len(given.contexts),
    }


def _change(change: Change) -> JsonRow:
    return {
        "kind": change.kind.value,
        "where": change.where,
        "told": change.summary,
        "before": change.before,
        "after": change.after,
        "stale": len(change.wells),
    }


def _item(screen: Console, text: str) -> None:
    """A line of a list; where it is too long, its rest stands below its beginning."""
    sheet = Table.grid(padding=(0, 1), pad_edge=False)
    sheet.add_row(" -", text)
    screen.print(sheet, highlight=False)


def _line(screen: Console, text: str) -> None:
    screen.print(escape(text), soft_wrap=True, highlight=False)


__all__ = ["Comparison", "compare_given", "comparison_document", "print_comparison"]
