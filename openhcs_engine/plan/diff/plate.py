"""What changed around the steps: plate, packages, run options, devices, output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any, Final

from openhcs_engine.laws.now import PRODUCT
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.wording import counted, listed
from openhcs_engine.plan.context import OutputPlan, ProcessingContext
from openhcs_engine.plan.diff.change import ABSENT, Change, ChangeKind, Label, differing, from_to, walk

Plan = Mapping[str, ProcessingContext]
_NOT_STALE: Final = {
    "plate_id": "plate id:",
    "name": "the instrument's name:",
    "microscope": "microscope:",
    "root": "folder:",
    "z_step_um": "distance of z planes, µm:",
    "shape": "image size:",
    "dtype": "pixel type of the images:",
}
"""What makes no result stale by itself."""
_OF_PLATE: Final = {"pixel_size_um": Label(ChangeKind.PLATE, "pixel size, µm:")} | {
    name: Label(ChangeKind.PLATE, words, stale=False) for name, words in _NOT_STALE.items()
}
_OF_OUTPUT: Final = {
    "plate_id": None,
    "backend": Label(
        ChangeKind.OUTPUT, stale=False, more="; what is published in the other form is made again in this one"
    ),
}


def compare_plates(before: Plate, after: Plate, wells: frozenset[str]) -> Iterator[Change]:
    """Channels and pixel size, which results carry, and what a person should know besides."""
    names, others = ({channel.index: channel.name for channel in plate.channels} for plate in (before, after))
    of_channels = partial(Change, kind=ChangeKind.CHANNELS, where="plate", wells=wells)
    for index, old, new in sorted(differing(names, others)):
        if new is ABSENT:
            yield of_channels(what=f"channel {index} ({old}) is gone", before=old)
        elif old is ABSENT:
            yield of_channels(what=f"channel {index} ({new}) is new", after=new)
        else:
            yield of_channels(what=from_to(f"channel {index}:", old, new), before=old, after=new)
    if names == others and list(names) != list(others):
        yield of_channels(what="its channels stand in another order", before=list(names), after=list(others))
    values, new_values = ({name: getattr(plate, name) for name in _OF_PLATE} for plate in (before, after))
    yield from walk(values, new_values, _OF_PLATE, where="plate", wells=wells)
    if before.plate_map != after.plate_map:
        yield Change(kind=ChangeKind.PLATE, where="plate", what="another plate map")


def compare_packages(before: tuple[str, ...], after: tuple[str, ...], wells: frozenset[str]) -> Iterator[Change]:
    """Packages that make pixels."""
    old, new = ({name: version for name, _, version in (each.partition("==") for each in of)} for of in (before, after))
    labels = {name: Label(ChangeKind.VERSION, name) for name in (*old, *new)}
    labels[PRODUCT] = Label(ChangeKind.VERSION, PRODUCT, stale=False)  # calls say what changed in its functions
    yield from walk(old, new, labels, where="packages", wells=wells)
    if old == new and before != after:
        what = "told in another order"
        yield Change(
            kind=ChangeKind.VERSION, where="packages", what=what, before=list(before), after=list(after), wells=wells
        )


def compare_options(before: ProcessingContext, after: ProcessingContext, wells: frozenset[str]) -> Iterator[Change]:
    """What a run does with planes that have no file."""
    labels = {"on_missing": Label(ChangeKind.ON_MISSING, "planes without a file:")}
    old, new = ({"on_missing": context.on_missing.value} for context in (before, after))
    yield from walk(old, new, labels, where="on_missing", wells=wells)


def compare_stages(before: Plan, after: Plan, wells: tuple[str, ...]) -> Iterator[Change]:
    """Where the stage stood, for functions that take it."""
    other = frozenset(well for well in wells if before[well].stage_um != after[well].stage_um)
    if other:
        what = f"other positions in {counted(len(other), 'well')}"
        yield Change(kind=ChangeKind.STAGE, where="stage positions", what=what, wells=other)


def compare_devices(before: Plan, after: Plan, wells: tuple[str, ...]) -> Iterator[Change]:
    """Devices that the steps are planned for; they change no result."""
    old, new = (
        Counter(context.device_of(step) for context in (plan[well] for well in wells) for step in context.steps)
        for plan in (before, after)
    )
    if old.keys() != new.keys():
        names, others = listed(sorted(old)), listed(sorted(new))
        what = from_to("", names, others)
        yield Change(kind=ChangeKind.DEVICE, where="devices", what=what, before=names, after=others)


def compare_outputs(before: OutputPlan, after: OutputPlan) -> Iterator[Change]:
    """Where and how results are written; no result goes stale by it, though the other backend has none yet."""
    yield from walk(dict(_flat(before)), dict(_flat(after)), _OF_OUTPUT, Label(ChangeKind.OUTPUT), where="output")


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of nested dataclasses, each by its path."""
    for field in fields(value):
        inner = getattr(value, field.name)
        if is_dataclass(inner):
            yield from _flat(inner, f"{prefix}{field.name} ")
        else:
            yield prefix + field.name, inner


__all__ = [
    "Plan",
    "compare_devices",
    "compare_options",
    "compare_outputs",
    "compare_packages",
    "compare_plates",
    "compare_stages",
]
