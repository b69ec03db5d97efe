"""Tables that people write: CSV in any separator and encoding that Excel makes, and XLSX. Every cell is text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from openhcs_engine.microscopes.tables.cells import Table, TableError, refuse_size
from openhcs_engine.microscopes.tables.workbook import read_workbook
from openhcs_engine.model.system_errors import explained

MAX_BYTES: Final = 256 << 20
"""Of a table's file; one row for each plane of the largest plates is 100 MB."""
_SEPARATORS: Final = ("\t", ";", ",")
"""In the order in which they are believed where several divide a file equally well."""
_SPREADSHEETS: Final = (".xlsx", ".xlsm")


def read_tables(path: Path) -> tuple[Table, ...]:
    """All sheets of a workbook that hold anything, hidden ones too, or the one table of a text file.

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
            return read_workbook(path)
        return (_read_text(path.read_bytes()),)
    except OSError as error:
        raise TableError(f"it cannot be opened: {explained(error)}") from error


def shown_tables(tables: Sequence[Table]) -> tuple[tuple[Table, ...], tuple[str, ...]]:
    """The sheets that are not hidden, and a sentence about those that are: a hidden sheet is never read."""
    names = ", ".join(repr(table.name) for table in tables if table.hidden)
    notes = (f"Hidden sheets were not read: {names}.",) if names else ()
    return tuple(table for table in tables if not table.hidden), notes


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
    refuse_size(sum(map(len, rows)), max(map(len, rows), default=0), "it")
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


__all__ = ["MAX_BYTES", "read_tables", "shown_tables"]
