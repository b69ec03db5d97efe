"""What changed in the steps of a plan, and which wells each change touches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from openhcs_engine.model.components import Component
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.well_spans import format_spans
from openhcs_engine.model.wording import listed
from openhcs_engine.plan.context import Route, StepPlan, pixels_of
from openhcs_engine.plan.diff.calls import compare_calls, function_label
from openhcs_engine.plan.diff.change import Change, ChangeKind, Label, from_to, values_of, walk
from openhcs_engine.plan.diff.step_pairs import StepPair, pair_steps

Wells = tuple[str, ...]
"""Wells that both plans have."""
_LABELS: Final[Mapping[str, Label | None]] = {
    "variable_components": Label(ChangeKind.AXES, "stacks along", listed),
    "group_by": Label(ChangeKind.GROUP_BY, "grouped by", lambda component: component or "nothing"),
    "uncovered": Label(ChangeKind.UNCOVERED, "stacks without an entry:"),
    "from_start": Label(ChangeKind.INPUT, "reads", lambda start: "the plate" if start else "the step before"),
    **dict.fromkeys(("number", "name", "reads", "writes")),  # described elsewhere, or follow from the others
    **dict.fromkeys(("wells", "materialize", "routes")),  # compared by themselves
}
_OTHER: Final = Label(ChangeKind.OTHER, text=str)


def compare_steps(before: Sequence[StepPlan], after: Sequence[StepPlan], wells: Wells, plate: Plate) -> list[Change]:
    """The changes of two plans' steps, in the order of the later plan."""
    pairs = pair_steps(before, after)
    changes = []
    for step in pairs.removed:
        what = f"removed ({_does(step)})"
        changes.append(_change(ChangeKind.STEP_REMOVED, step, what, step.name, None, _own(step, wells)))
    for step in sorted((*pairs.added, *(pair.after for pair in pairs.both)), key=lambda step: step.number):
        pair = next((pair for pair in pairs.both if pair.after is step), None)
        if pair is not None:
            changes += _in_both(pair, pairs.numbers, wells, plate)
        else:
            what = f"added ({_does(step)})"
            changes.append(_change(ChangeKind.STEP_ADDED, step, what, None, step.name, _own(step, wells)))
    return changes


def _in_both(pair: StepPair, numbers: Mapping[int, int], wells: Wells, plate: Plate) -> Iterator[Change]:
    before, after = pair.before, pair.after
    both = _own(before, wells) & _own(after, wells)
    if before.name != after.name:
        renamed = replace(before, name=after.name)
        shows = frozenset(well for well in both if pixels_of(before, well) != pixels_of(renamed, well))
        why = ", which the output's channel is called after" if shows else ""
        what = f'renamed from "{before.name}"{why}'
        yield _change(ChangeKind.STEP_RENAMED, after, what, before.name, after.name, shows)
    if pair.moved and before.number != after.number:
        what = f"moved from place {before.number} to {after.number}"
        yield _change(ChangeKind.STEP_MOVED, after, what, before.number, after.number, both)
    if before.wells != after.wells:
        old_filter, new_filter = (None if step.wells is None else list(step.wells) for step in (before, after))
        texts = (("all" if step.wells is None else format_spans(step.wells)) for step in (before, after))
        other = _own(before, wells) ^ _own(after, wells)
        yield _change(ChangeKind.WELL_FILTER, after, from_to("wells", *texts), old_filter, new_filter, other)
    if before.materialize != after.materialize:
        old, new = (kept and kept.place for kept in (before.materialize, after.materialize))
        what = from_to("its planes are kept in", old, new)
        what = what if old != new else f"its planes are kept of other wells in {new}"
        other = frozenset(well for well in both if _store(before, well) != _store(after, well))
        yield _change(ChangeKind.KEPT_PLANES, after, what, old, new, other)
    within = (*walk(values_of(before), values_of(after), _LABELS, _OTHER), *_routes(before, after, numbers, plate))
    yield from (replace(change, where=step_label(after), wells=both) for change in within)


def step_label(step: StepPlan) -> str:
    """``step 2 "Denoise"``."""
    return f'step {step.number} "{step.name}"'


def _store(step: StepPlan, well: str) -> tuple[str, str] | None:
    kept = step.materialized(well)
    return None if kept is None else (kept.sub_folder, kept.backend)


def _routes(before: StepPlan, after: StepPlan, numbers: Mapping[int, int], plate: Plate) -> Iterator[Change]:
    old, new = ({route.key: route for route in step.routes} for step in (before, after))
    if not set(old) & set(new) and len(old) == len(new) == 1:
        (one,), (other,) = old.values(), new.values()
        labels = (key_label(before, one.key, plate), key_label(after, other.key, plate))
        what = from_to("its entry is for", *(label or "all stacks" for label in labels))
        yield Change(kind=ChangeKind.KEYS, what=what, before=one.key, after=other.key)
        yield from compare_calls(one.calls, other.calls, numbers)
        return
    for key in sorted({*old, *new}, key=lambda key: -1 if key is None else key):
        label = key_label(after if key in new else before, key, plate)
        if key not in new:
            what = f"{label or 'for all stacks'} has no entry any more"
            yield Change(kind=ChangeKind.KEYS, what=what, before=key)
        elif key not in old:
            what = f"{label or 'for all stacks'} has a new entry ({_chain(new[key])})"
            yield Change(kind=ChangeKind.KEYS, what=what, after=key)
        else:
            for change in compare_calls(old[key].calls, new[key].calls, numbers):
                yield replace(change, what=f"{label}: {change.what}" if label else change.what)


def key_label(step: StepPlan, key: int | None, plate: Plate) -> str:
    """What a route's key means: a channel's name, or ``site 3``; empty for the route of all stacks."""
    if key is None or step.group_by is None:
        return ""
    if step.group_by is Component.CHANNEL:
        return next((each.label for each in plate.channels if each.index == key), f"channel {key}")
    return f"{step.group_by.value} {key}"


def _does(step: StepPlan) -> str:
    return "; ".join(dict.fromkeys(map(_chain, step.routes)))


def _chain(route: Route) -> str:
    return " → ".join(map(function_label, route.calls))


def _own(step: StepPlan, wells: Wells) -> frozenset[str]:
    return frozenset(well for well in wells if step.applies_to(well))


def _change(kind: ChangeKind, step: StepPlan, what: str, before: Any, after: Any, wells: frozenset[str]) -> Change:
    return Change(kind=kind, where=step_label(step), what=what, before=before, after=after, wells=wells)


__all__ = ["compare_steps"]
