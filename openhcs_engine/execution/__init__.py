"""Running frozen contexts: a well, its steps, and the runners that share wells over workers."""

from openhcs_engine.execution.results import StepResult, WellResult, WellStatus
from openhcs_engine.execution.run import execute_wells

__all__ = ["StepResult", "WellResult", "WellStatus", "execute_wells"]
