"""CellVoyager records → planes: which file each record means, and which records mean the same plane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Final

from msgspec import structs

from openhcs_engine.microscopes.cellvoyager.names import IMAGE_SUFFIXES, parse_image_name
from openhcs_engine.microscopes.cellvoyager.records import ImageRecord
from openhcs_engine.microscopes.handler import is_inside
from openhcs_engine.microscopes.listing import FolderListing, ListedFile
from openhcs_engine.microscopes.remarks import Remarks
from openhcs_engine.model.image_index import ImageKey, ImagePlane, PlaneKind
from openhcs_engine.model.plate import Grid
from openhcs_engine.model.wording import first_sentences

_NAMED: Final = 5
"""Repeated planes that are named one by one; the others are counted."""
_SAME_PLACE_UM: Final = 5.0
"""Positions that differ by less are one: a stage repeats to 1 µm, and the smallest field is above 100 µm wide."""
_SAME_STEP_UM: Final = 0.1
"""Heights are written with one decimal."""


class PlateFiles:
    """The files of one plate folder, found as records name them."""

    def __init__(self, listing: FolderListing, base: str, folder: str) -> None:
        """``base`` is the plate's folder, ``folder`` that of the records; both relative to the listing's root."""
        self.folder = folder
        inside = (files for path, files in listing.by_folder.items() if is_inside(path, base))
        self.files = {file.path: file for files in inside for file in files}
        self.used: set[str] = set()
        self.renamed: list[tuple[str, str]] = []
        self.ambiguous: list[str] = []
        self.outside: list[str] = []

    def declared_path(self, name: str) -> str | None:
        """Where a record says that its file lies, relative to the root; None if that is outside the folder."""
        parts = name.split("/")
        if not name.isprintable() or ":" in name or any(part in {"", ".", ".."} for part in parts):
            return None
        return f"{self.folder}/{name}" if self.folder else name

    def find(self, name: str) -> ListedFile | None:
        """The file that a record names: there, in another folder of the plate, in other case, or packed otherwise."""
        declared = self.declared_path(name)
        if declared is None:
            self.outside.append(name)
        elif (file := self.files.get(declared)) is not None:
            self.used.add(declared)
            return file
        bare = name.rpartition("/")[2]
        found = self.by_stem.get(_stem(bare), [])
        same_name = [file for file in found if file.name.lower() == bare.lower()]
        candidates = same_name or found
        if len(candidates) > 1:
            self.ambiguous.append(name)
        if len(candidates) != 1:
            return None
        self.used.add(candidates[0].path)
        self.renamed.append((name, candidates[0].path))
        return candidates[0]

    @cached_property
    def by_stem(self) -> dict[str, list[ListedFile]]:
        """All images by their name without suffix, in lower case."""
        stems: dict[str, list[ListedFile]] = {}
        for file in self.files.values():
            if file.path.lower().endswith(IMAGE_SUFFIXES):
                stems.setdefault(_stem(file.name), []).append(file)
        return stems

    def with_suffix(self, suffix: str) -> list[ListedFile]:
        """Files with a suffix of four characters, in lower case; not those that macOS leaves on shares (``._…``)."""
        found = (file for path, file in self.files.items() if path[-4:].lower() == suffix)
        return [file for file in found if not file.name.startswith(".")]

    def strangers(self) -> list[str]:
        """Images that no record means and that have no plane's name: shading, dark images and the like."""
        return [
            file.path
            for file in self.files.values()
            if file.path.lower().endswith(IMAGE_SUFFIXES)
            and file.path not in self.used
            and not file.name.startswith(".")
            and parse_image_name(file.name) is None
        ]

    def unused_images(self) -> list[str]:
        """Images with a plane's name that no record means."""
        unused = (file for path, file in self.files.items() if path not in self.used)
        return [file.path for file in unused if parse_image_name(file.name) is not None]


def _stem(name: str) -> str:
    stem, dot, suffix = name.lower().rpartition(".")
    return stem if dot and "." + suffix in IMAGE_SUFFIXES else name.lower()


def records_of_names(files: Iterable[ListedFile]) -> Iterator[ImageRecord]:
    """What file names say, for a folder whose records are lost; ``file`` is the name without folders."""
    for file in files:
        name = parse_image_name(file.name)
        if name is not None:
            yield ImageRecord(
                well=name.well,
                site=name.field,
                channel=name.channel,
                z_index=name.z_index,
                timepoint=name.timepoint,
                timeline=name.timeline,
                action=name.action,
                is_projection=False,
                x_um=None,
                y_um=None,
                z_um=None,
                file=file.name,
            )


_Coordinate = tuple[str, int, int, int | None, int, bool]


def read_planes(records: Sequence[ImageRecord], files: PlateFiles, remarks: Remarks) -> tuple[ImagePlane, ...]:
    """One plane for each coordinate that was recorded, present or not."""
    groups: dict[_Coordinate, list[ImageRecord]] = {}
    for record in _with_own_times(records, remarks):
        groups.setdefault(_coordinate(record), []).append(record)
    repeats = _Repeats()
    planes = [
        _plane(group[0], files) if len(group) == 1 else repeats.choose([(one, _plane(one, files)) for one in group])
        for group in groups.values()
    ]
    repeats.report(remarks)
    _report_files(files, remarks)
    planes = _with_own_files(planes, remarks)
    _warn_of_absent_channels(planes, remarks)
    return tuple(planes)


def _with_own_files(planes: list[ImagePlane], remarks: Remarks) -> list[ImagePlane]:
    """A file is one plane: a second coordinate that was recorded for it has none."""
    owners: dict[str | None, ImagePlane] = {}
    taken = [plane for plane in planes if plane.present and owners.setdefault(plane.path, plane) is not plane]
    if not taken:
        return planes
    remarks.warnings.append(
        f"{len(taken)} records name a file that is another plane already (the first: {taken[0].path}); those planes "
        "count as missing."
    )
    return [
        plane.replace(present=False, size=0, mtime_ns=0) if plane.present and owners[plane.path] is not plane else plane
        for plane in planes
    ]


def _coordinate(record: ImageRecord) -> _Coordinate:
    z_index = None if record.is_projection else record.z_index
    return record.well, record.site, record.channel, z_index, record.timepoint, record.is_projection


def _with_own_times(records: Sequence[ImageRecord], remarks: Remarks) -> Sequence[ImageRecord]:
    """Time points count on over the time lines; where a later one counts from 1 again, its numbers are moved up."""
    timelines = sorted({record.timeline for record in records})
    if len(timelines) < 2:
        return records
    owner: dict[_Coordinate, int] = {}
    if all(owner.setdefault(_coordinate(record), record.timeline) == record.timeline for record in records):
        return records
    moved, last = {timelines[0]: 0}, 0
    for timeline, following in pairwise(timelines):
        last += max(record.timepoint for record in records if record.timeline == timeline)
        moved[following] = last
    remarks.notes.append(
        "Several time lines count their time points from 1; those of each were numbered on after the one before ("
        + ", ".join(f"time line {timeline}: + {shift}" for timeline, shift in moved.items())
        + ")."
    )
    return [structs.replace(record, timepoint=record.timepoint + moved[record.timeline]) for record in records]


def _plane(record: ImageRecord, files: PlateFiles) -> ImagePlane:
    found = files.find(record.file)
    return ImagePlane(
        key=ImageKey(
            record.well,
            record.site,
            record.channel,
            None if record.is_projection else record.z_index,
            record.timepoint,
        ),
        path=files.declared_path(record.file) if found is None else found.path,
        kind=PlaneKind.PROJECTION if record.is_projection else PlaneKind.PLANE,
        present=found is not None,
        size=0 if found is None else found.size,
        mtime_ns=0 if found is None else found.mtime_ns,
        x_um=record.x_um,
        y_um=record.y_um,
        z_um=record.z_um,
    )


class _Repeats:
    """Chooses among records of the same plane, and remembers which were left out."""

    def __init__(self) -> None:
        self.same_file = 0
        self.other_files: list[str] = []

    def choose(self, planes: list[tuple[ImageRecord, ImagePlane]]) -> ImagePlane:
        """Of records of one file the last, as it wrote over those before; of several files the first action's."""
        by_path: dict[str | None, tuple[ImageRecord, ImagePlane]] = {}
        for record, plane in planes:
            by_path[plane.path] = record, plane
        self.same_file += len(planes) - len(by_path)
        record, chosen = min(by_path.values(), key=lambda pair: (not pair[1].present, pair[0].action))
        self.other_files += [
            f"{other.file} (action {other.action}) was left out: {record.file} (action {record.action})"
            for other, plane in by_path.values()
            if plane is not chosen
        ]
        return chosen

    def report(self, remarks: Remarks) -> None:
        if self.same_file:
            remarks.notes.append(
                f"{self.same_file} records repeat others of the same file; each image was counted as recorded last."
            )
        others = [f"{sentence} is the same well, field, channel, z and time point." for sentence in self.other_files]
        remarks.warnings += first_sentences(others, _NAMED, "images were left out for the same reason")


def _report_files(files: PlateFiles, remarks: Remarks) -> None:
    if files.renamed:
        name, path = files.renamed[0]
        remarks.notes.append(
            f"{len(files.renamed)} images lie under another name or folder than recorded (the first: {name} is {path})."
        )
    if files.outside:
        remarks.warnings.append(
            f"{len(files.outside)} recorded names lead out of the plate folder and were not followed (the first: "
            f"{files.outside[0][:200]!a})."
        )
    if files.ambiguous:
        remarks.warnings.append(
            f"{len(files.ambiguous)} recorded images count as missing: several files could be each of them (the first: "
            f"{files.ambiguous[0]})."
        )
    if strangers := files.strangers():
        remarks.notes.append(
            f"{len(strangers)} images that are no planes (shading, dark images or others) were left out (the first: "
            f"{strangers[0]})."
        )
    if unused := files.unused_images():
        remarks.warnings.append(f"{len(unused)} images were left out: no record names them (the first: {unused[0]}).")


def _warn_of_absent_channels(planes: list[ImagePlane], remarks: Remarks) -> None:
    """Name channels without any file, beside others that have some: they were never copied here."""
    shown = {plane.key.channel for plane in planes if plane.present}
    absent = sorted({plane.key.channel or 0 for plane in planes} - shown) if shown else []
    remarks.warnings += [f"Channel {index} was recorded, but no file of it is in the folder." for index in absent]


def measured_z_step(planes: Iterable[ImagePlane], stated_um: Iterable[float], remarks: Remarks) -> float | None:
    """Distance of neighbouring z planes in µm: the settings' where they agree with the records, else the records'."""
    stacks: dict[tuple[str, int | None, int | None, int | None], list[tuple[int, float]]] = {}
    for plane in planes:
        key = plane.key
        if key.z_index is not None and plane.z_um is not None:
            stacks.setdefault((key.well, key.site, key.channel, key.timepoint), []).append((key.z_index, plane.z_um))
    steps = Counter(step for stack in stacks.values() if (step := _step(stack)))
    if not steps:
        return None
    common = steps.most_common(1)[0][0]
    if any(abs(step - common) > _SAME_STEP_UM for step in steps):
        shown = ", ".join(str(step) for step in sorted(steps)[:_NAMED])
        remarks.warnings.append(f"Planes lie at different distances ({shown} µm); the most frequent is used.")
    return next((step for step in stated_um if abs(step - common) < _SAME_STEP_UM), common)


def _step(stack: list[tuple[int, float]]) -> float | None:
    (first, bottom), (last, top) = min(stack), max(stack)
    return round(abs(top - bottom) / (last - first), 3) if last > first else None


def measured_grid(planes: Iterable[ImagePlane]) -> Grid | None:
    """Rows and columns of the fields of a well; None where they lie on no grid, or elsewhere in each well."""
    places: dict[tuple[str, int | None], tuple[float, float]] = {}
    for plane in planes:
        if plane.x_um is not None and plane.y_um is not None:
            # Actions may be shifted against each other; the first one's positions are the field's.
            places.setdefault((plane.key.well, plane.key.site), (plane.x_um, plane.y_um))
    sites: dict[int | None, tuple[float, float]] = {}
    for (_, site), place in places.items():
        known = sites.setdefault(site, place)
        if any(abs(one - other) > _SAME_PLACE_UM for one, other in zip(known, place, strict=True)):
            return None
    columns, rows = (_lattice([place[axis] for place in sites.values()]) for axis in (0, 1))
    if not columns or not rows or len(set(zip(columns, rows, strict=True))) < len(sites):
        return None
    grid = Grid(rows=max(rows) + 1, columns=max(columns) + 1)
    # A grid that is mostly holes is none: any two points lie on one.
    return grid if grid.rows * grid.columns < 2 * len(sites) else None


def _lattice(values: list[float]) -> list[int]:
    """Each value's number on an even lattice, from 0; empty if they lie on none."""
    ordered = sorted(values)
    gaps = [after - before for before, after in pairwise(ordered)]
    smallest = min((gap for gap in gaps if gap > _SAME_PLACE_UM), default=None)
    if smallest is None:
        return [0] * len(values)
    span = ordered[-1] - ordered[0]
    step = span / round(span / smallest)
    numbers = [(value - ordered[0]) / step for value in values]
    even = all(abs(number - round(number)) * step <= _SAME_PLACE_UM for number in numbers)
    return [round(number) for number in numbers] if even else []
