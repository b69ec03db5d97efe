"""A plate described by a CSV: one row for each plane, written by hand or by a script."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.microscopes.declared import DeclaredPlane, DeclaredPlate, build_plate, examples
from openhcs_engine.microscopes.file_names.declared_times import TimeError, read_times
from openhcs_engine.microscopes.file_names.declared_wells import (
    UNSAID,
    WellNumbering,
    WellText,
    WellTextError,
    read_wells,
)
from openhcs_engine.microscopes.file_names.load_data import is_load_data, rows_of_load_data
from openhcs_engine.microscopes.file_names.plane_rows import OwnRows, PlaneRow, rows_of_plate
from openhcs_engine.microscopes.handler import MicroscopeHandler
from openhcs_engine.microscopes.listing import FolderListing
from openhcs_engine.microscopes.tables.cells import Table, TableError
from openhcs_engine.microscopes.tables.files import read_tables, shown_tables
from openhcs_engine.model.image_index import ImageIndex, PlaneKind
from openhcs_engine.model.plate import Plate, StageFrame
from openhcs_engine.model.quantities.numbers import read_numbers
from openhcs_engine.model.wells import plate_id_of_folder, validate_plate_id

REQUIRED: Final = ("path", "well")
INSTEAD: Final = ("row", "column")
"""Together they say the well, too."""
NUMBERED: Final = ("site", "channel", "z_index", "timepoint")
"""A column that is left out means 1 for every plane."""
LENGTHS: Final = ("x_um", "y_um", "z_um")
OPTIONAL: Final = ("channel_name", *LENGTHS, "kind", "plate")
CSV_STAGE_FRAME: Final = StageFrame(origin="plate", y_axis="down")
"""What ``x_um`` and ``y_um`` mean in our CSV: the image's centre, y growing as the rows of pixels do."""


class CsvHandler(MicroscopeHandler):
    """Reads the planes that a CSV lists.

    Columns: ``path`` (with ``/``, below the plate folder; or absolute, inside it) and ``well``, or ``row`` and
    ``column``; ``site``, ``channel`` (number or text), ``z_index``, ``timepoint`` (number or time), each 1 if the
    column is left out; ``channel_name``; ``x_um`` and ``y_um``, the centre of the image on the plate, x to the right
    and y downwards as seen in the images; ``z_um``; ``kind``: ``plane`` or ``projection`` (which has no ``z_index``);
    ``plate``, where a table lists several. A file that does not exist is a missing plane.

    CellProfiler's ``load_data.csv`` is read as it is; see ``load_data``.
    """

    name: ClassVar[str] = "csv"
    looks_for: ClassVar[str] = "the files that a given CSV of planes lists"

    def __init__(self, path: str | os.PathLike[str], numbering: WellNumbering = UNSAID) -> None:
        self.path = Path(path).expanduser()
        self.numbering = numbering

    def plate_folders(self, listing: FolderListing) -> tuple[str, ...]:
        """The folder itself: who gives a table says that this folder is the plate."""
        return ("",)

    def read_plate(self, listing: FolderListing, plate_id: str | None = None) -> tuple[Plate, ImageIndex]:
        """Read the plate that the CSV describes.

        Raises
        ------
        UnreadablePlateError
            If the CSV cannot be read, a cell of it cannot be understood (row and column are named), or two rows are the
            same plane or the same file.
        PlateIdError
            If ``plate_id`` cannot be a folder's name.
        """
        chosen = plate_id_of_folder(listing.name) if plate_id is None else validate_plate_id(plate_id)
        try:
            table, passed = _table_of_planes(self.path)
            listed = _rows(table, listing, [chosen, *reversed(listing.root.split("/"))])
            planes, warnings, notes = _planes(listed.rows, listing, self.numbering)
        except (TableError, TimeError) as error:
            raise UnreadablePlateError(f"{self.path} is no table of planes: {error}.", path=str(self.path)) from error
        except WellTextError as error:
            raise UnreadablePlateError(f"{self.path}: {error}", path=str(self.path)) from error
        positioned = any(plane.x_um is not None for plane in planes)
        plate_rows, plate_columns = self.numbering.format or (None, None)
        declared = DeclaredPlate(
            plate_id=chosen,
            name=listed.plate or listing.name,
            microscope=self.name,
            listing=listing,
            planes=planes,
            rows=plate_rows,
            columns=plate_columns,
            declares_planes=True,
            stage_frame=CSV_STAGE_FRAME if positioned else None,
            warnings=list(warnings),
            notes=[
                f"What each file is was read from {self.path.name}.",
                *passed,
                *table.notes,
                *listed.notes,
                *notes,
                *self._unlisted(listing, planes),
            ],
        )
        return build_plate(declared)

    def _unlisted(self, listing: FolderListing, planes: list[DeclaredPlane]) -> list[str]:
        listed = {plane.path for plane in planes}
        own = {str(self.path.absolute())}
        left = [file.path for file in listing.files if file.path not in listed]
        left = [path for path in left if str(Path(listing.root) / path) not in own]
        return (
            [f"Not in the table, and left out: {len(left)} of the folder's files ({examples(left)})."] if left else []
        )


def _table_of_planes(path: Path) -> tuple[Table, tuple[str, ...]]:
    """The sheet that lists planes, and a sentence about the sheets that were passed over."""
    tables, notes = shown_tables(read_tables(path))
    if not tables:
        raise TableError("it is empty" if not notes else f"it has no sheet but hidden ones. {notes[0].rstrip('.')}")
    listing = [table for table in tables if _lists_planes(table)] or tables[:1]
    if len(listing) > 1:
        names = " and ".join(f'"{table.name}"' for table in listing[:2])
        raise TableError(f"its sheets {names} both list planes; put all planes into one of them")
    names = ", ".join(f'"{table.name}"' for table in tables if table is not listing[0])
    return listing[0], (*notes, *([f"Sheets that list no planes were not read: {names}."] if names else []))


def _lists_planes(table: Table) -> bool:
    header = next((row for row in table.rows if any(row)), ())
    return is_load_data(header) or {"path"} < {name.lower() for name in header}


def _rows(table: Table, listing: FolderListing, called: Sequence[str]) -> OwnRows:
    """The rows of either kind of table that are of the plate which is ``called`` so."""
    header = next((number for number, row in enumerate(table.rows) if any(row)), None)
    if header is None:
        raise TableError("it is empty")
    if not any(any(row) for row in table.rows[header + 1 :]):
        raise TableError("it has no row below its header")
    if is_load_data(table.rows[header]):
        return rows_of_load_data(table, header, listing, called)
    columns = _columns(table, header)
    numbers = [number for number in range(header + 1, len(table.rows)) if any(table.rows[number])]
    table.refuse_broken(numbers, columns.values())
    lengths = _lengths(table, numbers, columns)
    rows = [
        PlaneRow(number + 1, {name: table[number, at] for name, at in columns.items()}, lengths.get(number, {}))
        for number in numbers
    ]
    return rows_of_plate(rows, called)


def _planes(
    rows: Sequence[PlaneRow], listing: FolderListing, numbering: WellNumbering
) -> tuple[list[DeclaredPlane], tuple[str, ...], tuple[str, ...]]:
    """The planes of all rows, with warnings and notes on what their wells and times were taken for."""
    wells = read_wells({row.well() for row in rows}, numbering)
    times = read_times((_series(row), row.text("timepoint") or "1") for row in rows)
    planes = [_plane(row, listing, wells.names, times.numbers) for row in rows]
    _refuse_same_file(planes)
    return planes, wells.warnings, (*wells.notes, *times.notes)


def _series(row: PlaneRow) -> tuple[str, ...]:
    """All that a row says of a plane but its time."""
    return tuple(row.cells.get(name, "") for name in ("well", "row", "column", "site", "channel", "z_index"))


def _lengths(table: Table, rows: Sequence[int], columns: Mapping[str, int]) -> dict[int, dict[str, float]]:
    """The lengths of each row in µm, by column; all columns of lengths are read as one, for one hand wrote them.

    A table divided by commas comes from a program that writes decimal points; any other may come from either.
    """
    names = [name for name in LENGTHS if name in columns]
    cells = [(row, name) for row in rows for name in names]
    read = read_numbers(
        [table[row, columns[name]] for row, name in cells],
        unit="µm",
        decimal="." if table.separator == "," else None,
        exact={place for place, (row, name) in enumerate(cells) if table.is_exact(row, columns[name])},
    )
    for place, problem in sorted(read.problems.items()):
        row, name = cells[place]
        text = table[row, columns[name]]
        raise TableError(f'row {row + 1}, column "{name}": {text!a} is no length in µm: it {problem}')
    lengths: dict[int, dict[str, float]] = {row: {} for row in rows}
    for (row, name), value in zip(cells, read.values, strict=True):
        if value is not None:
            lengths[row][name] = value
    return lengths


def _columns(table: Table, header: int) -> dict[str, int]:
    known = (*REQUIRED, *NUMBERED, *OPTIONAL, *INSTEAD)
    names = [name.lower() for name in table.rows[header]]
    unknown = [name for name in names if name and name not in known]
    instead = set(INSTEAD) <= set(names)
    absent = [name for name in REQUIRED if name not in names and not (name == "well" and instead)]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if absent or unknown or twice:
        problem = (
            f"has no column {' and '.join(absent)}"
            if absent
            else f"has an unknown column {', '.join(unknown)}"
            if unknown
            else f"has the column {', '.join(twice)} twice"
        )
        raise TableError(f"its header {problem} (valid columns: {', '.join(known)})")
    return {name: at for at, name in enumerate(names) if name}


def _plane(
    row: PlaneRow, listing: FolderListing, wells: Mapping[WellText, str | None], times: Mapping[str, int]
) -> DeclaredPlane:
    path, kind = _path(row, listing.root), _kind(row)
    well = wells[row.well()]
    if well is None:
        raise row.fail(
            "well" if "well" in row.cells else "row",
            f"{str(row.well())!r} is no well (expected A01 to AF48, or r01c01)",
        )
    if kind is PlaneKind.PROJECTION and row.text("z_index"):
        raise row.fail("z_index", "a projection has no z; leave the cell empty")
    time = times.get(row.text("timepoint"))
    return DeclaredPlane(
        source=f"row {row.number} ({path})",
        path=path,
        file=listing.by_path.get(path),
        well=well,
        site=row.whole_number("site"),
        channel=row.required("channel") if "channel" in row.cells else "1",
        channel_name=row.text("channel_name") or None,
        z_index=None if kind is PlaneKind.PROJECTION else row.whole_number("z_index"),
        timepoint=row.whole_number("timepoint") if time is None else time,
        kind=kind,
        x_um=row.lengths.get("x_um"),
        y_um=row.lengths.get("y_um"),
        z_um=row.lengths.get("z_um"),
    )


def _path(row: PlaneRow, root: str) -> str:
    """The path, spelt as a listing spells it; never one that leaves the plate folder ``root``."""
    text = row.required("path").removeprefix(root.rstrip("/") + "/")
    if "\\" in text:
        raise row.fail("path", f"{text!r} has a backslash; write / between folders")
    parts = text.split("/")
    if parts[0] == "" or ".." in parts or parts[0].endswith(":"):
        raise row.fail("path", f"{text!r} leads out of the plate folder; give paths below it")
    kept = "/".join(part for part in parts if part not in ("", "."))
    if not kept:
        raise row.fail("path", f"{text!r} names no file")
    return kept


def _kind(row: PlaneRow) -> PlaneKind:
    text = row.text("kind").lower() or PlaneKind.PLANE.value
    kinds = [kind.value for kind in PlaneKind]
    if text not in kinds:
        raise row.fail("kind", f"{text!r} is not one of {', '.join(kinds)}")
    return PlaneKind(text)


def _refuse_same_file(planes: list[DeclaredPlane]) -> None:
    seen: dict[str, str] = {}
    for plane in planes:
        first = seen.setdefault(plane.path, plane.source)
        if first != plane.source:
            raise TableError(f"{first} and {plane.source} are the same file")
