"""What was in the wells: compounds, doses and controls, as the person who pipetted them wrote it down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from openhcs_engine.errors import PlateMapError
from openhcs_engine.model.quantities.numbers import read_numbers
from openhcs_engine.model.wells import plate_order
from openhcs_engine.model.wording import listed_first

PLATE_FORMATS: Mapping[int, tuple[int, int]] = {
    6: (2, 3),
    12: (3, 4),
    24: (4, 6),
    48: (6, 8),
    96: (8, 12),
    384: (16, 24),
    1536: (32, 48),
}
"""Rows and columns of the plates that are made, by their number of wells."""


class WellRole(StrEnum):
    """What a well is for in the assay."""

    NEGATIVE = "negative"
    POSITIVE = "positive"
    SAMPLE = "sample"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateMapColumns:
    """How the columns of a table (or the titles of its grids) are to be understood.

    A name that is not given is looked for as ``Well``, ``Row`` and ``Column``, ``Compound``, ``Dose`` (also with its
    unit, ``Dose (µM)``) and ``Role``, ``Plate`` or ``Barcode``, in any case. Every other column is a condition under
    its own name.
    """

    well: str | None = None
    """The column of wells, in any spelling."""
    row: str | None = None
    """With ``column``, instead of ``well``: the column of rows, as letters or numbers."""
    column: str | None = None
    compound: str | None = None
    dose: str | None = None
    role: str | None = None
    """The column that says which wells are controls."""
    roles: Mapping[str, str] | tuple[tuple[str, str], ...] = ()
    """What its codes mean: code → ``negative``, ``positive``, ``sample`` or ``empty``. Without it, those words."""
    plate: str | None = None
    """The column that says whose row it is, where a table describes several plates."""
    plate_name: str | None = None
    """What this plate is called there; None: as its id, or as its instrument calls it."""
    plate_wells: int | None = None
    """Number of wells of the plate's format, e.g. 96; None to take the plate's own, if it is known."""

    def __post_init__(self) -> None:
        pairs = self.roles.items() if isinstance(self.roles, Mapping) else self.roles
        object.__setattr__(self, "roles", tuple((str(code).strip(), str(role).strip()) for code, role in pairs))
        words = [role.value for role in WellRole]
        for code, role in self.role_codes.items():
            _require(role in words, f"The role of code {code!r} is {role!r}; it must be one of {', '.join(words)}.")
        _require((self.row is None) == (self.column is None), "row and column belong together: give both, or well.")
        _require(self.well is None or self.row is None, "Give either well, or row and column; not all three.")
        _require(
            self.plate_wells is None or self.plate_wells in PLATE_FORMATS,
            f"There is no plate of {self.plate_wells} wells (there are: {', '.join(map(str, PLATE_FORMATS))}).",
        )

    @property
    def role_codes(self) -> dict[str, str]:
        """Code → word of the role; the words themselves where no codes were declared."""
        return dict(self.roles) or {role.value: role.value for role in WellRole}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> PlateMapColumns:  # Any: JSON
        """The columns that a mapping from a configuration declares.

        Raises
        ------
        PlateMapError
            If it has other keys, or says something impossible.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        _require(
            not unknown, f"The columns of a plate map have no key {', '.join(unknown)} (they have: {', '.join(known)})."
        )
        return cls(**values)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise PlateMapError(message, path="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One column of a plate map."""

    name: str
    """``compound`` and ``dose`` for the columns declared so; others as the table calls them."""
    values: tuple[str | None, ...]
    """The text of each well's cell, in the order of the map's wells; None where the cell is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateMap:
    """The conditions of wells. Values are the text of the table; doses are numbers, too, where they surely are such."""

    name: str
    """Name of the file it was read from."""
    wells: tuple[str, ...]
    """Canonical names, in plate order, each once."""
    conditions: tuple[Condition, ...]
    roles: tuple[WellRole | None, ...]
    """What each well is for; None where the table does not say."""
    cells: tuple[str, ...]
    """Where each well stands in the table, e.g. ``B17``, for messages."""
    doses: tuple[float | None, ...] = ()
    """Of each well, in ``dose_unit``; None where the cell is empty or holds no number. Where they are not given, as in
    maps that earlier versions kept, the texts of these wells are read."""
    dose_unit: str | None = None
    """As the table says, e.g. ``µM``; None where it says none."""

    def __post_init__(self) -> None:
        doses = {len(self.doses)} if self.doses else set[int]()
        lengths = doses | {len(self.roles), len(self.cells), *(len(condition.values) for condition in self.conditions)}
        if lengths != {len(self.wells)}:
            raise ValueError(f"A plate map of {len(self.wells)} wells has columns of {sorted(lengths)} values.")
        if not self.doses and "dose" in self.names:
            read = read_numbers(tuple(self.condition("dose").values()))
            object.__setattr__(self, "doses", read.values)
            object.__setattr__(self, "dose_unit", read.unit)

    def __len__(self) -> int:
        return len(self.wells)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the conditions, in the order of the table."""
        return tuple(condition.name for condition in self.conditions)

    def condition(self, name: str) -> dict[str, str | None]:
        """One condition of every well.

        Raises
        ------
        KeyError
            If the map has no condition of this name.
        """
        for condition in self.conditions:
            if condition.name == name:
                return dict(zip(self.wells, condition.values, strict=True))
        raise KeyError(f"{self.name} has no condition {name!r} (has: {', '.join(self.names) or 'none'}).")

    def of_well(self, well: str) -> dict[str, str | None]:
        """All conditions of one well; empty if the map does not name it."""
        if well not in self.wells:
            return {}
        index = self.wells.index(well)
        return {condition.name: condition.values[index] for condition in self.conditions}

    def role(self, well: str) -> WellRole | None:
        """What a well is for; None if the map does not say."""
        return self.roles[self.wells.index(well)] if well in self.wells else None

    def dose(self, well: str) -> float | None:
        """The dose of a well in ``dose_unit``; None where the map gives none that is a number."""
        return self.doses[self.wells.index(well)] if self.doses and well in self.wells else None

    def wells_of(self, role: WellRole) -> tuple[str, ...]:
        """The wells of one role, in plate order."""
        return tuple(well for well, found in zip(self.wells, self.roles, strict=True) if found == role)

    def restricted(self, wells: Iterable[str]) -> PlateMap:
        """The part of the map that speaks of these wells."""
        wanted = set(wells)
        indexes = [index for index, well in enumerate(self.wells) if well in wanted]
        return replace(
            self,
            wells=tuple(self.wells[index] for index in indexes),
            roles=tuple(self.roles[index] for index in indexes),
            cells=tuple(self.cells[index] for index in indexes),
            doses=tuple(self.doses[index] for index in indexes) if self.doses else (),
            conditions=tuple(
                replace(condition, values=tuple(condition.values[index] for index in indexes))
                for condition in self.conditions
            ),
        )

    def refuse_outside(self, rows: int, columns: int) -> None:
        """Raise PlateMapError if a well does not exist on a plate of ``rows`` x ``columns`` wells."""
        outside = [
            f"{well} (cell {cell})"
            for well, cell in zip(self.wells, self.cells, strict=True)
            if not _lies_within(well, rows, columns)
        ]
        if outside:
            raise PlateMapError(
                f"{self.name} speaks of wells that a plate of {rows * columns} wells does not have: "
                f"{listed_first(outside, 6)}. Correct the table, or give the plate's own map.",
                path=self.name,
            )


def _lies_within(well: str, rows: int, columns: int) -> bool:
    row, column = plate_order(well)
    return row < rows and column < columns
