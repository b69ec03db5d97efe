"""One row of a table of planes, read by the names of its columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from openhcs_engine.microscopes.declared import examples
from openhcs_engine.microscopes.file_names.declared_wells import WellText
from openhcs_engine.microscopes.tables.cells import TableError
from openhcs_engine.model.quantities.numbers import whole_number


@dataclass(frozen=True, slots=True)
class PlaneRow:
    """One row."""

    number: int
    """As a spreadsheet counts it: the header is row 1."""
    cells: Mapping[str, str]
    lengths: Mapping[str, float] = field(default_factory=dict)
    """In µm, by column."""
    called: Mapping[str, str] = field(default_factory=dict)
    """What the table calls our columns, where it is not the same."""

    def with_cells(self, cells: Mapping[str, str]) -> PlaneRow:
        """The same row with more cells."""
        return replace(self, cells={**self.cells, **cells})

    def fail(self, column: str, problem: str) -> TableError:
        """The error of one cell."""
        return TableError(f'row {self.number}, column "{self.called.get(column, column)}": {problem}')

    def text(self, column: str) -> str:
        """A cell as it is; empty if there is no such column."""
        text = self.cells.get(column, "")
        if not text.isprintable():
            raise self.fail(column, f"{text!a} has control characters")
        return text

    def required(self, column: str) -> str:
        """A cell that must not be empty."""
        text = self.text(column)
        if not text:
            raise self.fail(column, "the cell is empty")
        return text

    def whole_number(self, column: str) -> int:
        """A number counted by the instrument; 1 if there is no such column."""
        if column not in self.cells:
            return 1
        text = self.required(column)
        number = whole_number(text)
        if number is None:
            raise self.fail(column, f"{text!r} is no whole number")
        return number

    def well(self) -> WellText:
        """What the row says of the well."""
        if "well" in self.cells:
            return WellText(_plain(self.required("well")))
        return WellText(None, _plain(self.required("row")), _plain(self.required("column")))


def _plain(text: str) -> str:
    """A number as names have it; another text as it is."""
    number = whole_number(text)
    return text if number is None or text.isdigit() else str(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRows:
    """The rows of one plate of a table that may list several."""

    rows: tuple[PlaneRow, ...]
    plate: str | None
    """The plate's name in the table; None where it gives none."""
    notes: tuple[str, ...] = ()


def rows_of_plate(rows: Sequence[PlaneRow], folders: Sequence[str]) -> OwnRows:
    """The rows of one plate.

    Parameters
    ----------
    rows
        All rows.
    folders
        What the plate is called: its id, and the names of the folders that lead to it, the nearest first.

    Raises
    ------
    TableError
        If the table lists several plates and none, or more than one, is called as the folder is.
    """
    plates = list(dict.fromkeys(_plain(row.text("plate")) for row in rows))
    if len(plates) == 1:  # whatever the folder is called: it often is "images"
        return OwnRows(rows=tuple(rows), plate=plates[0] or None)
    for row in rows:
        row.required("plate")
    for folder in folders:
        for alike in (_same, _begins):
            chosen = [plate for plate in plates if alike(plate, folder)]
            if len(chosen) == 1:
                return _own(rows, chosen[0])
    raise TableError(
        f"it lists {len(plates)} plates ({examples(plates)}), and the folder is called {folders[0]!r}; give the plate "
        "its id (--id), or a table of its own"
    )


def _own(rows: Sequence[PlaneRow], plate: str) -> OwnRows:
    own = tuple(row for row in rows if _plain(row.text("plate")) == plate)
    note = f"The rows of {plate} were read; {len(rows) - len(own)} of other plates were left out."
    return OwnRows(rows=own, plate=plate, notes=(note,))


def _same(plate: str, folder: str) -> bool:
    return _spelt(plate) == _spelt(folder)


def _spelt(name: str) -> str:
    """As ids spell names, and without case."""
    return re.sub(r"\W+", "_", name.casefold())


def _begins(plate: str, folder: str) -> bool:
    """``BR00116991__2020-11-05T19_51_35-Measurement1`` is the plate BR00116991."""
    return re.match(re.escape(plate) + r"(?![A-Za-z0-9])", folder, re.IGNORECASE) is not None
