"""What was in the wells, as the report shows it: a colour and a phrase a well, and wells that had the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Final

from openhcs_dagster.report.colours import mix
from openhcs_engine.model.plate_map import PlateMap, WellRole
from openhcs_engine.model.quantities.numbers import read_numbers

ROLE_COLOURS: Final[Mapping[WellRole | None, str]] = {
    WellRole.NEGATIVE: "#2a62c4",
    WellRole.POSITIVE: "#c2410c",
    WellRole.SAMPLE: "#12857f",
    WellRole.EMPTY: "#ffffff",
    None: "#98a1ad",
}
"""Any two differ for people who see no green, too. Wells have an outline, so that a white one is seen."""
PALEST: Final = "#a5d6d0"
"""Colour of the lowest dose of samples."""
UNSHADED: Final = "#e3cf8e"
"""Colour of samples whose dose is no number, where others are shaded by theirs: no place between low and high."""
NAMED: Final = ("compound", "dose")
"""Conditions that say what the well is; others tell wells apart that are the same, as their image's number does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WellConditions:
    """What a plate map says of one well."""

    role: WellRole | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    """Cells that are not empty, by column."""
    number: float | EllipsisType | None = ...
    """The dose as the map's whole column shows it; None where it is no number; ``...``: its own text decides."""

    @classmethod
    def of(cls, plate_map: PlateMap | None, well: str) -> WellConditions | None:
        """None if there is no map, or it does not speak of the well."""
        if plate_map is None or well not in plate_map.wells:
            return None
        values = {name: value for name, value in plate_map.of_well(well).items() if value is not None}
        return cls(role=plate_map.role(well), values=values, number=plate_map.dose(well))

    @property
    def phrase(self) -> str:
        """Role, compound and dose as people say them: ``positive, Wortmannin, dose 0.15``."""
        dose = self.values.get("dose")
        parts = (self.role and self.role.value, self.values.get("compound"), dose and f"dose {dose}")
        return ", ".join(part for part in parts if part) or "no role"

    @property
    def others(self) -> dict[str, str]:
        """The conditions that the phrase leaves out."""
        return {name: value for name, value in self.values.items() if name not in NAMED}

    @property
    def dose(self) -> float | None:
        """The dose as a finite number; None where it is none."""
        if isinstance(self.number, EllipsisType):
            (number,) = read_numbers([self.values.get("dose")]).values
            return number
        return self.number


@dataclass(frozen=True, slots=True)
class RoleColours:
    """The colour of each well of a plate: that of its role; samples are the darker, the higher their dose."""

    doses: Sequence[float]
    """Of the samples, rising, each once. By rank, since they span decades."""

    @classmethod
    def of(cls, wells: Iterable[WellConditions]) -> RoleColours:
        """Colours for the wells of one plate."""
        doses = {well.dose for well in wells if well.role is WellRole.SAMPLE and well.dose is not None}
        return cls(sorted(doses))

    @property
    def shades(self) -> bool:
        """Whether doses are told by shades at all: one dose alone is neither low nor high."""
        return len(self.doses) > 1

    def colour(self, well: WellConditions) -> str:
        """``#rrggbb`` of one well."""
        full = ROLE_COLOURS[well.role]
        if well.role is not WellRole.SAMPLE or not self.shades:
            return full
        if well.dose is None:
            return UNSHADED
        return mix(PALEST, full, self.doses.index(well.dose) / (len(self.doses) - 1))

    def legend(self, wells: Sequence[WellConditions]) -> list[tuple[str, str]]:
        """Colours and what they mean, with the number of wells."""
        entries = []
        for role, colour in ROLE_COLOURS.items():
            own = [well for well in wells if well.role is role]
            if role is WellRole.SAMPLE and self.shades:
                unshaded = sum(well.dose is None for well in own)
                entries.append((colour, f"{role}, darker: higher dose ({len(own) - unshaded})"))
                entries += [(UNSHADED, f"{role}, dose is no number ({unshaded})")] if unshaded else []
            elif own:
                entries.append((colour, f"{'no role' if role is None else role.value} ({len(own)})"))
        return entries


def alike(wells: Mapping[str, WellConditions]) -> dict[str, list[str]]:
    """Wells by what was in them; controls first, then compounds by name and dose; doses that are no numbers last."""
    order = list(ROLE_COLOURS)

    def key(item: tuple[str, WellConditions]) -> tuple[int, str, bool, float, str]:
        had = item[1]
        texts = had.values.get("compound", ""), had.values.get("dose", "")
        return order.index(had.role), texts[0], had.dose is None, had.dose or 0.0, texts[1]

    known = sorted(wells.items(), key=key)
    groups: dict[str, list[str]] = {}
    for well, conditions in known:
        groups.setdefault(conditions.phrase, []).append(well)
    return groups


__all__ = ["ROLE_COLOURS", "RoleColours", "WellConditions", "alike"]
