"""The raw planes of all wells of a plan: what they share once, and what is each well's own.

Wells usually have the same planes in the same order under names that follow a pattern, so that templates say nearly
all. What is left of a plane are its times, its size where files differ, and the part of its name that follows nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from openhcs_engine.errors import UnknownWellError
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane
from openhcs_engine.plan.marked_planes import MarkedPlane, mark_of, mark_planes
from openhcs_engine.plan.number_text import Column, Numbers, Runs, count_runs, from_runs, to_runs
from openhcs_engine.plan.path_templates import (
    LINE,
    TEXT,
    PathTemplate,
    Slot,
    check_inside,
    from_templates,
    to_templates,
)
from openhcs_engine.plan.well_spelling import find_spellings, spell_field
from openhcs_engine.raw.array_listing import DIGEST_LETTERS

MAX_PLANES: Final = 2**24
"""Planes of one plan: 1,536 wells with 10,000 each. A document that claims more is refused before any is made."""


class WellPlanes(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is one well's own."""

    slots: Runs | None = None
    """Its planes, in order, as positions among all slots of the plate, counted from 0; None: every slot once."""
    absent: Runs = []
    """Those of its planes, counted from 0, that were declared and have no file."""
    size: Numbers = 0
    """Bytes of each file, as multiples of the column's unit above its first value."""
    mtime_ns: Numbers = 0
    """Times likewise, each behind the first as change from the plane before."""
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


def encode_planes(wells: Mapping[str, ImageIndex]) -> PlaneIndex:
    """The planes of all wells, each exactly as it is.

    Raises
    ------
    ValueError
        If there are too many of them, or a path leads out of the plate folder.
    """
    _refuse_too_many(sum(map(len, wells.values())))
    paths = {well: [plane.path for plane in index] for well, index in wells.items()}
    spellings = find_spellings(paths) if len(wells) > 1 else ()
    marked = mark_planes(wells, spellings)
    different = dict.fromkeys(plane.slot for planes in marked.values() for plane in planes)  # in order, always the same
    marks = {mark_of(number): spelling.template for number, spelling in enumerate(spellings)}
    templates, slots = to_templates(different, marks)
    encoder = _Encoder(
        positions={slot: position for position, slot in enumerate(slots)},
        size=Column.of([plane.stamp[0] for index in wells.values() for plane in index]),
        mtime_ns=Column.of([plane.stamp[1] for index in wells.values() for plane in index]),
    )
    return PlaneIndex(
        templates=templates,
        size=encoder.size,
        mtime_ns=encoder.mtime_ns,
        wells={well: encoder.encode(index, marked[well]) for well, index in wells.items()},
    )


def decode_planes(index: PlaneIndex) -> dict[str, ImageIndex]:
    """The planes of all wells.

    Raises
    ------
    ValueError
        If the index contradicts itself, claims more planes than a plan can have, or names files outside the plate
        folder.
    """
    slots = sum(template.count for template in index.templates)
    _refuse_too_many(slots)
    _refuse_too_many(sum(slots if of.slots is None else count_runs(of.slots) for of in index.wells.values()))
    decoder = _Decoder(index)
    return {well: decoder.decode(well, planes) for well, planes in index.wells.items()}


def _refuse_too_many(planes: int) -> None:
    if planes > MAX_PLANES:
        raise ValueError(f"there are {planes:,} planes, and a plan has at most {MAX_PLANES:,}")


class _Encoder(Struct):
    """Writes one well after the other."""

    positions: dict[Slot, int]
    size: Column
    mtime_ns: Column

    def encode(self, index: ImageIndex, marked: Sequence[MarkedPlane]) -> WellPlanes:
        positions = [self.positions[plane.slot] for plane in marked]
        has_all = len(positions) == len(self.positions) and positions == [*self.positions.values()]
        return WellPlanes(
            slots=None if has_all else to_runs(positions),
            absent=to_runs(number for number, plane in enumerate(index) if not plane.present),
            size=self.size.encode([plane.stamp[0] for plane in index], differences=False),
            mtime_ns=self.mtime_ns.encode([plane.stamp[1] for plane in index], differences=True),
            chunks=_join_digests(index),
            texts=[plane.text for plane in marked if plane.text is not None],
        )


class _Decoder:
    """Reads one well after the other."""

    def __init__(self, index: PlaneIndex) -> None:
        self.size, self.mtime_ns = index.size, index.mtime_ns
        self.slots, self.fields = from_templates(index.templates)
        self.lines = _lines(self.slots)

    def decode(self, well: str, planes: WellPlanes) -> ImageIndex:
        try:
            return ImageIndex(tuple(self._planes(well, planes)))
        except (ValueError, UnknownWellError) as error:
            raise ValueError(f"of well {well}, {error}") from error

    def _planes(self, well: str, own: WellPlanes) -> list[ImagePlane]:
        slots = self.slots if own.slots is None else self._choose(own.slots)
        lines = self.lines if own.slots is None else _lines(slots)
        paths = _paths(slots, self._spell(lines, well), own.texts)
        sizes = self.size.decode(own.size, len(slots), differences=False)
        times = self.mtime_ns.decode(own.mtime_ns, len(slots), differences=True)
        absent = _absent(own.absent, len(slots))
        found = []
        for number, ((time, site, channel, z_index), kind, array_index, _) in enumerate(slots):
            plane = ImagePlane(
                key=ImageKey(well, site, channel, z_index, time),
                path=paths[number], kind=kind, present=number not in absent,
                size=sizes[number], mtime_ns=times[number], array_index=array_index,
            )  # fmt: skip
            found.append(plane)
        return _with_digests(found, own.chunks) if own.chunks else found

    def _choose(self, runs: Runs) -> list[Slot]:
        for run in runs:
            first, last = (run, run) if isinstance(run, int) else run
            if not 0 <= first <= last < len(self.slots):
                raise ValueError(f"plane {last} is named, and the templates have {len(self.slots)}")
        return [self.slots[position] for position in from_runs(runs)]

    def _spell(self, lines: str, well: str) -> str:
        for mark, field in self.fields.items():
            lines = lines.replace(mark, spell_field(field, well))
        return lines


def _lines(slots: Sequence[Slot]) -> str:
    return LINE.join(slot.path or "" for slot in slots)


def _paths(slots: Sequence[Slot], lines: str, texts: Sequence[str]) -> list[str | None]:
    """Each plane's path; the lines are the slots' paths with the well in place."""
    paths: list[str | None] = [*lines.split(LINE)] if slots else []
    remaining = iter(texts)
    taken = 0
    for number, slot in enumerate(slots):
        if slot.path is None:
            paths[number] = None
        elif TEXT in slot.path:
            path = str(paths[number]).replace(TEXT, next(remaining, ""))
            check_inside(path)
            paths[number] = path
            taken += 1
    if taken != len(texts):
        raise ValueError(f"{len(texts)} texts stand for {taken} planes")
    return paths


def _join_digests(index: ImageIndex) -> str:
    """Digests of a well's arrays, each as wide as the others; empty if it has no array, or none was listed."""
    digests = {plane.path: plane.chunks or "" for plane in index if plane.array_index is not None}
    return "".join(digest.ljust(DIGEST_LETTERS) for digest in digests.values()) if any(digests.values()) else ""


def _with_digests(planes: Sequence[ImagePlane], digests: str) -> list[ImagePlane]:
    arrays = list(dict.fromkeys(plane.path for plane in planes if plane.array_index is not None))
    if len(digests) != len(arrays) * DIGEST_LETTERS:
        raise ValueError(f"the digests of {len(digests) / DIGEST_LETTERS:g} arrays stand for {len(arrays)}")
    starts = range(0, len(digests), DIGEST_LETTERS)
    of = {path: digests[at : at + DIGEST_LETTERS].rstrip() for path, at in zip(arrays, starts, strict=True)}
    return [plane if plane.array_index is None else plane.replace(chunks=of[plane.path]) for plane in planes]


def _absent(runs: Runs, planes: int) -> frozenset[int]:
    if count_runs(runs) > planes:
        raise ValueError(f"more than its {planes} planes are absent")
    return frozenset(from_runs(runs))


__all__ = ["MAX_PLANES", "PlaneIndex", "WellPlanes", "decode_planes", "encode_planes"]
