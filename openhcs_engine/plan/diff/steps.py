"""What changed in the steps of a plan, and which wells each change touches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final

from openhcs_engine.model.components import Component
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.well_spans import told_spans
from openhcs_engine.model.wording import listed
from openhcs_engine.plan.context import MaterializePlan, Route, StepPlan, pixels_of
from openhcs_engine.plan.diff.calls import Difference, compare_calls, function_label
from openhcs_engine.plan.diff.change import Change, ChangeKind, from_to
from openhcs_engine.plan.diff.step_pairs import StepPair, StepPairs, pair_steps

Wells = tuple[str, ...]
"""Wells that both plans have."""
_NOT_PIXELS: Final = frozenset({"number", "name", "reads", "writes"})
"""Fields of a step that are told otherwise, or that follow from the others."""


def compare_steps(before: Sequence[StepPlan], after: Sequence[StepPlan], wells: Wells, plate: Plate) -> list[Change]:
    """The changes of two plans' steps, in the order of the later plan."""
    pairs = pair_steps(before, after)
    changes = [*_gone(pairs, wells)]
    for step in sorted((*pairs.added, *(pair.after for pair in pairs.both)), key=lambda step: step.number):
        pair = next((pair for pair in pairs.both if pair.after is step), None)
        changes += _came(step, wells) if pair is None else _in_both(pair, pairs.numbers, wells, plate)
    return changes


def step_label(step: StepPlan) -> str:
    """``step 2 "Denoise"``."""
    return f'step {step.number} "{step.name}"'


def _gone(pairs: StepPairs, wells: Wells) -> Iterator[Change]:
    for step in pairs.removed:
        yield _change(ChangeKind.STEP_REMOVED, step, f"removed ({_does(step)})", step.name, None, _own(step, wells))


def _came(step: StepPlan, wells: Wells) -> list[Change]:
    return [_change(ChangeKind.STEP_ADDED, step, f"added ({_does(step)})", None, step.name, _own(step, wells))]


def _in_both(pair: StepPair, numbers: Mapping[int, int], wells: Wells, plate: Plate) -> list[Change]:
    before, after = pair.before, pair.after
    both = frozenset(well for well in wells if before.applies_to(well) and after.applies_to(well))
    changes = [*_name_and_place(pair, both), *_wells(pair, wells), *_kept(pair, both)]
    for found in (*_arguments(before, after), *_routes(before, after, numbers, plate)):
        changes.append(_change(found.kind, after, found.what, found.before, found.after, both))
    return changes


def _name_and_place(pair: StepPair, both: frozenset[str]) -> Iterator[Change]:
    before, after = pair.before, pair.after
    if before.name != after.name:
        renamed = replace(before, name=after.name)
        shows = frozenset(well for well in both if pixels_of(before, well) != pixels_of(renamed, well))
        why = ", which the output's channel is called after" if shows else ""
        what = f'renamed from "{before.name}"{why}'
        yield _change(ChangeKind.STEP_RENAMED, after, what, before.name, after.name, shows)
    if pair.moved and before.number != after.number:
        what = f"moved from place {before.number} to {after.number}"
        yield _change(ChangeKind.STEP_MOVED, after, what, before.number, after.number, both)


def _wells(pair: StepPair, wells: Wells) -> Iterator[Change]:
    before, after = pair.before, pair.after
    if before.wells == after.wells:
        return
    other = frozenset(well for well in wells if before.applies_to(well) != after.applies_to(well))
    old, new = (None if step.wells is None else list(step.wells) for step in (before, after))
    told = (("all" if step.wells is None else told_spans(step.wells)) for step in (before, after))
    yield _change(ChangeKind.WELL_FILTER, after, from_to("wells", *told), old, new, other)


def _kept(pair: StepPair, both: frozenset[str]) -> Iterator[Change]:
    before, after = pair.before.materialize, pair.after.materialize
    if before == after:
        return
    other = frozenset(well for well in both if _place(pair.before.kept_as(well)) != _place(pair.after.kept_as(well)))
    old, new = (kept and kept.place for kept in (before, after))
    what = from_to("its planes are kept in", old, new) if old != new else f"its planes are kept of other wells in {new}"
    yield _change(ChangeKind.KEPT_PLANES, pair.after, what, old, new, other)


def _place(kept: MaterializePlan | None) -> tuple[str, str] | None:
    return None if kept is None else (kept.sub_folder, kept.backend)


def _arguments(before: StepPlan, after: StepPlan) -> Iterator[Difference]:
    """Fields of a step that are one value each, those of later versions included."""
    told: Mapping[str, tuple[ChangeKind, str, Callable[[Any], str]]] = {
        "variable_components": (ChangeKind.AXES, "stacks along", listed),
        "group_by": (ChangeKind.GROUP_BY, "grouped by", lambda component: component or "nothing"),
        "uncovered": (ChangeKind.UNCOVERED, "stacks without an entry:", str),
        "from_start": (ChangeKind.INPUT, "reads", lambda start: "the plate" if start else "the step before"),
    }
    for field in fields(StepPlan):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old == new or field.name in _NOT_PIXELS | {"wells", "materialize", "routes"}:
            continue
        kind, label, as_text = told.get(field.name, (ChangeKind.OTHER, f"{field.name}:", str))
        yield Difference(kind, from_to(label, as_text(old), as_text(new)), as_text(old), as_text(new))


def _routes(before: StepPlan, after: StepPlan, numbers: Mapping[int, int], plate: Plate) -> Iterator[Difference]:
    old, new = ({route.key: route for route in step.routes} for step in (before, after))
    if set(old) != set(new) and not set(old) & set(new) and len(old) == len(new) == 1:
        (one,), (other,) = old.values(), new.values()
        yield _other_key(one, other, before, after, plate)
        yield from compare_calls(one.calls, other.calls, numbers)
        return
    for key in sorted({*old, *new}, key=lambda key: -1 if key is None else key):
        label = key_label(after if key in new else before, key, plate)
        if key not in new:
            yield Difference(ChangeKind.KEYS, f"{label or 'for all stacks'} has no entry any more", key, None)
        elif key not in old:
            calls = _chain(new[key])
            yield Difference(ChangeKind.KEYS, f"{label or 'for all stacks'} has a new entry ({calls})", None, key)
        else:
            for found in compare_calls(old[key].calls, new[key].calls, numbers):
                yield replace(found, what=f"{label}: {found.what}" if label else found.what)


def _other_key(one: Route, other: Route, before: StepPlan, after: StepPlan, plate: Plate) -> Difference:
    labels = [key_label(step, route.key, plate) or "all stacks" for step, route in ((before, one), (after, other))]
    return Difference(ChangeKind.KEYS, from_to("its entry is for", *labels), one.key, other.key)


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


__all__ = ["compare_steps", "key_label", "step_label"]
