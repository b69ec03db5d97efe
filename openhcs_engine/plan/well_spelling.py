"""How the file names of a plate spell its wells: found in a few of them, then one search for all planes of a well.

A spelling is a piece of a path template, such as ``{row}{column:02d}`` (A01), ``{row}/{column}`` (A/1) or
``r{row:02d}c{column:02d}`` (r01c01).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from openhcs_engine.errors import UnknownWellError
from openhcs_engine.model.wells import row_and_column, row_letters

MAX_SPELLINGS: Final = 4
RESERVED: Final = re.compile(r"[\0-\x1f{}]")
"""What a templated path may not hold, for marks and fields are made of it."""

_SAMPLED_WELLS = 3
_SAMPLED_PATHS = 5
_LETTERS = r"(?P<left>^|.)(?P<row>{row}|{small})(?P<between>[^0-9A-Za-z]{{0,3}})(?P<number>0*{column})(?![0-9])"
_NUMBERS = (
    r"(?P<left>^|.)(?P<before>[Rr][A-Za-z]{{0,2}}[_-]?)(?P<row>0*{row_number})"
    r"(?P<between>[^0-9A-Za-z]?[Cc][A-Za-z]{{0,5}}[_-]?)(?P<number>0*{column})(?![0-9])"
)


class Spelling(NamedTuple):
    """One way in which the plate's paths spell the well."""

    left: str
    """The character before it, a line's end where a path begins with it: ``L01A01`` is not well A01."""
    template: str

    def of(self, well: str) -> str:
        """What stands in the well's paths, the character before it included."""
        return self.left + spell(self.template, well)


def find_spellings(paths: Mapping[str, Sequence[str | None]]) -> tuple[Spelling, ...]:
    """The spellings that paths of at least two wells share, the most frequent first; paths by well.

    None at all if a well's name is not one that a plate can have.
    """
    try:
        wells = _telling_wells(list(paths))
    except UnknownWellError:
        return ()
    found = Counter(spelling for well in wells for spelling in dict.fromkeys(_spellings_in(well, paths[well])))
    return tuple(spelling for spelling, count in found.most_common(MAX_SPELLINGS) if count > 1)


def spell(template: str, well: str) -> str:
    """Fill the fields of a spelling; UnknownWellError if the well has no row and column."""
    return _FIELD.sub(lambda field: spell_field(field[0], well), template)


def spell_field(field: str, well: str) -> str:
    """One field, ``{row}``, ``{row:lower}``, ``{row:02d}``, ``{column}``, ``{column:02d}``, of a well."""
    row, column = row_and_column(well)
    name, _, style = field.strip("{}").partition(":")
    if name == "row" and style in ("", "lower"):
        return row_letters(row).lower() if style else row_letters(row)
    return f"{row + 1 if name == 'row' else column + 1:{style or 'd'}}"


_FIELD = re.compile(r"\{(?:row|column)(?::[^}]*)?\}")


def _telling_wells(wells: Sequence[str]) -> list[str]:
    """The first, middle and last well; only numbers below 10 tell whether zeros stand before them."""

    def hides_zeros(well: str) -> int:
        return sum(number >= 9 for number in row_and_column(well))

    least = min(map(hides_zeros, wells), default=0)
    telling = [well for well in wells if hides_zeros(well) == least]
    if len(telling) < 2:
        telling = list(wells)
    step = max(1, (len(telling) - 1) // (_SAMPLED_WELLS - 1))
    return telling[::step][:_SAMPLED_WELLS]


def _spellings_in(well: str, paths: Sequence[str | None]) -> Iterator[Spelling]:
    row, column = row_and_column(well)
    letters = row_letters(row)
    words = {"row": letters, "small": letters.lower(), "row_number": row + 1, "column": column + 1}
    by_letters, by_numbers = (re.compile(pattern.format(**words)) for pattern in (_LETTERS, _NUMBERS))
    plain = [path for path in paths[:: max(1, len(paths) // _SAMPLED_PATHS)] if path and not RESERVED.search(path)]
    for path in plain:
        for match in by_letters.finditer(path):
            style = "" if match["row"] == letters else ":lower"
            template = f"{{row{style}}}{match['between']}{_number('column', match['number'])}"
            yield Spelling(match["left"] or "\n", template)
        for match in by_numbers.finditer(path):
            template = f"{match['before']}{_number('row', match['row'])}{match['between']}"
            yield Spelling(match["left"] or "\n", template + _number("column", match["number"]))


def _number(name: str, digits: str) -> str:
    if len(digits) == 1:
        return f"{{{name}:d}}" if name == "row" else f"{{{name}}}"
    return f"{{{name}:0{len(digits)}d}}"


__all__ = ["MAX_SPELLINGS", "RESERVED", "Spelling", "find_spellings", "spell", "spell_field"]
