"""What cells of a table mean as numbers: decimal points and commas, thousands, limits, units. Nothing is guessed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Final

from openhcs_engine.model.quantities.units import Unit, read_unit

_CELL: Final = re.compile(
    r"(?P<limit>[<>≤≥~≈]=?)?\s*(?P<sign>[+\-−]?)\s*(?P<digits>\d[\d.,'’ \u00a0\u202f]*(?<=[\d.,])|[.,]\d+)"
    r"(?P<power>[eE][+\-−]?\d{1,3}(?![\w.,]))?\s*(?P<unit>[^\s\d].*)?"
)
_PLAIN: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
"""As programs write numbers."""
_BLANKS: Final = re.compile(r"\d{1,3}(?P<mark>['’ \u00a0\u202f])\d{3}(?:(?P=mark)\d{3})*(?:[.,]\d*)?")
"""Thousands divided by blanks or apostrophes, which divide nothing else."""
_THOUSANDS: Final = re.compile(r"[1-9]\d{0,2}(?:[.,]\d{3})+")
_WHOLE: Final = re.compile(r"(\d{1,9})(?:[.,](0+))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberColumn:
    """One column of a table as numbers."""

    values: tuple[float | None, ...]
    """In the order of the cells, in ``unit``; None where a cell is empty, or its number is not sure."""
    unit: str | None
    """None: the table gives none."""
    problems: Mapping[int, str]
    """Why a filled cell has no number, by its position, as a clause of which its text is the subject."""


@dataclass(frozen=True, slots=True)
class _Cell:
    """What one cell can mean."""

    meanings: Mapping[str, Decimal]
    """Its number by the decimal separator, ``.`` or ``,``; one under both where the separator does not matter."""
    unit: Unit | None = None
    shows: str | None = None
    """The decimal separator, if this cell can have no other."""
    problem: str = ""


def read_numbers(
    texts: Sequence[str | None],
    *,
    unit: str | None = None,
    decimal: str | None = None,
    exact: Collection[int] = (),
) -> NumberColumn:
    """Read a column as numbers; its decimal separator and its unit follow from the column as a whole.

    Parameters
    ----------
    texts
        The cells; None or empty where there is nothing.
    unit
        Unit of cells that have none of their own, as the column's title says. The values are brought to it; without
        it, to that of most cells.
    decimal
        ``.`` or ``,`` where it is known from elsewhere.
    exact
        Positions of cells that the file holds as numbers: their point is a decimal point, whatever follows it, and
        shows nothing of how the texts beside them are written.

    Notes
    -----
    ``1,000`` by itself may be a thousand or one. It is read only where another cell shows what divides decimals, as
    ``0,5`` and ``2.500,00`` do. A limit (``<0.1``) is no number. Of cells that cannot be compared (µM beside mg/mL, or
    beside none) those of the title's kind are numbers, else those of the larger part.
    """
    keys = [(text.strip(), position in exact) if text else None for position, text in enumerate(texts)]
    cells = {key: _read_cell(*key) for key in dict.fromkeys(keys) if key}  # a table of planes repeats its lengths
    shown = {cell.shows for cell in cells.values() if cell.shows} | ({decimal} if decimal else set())
    separator = shown.pop() if len(shown) == 1 else ""
    titled = None if unit is None else read_unit(unit)
    common, sure = (titled, True) if titled else _unit_of_most([cells[key] for key in keys if key])
    results = {key: _number(cell, separator, titled, common, sure=sure) for key, cell in cells.items()}
    found = [results[key] if key else None for key in keys]
    return NumberColumn(
        values=tuple(None if isinstance(result, str) else result for result in found),
        unit=common and common.name,
        problems={position: result for position, result in enumerate(found) if isinstance(result, str)},
    )


def whole_number(text: str) -> int | None:
    """A whole number of up to nine digits, also as pandas writes it in a column with a gap (``1.0``); None for others.

    ``1.000`` is none: it may be one or a thousand.
    """
    match = _WHOLE.fullmatch(text)
    return None if match is None or _THOUSANDS.fullmatch(text) else int(match[1])


def _read_cell(text: str, exact: bool) -> _Cell:
    if exact and _PLAIN.fullmatch(text):
        return _Cell({".": Decimal(text), ",": Decimal(text)})
    match = _CELL.fullmatch(text)
    if match is None:
        return _Cell({}, problem="is no number")
    if match["limit"]:
        return _Cell({}, problem="is a limit, not a number")
    unit = read_unit(match["unit"]) if match["unit"] else None
    sign = "-" if match["sign"] in ("-", "−") else ""
    power = (match["power"] or "").replace("−", "-")
    digits = _digits(match["digits"], has_power=bool(power))
    if not digits or (match["unit"] and unit is None):
        return _Cell({}, problem="is no number")
    found = {point: Decimal(f"{sign}{number}{power}") for point, number in digits.items()}
    return _Cell(found, unit, shows=next(iter(found)) if len(found) == 1 else None)


def _digits(text: str, *, has_power: bool) -> dict[str, str]:
    """The digits with a decimal point, by the decimal separator that the text can have; empty if it is no number."""
    if re.search(r"['’ \u00a0\u202f]", text):
        if not _BLANKS.fullmatch(text):
            return {}
        text = re.sub(r"['’ \u00a0\u202f]", "", text)
        points = re.findall(r"[.,]", text)
        return {points[0]: text.replace(",", ".")} if points else {".": text, ",": text}
    marks = re.findall(r"[.,]", text)
    if not marks:
        return {".": text, ",": text}
    found = {}
    for point, thousands in ((".", ","), (",", ".")):
        whole, _, decimals = text.partition(point)
        grouped = thousands not in whole or (_THOUSANDS.fullmatch(whole) is not None and not has_power)
        if grouped and marks.count(point) <= 1 and thousands not in decimals and (point in text or not has_power):
            found[point] = f"{whole.replace(thousands, '')}.{decimals or '0'}"
    return found


def _number(cell: _Cell, separator: str, titled: Unit | None, wanted: Unit | None, *, sure: bool) -> float | str:
    """The number of a cell in the unit that is kept, or why it has none, as a clause."""
    value = _value(cell, separator)
    return value if isinstance(value, str) else _converted(value, cell.unit or titled, wanted, sure=sure)


def _value(cell: _Cell, separator: str) -> Decimal | str:
    if cell.problem:
        return cell.problem
    if separator in cell.meanings:
        return cell.meanings[separator]
    larger, smaller = max(cell.meanings.values()), min(cell.meanings.values())
    if larger == smaller:
        return larger
    return f"may be {larger.normalize():f} or {smaller.normalize():f} (no other cell of the column shows which)"


def _unit_of_most(cells: Iterable[_Cell]) -> tuple[Unit | None, bool]:
    """The commonest unit of the commonest kind, None among them; not sure if two kinds are equally common."""
    own = [cell.unit for cell in cells if cell.meanings and not _is_bare_zero(cell)]
    kinds = Counter(unit and unit.kind for unit in own).most_common(2)
    if len(kinds) == 2 and kinds[0][1] == kinds[1][1]:
        return None, False
    most = Counter(unit for unit in own if unit and unit.kind == kinds[0][0]).most_common(1)
    return (most[0][0], True) if most else (None, True)


def _is_bare_zero(cell: _Cell) -> bool:
    """Nothing is nothing in any unit."""
    return cell.unit is None and not any(cell.meanings.values())


def _converted(value: Decimal, own: Unit | None, wanted: Unit | None, *, sure: bool) -> float | str:
    """A value in the unit that is kept, or why it cannot be."""
    if own is None and not value:
        return 0.0
    if not sure:
        return "cannot be compared: the column has different units, none of them in its title"
    if (own and own.kind) != (wanted and wanted.kind):
        if own is None:
            return f"has no unit, beside values in {wanted.name if wanted else 'another'}"
        return f"cannot be compared with values {f'in {wanted.name}' if wanted else 'without a unit'}"
    # Decimal, so that 500 nM and 0.5 µM are one number.
    number = float(value.scaleb(own.exponent - wanted.exponent) if own and wanted else value)
    return number if isfinite(number) else "is no number that can be kept"


__all__ = ["NumberColumn", "read_numbers", "whole_number"]
