"""What changed in what is fitted once a plate, and which wells use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from openhcs_engine.model.image_index import ImagePlane
from openhcs_engine.model.wording import counted, listed_first
from openhcs_engine.plan.calls import function_name
from openhcs_engine.plan.context import FitPlan, ProcessingContext
from openhcs_engine.plan.diff.calls import compare_calls
from openhcs_engine.plan.diff.change import Change, ChangeKind, from_to

Plan = Mapping[str, ProcessingContext]


def compare_fits(before: Plan, after: Plan, wells: tuple[str, ...]) -> Iterator[Change]:
    """Plate steps that came or went, and what is different in their functions, samples and packages."""
    old, new = ({plan.name: plan for plan in next(iter(of.values())).fits} for of in (before, after))
    for name in dict.fromkeys((*new, *old)):
        using = frozenset(well for well in wells if _uses(before[well], name) or _uses(after[well], name))
        change = partial(Change, kind=ChangeKind.FIT, where=f'plate step "{name}"', wells=using)
        if name not in old:
            yield change(what=f"added ({function_name(new[name].step.call)})", after=name)
        elif name not in new:
            yield change(what=f"removed ({function_name(old[name].step.call)})", before=name)
        elif old[name].fingerprint != new[name].fingerprint:
            for each in _within(old[name], new[name]):
                yield replace(each, where=f'plate step "{name}"', wells=using)


def _uses(context: ProcessingContext, name: str) -> bool:
    return any(plan.name == name for plan in context.own_fits)


def _within(old: FitPlan, new: FitPlan) -> Iterator[Change]:
    yield from compare_calls((old.step.call,), (new.step.call,), {})
    if old.step.images != new.step.images:
        what = from_to("images asked for:", old.step.images, new.step.images)
        yield Change(kind=ChangeKind.FIT, what=what, before=old.step.images, after=new.step.images)
    if old.step.per_channel != new.step.per_channel:
        what = f"fitted {'for each channel' if new.step.per_channel else 'for all channels together'}"
        yield Change(kind=ChangeKind.FIT, what=what, before=old.step.per_channel, after=new.step.per_channel)
    if old.versions != new.versions:
        removed, added = (sorted({*one} - {*other}) for one, other in _both_ways(old.versions, new.versions))
        yield Change(kind=ChangeKind.VERSION, what=from_to("packages", removed, added), before=removed, after=added)
    yield from _sample(old, new)


def _both_ways(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    return (one, other), (other, one)


def _sample(old: FitPlan, new: FitPlan) -> Iterator[Change]:
    before, after = ({plane.key: plane for plane in plan.planes} for plan in (old, new))
    both = [(before[key], plane) for key, plane in after.items() if key in before]
    ways = (
        ("no longer in its sample", [plane for key, plane in before.items() if key not in after]),
        ("new in its sample", [plane for key, plane in after.items() if key not in before]),
        ("of its sample that can be read now", [later for earlier, later in both if _came(earlier, later)]),
        ("of its sample that cannot be read", [later for earlier, later in both if _came(later, earlier)]),
        ("of its sample written again", [later for earlier, later in both if _is_other(earlier, later)]),
    )
    for words, planes in ways:
        if planes:
            paths = [str(plane.path) for plane in planes]
            what = f"{counted(len(paths), 'image')} {words} ({listed_first(paths, 5)})"
            yield Change(kind=ChangeKind.FIT, what=what, after=paths)


def _came(one: ImagePlane, other: ImagePlane) -> bool:
    return other.present and not one.present


def _is_other(one: ImagePlane, other: ImagePlane) -> bool:
    same = (one.path, *one.stamp, one.chunks) == (other.path, *other.stamp, other.chunks)
    return one.present and other.present and not same


__all__ = ["compare_fits"]
