"""Wells that a person declared, by names of files or a table → their one spelling, all wells of a plate at once.

One text alone does not say what it means: ``W00013`` is the thirteenth well or a column of row W, row 1 is A or B. The
wells of a plate together, and what the user says of them, decide; what stays open is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from openhcs_engine.errors import OptionError, UnknownWellError
from openhcs_engine.microscopes.declared import canonical_well, examples, is_number
from openhcs_engine.model.plate_map import PLATE_FORMATS
from openhcs_engine.model.wells import MAX_COLUMNS, MAX_ROWS, row_and_column, undivided_well, well_name

_LETTERS_AND_NUMBER = re.compile(r"([A-Z]{1,2})([0-9]{1,9})", re.ASCII | re.IGNORECASE)
_ROW_AND_COLUMN = re.compile(r"r([0-9]{1,9})c([0-9]{1,9})", re.ASCII | re.IGNORECASE)
_LARGE_PLATES_ROWS: Final = frozenset("QRSTUVWXYZ")
"""Rows with one letter that only plates of 1536 wells have."""
_COLUMN_DIGITS: Final = 2
"""Digits of the last column, 48."""


class WellTextError(ValueError):
    """Texts that leave open which wells they mean; the message is a sentence with the option that decides it."""


class WellText(NamedTuple):
    """What a name or a row of a table says of a well: the whole in one text, or row and column."""

    whole: str | None = None
    row: str = ""
    column: str = ""

    def __str__(self) -> str:
        return f"row {self.row}, column {self.column}" if self.whole is None else self.whole


@dataclass(frozen=True, slots=True, kw_only=True)
class WellNumbering:
    """What a user says of numbers that stand for wells."""

    count_from: int | None = None
    """What the first row and column, or the first well, is called: 0 or 1; None: 1, unless there is a 0."""
    plate_wells: int | None = None
    """Wells of the plate's format, which says what a well's number means and which wells there are; None: unknown."""

    def __post_init__(self) -> None:
        if self.count_from not in (None, 0, 1):
            raise OptionError(
                f"count_from={self.count_from!r} is unknown (choose 0 or 1: what the first row and column are called).",
                option="count_from",
            )
        if self.plate_wells is not None and self.plate_wells not in PLATE_FORMATS:
            raise OptionError(
                f"plate_wells={self.plate_wells!r} is no plate (there are plates of "
                f"{', '.join(map(str, PLATE_FORMATS))} wells).",
                option="plate_wells",
            )

    @property
    def format(self) -> tuple[int, int] | None:
        """Rows and columns of the plate; None if its size was not given."""
        return None if self.plate_wells is None else PLATE_FORMATS[self.plate_wells]


UNSAID: Final = WellNumbering()
"""Nobody said anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WellNames:
    """The wells that texts stand for."""

    names: Mapping[WellText, str | None]
    """Canonical names; None for a text that names no well."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class _Position(NamedTuple):
    """A text taken apart, nothing shifted yet."""

    row: int | None = None
    """As counted; None if it is a letter's, or the text is a well's number."""
    letter: int | None = None
    """A row's letters as a number from 0."""
    number: int = 0
    """The column as counted, or the well's number."""


def read_wells(texts: Iterable[WellText], numbering: WellNumbering, *, fixed_letter: bool = False) -> WellNames:
    """Decide what the wells of one plate are.

    ``row 2, column 3`` and ``r02c03`` are B03, or C04 where rows and columns count from 0; letters are rows; a number
    is that of a well, counted row by row. So is one behind a letter that all wells share, if it has more digits than a
    column, or the letter is a row that few plates have and the number is not spelt as a column (``W00013``).

    Parameters
    ----------
    texts
        What is said of each well.
    numbering
        What the user says of numbers.
    fixed_letter
        True if whoever wrote the pattern knew but one letter before the numbers.

    Raises
    ------
    WellTextError
        If they mean nothing without ``count_from`` or ``plate_wells``, or cannot be on a plate of that size; the
        message names the option.
    """
    taken = {text: _taken_apart(text) for text in sorted(texts, key=str)}
    apart = {text: position for text, position in taken.items() if isinstance(position, _Position)}
    only_row = []
    if _are_numbers_of_wells(apart, numbering, fixed_letter):
        apart = {text: position._replace(letter=None) for text, position in apart.items()}
    else:
        only_row = _only_row(apart, numbering)
    numbers = {text: where for text, where in apart.items() if where.row is None and where.letter is None}
    grid = {text: where for text, where in apart.items() if text not in numbers}
    _refuse_numbers_without_size(numbers, grid, numbering)
    first, warnings = _first_number(numbers, grid, numbering)
    names = {text: position for text, position in taken.items() if not isinstance(position, _Position)}
    names |= {text: _name_of_number(text, where.number - first, numbering) for text, where in numbers.items()}
    names |= {text: _name_in_grid(where, first) for text, where in grid.items()}
    _refuse_outside(names, numbering)
    return WellNames(names=names, warnings=(*warnings, *only_row), notes=_notes(numbers, first, numbering))


def _taken_apart(text: WellText) -> _Position | str | None:
    """Row and column or number, or the well itself where nothing can be meant but that; None: no well."""
    if text.whole is None:
        if not is_number(text.column):
            return None
        if is_number(text.row):
            return _Position(row=int(text.row), number=int(text.column))
        letter = _letter(text.row)
        return None if letter is None else _Position(letter=letter, number=int(text.column))
    whole = undivided_well(text.whole)
    if is_number(whole):
        return _Position(number=int(whole))
    if match := _ROW_AND_COLUMN.fullmatch(whole):
        return _Position(row=int(match[1]), number=int(match[2]))
    if match := _LETTERS_AND_NUMBER.fullmatch(whole):
        letter = _letter(match[1])
        return None if letter is None else _Position(letter=letter, number=int(match[2]))
    return canonical_well(whole)


def _letter(row: str) -> int | None:
    try:
        return row_and_column(f"{row}1")[0] if row.isalpha() else None
    except UnknownWellError:
        return None


def _are_numbers_of_wells(apart: Mapping[WellText, _Position], numbering: WellNumbering, fixed_letter: bool) -> bool:
    """True if one letter stands before all numbers and is no row's: as W in ``W00013``.

    Raises WellTextError if it could be the only row of a large plate as well.
    """
    letter, sure, likely = _letter_before_all(apart)
    likely = likely or (fixed_letter and letter in _LARGE_PLATES_ROWS)
    if letter is not None and numbering.format is not None and (_letter(letter) or 0) >= numbering.format[0]:
        sure = True  # no row of this plate
    if letter is None or not (sure or likely) or (numbering.plate_wells == max(PLATE_FORMATS) and not sure):
        return False  # with 1536 wells, the user says that there is such a row
    shown = examples([str(text) for text in apart])
    if all(text.whole is None for text in apart):
        raise WellTextError(
            f"All rows are {letter} ({shown}): that is more likely a letter before the numbers of wells than a row. "
            "Give the number alone as (?P<well>...) and the plate's size, as --plate-wells 96; or --plate-wells 1536 "
            f"if row {letter} is meant."
        )
    if numbering.plate_wells is None and sure:
        raise WellTextError(
            f"The wells {shown} are numbers behind a letter, counted row by row, and mean nothing without the plate's "
            "size; say it, as --plate-wells 96."
        )
    if numbering.plate_wells is None:
        raise WellTextError(
            f"The wells {shown} are numbers behind a letter, or columns of row {letter} with no other row. Say the "
            f"plate's size: --plate-wells 96 if they number the wells row by row, --plate-wells 1536 if row {letter} "
            "of so large a plate is meant."
        )
    return True


def _letter_before_all(apart: Mapping[WellText, _Position]) -> tuple[str | None, bool, bool]:
    """The one letter before all numbers, and if it is surely, or likely, no row's; None if there is no such letter."""
    letters = {_letters_of(text) for text in apart}
    letter = next(iter(letters)) if len(letters) == 1 else None
    numbers, widths = {where.number for where in apart.values()}, {len(_digits_of(text)) for text in apart}
    # A column may be written with a zero more; beyond the last column, row and column were only ever some of the wells.
    sure = max(widths, default=0) > _COLUMN_DIGITS + 1 or (
        max(numbers, default=0) > MAX_COLUMNS >= min(numbers, default=0)
    )
    return letter, sure, letter in _LARGE_PLATES_ROWS and widths != {_COLUMN_DIGITS}


def _only_row(apart: Mapping[WellText, _Position], numbering: WellNumbering) -> list[str]:
    """A sentence if all wells are spelt as wells of one row that only the largest plates have."""
    letter, _, _ = _letter_before_all(apart)
    if letter not in _LARGE_PLATES_ROWS or numbering.plate_wells is not None:
        return []
    return [
        f"All wells are in row {letter}, which only plates of 1536 wells have. If {letter} is a letter before the "
        "numbers of wells, give the number alone as (?P<well>...) with --plate-wells; else say --plate-wells 1536."
    ]


def _letters_of(text: WellText) -> str | None:
    """The one letter before a number; None for more letters, or none."""
    match = None if text.whole is None else _LETTERS_AND_NUMBER.fullmatch(undivided_well(text.whole))
    letters = text.row if text.whole is None else match[1] if match else ""
    return letters.upper() if len(letters) == 1 and letters.isalpha() else None


def _digits_of(text: WellText) -> str:
    return text.column if text.whole is None else re.sub(r"^[^0-9]+", "", text.whole)


def _refuse_numbers_without_size(
    numbers: Collection[WellText], grid: Collection[WellText], numbering: WellNumbering
) -> None:
    if not numbers:
        return
    shown = examples([str(text) for text in numbers])
    if grid:
        raise WellTextError(
            f"Some wells are numbers ({shown}), others have a row and a column ({examples([str(t) for t in grid])}); "
            "let the pattern take one kind, or list the planes in a table (--planes-csv).",
        )
    if numbering.plate_wells is None:
        raise WellTextError(
            f"The wells are numbers ({shown}), counted row by row, and mean nothing without the plate's size; say it, "
            "as --plate-wells 96."
        )


def _first_number(
    numbers: Mapping[WellText, _Position], grid: Mapping[WellText, _Position], numbering: WellNumbering
) -> tuple[int, list[str]]:
    """What the first row and column, or the first well, is called, and a sentence if nobody said so.

    Raises WellTextError if there is a 0 that may be one odd file's.
    """
    places = {(where.row, where.number) for where in grid.values()}
    rows = {row for row, _ in places if row is not None}
    columns = {column for _, column in places}
    if numbering.count_from == 1 and _surely_from_zero(places, rows, columns):
        raise WellTextError(
            "Rows and columns count from 0: there is a whole row 0 and a whole column 0, which --count-from 1 would "
            "leave out. Say --count-from 0, or leave the option out."
        )
    if numbering.count_from is not None:
        return numbering.count_from, []
    if numbers:
        found = {where.number for where in numbers.values()}
        if 0 not in found:
            return 1, []
        if numbering.plate_wells in found:
            raise WellTextError(
                f"There are wells 0 and {numbering.plate_wells} on a plate of {numbering.plate_wells}: say with "
                "--count-from which number the first well has; the other one is left out."
            )
        return 0, ["Wells were read as counted from 0: number 0 is A01. Say --count-from 0 or 1 to decide it."]
    if 0 not in rows | columns:
        return 1, []
    if not _surely_from_zero(places, rows, columns):
        shown = examples([str(text) for text, where in grid.items() if 0 in (where.row, where.number)])
        raise WellTextError(
            f"Some wells have a row or column 0 ({shown}), others do not show whether rows and columns count from 0: "
            "say --count-from 0, by which 0 is the first of both, or --count-from 1, which leaves those out."
        )
    return 0, [
        "Rows and columns were read as counted from 0: row 0, column 0 is A01. Say --count-from 0 if that is right."
    ]


def _surely_from_zero(
    positions: Collection[tuple[int | None, int]], rows: Collection[int], columns: Collection[int]
) -> bool:
    """True if row 0 and column 0 are as full as others: not those of one stray file at (0, 0)."""
    in_first_row = max((column for row, column in positions if row == 0), default=-1)
    in_first_column = max((row for row, column in positions if column == 0 and row is not None), default=-1)
    return 0 in rows and 0 in columns and (in_first_row > 0 or columns == {0}) and (in_first_column > 0 or rows == {0})


def _name_of_number(text: WellText, number: int, numbering: WellNumbering) -> str | None:
    """The well with a number, counted row by row from 0."""
    assert numbering.format is not None and numbering.plate_wells is not None
    if number < 0:
        return None
    if number >= numbering.plate_wells:
        raise WellTextError(
            f"Well {text} is not on a plate of {numbering.plate_wells} wells; say the right size with --plate-wells, "
            "or what the first well is called with --count-from."
        )
    return well_name(*divmod(number, numbering.format[1]))


def _name_in_grid(where: _Position, first: int) -> str | None:
    row = where.letter if where.row is None else where.row - first
    column = where.number - first
    inside = row is not None and 0 <= row < MAX_ROWS and 0 <= column < MAX_COLUMNS
    return well_name(row or 0, column) if inside else None


def _refuse_outside(names: Mapping[WellText, str | None], numbering: WellNumbering) -> None:
    if numbering.format is None:
        return
    rows, columns = numbering.format
    for text, name in names.items():
        row, column = (0, 0) if name is None else row_and_column(name)
        if row >= rows or column >= columns:
            raise WellTextError(
                f"Well {name} ({text}) is not on a plate of {numbering.plate_wells} wells ({rows} rows, {columns} "
                "columns); say the right size with --plate-wells, or what the first row is called with --count-from."
            )


def _notes(numbers: Collection[WellText], first: int, numbering: WellNumbering) -> tuple[str, ...]:
    if not numbers and numbering.count_from == 0:
        return ("Rows and columns that are numbers count from 0: row 0, column 0 is A01.",)
    if not numbers or numbering.format is None:
        return ()
    second_row = first + numbering.format[1]
    return (
        f"Wells are numbered row by row on a plate of {numbering.plate_wells}: {first} is A01, {second_row} is B01.",
    )
