"""Tables that people write: CSV in any separator and encoding that Excel makes, and XLSX. Every cell is text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Final

MAX_BYTES: Final = 256 << 20
"""Of a table's file; one row for each plane of the largest plates is 100 MB."""
_MAX_UNPACKED: Final = 256 << 20
"""Bytes of a workbook once unzipped; a zip bomb claims more."""
_MAX_ROWS, _MAX_COLUMNS = 100_000, 1000
"""Of a sheet; the largest plate has 1536 wells."""
_SEPARATORS: Final = ("\t", ";", ",")
"""In the order in which they are believed where several divide a file equally well."""
_SPREADSHEETS: Final = (".xlsx", ".xlsm")


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

    def __getitem__(self, place: tuple[int, int]) -> str:
        """The cell at (row, column), counted from 0; empty text outside the table."""
        row, column = place
        inside = 0 <= row < len(self.rows) and 0 <= column < len(self.rows[row])
        return self.rows[row][column] if inside else ""

    def cell(self, row: int, column: int) -> str:
        """Name of a cell as spreadsheets show it, row and column counted from 0: ``B17``, ``Doses!B17``."""
        address = f"{column_letters(column)}{row + 1}"
        return f"{self.name}!{address}" if self.name is not None else address


def column_letters(column: int) -> str:
    """A to Z, then AA: a column's name in a spreadsheet, counted from 0."""
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def read_tables(path: Path) -> tuple[Table, ...]:
    """All sheets of a workbook that hold anything, or the one table of a text file.

    Raises
    ------
    TableError
        If the file cannot be read, is too large, or is neither text nor a workbook.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise TableError(f"it has {size} bytes, more than the {MAX_BYTES} that a table may have")
        if path.suffix.lower() in _SPREADSHEETS:
            return _read_workbook(path)
        return (_read_text(path.read_bytes()),)
    except OSError as error:
        raise TableError(f"it cannot be opened: {error.strerror or error}") from error


def _read_text(content: bytes) -> Table:
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise TableError("it is a spreadsheet, not text; save it as .xlsx or CSV")
    text = _decoded(content)
    if "\0" in text:
        raise TableError("it is not text")
    stated = re.match(r"sep=(.)\r?\n", text)  # what Excel writes for itself
    separator = stated[1] if stated else _separator_of(text)
    try:
        found = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise TableError(f"it is no table ({error})") from error
    rows = [tuple(cell.strip() for cell in row) for row in found]
    if stated:
        rows[0] = ()  # kept empty, so that rows keep their numbers
    return Table(name=None, rows=tuple(rows), separator=separator)


def _decoded(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):  # Excel's "Unicode text"
        return content.decode("utf-16", errors="replace")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise TableError("it is neither UTF-8 nor Windows-1252 text; save it as CSV UTF-8")


def _separator_of(text: str) -> str:
    """What stands in most lines: a decimal comma or a comma in a title stands in fewer than the true separator."""
    lines = [re.sub(r'"[^"]*"', "", line) for line in text.splitlines()[:10_000] if line.strip()]

    def weight(separator: str) -> tuple[int, int]:
        counts = [line.count(separator) for line in lines]
        return sum(count > 0 for count in counts), -_SEPARATORS.index(separator)

    best = max(_SEPARATORS, key=weight)
    return best if weight(best)[0] else ","


def _read_workbook(path: Path) -> tuple[Table, ...]:
    from xml.etree.ElementTree import ParseError
    from zipfile import BadZipFile, ZipFile, is_zipfile

    from defusedxml.common import DefusedXmlException
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    if not is_zipfile(path):
        raise TableError("it is not an XLSX workbook; save it again as .xlsx or CSV")
    try:
        with ZipFile(path) as packed:
            if sum(member.file_size for member in packed.infolist()) > _MAX_UNPACKED:
                raise TableError("it unpacks to more than a workbook of conditions can hold")
        book = load_workbook(path, read_only=True, data_only=True)
        try:
            tables = [Table(name=sheet.title, rows=tuple(_rows(sheet))) for sheet in book.worksheets]
        finally:
            book.close()
    except TableError:
        raise
    except (
        BadZipFile, InvalidFileException, ParseError, DefusedXmlException, KeyError, ValueError, TypeError, IndexError,
        AttributeError,
    ) as error:  # fmt: skip  # openpyxl has no base for what damaged workbooks raise
        raise TableError(f"it is a damaged workbook ({type(error).__name__}: {error})") from error
    return tuple(table for table in tables if any(any(row) for row in table.rows))


def _rows(sheet: Any) -> Iterator[tuple[str, ...]]:  # Any: openpyxl has no types
    for number, row in enumerate(sheet.iter_rows(values_only=True)):
        if number >= _MAX_ROWS or len(row) > _MAX_COLUMNS:
            raise TableError(f"its sheet {sheet.title!r} has more than {_MAX_ROWS} rows or {_MAX_COLUMNS} columns")
        yield tuple(_text(value) for value in row)


def _text(value: object) -> str:
    """A value as a person reads it in the cell; whole numbers without ``.0``."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value).strip()
