"""Sheets of an XLSX workbook as cells: merged ones filled, broken ones named, hidden ones reported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path
from typing import IO, Any, Final
from zipfile import BadZipFile, ZipFile, is_zipfile

from openhcs_engine.microscopes.tables.cells import MAX_COLUMNS, Table, TableError, column_letters, refuse_size
from openhcs_engine.model.wording import listed_first

_MAX_UNPACKED: Final = 256 << 20
"""Bytes of a workbook once unzipped; a zip bomb claims more."""
_MAX_ROWS: Final = 100_000
"""Of a sheet; the largest plate has 1536 wells."""
_NUMBER_BEGINS: Final = frozenset("0123456789.,+-−<>≤≥~≈")


def read_workbook(path: Path) -> tuple[Table, ...]:
    """All sheets that hold anything, hidden ones among them.

    Raises
    ------
    TableError
        If the file is no workbook, is damaged, or is larger than a table of wells or planes can be.
    """
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException
    from openpyxl.utils.exceptions import InvalidFileException

    if not is_zipfile(path):
        raise TableError("it is not an XLSX workbook; save it again as .xlsx or CSV")
    try:
        with ZipFile(path) as packed:
            if sum(member.file_size for member in packed.infolist()) > _MAX_UNPACKED:
                raise TableError("it unpacks to more than a workbook of conditions can hold")
            return tuple(table for table in _tables(path, packed) if table.rows)
    except TableError:
        raise
    except (
        BadZipFile, InvalidFileException, ParseError, DefusedXmlException, KeyError, ValueError, TypeError, IndexError,
        AttributeError,
    ) as error:  # fmt: skip  # openpyxl has no base for what damaged workbooks raise
        raise TableError(f"it is a damaged workbook ({type(error).__name__}: {error})") from error


def _tables(path: Path, packed: ZipFile) -> Iterator[Table]:
    from openpyxl import load_workbook

    # Not the mode that knows merged cells: it makes an object of each, so that one range over a sheet never ends.
    with closing(load_workbook(path, read_only=True, data_only=True)) as book:
        for sheet in book.worksheets:
            with packed.open(sheet._worksheet_path) as part:  # no public name leads from a sheet to its part
                extras = _Extras.of(part)
            yield _table(sheet, extras)


@dataclass(slots=True)
class _Extras:
    """What a sheet says beside its values; rows and columns counted from 0."""

    merged: list[tuple[int, int, int, int]] = field(default_factory=list)
    """First column and row, last column and row."""
    formulas: dict[tuple[int, int], str] = field(default_factory=dict)
    """Formulas whose value the file does not hold."""
    hidden_rows: list[int] = field(default_factory=list)
    hidden_columns: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, part: IO[bytes]) -> _Extras:
        """Read a sheet's XML once, keeping none of it."""
        from defusedxml.ElementTree import iterparse
        from openpyxl.utils import range_boundaries

        found = cls()
        for _, element in iterparse(part):
            name = element.tag.rpartition("}")[2]
            if name == "c":
                found._note_formula(element)
            elif name == "mergeCell":
                left, top, right, bottom = range_boundaries(element.get("ref"))
                found.merged.append((left - 1, top - 1, right - 1, bottom - 1))
            elif name == "row" and element.get("hidden") in ("1", "true") and element.get("r"):
                found.hidden_rows.append(int(element.get("r")) - 1)
            elif name == "col" and element.get("hidden") in ("1", "true"):
                last = min(int(element.get("max")), MAX_COLUMNS)
                found.hidden_columns += range(int(element.get("min")) - 1, last)
            if name in ("row", "mergeCell", "col"):
                element.clear()
        return found

    def _note_formula(self, cell: Any) -> None:  # Any: an element
        from openpyxl.utils.cell import coordinate_to_tuple

        parts = {child.tag.rpartition("}")[2]: child.text or "" for child in cell}
        if "f" in parts and not parts.get("v") and cell.get("t") != "str":  # "str" is a text, perhaps an empty one
            row, column = coordinate_to_tuple(cell.get("r"))
            self.formulas[row - 1, column - 1] = f"={parts['f']}"


def _table(sheet: Any, extras: _Extras) -> Table:  # Any: openpyxl has no types
    sheet.reset_dimensions()  # what it claims to span is often far more than what it holds
    page = _Page(sheet.title)
    for row, values in enumerate(sheet.iter_rows(values_only=True)):
        for column, value in enumerate(values):
            if text := _text(value):
                page.put(row, column, text)
                if isinstance(value, str) and text[0] in _NUMBER_BEGINS:
                    page.written.add((row, column))
    for (row, column), formula in extras.formulas.items():
        page.put(row, column, formula)
    for merged in extras.merged:
        page.fill(*merged)
    return Table(
        name=sheet.title,
        rows=tuple(map(tuple, page.rows)),
        written=frozenset(page.written),
        formulas=frozenset(extras.formulas),
        hidden=sheet.sheet_state != "visible",
        notes=tuple(_hidden(sheet.title, extras, page.rows)),
    )


class _Page:
    """Rows of a sheet up to the last filled cell of each."""

    def __init__(self, title: str) -> None:
        self.rows: list[list[str]] = []
        self.written: set[tuple[int, int]] = set()
        """Numbers that are stored as texts."""
        self._name = f"its sheet {title!r}"
        self._cells = 0

    def put(self, row: int, column: int, text: str) -> None:
        """Write one cell."""
        self._reach(row, column + 1)
        self.rows[row][column] = text

    def fill(self, left: int, top: int, right: int, bottom: int) -> None:
        """Give each cell of a merged range the range's text, as far as the sheet has anything beside it."""
        text = self.rows[top][left] if top < len(self.rows) and left < len(self.rows[top]) else ""
        end = min(right + 1, max(map(len, self.rows), default=0))
        for row in range(top, min(bottom + 1, len(self.rows)) if text else top):
            self._reach(row, end)
            self._cells += end - left  # ranges that overlap cost time, too
            self.rows[row][left:end] = [text] * (end - left)
            if (top, left) in self.written:
                self.written.update((row, column) for column in range(left, end))

    def _reach(self, row: int, width: int) -> None:
        if row >= _MAX_ROWS:
            raise TableError(f"{self._name} has more than {_MAX_ROWS} rows")
        self.rows += [[] for _ in range(row + 1 - len(self.rows))]
        missing = width - len(self.rows[row])
        if missing > 0:
            self._cells += missing
            refuse_size(self._cells, width, self._name)
            self.rows[row] += [""] * missing


def _hidden(title: str, extras: _Extras, rows: list[list[str]]) -> Iterator[str]:
    """Sentences about hidden rows and columns that hold anything: they are read as all others."""
    shown = [str(row + 1) for row in extras.hidden_rows if row < len(rows) and any(rows[row])]
    if shown:
        yield f"Hidden rows of the sheet {title!r} were read like the others: {listed_first(shown)}."
    hidden = set(extras.hidden_columns)
    filled = {column for row in rows for column, text in enumerate(row) if text and column in hidden} if hidden else ()
    if filled:
        letters = [column_letters(column) for column in sorted(filled)]
        yield f"Hidden columns of the sheet {title!r} were read like the others: {listed_first(letters)}."


def _text(value: object) -> str:
    """A value as a person reads it in the cell; whole numbers without ``.0``."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value).strip()


__all__ = ["read_workbook"]
