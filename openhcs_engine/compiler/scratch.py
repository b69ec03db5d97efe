"""Whether the planes between steps can be kept where the user wants them."""

from __future__ import annotations

from openhcs_engine.errors import OptionError, Violation
from openhcs_engine.model.plate import Plate
from openhcs_engine.vfs.scratch import ScratchPlan


def check_scratch(plan: ScratchPlan, plate: Plate) -> list[Violation]:
    """Every reason why they cannot; the key is the option that is wrong."""
    return [
        Violation(message=str(fault), key=fault.option if isinstance(fault, OptionError) else "intermediates")
        for fault in plan.faults(plate.root)
    ]


__all__ = ["check_scratch"]
