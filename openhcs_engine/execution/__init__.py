"""Running frozen contexts: a well, its steps, and the runners that share wells over workers.

Nothing is decided here that a context does not say.
"""

from openhcs_engine.execution.results import StepResult, WellResult, WellStatus
from openhcs_engine.execution.run import execute_wells

__all__ = ["StepResult", "WellResult", "WellStatus", "execute_wells"]
