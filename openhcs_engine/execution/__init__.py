"""Running frozen contexts: a well, its steps, and the runners that share wells over workers."""

from openhcs_engine.execution.plate_run import execute_wells
from openhcs_engine.execution.results import StepResult, WellResult, WellStatus

__all__ = ["StepResult", "WellResult", "WellStatus", "execute_wells"]
