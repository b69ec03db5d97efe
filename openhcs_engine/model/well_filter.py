"""Which wells of a plate a person means."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from openhcs_engine.errors import UnknownWellError
from openhcs_engine.model.wells import normalise_well, row_and_column

WellFilter: TypeAlias = int | str | Iterable[str] | None
"""None (all), a number (the first so many), one text of patterns joined by commas, or a list of patterns.

Patterns: ``A1`` or ``A01``; ``row:A``, ``row:A-C``; ``col:3``, ``col:01-06``; ``A01:B06`` (the rectangle between two
corners); ``not:`` before any of them takes its wells away.
"""

FORMS: Final = (
    "valid are names (A01 or A1), row:A, row:A-C, col:3, col:01-06, rectangles (A01:B06), not: before any of these, "
    "several in a list or joined by commas, or a number alone for the first so many wells"
)
_RANGE: Final = re.compile(r"(row|col):([a-z]{1,2}|\d{1,2})(?:-([a-z]{1,2}|\d{1,2}))?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterFault:
    """What is wrong with one part of a well filter."""

    message: str
    """A sentence."""
    key: str
    """The part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenWells:
    """What a well filter means on a plate."""

    wells: tuple[str, ...]
    """In the plate's order."""
    faults: tuple[FilterFault, ...] = ()
    """Why it cannot be used; empty: it can."""


def choose_wells(wanted: WellFilter, wells: Sequence[str], absent: Collection[str] = ()) -> ChosenWells:
    """Wells of a plate that a filter asks for.

    Parameters
    ----------
    wanted
        The filter, as a user wrote it.
    wells
        Canonical names of the plate's wells that have images, in plate order.
    absent
        Wells that were selected for acquisition and have no images.
    """
    if wanted is None:
        return ChosenWells(wells=tuple(wells))
    if isinstance(wanted, str) and wanted.strip().isdecimal():
        wanted = int(wanted.strip()[:9])
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        return _first(wanted, wells)
    if isinstance(wanted, bool | bytes | Mapping) or not isinstance(wanted, Iterable):
        return _refused(f"A {type(wanted).__name__} is no well filter; {FORMS}.", type(wanted).__name__)
    return _by_patterns([wanted] if isinstance(wanted, str) else list(wanted), wells, absent)


def _first(count: int, wells: Sequence[str]) -> ChosenWells:
    if 1 <= count <= len(wells):
        return ChosenWells(wells=tuple(wells[:count]))
    return _refused(
        f"The well filter {count} asks for the first {count} wells, but the plate has {len(wells)}; give a number from "
        f"1 to {len(wells)}.",
        str(count),
    )


def _by_patterns(items: list[object], wells: Sequence[str], absent: Collection[str]) -> ChosenWells:
    strange = [item for item in items if not isinstance(item, str)]
    if strange:
        return _refused(f"The well filter holds {strange[0]!r}, which is no text; {FORMS}.", str(strange[0]))
    patterns = [part.strip() for item in items for part in str(item).split(",") if part.strip()]
    if not patterns:
        return _refused(f"The well filter is empty; leave it out for all wells; {FORMS}.", "")
    return _Reader(wells, absent).read(patterns)


def _refused(message: str, key: str) -> ChosenWells:
    return ChosenWells(wells=(), faults=(FilterFault(message=message, key=key),))


class _Reader:
    """Reads the patterns of one filter."""

    def __init__(self, wells: Sequence[str], absent: Collection[str]) -> None:
        self._positions = {well: row_and_column(well) for well in wells}
        self._absent = absent
        self._named: set[str] = set()
        self._faults: list[FilterFault] = []

    def read(self, patterns: list[str]) -> ChosenWells:
        added, taken = set[str](), set[str]()
        for pattern in patterns:
            negated = pattern.lower().startswith("not:")
            (taken if negated else added).update(self._wells_of(pattern[4:].strip() if negated else pattern, pattern))
        if all(pattern.lower().startswith("not:") for pattern in patterns):
            added = set(self._positions)
        chosen = tuple(well for well in self._positions if well in added and well not in taken)
        if not chosen and not self._faults:
            self._refuse(
                f"The well filter {','.join(patterns)!r} leaves no well; widen it, or leave it out for all wells.",
                ",".join(patterns),
            )
        return ChosenWells(wells=chosen, faults=tuple(self._faults))

    def _wells_of(self, pattern: str, written: str) -> set[str]:
        try:
            if inside := _area(pattern):
                return self._in_area(inside, written)
            return self._named_well(normalise_well(pattern), written)
        except UnknownWellError:
            self._refuse(f"{written!r} is not the name of a well, and no pattern of a well filter; {FORMS}.", written)
            return set()

    def _in_area(self, inside: Callable[[int, int], bool], written: str) -> set[str]:
        found = {well for well, (row, column) in self._positions.items() if inside(row, column)}
        if not found:
            self._refuse(f"{written!r} of the well filter meets no well of this plate ({self._known()}).", written)
        return found

    def _named_well(self, well: str, written: str) -> set[str]:
        if well in self._absent:
            self._refuse(
                f"Well {written!r} of the well filter was selected for acquisition but has no images; leave it out.",
                written,
            )
        elif well not in self._positions:
            self._refuse(f"Well {written!r} of the well filter is not on this plate ({self._known()}).", written)
        elif well in self._named:
            self._refuse(f"The well filter names well {well} twice; name it once.", written)
        else:
            self._named.add(well)
            return {well}
        return set()

    def _known(self) -> str:
        wells = tuple(self._positions)
        shown = wells if len(wells) <= 6 else (*wells[:3], "…", *wells[-2:])
        return f"its {len(wells)} wells: {', '.join(shown)}"

    def _refuse(self, message: str, key: str) -> None:
        self._faults.append(FilterFault(message=message, key=key))


def _area(pattern: str) -> Callable[[int, int], bool] | None:
    """Whether a row and a column lie in the rows, columns or rectangle that a pattern names; None for other patterns.

    Raises
    ------
    UnknownWellError
        If no plate has such a row or column.
    """
    if match := _RANGE.fullmatch(pattern):
        kind, first, last = match[1].lower(), match[2], match[3] or match[2]
        axis = 0 if kind == "row" else 1
        low, high = sorted(row_and_column(f"{edge}1" if axis == 0 else f"A{edge}")[axis] for edge in (first, last))
        return lambda row, column: low <= (row, column)[axis] <= high
    if ":" in pattern:
        corners = [row_and_column(corner.strip()) for corner in pattern.split(":")]
        if len(corners) == 2:
            (top, bottom), (left, right) = (sorted(edges) for edges in zip(*corners, strict=True))
            return lambda row, column: top <= row <= bottom and left <= column <= right
    return None


__all__ = ["FORMS", "ChosenWells", "FilterFault", "WellFilter", "choose_wells"]
