"""What changed around the steps: plate, packages, run options, devices, output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

from openhcs_engine.laws.now import PRODUCT
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.wording import counted, listed
from openhcs_engine.plan.context import OutputPlan, ProcessingContext
from openhcs_engine.plan.diff.calls import plain
from openhcs_engine.plan.diff.change import Change, ChangeKind, from_to

Plan = Mapping[str, ProcessingContext]
_TOLD_OF_PLATE: Final = {
    "plate_id": "plate id",
    "name": "the instrument's name",
    "microscope": "microscope",
    "root": "folder",
    "z_step_um": "distance of z planes, µm",
    "shape": "image size",
    "dtype": "pixel type of the images",
}
"""What makes no result stale by itself."""
_SILENT_IN_OUTPUT: Final = frozenset({"plate_id"})


def compare_plates(before: Plate, after: Plate, wells: frozenset[str]) -> Iterator[Change]:
    """Channels and pixel size, which results carry, and what a person should know besides."""
    old, new = ({channel.index: channel.name for channel in plate.channels} for plate in (before, after))
    for index in sorted({*old, *new}):
        if index not in new:
            yield _plate(ChangeKind.CHANNELS, f"channel {index} ({old[index]}) is gone", old[index], None, wells)
        elif index not in old:
            yield _plate(ChangeKind.CHANNELS, f"channel {index} ({new[index]}) is new", None, new[index], wells)
        elif old[index] != new[index]:
            what = from_to(f"channel {index}:", old[index], new[index])
            yield _plate(ChangeKind.CHANNELS, what, old[index], new[index], wells)
    if old == new and list(old) != list(new):
        yield _plate(ChangeKind.CHANNELS, "its channels stand in another order", list(old), list(new), wells)
    if before.pixel_size_um != after.pixel_size_um:
        sizes = before.pixel_size_um, after.pixel_size_um
        yield _plate(ChangeKind.PLATE, from_to("pixel size, µm:", *sizes), *sizes, wells)
    for name, label in _TOLD_OF_PLATE.items():
        old_value, new_value = getattr(before, name), getattr(after, name)
        if old_value != new_value:
            what = from_to(f"{label}:", old_value, new_value)
            yield _plate(ChangeKind.PLATE, what, plain(old_value), plain(new_value), frozenset())
    if before.plate_map != after.plate_map:
        yield _plate(ChangeKind.PLATE, "another plate map", None, None, frozenset())


def compare_packages(before: tuple[str, ...], after: tuple[str, ...], wells: frozenset[str]) -> Iterator[Change]:
    """Packages that make pixels."""
    old, new = (dict(_version(each) for each in versions) for versions in (before, after))
    names = [name for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)]
    for name in names:
        what = from_to(name, old.get(name), new.get(name))
        stale = frozenset() if name == PRODUCT else wells  # what changed in its functions stands in their calls
        yield _of(ChangeKind.VERSION, "packages", what, old.get(name), new.get(name), stale)
    if not names and before != after:
        yield _of(ChangeKind.VERSION, "packages", "told in another order", list(before), list(after), wells)


def compare_options(before: ProcessingContext, after: ProcessingContext, wells: frozenset[str]) -> Iterator[Change]:
    """What a run does with planes that have no file."""
    if before.on_missing is not after.on_missing:
        old, new = before.on_missing.value, after.on_missing.value
        what = from_to("planes without a file:", old, new)
        yield _of(ChangeKind.ON_MISSING, "on_missing", what, old, new, wells)


def compare_stages(before: Plan, after: Plan, wells: tuple[str, ...]) -> Iterator[Change]:
    """Where the stage stood, for functions that are told."""
    other = frozenset(well for well in wells if before[well].stage_um != after[well].stage_um)
    if other:
        what = f"other positions in {counted(len(other), 'well')}"
        yield _of(ChangeKind.STAGE, "stage positions", what, None, None, other)


def compare_devices(before: Plan, after: Plan, wells: tuple[str, ...]) -> Iterator[Change]:
    """Devices that the steps are planned for; they change no result."""
    old, new = (
        Counter(context.device_of(step) for context in (plan[well] for well in wells) for step in context.steps)
        for plan in (before, after)
    )
    if old.keys() != new.keys():
        names = listed(sorted(old)), listed(sorted(new))
        yield _of(ChangeKind.DEVICE, "devices", from_to("", *names), *names, frozenset())


def compare_outputs(before: OutputPlan, after: OutputPlan) -> Iterator[Change]:
    """Where and how results are written; no result goes stale by it, though the other backend has none yet."""
    old, new = dict(_flat(before)), dict(_flat(after))
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name) and name not in _SILENT_IN_OUTPUT:
            what = from_to(f"{name.replace('_', ' ')}:", old.get(name), new.get(name))
            if name == "backend":
                what += "; what is published in the other form is made again in this one"
            yield _of(ChangeKind.OUTPUT, "output", what, plain(old.get(name)), plain(new.get(name)), frozenset())


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of nested dataclasses, each by its path."""
    for field in fields(value):
        inner = getattr(value, field.name)
        if is_dataclass(inner):
            yield from _flat(inner, f"{prefix}{field.name} ")
        else:
            yield prefix + field.name, inner


def _version(text: str) -> tuple[str, str]:
    name, _, version = text.partition("==")
    return name, version


def _plate(kind: ChangeKind, what: str, before: Any, after: Any, wells: frozenset[str]) -> Change:
    return _of(kind, "plate", what, before, after, wells)


def _of(kind: ChangeKind, where: str, what: str, before: Any, after: Any, wells: frozenset[str]) -> Change:
    return Change(kind=kind, where=where, what=what, before=before, after=after, wells=wells)


__all__ = [
    "Plan",
    "compare_devices",
    "compare_options",
    "compare_outputs",
    "compare_packages",
    "compare_plates",
    "compare_stages",
]
