"""The cells of a table, whatever file they come from."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

MAX_COLUMNS: Final = 16_384
"""Of a sheet in XLSX; more than that is no table for people in any format."""
_MAX_CELLS: Final = 8_000_000
"""Of a sheet: those up to the last filled one of each row, the most that fits into half a gigabyte."""
_ERROR: Final = re.compile(r"#(?:[^\W\d_]+|DIV/0)[!?]|#N/A|#NV|#NA")
"""What a formula that failed leaves in its cell, in Excel's languages."""


class TableError(ValueError):
    """The file is no readable table; the message is the reason, without the file's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The cells of one sheet, as text without white space around it; empty text where there is nothing."""

    name: str | None
    """Name of the sheet; None for CSV."""
    rows: tuple[tuple[str, ...], ...]
    separator: str | None = None
    """What divides the cells of a CSV."""
    written: frozenset[tuple[int, int]] | None = None
    """Cells (row, column) with numbers that are kept as texts; None where the file does not know one from the other."""
    formulas: frozenset[tuple[int, int]] = frozenset()
    """Cells with a formula whose value the file does not hold; their text is the formula."""
    hidden: bool = False
    """True for a sheet that its program does not show."""
    notes: tuple[str, ...] = ()
    """What a person should know of how it was read, as sentences."""

    def __getitem__(self, position: tuple[int, int]) -> str:
        """The cell at (row, column), counted from 0; empty text outside the table."""
        row, column = position
        inside = 0 <= row < len(self.rows) and 0 <= column < len(self.rows[row])
        return self.rows[row][column] if inside else ""

    def cell(self, row: int, column: int) -> str:
        """Name of a cell as spreadsheets show it, row and column counted from 0: ``B17``, ``Doses!B17``."""
        address = f"{column_letters(column)}{row + 1}"
        return f"{self.name}!{address}" if self.name is not None else address

    def is_exact(self, row: int, column: int) -> bool:
        """Whether the file holds the cell as a number, if it is one: then its point is a decimal point."""
        return self.written is not None and (row, column) not in self.written

    def refuse_broken(self, rows: Collection[int], columns: Collection[int]) -> None:
        """Raise TableError if a cell of these rows and columns has an error, or a formula without a value."""
        for row in rows:
            for column in columns:
                text = self[row, column]
                if (row, column) in self.formulas:
                    raise TableError(
                        f"cell {self.cell(row, column)} holds a formula ({text[:60]}) without a stored value; open the "
                        "workbook in a spreadsheet program and save it there, or save the sheet as CSV"
                    )
                if text.startswith("#") and _ERROR.fullmatch(text):
                    raise TableError(
                        f"cell {self.cell(row, column)} holds the error {text}; correct its formula, or empty the cell"
                    )


def column_letters(column: int) -> str:
    """A to Z, then AA: a column's name in a spreadsheet, counted from 0."""
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def refuse_size(cells: int, columns: int, what: str) -> None:
    """Raise TableError if a sheet has more cells, or more columns in one row, than a table of wells or planes."""
    if columns > MAX_COLUMNS:
        raise TableError(f"{what} has more than {MAX_COLUMNS} columns")
    if cells > _MAX_CELLS:
        raise TableError(f"{what} has more than {_MAX_CELLS} cells; keep the columns that are meant, and remove others")


__all__ = ["MAX_COLUMNS", "Table", "TableError", "column_letters", "refuse_size"]
