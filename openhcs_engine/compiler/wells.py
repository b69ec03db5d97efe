"""Which wells are asked for."""

from __future__ import annotations

from collections.abc import Iterable

from openhcs_engine.errors import UnknownWellError, Violation
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.wells import normalise_well, plate_order


def select_wells(plate: Plate, well_filter: str | Iterable[str] | None) -> tuple[tuple[str, ...], list[Violation]]:
    """Wells of the plate that the filter asks for, in plate order, and what is wrong with the filter.

    The filter is None (all), one text with names separated by commas, or a list of names in any spelling.
    """
    if well_filter is None:
        return plate.wells, [] if plate.wells else [_no_wells(plate)]
    asked = well_filter.split(",") if isinstance(well_filter, str) else list(well_filter)
    names = [str(name).strip() for name in asked if str(name).strip()]
    if not names:
        return (), [Violation(message="The well filter is empty; leave it out to process all wells.")]
    wells: set[str] = set()
    violations = []
    for name in names:
        try:
            well = normalise_well(name)
        except UnknownWellError as error:
            violations.append(Violation(message=str(error), key=name))
            continue
        if well in plate.wells:
            wells.add(well)
        else:
            violations.append(_not_on_plate(plate, name, well))
    return tuple(sorted(wells, key=plate_order)), violations


def _no_wells(plate: Plate) -> Violation:
    return Violation(message=f"Plate {plate.plate_id} has no well with images, so there is nothing to process.")


def _not_on_plate(plate: Plate, name: str, well: str) -> Violation:
    if well in plate.absent_wells:
        reason = "was selected for acquisition but has no images"
    else:
        shown = plate.wells if len(plate.wells) <= 6 else (*plate.wells[:3], "…", *plate.wells[-2:])
        reason = f"is not on this plate (its {len(plate.wells)} wells: {', '.join(shown)})"
    return Violation(message=f"Well {name!r} of the well filter {reason}.", key=name)
