"""Which well of the plate each path of an OME-Zarr plate is.

OME-Zarr names rows and columns freely; ``rowIndex`` and ``columnIndex`` are positions in the plate's own lists, and
lists may hold only the rows and columns in use. So a well's position on the plate follows from the names, and the
indices are the proof: they must be positions in the lists, or on the plate. Names are read as

- letters (rows): ``A`` to ``AF``;
- numbers, with or without a prefix (``03``, ``col3``): from 0 where a 0 is among them, from 1 where the indices say so,
  or where convention does (columns of lettered rows, ``r02/c03``);
- names in an order: their indices are their positions.

Whatever stays ambiguous, contradicts itself, or does not fit on a plate is refused: a well that is left out or shifted
would be a wrong result.

*Source*: OME-NGFF 0.4 and 0.5, "plate metadata"; what bioformats2raw, iohub, ngio, OMERO and ome-zarr-py write.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from openhcs_engine.errors import UnknownWellError, UnreadablePlateError
from openhcs_engine.model.wells import MAX_COLUMNS, MAX_ROWS, row_and_column, well_name
from openhcs_engine.model.wording import listed_first
from openhcs_engine.ngff.documents import PlateDocument

_LETTERS: Final = re.compile(r"[A-Za-z]{1,2}", re.ASCII)
_NUMBER: Final = re.compile(r"([A-Za-z]*[_ -]?)([0-9]{1,9})", re.ASCII)
_JOINED: Final = re.compile(r"([A-Za-z]{1,2})([0-9]{1,3})|([Rr][0-9]{1,3})([Cc][0-9]{1,3})", re.ASCII)
"""A path without a slash: ``A01`` or ``r01c01``."""


class _Scheme(Enum):
    """How the names of an axis say where they lie; the value explains it to a person."""

    LETTERS = "are letters"
    FROM_1 = "count from 1"
    FROM_0 = "count from 0"
    ORDER = "are names, which lie in the order of their indices"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedWells:
    """The wells of a plate, and what a person should know of their names."""

    names: tuple[str, ...]
    """Canonical name of each well, in the document's order."""
    rows: int | None
    """Rows of the plate's format; None where it lists only those that are in use."""
    columns: int | None
    notes: tuple[str, ...]


def name_wells(plate: PlateDocument, path: str) -> NamedWells:
    """Canonical names of the wells that a plate lists.

    Parameters
    ----------
    plate
        The plate's document.
    path
        Its file, for errors.

    Raises
    ------
    UnreadablePlateError
        If names, paths and indices contradict each other or leave a choice, if two paths are one well, or if a well
        lies beyond the 32 rows and 48 columns of the largest plate.
    """
    paths = [well.path.removesuffix("/") for well in plate.wells]
    split = [_row_and_column_names(each) for each in paths]
    rows = _Axis("row", tuple(row.name for row in plate.rows), tuple(row for row, _ in split),
                 tuple(well.row_index for well in plate.wells), tuple(paths), path)  # fmt: skip
    columns = _Axis("column", tuple(column.name for column in plate.columns), tuple(column for _, column in split),
                    tuple(well.column_index for well in plate.wells), tuple(paths), path)  # fmt: skip
    schemes = _schemes(rows, columns)
    of_rows, of_columns = rows.positions(schemes[0]), columns.positions(schemes[1])
    names = tuple(well_name(row, column) for row, column in zip(of_rows, of_columns, strict=True))
    _refuse_one_well_twice(names, paths, path)
    return NamedWells(
        names=names,
        rows=rows.whole(schemes[0]),
        columns=columns.whole(schemes[1]),
        notes=tuple(_notes(schemes, names, paths)),
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    """The names of rows, or of columns."""

    what: str
    listed: tuple[str, ...]
    """As the plate lists them."""
    used: tuple[str, ...]
    """Of each well, by its path."""
    indices: tuple[int | None, ...]
    """Of each well, as its entry states it."""
    paths: tuple[str, ...]
    file: str

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.listed, *self.used)

    @property
    def most(self) -> int:
        return MAX_ROWS if self.what == "row" else MAX_COLUMNS

    def are_letters(self) -> bool:
        return bool(self.names) and all(_LETTERS.fullmatch(name) for name in self.names)

    def prefix(self) -> str | None:
        """What stands before the numbers, in lower case; None if the names are not all numbers of one kind."""
        found = [_NUMBER.fullmatch(name) for name in self.names]
        prefixes = {match[1].lower() for match in found if match is not None}
        return prefixes.pop() if len(prefixes) == 1 and all(found) else None

    def numbers(self) -> set[int]:
        return {_number(name) for name in self.names}

    def known_indices(self) -> list[tuple[int, int]]:
        """Number and index of each well, stated or by the list."""
        found = ((name, self.index_of(name, index)) for name, index in zip(self.used, self.indices, strict=True))
        return [(_number(name), index) for name, index in found if index is not None]

    def index_of(self, name: str, stated: int | None) -> int | None:
        if stated is not None:
            return stated
        return self.listed.index(name) if name in self.listed else None

    def positions(self, scheme: _Scheme) -> list[int]:
        """Position on the plate, from 0, of each well; UnreadablePlateError as in ``name_wells``."""
        if scheme is _Scheme.ORDER:
            found = [self.position_in_order(*each) for each in zip(self.used, self.indices, self.paths, strict=True)]
        else:
            found = [self.position(name, scheme) for name in self.used]
            self.refuse_other_indices(found, scheme)
        for position, well in zip(found, self.paths, strict=True):
            if position >= self.most:
                raise self.refusal(
                    f"puts well {well} into {self.what} {position + 1}, and the largest plate has {MAX_ROWS} rows and "
                    f"{MAX_COLUMNS} columns. Where its wells are positions of a slide or a grid, write them as images "
                    "of one well, or as several plates."
                )
        return found

    def position(self, name: str, scheme: _Scheme) -> int:
        if scheme is not _Scheme.LETTERS:
            return _number(name) - (scheme is _Scheme.FROM_1)
        try:
            return row_and_column(f"{name}1")[0]
        except UnknownWellError as error:
            raise self.refusal(
                f"names the row {name!r}, which no plate of up to 1,536 wells has (A to Z, then AA to AF)."
            ) from error

    def position_in_order(self, name: str, stated: int | None, well: str) -> int:
        index = self.index_of(name, stated)
        if index is None or index < 0:
            raise self.refusal(
                f"does not say which {self.what} of the plate {name!r} is (well {well}); give the well its "
                f"{self.what}Index, or list the {self.what}s."
            )
        if index < len(self.listed) and self.listed[index] != name:
            raise self.contradiction(well, index)
        return index

    def refuse_other_indices(self, positions: Sequence[int], scheme: _Scheme) -> None:
        """Indices are positions in the list, or, throughout, on the plate; anything else contradicts the names."""
        listed = [self.position(name, scheme) for name in self.listed]
        stated = [
            (index, position, well)
            for index, position, well in zip(self.indices, positions, self.paths, strict=True)
            if index is not None
        ]
        in_list = [0 <= index < len(listed) and listed[index] == position for index, position, _ in stated]
        on_plate = [index == position and (index >= len(listed) or position in listed) for index, position, _ in stated]
        if not all(in_list) and not all(on_plate):
            index, _, well = stated[(in_list if any(in_list) else on_plate).index(False)]
            raise self.contradiction(well, index)

    def contradiction(self, well: str, index: int) -> UnreadablePlateError:
        there = f"{self.listed[index]!r}" if 0 <= index < len(self.listed) else "none of its list"
        return self.refusal(
            f"contradicts itself: well {well} has {self.what}Index {index}, and {self.what} {index} (counted from 0) "
            f"is {there}. Correct its {self.what}Index, its path, or the plate's list of {self.what}s: they do not "
            "say which well it is."
        )

    def refusal(self, what: str) -> UnreadablePlateError:
        return UnreadablePlateError(f"{self.file} {what}", path=self.file)

    def whole(self, scheme: _Scheme) -> int | None:
        """How many there are on the plate, if the listed ones run from the first on without a gap."""
        if scheme is _Scheme.ORDER or not self.listed:
            return None
        count = len(self.listed)
        return count if [self.position(name, scheme) for name in self.listed] == [*range(count)] else None


def _schemes(rows: _Axis, columns: _Axis) -> tuple[_Scheme, _Scheme]:
    """How rows and columns are named."""
    if rows.are_letters():
        if columns.prefix() is None:
            return _Scheme.LETTERS, _Scheme.ORDER
        return _Scheme.LETTERS, _Scheme.FROM_0 if 0 in columns.numbers() else _Scheme.FROM_1
    turned = columns.are_letters() or (rows.prefix(), columns.prefix()) == ("c", "r")
    if rows.prefix() is not None and turned:
        raise rows.refusal(
            "has numbers for rows and letters for columns, or columns before rows, so that its wells may be turned; "
            "give rows letters and columns numbers."
        )
    of_rows, of_columns = _scheme_of_numbers(rows, columns), _scheme_of_numbers(columns, rows)
    if {of_rows, of_columns} == {_Scheme.FROM_0, _Scheme.FROM_1}:
        odd = rows if of_rows is _Scheme.FROM_1 else columns
        raise odd.refusal(f"counts one axis from 0, and its {odd.what}s may count from 0 or from 1. {_say_which(odd)}")
    return of_rows, of_columns


def _scheme_of_numbers(axis: _Axis, other: _Axis) -> _Scheme:
    """From where an axis that is not lettered counts."""
    prefix = axis.prefix()
    if prefix is None:
        return _Scheme.ORDER
    if 0 in axis.numbers():
        return _Scheme.FROM_0
    if {prefix, other.prefix()} == {"r", "c"}:  # as in Harmony's names: r02/c03
        return _Scheme.FROM_1
    known = axis.known_indices()
    if len(known) == len(axis.used) and all(index == number - 1 for number, index in known):
        return _Scheme.FROM_1
    if other.prefix() is not None and 0 in other.numbers():
        return _Scheme.FROM_0
    raise axis.refusal(f"numbers its {axis.what}s, and they may count from 0 or from 1. {_say_which(axis)}")


def _say_which(axis: _Axis) -> str:
    what = axis.what
    return f"List all {what}s of the plate from the first on, with each well's {what}Index, or give rows letters."


def _row_and_column_names(path: str) -> tuple[str, str]:
    """Names of row and column in a well's path; deeper folders above them say nothing."""
    *_, row, column = ["", "", *path.split("/")]
    if not row and (match := _JOINED.fullmatch(column)):
        return match[1] or match[3], match[2] or match[4]
    return row, column


def _number(name: str) -> int:
    match = _NUMBER.fullmatch(name)
    assert match is not None, f"{name} was taken for a number"
    return int(match[2])


def _refuse_one_well_twice(names: Sequence[str], paths: Sequence[str], file: str) -> None:
    known: dict[str, str] = {}
    for name, path in zip(names, paths, strict=True):
        other = known.setdefault(name, path)
        if other != path:
            raise UnreadablePlateError(
                f"{file} lists {other} and {path}, and both are well {name}; one of them has a wrong name.", path=file
            )


def _notes(schemes: tuple[_Scheme, _Scheme], names: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Which path became which well, where that is not what one reads."""
    if schemes == (_Scheme.LETTERS, _Scheme.FROM_1) or not names:
        return []
    pairs = [f"{path} is {name}" for path, name in zip(paths, names, strict=True)]
    rows, columns = schemes
    how = f"both {rows.value}" if rows is columns else f"rows {rows.value}, columns {columns.value}"
    return [f"The plate names rows and columns in its own way ({how}): {listed_first(pairs)}."]


__all__ = ["NamedWells", "name_wells"]
