"""Which wells are asked for, and which of them a step applies to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from openhcs_engine.errors import Violation
from openhcs_engine.model.image_index import ImageIndex, Projections
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.well_filter import ChosenWells, WellFilter, choose_wells
from openhcs_engine.model.wording import listed_first
from openhcs_engine.pipeline.patterns import Refuse
from openhcs_engine.plan.context import StepPlan

_SHOWN = 6
"""Names of wells in a sentence."""


def select_wells(plate: Plate, well_filter: WellFilter) -> tuple[tuple[str, ...], list[Violation]]:
    """Wells of the plate that the filter asks for, in plate order, and what is wrong with the filter."""
    if not plate.wells:
        message = (
            f"Plate {plate.plate_id} has no well with images, so there is nothing to process; copy the images there, "
            "or check how the folder is read."
        )
        return (), [Violation(message=message, key="wells")]
    chosen = _choose(plate, well_filter)
    return chosen.wells, [Violation(message=fault.message, key=fault.key) for fault in chosen.faults]


def wells_of_step(plate: Plate, declared: WellFilter, complain: Refuse) -> tuple[str, ...] | None:
    """Wells that a step, or what it keeps, is declared for; None: all, also where the filter is wrong."""
    if declared is None or not plate.wells:
        return None
    chosen = _choose(plate, declared)
    for fault in chosen.faults:
        complain(fault.message, fault.key)
    return None if chosen.faults else chosen.wells


def wells_without_images(by_well: Mapping[str, ImageIndex], projections: Projections) -> list[Violation]:
    """Wells of which nothing enters the pipeline."""
    return [
        Violation(
            message=f"Well {well} has no images left with projections={projections.value}; leave it out, or let other "
            "planes enter.",
            key=well,
        )
        for well, index in by_well.items()
        if not index.planes
    ]


def wells_without_steps(wells: Sequence[str], steps: Sequence[StepPlan]) -> list[Violation]:
    """Wells that every step leaves out: nothing would happen to them."""
    left = [well for well in wells if steps and not any(step.applies_to(well) for step in steps)]
    if not left:
        return []
    shown = listed_first(left, _SHOWN)
    return [
        Violation(
            message=f"No step applies to well {shown}: each has a well filter without it. Leave it out of the run, or "
            "widen the filter of a step.",
            key=left[0],
        )
    ]


def _choose(plate: Plate, declared: WellFilter) -> ChosenWells:
    return choose_wells(declared, plate.wells, plate.absent_wells)
