"""What was in the wells, as the report shows it: a colour and a phrase a well, and wells that had the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from openhcs_engine.model.plate_map import PlateMap, WellRole

ROLE_COLOURS: Final[Mapping[WellRole | None, str]] = {
    WellRole.NEGATIVE: "#3b7dd8",
    WellRole.POSITIVE: "#8e5bb5",
    WellRole.SAMPLE: "#2f8f8b",
    WellRole.EMPTY: "#e6e9ed",
    None: "#b4bcc6",
}
PALEST: Final = "#cfe7e5"
"""Colour of the lowest dose of samples."""
NAMED: Final = ("compound", "dose")
"""Conditions that say what the well is; others tell wells apart that are the same, as their image's number does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WellConditions:
    """What a plate map says of one well."""

    role: WellRole | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    """Cells that are not empty, by column."""

    @classmethod
    def of(cls, plate_map: PlateMap | None, well: str) -> WellConditions | None:
        """None if there is no map, or it does not speak of the well."""
        if plate_map is None or well not in plate_map.wells:
            return None
        values = {name: value for name, value in plate_map.of_well(well).items() if value is not None}
        return cls(role=plate_map.role(well), values=values)

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
        try:
            dose = float(self.values.get("dose", ""))
        except ValueError:
            return None
        return dose if math.isfinite(dose) else None


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

    def colour(self, well: WellConditions) -> str:
        """``#rrggbb`` of one well."""
        full = ROLE_COLOURS[well.role]
        if well.role is not WellRole.SAMPLE or well.dose is None or len(self.doses) < 2:
            return full
        return _mix(PALEST, full, self.doses.index(well.dose) / (len(self.doses) - 1))

    def legend(self, wells: Sequence[WellConditions]) -> list[tuple[str, str]]:
        """Colours and what they mean, with the number of wells."""
        entries = []
        for role, colour in ROLE_COLOURS.items():
            count = sum(well.role is role for well in wells)
            shaded = role is WellRole.SAMPLE and len(self.doses) > 1
            name = "no role" if role is None else f"{role}, darker: higher dose" if shaded else role.value
            entries += [(colour, f"{name} ({count})")] if count else []
        return entries


def _mix(one: str, other: str, part: float) -> str:
    channels = ((int(one[place : place + 2], 16), int(other[place : place + 2], 16)) for place in (1, 3, 5))
    return "#" + "".join(f"{round(low + (high - low) * part):02x}" for low, high in channels)


def alike(wells: Mapping[str, WellConditions]) -> dict[str, list[str]]:
    """Wells by what was in them; controls first, then compounds by name and dose."""
    order = list(ROLE_COLOURS)
    known = sorted(
        wells.items(),
        key=lambda item: (order.index(item[1].role), item[1].values.get("compound", ""), item[1].dose or 0.0),
    )
    groups: dict[str, list[str]] = {}
    for well, conditions in known:
        groups.setdefault(conditions.phrase, []).append(well)
    return groups


__all__ = ["ROLE_COLOURS", "RoleColours", "WellConditions", "alike"]
