"""Grids of wells in a table: column numbers above, row letters on the left, a title in the corner or above."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from openhcs_engine.microscopes.tables.cells import Table, TableError
from openhcs_engine.model.quantities.numbers import whole_number
from openhcs_engine.model.wells import MAX_COLUMNS, MAX_ROWS, row_letters, well_name

_ROWS = {row_letters(row): row for row in range(MAX_ROWS)}


class GridValue(NamedTuple):
    """One filled cell of a grid."""

    well: str
    text: str
    cell: str
    exact: bool
    """True: the file holds it as a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateGrid:
    """One condition, drawn as the plate lies on the table."""

    title: str
    cell: str
    """Its upper left corner, e.g. ``A3``."""
    values: tuple[GridValue, ...]
    """Cells that hold anything, row by row."""


def find_grids(table: Table) -> tuple[PlateGrid, ...]:
    """All grids of a sheet, from the top.

    A grid may leave out rows and columns at the plate's edges, but none in between.

    Raises
    ------
    TableError
        If a grid has no title, leaves out a row or column in between, or holds an error, or a formula without a value.
    """
    frames = tuple(_frames(table))
    return tuple(_grid(table, frame, frames) for frame in frames)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where the numbers and letters of a grid are: ``top`` their row, ``left`` the column of the letters."""

    top: int
    left: int
    first_row: int
    rows: int
    first_column: int
    columns: int

    def covers(self, row: int, column: int) -> bool:
        return self.top <= row <= self.top + self.rows and self.left <= column <= self.left + self.columns


def _frames(table: Table) -> Iterator[_Frame]:
    for top, row in enumerate(table.rows):
        for left in range(len(row) - 1):
            if _starts(table, top, left):
                frame = _frame(table, top, left)
                if frame.rows > 1 and frame.columns > 1:
                    yield frame


def _starts(table: Table, top: int, left: int) -> bool:
    """True for a corner: a number on its right, a letter below, and itself no number."""
    numbered = _number(table[top, left]) is None and _number(table[top, left + 1]) is not None
    return numbered and _letter(table[top + 1, left]) is not None


def _frame(table: Table, top: int, left: int) -> _Frame:
    first_column = _number(table[top, left + 1]) or 0
    columns = 1
    while _number(table[top, left + 1 + columns]) == first_column + columns:
        columns += 1
    first_row = _letter(table[top + 1, left]) or 0
    rows = 1
    while _letter(table[top + 1 + rows, left]) == first_row + rows:
        rows += 1
    frame = _Frame(top, left, first_row, rows, first_column, columns)
    if rows > 1 and columns > 1:
        _refuse_gap(table, frame)
    return frame


def _refuse_gap(table: Table, frame: _Frame) -> None:
    """Behind the last number and letter there must not be another: it was miswritten, or one before it left out."""
    right, below = frame.left + 1 + frame.columns, frame.top + 1 + frame.rows
    column, row = frame.first_column + frame.columns, frame.first_row + frame.rows
    if table[frame.top, right].isdigit() or _number(table[frame.top, right + 1]) == column + 1:
        wanted = f"expected column {column}" if column <= MAX_COLUMNS else "no plate has so many columns"
        raise TableError(f"cell {table.cell(frame.top, right)} holds {table[frame.top, right]!r}, {wanted}")
    if _is_row_name(table, below, frame) or _letter(table[below + 1, frame.left]) == row + 1:
        wanted = f"expected row {row_letters(row)}" if row < MAX_ROWS else "no plate has so many rows"
        raise TableError(f"cell {table.cell(below, frame.left)} holds {table[below, frame.left]!r}, {wanted}")


def _is_row_name(table: Table, row: int, frame: _Frame) -> bool:
    """True for one or two letters before values; ``pH`` alone, or in a corner, is a title."""
    if not re.fullmatch(r"[A-Za-z]{1,2}", table[row, frame.left], re.ASCII) or _starts(table, row, frame.left):
        return False
    return any(table[row, frame.left + 1 + column] for column in range(frame.columns))


def _number(text: str) -> int | None:
    number = whole_number(text) or 0
    return number if 0 < number <= MAX_COLUMNS else None


def _letter(text: str) -> int | None:
    return _ROWS.get(text.upper())


def _grid(table: Table, frame: _Frame, frames: tuple[_Frame, ...]) -> PlateGrid:
    title = table[frame.top, frame.left] or _title_above(table, frame, frames)
    if not title and len(frames) == 1:
        title = table.name or ""
    corner = table.cell(frame.top, frame.left)
    table.refuse_broken(range(frame.top, frame.top + frame.rows + 1), range(frame.left, frame.left + frame.columns + 1))
    if not title:
        raise TableError(f"the grid at cell {corner} has no title; write what it shows into this cell, or above it")
    return PlateGrid(title=title, cell=corner, values=tuple(_values(table, frame)))


def _title_above(table: Table, frame: _Frame, frames: tuple[_Frame, ...]) -> str:
    """The first text of the nearest row above that holds any, unless that row is another grid's."""
    span = range(frame.left, frame.left + frame.columns + 1)
    for row in range(frame.top - 1, -1, -1):
        if any(other.covers(row, column) for other in frames for column in span):
            return ""
        if title := next((table[row, column] for column in span if table[row, column]), ""):
            return title
    return ""


def _values(table: Table, frame: _Frame) -> Iterator[GridValue]:
    for row in range(frame.rows):
        for column in range(frame.columns):
            place = frame.top + 1 + row, frame.left + 1 + column
            if table[place]:
                well = well_name(frame.first_row + row, frame.first_column - 1 + column)
                yield GridValue(well, table[place], table.cell(*place), table.is_exact(*place))
