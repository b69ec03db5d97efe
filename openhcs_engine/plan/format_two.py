"""Planes of plan documents of format 2, which earlier versions wrote: read, and written no more.

Wells share templates of their files' names, such as ``P1_{row}{column:02d}_s{site}_w{channel}.tif``. A *slot* is one
plane that wells can have: a coordinate on a template. Numbers are written as runs, and in base 36.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, product
from math import prod
from typing import Final, NamedTuple, TypeAlias

from msgspec import Struct

from openhcs_engine.errors import UnknownWellError
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane, PlaneKind
from openhcs_engine.model.wells import row_and_column, row_letters
from openhcs_engine.plan.plane_table import check_inside
from openhcs_engine.raw.array_listing import DIGEST_LETTERS

FORMAT: Final = 2
MAX_PLANES: Final = 2**24
"""A document that claims more is refused before any is made."""

Runs: TypeAlias = list[int | tuple[int, int]]
"""Integers in order: one by itself, or (first, last) of a run."""
Key: TypeAlias = tuple[int | None, int | None, int | None, int | None]
"""Time point, site, channel and z."""

_AXES: Final = ("timepoint", "site", "channel", "z_index")
_AXIS_FIELD: Final = re.compile(r"\{(timepoint|site|channel|z_index)([+-][0-9]{1,18})?(?::0([0-9]{1,2})d)?\}")
_WELL_FIELD: Final = re.compile(r"\{(row|column)(?::(lower|0?[0-9]{0,2}d))?\}")
_ODD: Final = re.compile(r"[\0-\x1f{}]")


class PathTemplate(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The paths of planes that follow one pattern."""

    path: str | None = None
    """With fields; None: planes that were declared and never named."""
    kind: PlaneKind = PlaneKind.PLANE
    array_index: str | None = None
    """Index into the array that ``path`` is, with fields."""
    timepoint: Runs | None = None
    """Values along the axis, each with each of the others; None: collapsed, or see ``keys``."""
    site: Runs | None = None
    channel: Runs | None = None
    z_index: Runs | None = None
    keys: list[Key] | None = None
    """The coordinates, where they are no product of axes."""


class Column(Struct, frozen=True, forbid_unknown_fields=True):
    """What the values of a column have in common: each is ``first`` and some multiple of ``unit``."""

    first: int = 0
    unit: int = 1


class WellPlanes(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is one well's own."""

    slots: Runs | None = None
    """Its planes, in order, as positions among all slots, counted from 0; None: every slot once."""
    absent: Runs = []
    """Those of its planes, counted from 0, that have no file."""
    size: int | str = 0
    """Multiples of the column's unit: of all planes, or one a plane in base 36."""
    mtime_ns: int | str = 0
    """Likewise, each behind the first as change from the plane before."""
    chunks: str = ""
    """Digests of the chunks of its arrays, one behind the other in the order in which its planes name them."""
    texts: list[str] = []
    """What stands for ``{text}``, of each plane whose template has it."""


class PlaneIndex(Struct, frozen=True, forbid_unknown_fields=True):
    """The planes of all wells."""

    templates: list[PathTemplate]
    size: Column
    mtime_ns: Column
    wells: dict[str, WellPlanes]

    def by_well(self) -> dict[str, ImageIndex]:
        """The planes of each well.

        Raises
        ------
        ValueError
            If the index contradicts itself, claims more planes than a plan can have, or names files outside the plate
            folder.
        """
        count = sum(map(_count, self.templates))
        _refuse_too_many(count)
        _refuse_too_many(sum(count if own.slots is None else _length(own.slots) for own in self.wells.values()))
        slots = sorted((slot for template in self.templates for slot in _expand(template)), key=_order)
        wells = {}
        for well, own in self.wells.items():
            try:
                wells[well] = ImageIndex(tuple(self._planes(well, own, slots)))
            except (ValueError, UnknownWellError) as error:
                raise ValueError(f"of well {well}, {error}") from error
        return wells

    def _planes(self, well: str, own: WellPlanes, slots: Sequence[_Slot]) -> list[ImagePlane]:
        slots = slots if own.slots is None else _chosen(slots, own.slots)
        if _length(own.absent) > len(slots):
            raise ValueError(f"more than its {len(slots)} planes are absent")
        absent = frozenset(_integers(own.absent))
        sizes = _numbers(self.size, own.size, len(slots), differences=False)
        times = _numbers(self.mtime_ns, own.mtime_ns, len(slots), differences=True)
        paths = _paths(well, slots, own.texts)
        of_arrays = [path for path, slot in zip(paths, slots, strict=True) if slot.array_index is not None]
        digests = _digests(of_arrays, own.chunks)
        return [
            ImagePlane(
                key=ImageKey(well, site, channel, z_index, time),
                path=path,
                kind=slot.kind,
                present=number not in absent,
                size=sizes[number],
                mtime_ns=times[number],
                array_index=slot.array_index,
                chunks="" if slot.array_index is None else digests.get(path, ""),
            )
            for number, (slot, path) in enumerate(zip(slots, paths, strict=True))
            for time, site, channel, z_index in [slot.key]
        ]


class _Slot(NamedTuple):
    key: Key
    kind: PlaneKind
    array_index: tuple[int, ...] | None
    path: str | None
    """With fields for the well and for text of its own."""


def _refuse_too_many(planes: int) -> None:
    if planes > MAX_PLANES:
        raise ValueError(f"there are {planes:,} planes, and a plan has at most {MAX_PLANES:,}")


def _count(template: PathTemplate) -> int:
    axes = (template.timepoint, template.site, template.channel, template.z_index)
    return prod(_length(axis) for axis in axes if axis is not None) if template.keys is None else len(template.keys)


def _expand(template: PathTemplate) -> Iterator[_Slot]:
    keys: Iterable[Key] = template.keys or ()
    if template.keys is None:
        axes = (template.timepoint, template.site, template.channel, template.z_index)
        times, sites, channels, depths = ([None] if axis is None else _integers(axis) for axis in axes)
        keys = product(times, sites, channels, depths)
    for key in keys:
        index = None if template.array_index is None else _render(template.array_index, key)
        array_index = None if index is None else tuple(int(part) for part in index.split(",") if part)
        yield _Slot(key, template.kind, array_index, None if template.path is None else _render(template.path, key))


def _render(template: str, key: Key) -> str:
    """A template with the fields of its axes filled."""

    def fill(field: re.Match[str]) -> str:
        value = key[_AXES.index(field[1])]
        if value is None:
            raise ValueError(f"the template {template!r} has the field {field[1]} where that axis is collapsed")
        return f"{value + int(field[2] or 0):0{field[3] or 0}d}"

    return _AXIS_FIELD.sub(fill, template)


def _order(slot: _Slot) -> tuple[object, ...]:
    """By coordinate as in a well, collapsed axes first."""
    return (*((value is not None, value or 0) for value in slot.key), slot.kind)


def _paths(well: str, slots: Sequence[_Slot], texts: Sequence[str]) -> list[str | None]:
    def fill(field: re.Match[str]) -> str:
        row, column = row_and_column(well)
        if field[1] == "row" and field[2] in (None, "lower"):
            return row_letters(row).lower() if field[2] else row_letters(row)
        return f"{(row if field[1] == 'row' else column) + 1:{field[2] or 'd'}}"

    paths: list[str | None] = []
    remaining = iter(texts)
    for slot in slots:
        path = slot.path
        if path is not None:
            path = _WELL_FIELD.sub(fill, path)
            if _ODD.search(path.replace("{text}", "", 1)):
                raise ValueError(f"the path template {slot.path!r} has an unknown field or a control character")
            if "{text}" in path:
                path = path.replace("{text}", next(remaining, ""))
        paths.append(path)
    if next(remaining, None) is not None:
        raise ValueError(f"its {len(texts)} texts stand for fewer planes")
    check_inside(paths)
    return paths


def _chosen(slots: Sequence[_Slot], runs: Runs) -> list[_Slot]:
    for run in runs:
        first, last = (run, run) if isinstance(run, int) else run
        if not 0 <= first <= last < len(slots):
            raise ValueError(f"plane {last} is named, and the templates have {len(slots)}")
    return [slots[position] for position in _integers(runs)]


def _length(runs: Runs) -> int:
    """How many integers the runs stand for, without making them."""
    total = 0
    for run in runs:
        first, last = (run, run) if isinstance(run, int) else run
        if last < first:
            raise ValueError(f"the run {first} to {last} ends before it begins")
        total += last - first + 1
    return total


def _integers(runs: Runs) -> Iterator[int]:
    for run in runs:
        yield from (run,) if isinstance(run, int) else range(run[0], run[1] + 1)


def _numbers(column: Column, numbers: int | str, count: int, *, differences: bool) -> list[int]:
    if isinstance(numbers, int):
        return [column.first + column.unit * numbers] * count
    multiples: Iterable[int] = [int(word, 36) for word in numbers.split(" ")]
    values = [column.first + column.unit * each for each in (accumulate(multiples) if differences else multiples)]
    if len(values) != count:
        raise ValueError(f"{len(values)} numbers stand for {count} planes")
    return values


def _digests(of_arrays: Iterable[str | None], digests: str) -> dict[str | None, str]:
    if not digests:
        return {}
    paths = list(dict.fromkeys(of_arrays))
    if len(digests) != len(paths) * DIGEST_LETTERS:
        raise ValueError(f"the digests of {len(digests) / DIGEST_LETTERS:g} arrays stand for {len(paths)}")
    starts = range(0, len(digests), DIGEST_LETTERS)
    return {path: digests[at : at + DIGEST_LETTERS].rstrip() for path, at in zip(paths, starts, strict=True)}


__all__ = ["FORMAT", "PlaneIndex"]
