"""Plate maps from CSV and XLSX: a row for each well, or the 8 x 12 grids that people draw."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from openhcs_engine.errors import PlateMapError, UnknownWellError
from openhcs_engine.microscopes.cells import Table, TableError
from openhcs_engine.microscopes.plate_map_grid import find_grids
from openhcs_engine.microscopes.tables import read_tables, shown_tables
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.plate_map import PLATE_FORMATS, Condition, PlateMap, PlateMapColumns, WellRole
from openhcs_engine.model.wells import normalise_well, plate_order

_USUAL: Final[Mapping[str, tuple[str, ...]]] = {
    "well": ("well", "wells", "wellid", "wellname", "wellposition"),
    "row": ("row", "wellrow"),
    "column": ("column", "col", "wellcolumn", "wellcol"),
    "compound": ("compound",),
    "dose": ("dose",),
    "role": ("role",),
}
"""What columns are called where nothing was declared; compared without case, spaces, ``_`` and ``-``."""
_PREAMBLE: Final = 30
"""Rows in which a header is looked for: a plate's name, a date and a protocol may stand above it."""


def read_plate_map(path: str | os.PathLike[str], columns: PlateMapColumns | None = None) -> PlateMap:
    """Read a table of conditions.

    Parameters
    ----------
    path : path
        CSV (separated by ``,`` ``;`` or tab; UTF-8 or Windows-1252) or XLSX. Either its first row names the columns and
        each row below is a well (a title, a date and the like may stand above), or it holds grids: column numbers
        above, row letters on the left, and a title in the corner or above. Values stay text, decimal commas too.
    columns : PlateMapColumns, optional
        What its columns, or the titles of its grids, mean.

    Raises
    ------
    PlateMapError
        If the table cannot be read or understood, names a well twice or one that no such plate has, or holds a role's
        code that was not declared. The message names the cell.
    """
    file, declared = Path(path).expanduser(), columns or PlateMapColumns()
    try:
        tables, _ = shown_tables(read_tables(file))
        found = _read(tables, declared)
    except TableError as error:
        raise PlateMapError(f"{file.name} is no plate map: {error}.", path=str(file)) from error
    plate_map = _plate_map(file.name, found, declared, str(file))
    if declared.plate_wells is not None:
        plate_map.refuse_outside(*PLATE_FORMATS[declared.plate_wells])
    return plate_map


def join_plate_map(plate_map: PlateMap, plate: Plate) -> tuple[PlateMap, tuple[str, ...]]:
    """The part of a map that speaks of acquired wells, and sentences about the rest.

    Raises
    ------
    PlateMapError
        If the map speaks of wells that the plate's format does not have.
    """
    if plate.rows is not None and plate.columns is not None:
        plate_map.refuse_outside(plate.rows, plate.columns)
    acquired = set(plate.wells)
    not_acquired = [well for well in plate_map.wells if well not in acquired]
    not_described = [well for well in plate.wells if well not in set(plate_map.wells)]
    notes = []
    if not_acquired:
        notes.append(f"{len(not_acquired)} wells of {plate_map.name} were not acquired: {_listed(not_acquired)}.")
    if not_described:
        notes.append(f"{plate_map.name} says nothing of {len(not_described)} wells: {_listed(not_described)}.")
    return plate_map.restricted(acquired), tuple(notes)


@dataclass(frozen=True, slots=True)
class _Value:
    """One cell of the table: the condition it belongs to, its well, and its text."""

    title: str
    well: str
    text: str
    cell: str


@dataclass(frozen=True, slots=True)
class _Found:
    """Everything that a table says, before roles are told from conditions."""

    titles: tuple[str, ...]
    wells: Mapping[str, str]
    """Well → the cell that names it."""
    values: tuple[_Value, ...]


def _read(tables: Sequence[Table], declared: PlateMapColumns) -> _Found:
    if not tables or not any(any(row) for table in tables for row in table.rows):
        raise TableError("it is empty")
    headers = {table: next(number for number, row in enumerate(table.rows) if any(row)) for table in tables}
    lists = [table for table, header in headers.items() if _well_columns(table, header, declared) is not None]
    if lists:
        _refuse_more_sheets(lists, [table for table in tables if table not in lists])
        return _read_list(lists[0], headers[lists[0]], declared)
    grids = [grid for table in tables for grid in find_grids(table)]
    if not grids and (below := [pair for table in tables if (pair := _below_preamble(table, declared)) is not None]):
        _refuse_more_sheets([table for table, _ in below], [])
        return _read_list(*below[0], declared)
    if not grids:
        raise TableError(_unreadable(tables[0], declared))
    titles = tuple(grid.title for grid in grids)
    if twice := next((grid for place, grid in enumerate(grids) if grid.title in titles[:place]), None):
        raise TableError(f'two of its grids have the title "{twice.title}", the second at cell {twice.cell}')
    values = tuple(_Value(grid.title, *value) for grid in grids for value in grid.values)
    return _Found(titles, {value.well: value.cell for value in reversed(values)}, values)


def _below_preamble(table: Table, declared: PlateMapColumns) -> tuple[Table, int] | None:
    """The table and the row of its header, where that is not the first row; None if it has none."""
    for number, row in enumerate(table.rows[:_PREAMBLE]):
        if sum(map(bool, row)) > 1 and _well_columns(table, number, declared) is not None:
            return table, number
    return None


def _refuse_more_sheets(lists: Sequence[Table], others: Sequence[Table]) -> None:
    """Nothing that describes wells is passed over: a workbook has one sheet that lists them, or grids."""
    used, *more = [*lists, *(table for table in others if find_grids(table))]
    if more:
        raise TableError(
            f'its sheets "{used.name}" and "{more[0].name}" both describe wells; put all conditions into one of them, '
            "or save the one that is meant as CSV"
        )


def _unreadable(table: Table, declared: PlateMapColumns) -> str:
    wanted = " and ".join(f'"{name}"' for name in (declared.well, declared.row, declared.column) if name is not None)
    first = next(row for row in table.rows if any(row))
    shown = ", ".join(f'"{cell}"' for cell in first if cell) or "nothing"
    return (
        f"its first row has no column {wanted or 'Well, nor Row and Column'} (it has {_cut(shown)}), and it holds no "
        "grid of wells (numbers 1, 2, 3 above, letters A, B, C on the left). Declare what its columns are called"
    )


def _read_list(table: Table, header: int, declared: PlateMapColumns) -> _Found:
    """One row for each well."""
    names = table.rows[header]
    places = _well_columns(table, header, declared) or ()
    width = max(len(row) for row in table.rows)
    titles = _titles(table, header, width, places)
    wells: dict[str, str] = {}
    values: list[_Value] = []
    for number in range(header + 1, len(table.rows)):
        if not any(table.rows[number]):
            continue
        well, cell = _well_at(table, number, places), table.cell(number, places[-1])
        if well in wells:
            raise TableError(f"well {well} stands in it twice, in cells {wells[well]} and {cell}")
        wells[well] = cell
        values += [
            _Value(title, well, table[number, column], table.cell(number, column)) for column, title in titles.items()
        ]
    if not wells:
        raise TableError(f"it has the columns {_cut(', '.join(filter(None, names)))}, but no row below them")
    return _Found(tuple(titles.values()), wells, tuple(values))


def _well_columns(table: Table, header: int, declared: PlateMapColumns) -> tuple[int, ...] | None:
    """The column of wells, or those of rows and columns; None if the header has neither."""
    names = table.rows[header]
    if declared.row is None and (well := _column(names, "well", declared.well)) is not None:
        return (well,)
    if declared.well is None:
        row, column = _column(names, "row", declared.row), _column(names, "column", declared.column)
        if row is not None and column is not None:
            return row, column
    return None


def _column(names: Sequence[str], purpose: str, declared: str | None) -> int | None:
    """The first column that was declared for a purpose, or is usually called so."""
    if declared is not None:
        exact = [place for place, name in enumerate(names) if name == declared.strip()]
        loose = [place for place, name in enumerate(names) if name and _plain(name) == _plain(declared)]
        return next(iter(exact or loose), None)
    return next((place for place, name in enumerate(names) if _plain(name) in _USUAL[purpose]), None)


def _plain(name: str) -> str:
    plain = "".join(letter for letter in name.casefold() if letter not in " _-")
    return plain.removeprefix("metadata")  # Metadata_Well: as CellProfiler's and JUMP's tables call it


def _titles(table: Table, header: int, width: int, wells: Sequence[int]) -> dict[int, str]:
    """Title of each column of values."""
    titles: dict[int, str] = {}
    for column in range(width):
        title = table[header, column]
        if column in wells:
            continue
        filled = next((row for row in range(header + 1, len(table.rows)) if table[row, column]), None)
        if not title and filled is not None:
            raise TableError(f"cell {table.cell(filled, column)} holds a value, but its column has no title")
        if title in titles.values():
            raise TableError(f'two columns are called "{title}", the second in cell {table.cell(header, column)}')
        if title:
            titles[column] = title
    return titles


def _well_at(table: Table, row: int, places: Sequence[int]) -> str:
    texts = [table[row, column] for column in places]
    for column, text in zip(places, texts, strict=True):
        if not text:
            raise TableError(f"cell {table.cell(row, column)} names no well, but its row holds values")
    spelt = texts[0] if len(texts) == 1 else f"r{texts[0]}c{texts[1]}" if texts[0].isdigit() else "".join(texts)
    try:
        return normalise_well(spelt)
    except UnknownWellError as error:
        cells = " and ".join(table.cell(row, column) for column in places)
        raise TableError(f"cell {cells}: {_shown(' '.join(texts))} is no well (expected A01 to AF48)") from error


def _plate_map(name: str, found: _Found, declared: PlateMapColumns, path: str) -> PlateMap:
    """Tell roles from conditions, and put everything in plate order."""
    wells = tuple(sorted(found.wells, key=plate_order))
    try:
        purposes = _purposes(found.titles, declared)
        roles = _roles(found, purposes, declared)
    except TableError as error:
        raise PlateMapError(f"{name} cannot be used as a plate map: {error}.", path=path) from error
    by_title: dict[str, dict[str, str | None]] = {title: {} for title in found.titles}
    for value in found.values:
        by_title[value.title][value.well] = value.text or None
    return PlateMap(
        name=name,
        wells=wells,
        cells=tuple(found.wells[well] for well in wells),
        roles=tuple(roles.get(well) for well in wells),
        conditions=tuple(
            Condition(name=purposes[title], values=tuple(texts.get(well) for well in wells))
            for title, texts in by_title.items()
            if purposes[title] != "role"
        ),
    )


def _purposes(titles: Sequence[str], declared: PlateMapColumns) -> dict[str, str]:
    """Name of each title's condition; ``role`` for the roles."""
    names = {title: title for title in titles}
    for purpose, wanted in (("compound", declared.compound), ("dose", declared.dose), ("role", declared.role)):
        place = _column(titles, purpose, wanted)
        if place is not None:
            names[titles[place]] = purpose
        elif wanted is not None:
            has = ", ".join(f'"{title}"' for title in titles) or "none"
            raise TableError(
                f'{purpose} was declared to be "{wanted}", but no column or grid is called so (has: {has})'
            )
    taken = list(names.values())
    if twice := next((name for name in taken if taken.count(name) > 1), None):
        both = " and ".join(f'"{title}"' for title, name in names.items() if name == twice)
        raise TableError(f"{both} would both be called {twice}; rename one of them")
    return names


def _roles(found: _Found, purposes: Mapping[str, str], declared: PlateMapColumns) -> dict[str, WellRole]:
    codes = declared.role_codes
    folded = {code.casefold(): word for code, word in codes.items()}
    roles: dict[str, WellRole] = {}
    for value in found.values:
        if purposes[value.title] != "role" or (not value.text and "" not in codes):
            continue
        word = codes.get(value.text) or folded.get(value.text.casefold())
        if word is None:
            raise TableError(
                f"cell {value.cell} holds the role {_shown(value.text)}, which was not declared "
                f"(declared: {', '.join(_shown(code) for code in codes)}). Say what it means: "
                f"{', '.join(role.value for role in WellRole)}"
            )
        roles[value.well] = WellRole(word)
    return roles


def _shown(text: str) -> str:
    return ascii(_cut(text)) if not text.isprintable() else repr(_cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."


def _listed(wells: Iterable[str]) -> str:
    names = list(wells)
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
