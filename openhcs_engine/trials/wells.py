"""Which wells a setting is tried on if nobody says."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from openhcs_engine.model.plate import Plate
from openhcs_engine.model.plate_map import WellRole

_CONTROLS: Final = (WellRole.NEGATIVE, WellRole.POSITIVE)
_WITHOUT_MAP: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenWells:
    """Wells, and why it is they."""

    wells: tuple[str, ...]
    why: str


def choose_wells(plate: Plate, seed: int) -> ChosenWells:
    """A negative control, a positive one and another well at random, by the plate map; without one, three at random.

    Wells that the map calls empty are not taken, if there are others. The choice depends on the plate and the seed
    alone.
    """
    chance = random.Random(seed)
    by_role = {role: [well for well in plate.wells if _role(plate, well) is role] for role in (*WellRole, None)}
    chosen: dict[str, str] = {}
    if plate.plate_map is not None:
        for role in _CONTROLS:
            if by_role[role]:
                chosen[chance.choice(by_role[role])] = f"a {role} control"
    lacking = [str(role) for role in _CONTROLS if not by_role[role]]
    wanted = _WITHOUT_MAP - len(chosen)
    others = [well for well in (*by_role[WellRole.SAMPLE], *by_role[None]) if well not in chosen]
    others = others or [well for well in plate.wells if well not in chosen]
    drawn = chance.sample(others, min(wanted, len(others)))
    chosen |= dict.fromkeys(drawn, "at random")
    named = ", ".join(f"{well} ({reason})" for well, reason in chosen.items())
    if plate.plate_map is None:
        named += "; no plate map says which are controls"
    elif lacking:
        named += f"; the plate map names no {' and no '.join(lacking)} control"
    ordered = tuple(well for well in plate.wells if well in chosen)
    return ChosenWells(wells=ordered, why=f"{named}; seed {seed}")


def _role(plate: Plate, well: str) -> WellRole | None:
    return None if plate.plate_map is None else plate.plate_map.role(well)


__all__ = ["ChosenWells", "choose_wells"]
