"""Plate maps from CSV and XLSX: a row for each well, or the 8 x 12 grids that people draw."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from openhcs_engine.errors import PlateMapError
from openhcs_engine.microscopes.plate_map.grid import PlateGrid, find_grids
from openhcs_engine.microscopes.plate_map.rows import (
    CellValue,
    TableContents,
    column_called,
    cut,
    read_list,
    shown,
    well_columns,
)
from openhcs_engine.microscopes.tables.cells import Table, TableError
from openhcs_engine.microscopes.tables.files import read_tables, shown_tables
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.plate_map import PLATE_FORMATS, Condition, PlateMap, PlateMapColumns, WellRole
from openhcs_engine.model.quantities.numbers import read_numbers
from openhcs_engine.model.quantities.units import unit_of_title, without_unit
from openhcs_engine.model.wells import plate_order
from openhcs_engine.model.wording import listed_first

_PREAMBLE: Final = 30
"""Rows in which a header is looked for: a plate's name, a date and a protocol may stand above it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedMap:
    """A plate map, and what a person should know of how it was read."""

    plate_map: PlateMap
    notes: tuple[str, ...]
    """Sentences: sheets and rows that were not read, or are hidden."""
    no_numbers: Mapping[str, str]
    """Why the dose of a well that has one is no number, by well: the text, and a clause about it."""


def read_plate_map(
    path: str | os.PathLike[str], columns: PlateMapColumns | None = None, plate_names: Sequence[str] = ()
) -> PlateMap:
    """Read a table of conditions.

    Parameters
    ----------
    path : path
        CSV (separated by ``,`` ``;`` or tab; UTF-8 or Windows-1252) or XLSX. Either its first row names the columns and
        each row below is a well (a title, a date and the like may stand above), or it holds grids: column numbers
        above, row letters on the left, and a title in the corner or above. Merged cells have the value of their range
        each. Values stay text, decimal commas too; doses are read as numbers, too (see ``read_numbers``).
    columns : PlateMapColumns, optional
        What its columns, or the titles of its grids, mean.
    plate_names : sequence of str, optional
        What the plate is called: where a column names plates, only this one's rows are read.

    Raises
    ------
    PlateMapError
        If the table cannot be read or understood, names a well twice or one that no such plate has, holds a role's
        code that was not declared, an error, or a formula without a stored value, or has no row of the plate. The
        message names the cell.
    """
    return load_plate_map(path, columns, plate_names).plate_map


def load_plate_map(
    path: str | os.PathLike[str], columns: PlateMapColumns | None = None, plate_names: Sequence[str] = ()
) -> LoadedMap:
    """As ``read_plate_map``, with what a person should know of how the table was read."""
    file, declared = Path(path).expanduser(), columns or PlateMapColumns()
    try:
        tables, passed = shown_tables(read_tables(file))
        if not tables and passed:
            raise TableError(f"it has no sheet but hidden ones. {passed[0].rstrip('.')}")
        found = _read(tables, declared, plate_names)
    except TableError as error:
        raise PlateMapError(f"{file.name} is no plate map: {error}.", path=str(file)) from error
    loaded = _load(file.name, found, declared, str(file))
    if declared.plate_wells is not None:
        loaded.plate_map.refuse_outside(*PLATE_FORMATS[declared.plate_wells])
    return replace(loaded, notes=tuple(f"{file.name}: {note}" for note in (*passed, *found.notes)))


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
        notes.append(f"{len(not_acquired)} wells of {plate_map.name} were not acquired: {listed_first(not_acquired)}.")
    if not_described:
        notes.append(f"{plate_map.name} says nothing of {len(not_described)} wells: {listed_first(not_described)}.")
    return plate_map.restricted(acquired), tuple(notes)


def dose_notes(loaded: LoadedMap, wells: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Notes about how the doses of these wells were read, and warnings of those that could not be read as numbers.

    Controls and empty wells are left out: their role says what they hold. Where no column is taken for the doses, those
    of numbers are named with the line that would declare them.
    """
    plate_map = loaded.plate_map
    meant = [well for well in wells if plate_map.role(well) in (None, WellRole.SAMPLE)]
    problems = [f"{loaded.no_numbers[well]} (well {well})" for well in meant if well in loaded.no_numbers]
    numbers = [dose for well in meant if (dose := plate_map.dose(well)) is not None]
    unit = f" {plate_map.dose_unit}" if plate_map.dose_unit else ""
    notes = (
        [f"The doses of {plate_map.name} are {min(numbers):g} to {max(numbers):g}{unit}."]
        if len(set(numbers)) > 1
        else [*_undeclared_doses(plate_map, meant)]
    )
    warning = (
        f"{len(problems)} doses of {plate_map.name} cannot be read as numbers, and have no shade in the report: "
        f"{listed_first(problems, 6, '; ')}."
    )
    return tuple(notes), (warning,) if problems else ()


def _undeclared_doses(plate_map: PlateMap, wells: Sequence[str]) -> Iterator[str]:
    """Columns of several numbers, where the map has no doses: one of them may be meant."""
    for condition in plate_map.conditions if "dose" not in plate_map.names else ():
        texts = plate_map.condition(condition.name)
        filled = [text for well in wells if (text := texts[well])]
        read = read_numbers(filled)
        if len(set(read.values)) > 1 and not read.problems:
            declared = (
                f'{{"table": {json.dumps(plate_map.name)}, "dose": {json.dumps(condition.name, ensure_ascii=False)}}}'
            )
            yield (
                f'The column "{condition.name}" of {plate_map.name} holds numbers and is not taken for doses. If it '
                f"has them, give a JSON file that says so as plate map: {declared}."
            )


def _read(tables: Sequence[Table], declared: PlateMapColumns, plate_names: Sequence[str]) -> TableContents:
    if not tables or not any(any(row) for table in tables for row in table.rows):
        raise TableError("it is empty")
    headers = [next(number for number, row in enumerate(table.rows) if any(row)) for table in tables]
    lists = [pair for pair in zip(tables, headers, strict=True) if well_columns(*pair, declared) is not None]
    if lists:
        named = [table for table, _ in lists]
        _refuse_more_sheets(named, [table for table in tables if table not in named])
        return _with_notes(read_list(*lists[0], declared, plate_names), named[:1], tables)
    grids = {table: grids for table in tables if (grids := find_grids(table))}
    if not grids and (below := [pair for table in tables if (pair := _below_preamble(table, declared)) is not None]):
        _refuse_more_sheets([table for table, _ in below], [])
        return _with_notes(read_list(*below[0], declared, plate_names), [below[0][0]], tables)
    if not grids:
        raise TableError(_unreadable(tables, declared))
    return _with_notes(_read_grids([grid for found in grids.values() for grid in found], declared), list(grids), tables)


def _with_notes(contents: TableContents, used: Sequence[Table], tables: Sequence[Table]) -> TableContents:
    """The contents, with notes about the sheets that they were read from and those that were not read."""
    names = ", ".join(f'"{table.name}"' for table in tables if table not in used)
    passed = (f"Sheets that describe no wells were not read: {names}.",) if names else ()
    return replace(contents, notes=(*contents.notes, *(note for table in used for note in table.notes), *passed))


def _read_grids(grids: Sequence[PlateGrid], declared: PlateMapColumns) -> TableContents:
    if declared.plate is not None:
        raise TableError(
            f'plate was declared to be "{declared.plate}", but it holds grids, which have no column of plates'
        )
    titles = tuple(grid.title for grid in grids)
    if twice := next((grid for index, grid in enumerate(grids) if grid.title in titles[:index]), None):
        raise TableError(f'two of its grids have the title "{twice.title}", the second at cell {twice.cell}')
    values = tuple(CellValue(grid.title, *value) for grid in grids for value in grid.values)
    return TableContents(titles=titles, wells={value.well: value.cell for value in reversed(values)}, values=values)


def _below_preamble(table: Table, declared: PlateMapColumns) -> tuple[Table, int] | None:
    """The table and the row of its header, where that is not the first row; None if it has none."""
    for number, row in enumerate(table.rows[:_PREAMBLE]):
        if sum(map(bool, row)) > 1 and well_columns(table, number, declared) is not None:
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


def _unreadable(tables: Sequence[Table], declared: PlateMapColumns) -> str:
    wanted = " and ".join(f'"{name}"' for name in (declared.well, declared.row, declared.column) if name is not None)
    first = next(row for row in tables[0].rows if any(row))
    texts = ", ".join(f'"{cell}"' for cell in first if cell) or "nothing"
    formulas = [table.cell(*min(table.formulas)) for table in tables if table.formulas]
    remark = f". Cell {formulas[0]} holds a formula whose value the file does not have" if formulas else ""
    return (
        f"its first row has no column {wanted or 'Well, nor Row and Column'} (it has {cut(texts)}), and it holds no "
        "grid of wells (numbers 1, 2, 3 above, letters A, B, C on the left). Declare what its columns are "
        f"called{remark}"
    )


def _load(name: str, contents: TableContents, declared: PlateMapColumns, path: str) -> LoadedMap:
    """Separate roles from conditions, read doses as numbers, and put everything in plate order."""
    wells = tuple(sorted(contents.wells, key=plate_order))
    try:
        purposes = _purposes(contents.titles, declared)
        roles = _roles(contents, purposes, declared)
    except TableError as error:
        raise PlateMapError(f"{name} cannot be used as a plate map: {error}.", path=path) from error
    by_title: dict[str, dict[str, str | None]] = {title: {} for title in contents.titles}
    for value in contents.values:
        by_title[value.title][value.well] = value.text or None
    doses, unit, no_numbers = _doses(contents, purposes)
    plate_map = PlateMap(
        name=name,
        wells=wells,
        cells=tuple(contents.wells[well] for well in wells),
        roles=tuple(roles.get(well) for well in wells),
        conditions=tuple(
            Condition(name=purposes[title], values=tuple(texts.get(well) for well in wells))
            for title, texts in by_title.items()
            if purposes[title] != "role"
        ),
        doses=tuple(doses.get(well) for well in wells) if doses else (),
        dose_unit=unit,
    )
    return LoadedMap(plate_map=plate_map, notes=contents.notes, no_numbers=no_numbers)


def _doses(
    contents: TableContents, purposes: Mapping[str, str]
) -> tuple[dict[str, float | None], str | None, dict[str, str]]:
    """The doses by well, their unit, and why a well that has a dose has no number."""
    title = next((title for title, purpose in purposes.items() if purpose == "dose"), None)
    if title is None:
        return {}, None, {}
    values = [value for value in contents.values if value.title == title]
    unit = unit_of_title(title)
    cells = [*((value.text, value.exact) for value in values), *contents.elsewhere.get(title, ())]
    read = read_numbers(
        [text for text, _ in cells],
        unit=unit and unit.name,
        exact={index for index, (_, exact) in enumerate(cells) if exact},
    )
    doses = {value.well: number for value, number in zip(values, read.values, strict=False)}
    problems = {
        value.well: f"cell {value.cell}: {shown(value.text)} {read.problems[index]}"
        for index, value in enumerate(values)
        if index in read.problems
    }
    return doses, read.unit, problems


def _purposes(titles: Sequence[str], declared: PlateMapColumns) -> dict[str, str]:
    """Name of each title's condition; ``role`` for the roles."""
    names = {title: title for title in titles}
    for purpose, wanted in (("compound", declared.compound), ("dose", declared.dose), ("role", declared.role)):
        index = column_called(titles, purpose, wanted)
        if wanted is None and purpose == "dose":
            index = _dose_column(titles)
        if index is not None:
            names[titles[index]] = purpose
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


def _dose_column(titles: Sequence[str]) -> int | None:
    """The only column that is called as doses are; of several the only one that names no unit, or none of them."""
    bare = [without_unit(title) for title in titles]
    called = [index for index in range(len(titles)) if column_called(bare[index : index + 1], "dose", None) is not None]
    plain = [index for index in called if bare[index] == titles[index]]
    return next((found[0] for found in (called, plain) if len(found) == 1), None)


def _roles(contents: TableContents, purposes: Mapping[str, str], declared: PlateMapColumns) -> dict[str, WellRole]:
    codes = declared.role_codes
    folded = {code.casefold(): word for code, word in codes.items()}
    roles: dict[str, WellRole] = {}
    for value in contents.values:
        if purposes[value.title] != "role" or (not value.text and "" not in codes):
            continue
        plain = re.sub(r"(?<=\d)\.0+$", "", value.text)  # pandas writes the code -1 as -1.0 in a column with a gap
        word = codes.get(value.text) or folded.get(value.text.casefold()) or codes.get(plain)
        if word is None:
            raise TableError(
                f"cell {value.cell} holds the role {shown(value.text)}, which was not declared "
                f"(declared: {', '.join(shown(code) for code in codes)}). Say what it means: "
                f"{', '.join(role.value for role in WellRole)}"
            )
        roles[value.well] = WellRole(word)
    return roles
