"""What changed between two plans of a plate, and which wells go stale by it.

Pure: it reads no file and imports no function of a pipeline, so that plans of other hosts can be compared.
"""

from openhcs_engine.plan.diff.change import Change, ChangeKind
from openhcs_engine.plan.diff.compare import PlanDiff, StaleGroup, compare_plans

__all__ = ["Change", "ChangeKind", "PlanDiff", "StaleGroup", "compare_plans"]
