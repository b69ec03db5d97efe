"""Tables with a row for each well: which columns name the well, which rows are this plate's, what the cells hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from openhcs_engine.errors import PlateIdError, UnknownWellError
from openhcs_engine.microscopes.tables.cells import Table, TableError
from openhcs_engine.model.plate_map import PlateMapColumns
from openhcs_engine.model.quantities.numbers import whole_number
from openhcs_engine.model.wells import plate_id_of_folder, well_of_cell, well_of_row_and_column
from openhcs_engine.model.wording import listed_first

_USUAL: Final[Mapping[str, tuple[str, ...]]] = {
    "well": ("well", "wells", "wellid", "wellname", "wellposition"),
    "row": ("row", "wellrow"),
    "column": ("column", "col", "wellcolumn", "wellcol"),
    "plate": ("plate", "plateid", "platename", "platebarcode", "barcode", "assayplate", "assayplatebarcode"),
    "compound": ("compound",),
    "dose": ("dose", "conc", "concentration"),
    "role": ("role",),
}
"""What columns are called where nothing was declared; compared without case, spaces, ``_`` and ``-``."""


@dataclass(frozen=True, slots=True)
class CellValue:
    """One cell of the table: the condition it belongs to, its well, and its text."""

    title: str
    well: str
    text: str
    cell: str
    exact: bool = False
    """True: the file holds it as a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableContents:
    """Everything that a table says, before roles are separated from conditions."""

    titles: tuple[str, ...]
    wells: Mapping[str, str]
    """Well → the cell that names it."""
    values: tuple[CellValue, ...]
    elsewhere: Mapping[str, tuple[tuple[str, bool], ...]] = field(default_factory=dict)
    """By title, text and ``exact`` of the cells of other plates' rows: they show how the column is written."""
    notes: tuple[str, ...] = ()


def column_called(names: Sequence[str], purpose: str, declared: str | None) -> int | None:
    """The first column that was declared for a purpose, or is usually called so; None if there is none."""
    if declared is not None:
        exact = [place for place, name in enumerate(names) if name == declared.strip()]
        loose = [place for place, name in enumerate(names) if name and _plain(name) == _plain(declared)]
        return next(iter(exact or loose), None)
    return next((place for place, name in enumerate(names) if _plain(name) in _USUAL[purpose]), None)


def well_columns(table: Table, header: int, declared: PlateMapColumns) -> tuple[int, ...] | None:
    """The column of wells, or those of rows and columns; None if the header has neither."""
    names = table.rows[header]
    if declared.row is None and (well := column_called(names, "well", declared.well)) is not None:
        return (well,)
    if declared.well is None:
        row, column = column_called(names, "row", declared.row), column_called(names, "column", declared.column)
        if row is not None and column is not None:
            return row, column
    return None


def read_list(table: Table, header: int, declared: PlateMapColumns, plate_names: Sequence[str]) -> TableContents:
    """Read the rows of the plate that is called so; all rows where no column names plates.

    Raises
    ------
    TableError
        If a cell is broken or cannot be understood, a well stands there twice, or no row is this plate's.
    """
    columns = well_columns(table, header, declared) or ()
    filled = [number for number in range(header + 1, len(table.rows)) if any(table.rows[number])]
    rows, notes = _rows_of_plate(table, header, filled, declared, plate_names)
    titles = _titles(table, header, rows, columns)
    table.refuse_broken(rows, (*columns, *titles))
    wells: dict[str, str] = {}
    for number in rows:
        well, cell = _well_at(table, number, columns), table.cell(number, columns[-1])
        if well in wells:
            raise TableError(f"well {well} stands in it twice, in cells {wells[well]} and {cell}")
        wells[well] = cell
    if not wells:
        shown = ", ".join(filter(None, table.rows[header]))
        raise TableError(f"it has the columns {cut(shown)}, but no row below them")
    others = sorted({*filled} - {*rows})
    return TableContents(
        titles=tuple(titles.values()),
        wells=wells,
        values=tuple(
            CellValue(title, well, table[number, column], table.cell(number, column), table.is_exact(number, column))
            for number, well in zip(rows, wells, strict=True)
            for column, title in titles.items()
        ),
        elsewhere={
            title: tuple((table[number, column], table.is_exact(number, column)) for number in others)
            for column, title in titles.items()
        },
        notes=notes,
    )


def shown(text: str) -> str:
    """A cell's text in a message."""
    return ascii(cut(text)) if not text.isprintable() else repr(cut(text))


def cut(text: str) -> str:
    """A text that may be long, in a message."""
    return text if len(text) <= 120 else text[:117] + "..."


def _plain(name: str) -> str:
    plain = "".join(letter for letter in name.casefold() if letter not in " _-")
    return plain.removeprefix("metadata")  # Metadata_Well: as CellProfiler's and JUMP's tables call it


def _titles(table: Table, header: int, rows: Iterable[int], wells: Sequence[int]) -> dict[int, str]:
    """Title of each column of values."""
    filled: dict[int, int] = {}
    for number in rows:
        for column, text in enumerate(table.rows[number]):
            if text:
                filled.setdefault(column, number)
    titles: dict[int, str] = {}
    for column in range(max(len(table.rows[header]), *(column + 1 for column in filled), 0)):
        title = table[header, column]
        if column in wells:
            continue
        if not title and column in filled:
            raise TableError(f"cell {table.cell(filled[column], column)} holds a value, but its column has no title")
        if title in titles.values():
            raise TableError(f'two columns are called "{title}", the second in cell {table.cell(header, column)}')
        if title:
            titles[column] = title
    return titles


def _well_at(table: Table, row: int, columns: Sequence[int]) -> str:
    texts = [table[row, column] for column in columns]
    for column, text in zip(columns, texts, strict=True):
        if not text:
            raise TableError(f"cell {table.cell(row, column)} names no well, but its row holds values")
    try:
        return well_of_cell(*texts) if len(texts) == 1 else well_of_row_and_column(*texts)
    except UnknownWellError as error:
        cells = " and ".join(table.cell(row, column) for column in columns)
        raise TableError(f"cell {cells}: {shown(' '.join(texts))} is no well (expected A01 to AF48)") from error


# Which rows are this plate's.


def _rows_of_plate(
    table: Table, header: int, rows: list[int], declared: PlateMapColumns, names: Sequence[str]
) -> tuple[list[int], tuple[str, ...]]:
    """The rows of one plate, and a note about the others; all rows where no column names plates."""
    columns = _plate_columns(table, header, declared)
    names = (declared.plate_name,) if declared.plate_name is not None else names
    if declared.plate_name is not None and not columns:
        raise TableError(f'this plate was declared to be "{declared.plate_name}", but no column names plates')
    if not columns or not names:
        return rows, ()
    table.refuse_broken(rows, columns)
    wanted = {_plate_key(name) for name in names}
    chosen = {column: [number for number in rows if wanted & _plate_keys(table[number, column])] for column in columns}
    matching = {column: found for column, found in chosen.items() if found}
    if not matching:
        named = [column for column in columns if declared.plate is not None or _repeats(table, rows, column)]
        if named:
            raise TableError(_no_such_plate(table, header, rows, named[0], names))
        return rows, ()  # as many names as rows: they are tubes, not plates
    column, found = next(iter(matching.items()))
    title = table[header, column]
    if any(other != found for other in matching.values()):
        both = " and ".join(f'"{table[header, column]}"' for column in matching)
        raise TableError(f'its columns {both} name this plate in different rows; declare which one counts ("plate": …)')
    for number in rows:
        if not table[number, column]:
            raise TableError(f"cell {table.cell(number, column)} names no plate, but its row holds values")
    called = {_plate_key(table[number, column]): table[number, column] for number in found}
    if len(called) > 1:
        raise TableError(
            f'its column "{title}" has rows of {" and of ".join(map(repr, called.values()))}, and this plate is called '
            f'both ({", ".join(names)}); declare which one it is ("plate_name": …)'
        )
    left, own = len(rows) - len(found), next(iter(called.values()))
    note = f'The rows of {own} were read; {left} of other plates were left out (column "{title}").'
    return found, (note,) if left else ()


def _plate_columns(table: Table, header: int, declared: PlateMapColumns) -> list[int]:
    names = table.rows[header]
    if declared.plate is None:
        return [place for place, name in enumerate(names) if _plain(name) in _USUAL["plate"]]
    column = column_called(names, "plate", declared.plate)
    if column is None:
        has = cut(", ".join(f'"{name}"' for name in names if name))
        raise TableError(f'plate was declared to be "{declared.plate}", but no column is called so (has: {has})')
    return [column]


def _plate_key(text: str) -> str:
    """What is compared of a plate's name: without case, a whole number as pandas writes it without ``.0``."""
    number = whole_number(text)
    return text.casefold() if number is None or text.isdigit() else str(number)


def _plate_keys(text: str) -> set[str]:
    """All that a cell can match: as it is, and as the id that a folder of this name has."""
    if not text:
        return set()
    try:
        return {_plate_key(text), plate_id_of_folder(text).casefold()}
    except PlateIdError:
        return {_plate_key(text)}


def _repeats(table: Table, rows: Sequence[int], column: int) -> bool:
    texts = [table[number, column] for number in rows if table[number, column]]
    return len(texts) == 1 or len(set(texts)) < len(texts)


def _no_such_plate(table: Table, header: int, rows: Sequence[int], column: int, names: Sequence[str]) -> str:
    plates = list(dict.fromkeys(text for number in rows if (text := table[number, column])))
    return (
        f'its column "{table[header, column]}" has no row of this plate ({", ".join(dict.fromkeys(names))}); it names '
        f"{listed_first(plates)}. Give the plate's own map, or declare in a JSON file what this plate is "
        f'called there ("plate_name": "{plates[0]}")'
    )


__all__ = ["CellValue", "TableContents", "column_called", "cut", "read_list", "shown", "well_columns"]
