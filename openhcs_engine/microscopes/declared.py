"""Planes whose coordinates a person declared, by a file-name pattern or a table → Plate + ImageIndex."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from openhcs_engine.errors import UnknownWellError, UnreadablePlateError
from openhcs_engine.microscopes.image_forms import normal_forms
from openhcs_engine.microscopes.listing import FolderListing, ListedFile
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane, PlaneKind
from openhcs_engine.model.plate import Channel, Plate, StageFrame
from openhcs_engine.model.wells import normalise_well, plate_order, well_of_row_and_column

IMAGE_SUFFIXES: Final = (".tif", ".tiff", ".png")
"""Files that can be planes, in lower case."""


class DeclaredPlane(NamedTuple):  # a tuple: plates have 100,000 of them
    """One plane as it was declared."""

    source: str
    """Where it was declared, for messages: a file's path, or ``row 5``."""
    path: str
    """Relative to the plate folder."""
    file: ListedFile | None
    """None: declared, and absent."""
    well: str
    """Canonical name."""
    site: int
    channel: str
    """Number or text."""
    channel_name: str | None
    z_index: int | None
    timepoint: int
    kind: PlaneKind = PlaneKind.PLANE
    x_um: float | None = None
    y_um: float | None = None
    z_um: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredPlate:
    """Everything that is known of a plate of declared planes."""

    plate_id: str
    name: str
    microscope: str
    listing: FolderListing
    planes: Sequence[DeclaredPlane]
    stage_frame: StageFrame | None = None
    rows: int | None = None
    """Rows of the plate's format, where somebody said it."""
    columns: int | None = None
    declares_planes: bool = False
    """True if the planes were listed and not only found, so that those without a file are missing."""
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def build_plate(declared: DeclaredPlate) -> tuple[Plate, ImageIndex]:
    """Number the channels, read a few headers of each, and make the plate.

    Raises
    ------
    UnreadablePlateError
        If two files were declared to be the same plane (both are named), or no kind of image is the rule.
    """
    numbers = number_channels({(plane.channel, plane.channel_name) for plane in declared.planes})
    index = _index(declared, numbers)
    forms = normal_forms(declared.listing, index, declared.warnings)
    channels = tuple(
        Channel(
            index=number,
            name=name,
            shape=forms[number].shape if number in forms else None,
            dtype=forms[number].dtype if number in forms else None,
        )
        for number, name in sorted(numbers.names.items(), key=lambda item: item[0])
    )
    keys = [plane.key for plane in index]
    plate = Plate(
        plate_id=declared.plate_id,
        name=declared.name,
        microscope=declared.microscope,
        root=declared.listing.root,
        wells=_wells(plane for plane in index if plane.present),
        absent_wells=tuple(well for well in _wells(index) if not any(p.present for p in index.by_well[well])),
        sites=_values(key.site for key in keys),
        channels=channels,
        z_indexes=_values(key.z_index for key in keys),
        timepoints=_values(key.timepoint for key in keys),
        rows=declared.rows,
        columns=declared.columns,
        stage_frame=declared.stage_frame,
        declares_planes=declared.declares_planes,
        shape=channels[0].shape if channels else None,
        dtype=channels[0].dtype if channels else None,
        warnings=(*declared.listing.warnings, *declared.warnings),
        notes=(*declared.notes, *numbers.notes),
    )
    return plate, index


def _wells(planes: Iterable[ImagePlane]) -> tuple[str, ...]:
    return tuple(sorted({plane.key.well for plane in planes}, key=plate_order))


def _values(values: Iterable[int | None]) -> tuple[int, ...]:
    return tuple(sorted({value for value in values if value is not None}))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelNumbers:
    """Which number each declared channel has."""

    by_declaration: Mapping[tuple[str, str | None], int]
    """(channel, channel name) as declared → number."""
    names: Mapping[int, str | None]
    notes: tuple[str, ...] = ()


def number_channels(declared: Iterable[tuple[str, str | None]]) -> ChannelNumbers:
    """Keep the vendor's numbers; number texts, and numbers that stand for several names, 1 to n in natural order."""
    pairs = {_canonical_channel(pair): pair for pair in sorted(declared, key=str)}
    spelt = {pair: _canonical_channel(pair) for pair in declared}
    names: dict[str, set[str]] = {}
    for text, name in pairs:
        names.setdefault(text, set()).update(() if name is None else (name,))
    numeric = all(is_number(text) for text in names)
    several = {text: found for text, found in names.items() if len(found) > 1}
    if numeric and not several:
        return ChannelNumbers(
            by_declaration={pair: int(text) for pair, (text, _) in spelt.items()},
            names={int(text): next(iter(found), None) for text, found in names.items()},
        )
    identities = {
        pair: (text, name if text in several else next(iter(names[text]), None)) for pair, (text, name) in spelt.items()
    }
    ordered = sorted(set(identities.values()), key=lambda pair: (natural_order(pair[0]), natural_order(pair[1] or "")))
    number_of = {identity: number for number, identity in enumerate(ordered, start=1)}
    notes = [
        f"Channel {text} stands for {' and '.join(sorted(found))}: these are different channels, so the channels were "
        f"numbered 1 to {len(ordered)}."
        for text, found in sorted(several.items())
    ]
    return ChannelNumbers(
        by_declaration={pair: number_of[identity] for pair, identity in identities.items()},
        names={number: name or (None if numeric else text) for (text, name), number in number_of.items()},
        notes=tuple(notes),
    )


def _canonical_channel(pair: tuple[str, str | None]) -> tuple[str, str | None]:
    text, name = pair
    return (str(int(text)) if is_number(text) else text), name or None


def natural_order(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key in which ``w2`` comes before ``w10``."""
    parts = enumerate(re.split(r"([0-9]{1,18})", text))
    ordered = [(0, int(part), "") if place % 2 else (1, 0, part.casefold()) for place, part in parts]
    return (*ordered, (1, 0, text))


def is_number(text: str) -> bool:
    """True for one to nine digits of ASCII: a number that a coordinate can be."""
    return len(text) <= 9 and text.isascii() and text.isdigit()


@lru_cache(maxsize=4096)
def canonical_well(well: str) -> str | None:
    """The well's one spelling; None if the text names none."""
    try:
        return normalise_well(well)
    except UnknownWellError:
        return None


@lru_cache(maxsize=4096)
def well_of(row: str, column: str) -> str | None:
    """The well of a row (letters or number) and a column (number); None if there is none."""
    try:
        return well_of_row_and_column(row, column)
    except UnknownWellError:
        return None


def _index(declared: DeclaredPlate, numbers: ChannelNumbers) -> ImageIndex:
    """All planes; two for one coordinate are an error."""
    seen: dict[tuple[ImageKey, PlaneKind], DeclaredPlane] = {}
    twice: list[tuple[DeclaredPlane, DeclaredPlane, ImageKey]] = []
    planes = []
    for plane in declared.planes:
        channel = numbers.by_declaration[plane.channel, plane.channel_name]
        key = ImageKey(plane.well, plane.site, channel, plane.z_index, plane.timepoint)
        first = seen.setdefault((key, plane.kind), plane)
        if first is not plane:
            twice.append((first, plane, key))
        planes.append(_plane(plane, key))
    if twice:
        raise UnreadablePlateError(_clash(declared.listing, twice), path=declared.listing.root)
    return ImageIndex.of(planes)


def _clash(listing: FolderListing, twice: Sequence[tuple[DeclaredPlane, DeclaredPlane, ImageKey]]) -> str:
    first, second, key = twice[0]
    more = f" So are {len(twice) - 1} more pairs." if len(twice) > 1 else ""
    where = f"{first.source} and {second.source}"
    z_index = "projection" if key.z_index is None else f"z {key.z_index}"
    return (
        f"{listing.root}: {where} are both well {key.well}, site {key.site}, channel {key.channel}, {z_index}, "
        f"time point {key.timepoint}.{more} A plane has one file: say what tells them apart, or leave one out."
    )


def _plane(plane: DeclaredPlane, key: ImageKey) -> ImagePlane:
    file = plane.file
    return ImagePlane(
        key=key,
        path=plane.path,
        kind=plane.kind,
        present=file is not None,
        size=0 if file is None else file.size,
        mtime_ns=0 if file is None else file.mtime_ns,
        x_um=plane.x_um,
        y_um=plane.y_um,
        z_um=plane.z_um,
    )


def examples(texts: Sequence[str], limit: int = 3) -> str:
    """The first few of many, for a sentence."""
    return ", ".join(texts[:limit]) + (", ..." if len(texts) > limit else "")
