"""What changed since the plan before, as the UI shows it with a new plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from openhcs_dagster.io_manager import VfsIOManager
from openhcs_dagster.step_tables import markdown_text
from openhcs_engine.context import ProcessingContext
from openhcs_engine.errors import OpenHCSError

if TYPE_CHECKING:
    from openhcs_engine.plan_diff import PlanDiff, StaleGroup

Plan = Mapping[str, ProcessingContext]
FIRST_PLAN: Final = "This is the plate's first plan here."
_SHOWN: Final = 10
"""Groups of wells, and changes that make no well stale, that are told one by one."""


def changes_since_last(io_manager: Any, key: dg.AssetKey, after: Plan) -> str:  # Any: whatever a deployment uses
    """In markdown: how many wells the new plan makes stale, and why; ``io_manager`` keeps the plan before."""
    if not isinstance(io_manager, VfsIOManager):
        return "The plan before is kept where it cannot be compared."
    try:
        before: Any = io_manager.stored(key)
    except OpenHCSError as error:
        return f"The plan before cannot be compared: {markdown_text(str(error))}"
    return FIRST_PLAN if before is None else told_changes(before, after)


def told_changes(before: Plan, after: Plan) -> str:
    """The difference of two plans in markdown: a sentence, then a line for each group of stale wells."""
    from openhcs_engine.plan_diff import compare_plans

    diff = compare_plans(before, after)
    lines = [_group(group, diff) for group in diff.stale[:_SHOWN]]
    rest = sum(len(group.wells) for group in diff.stale[_SHOWN:])
    lines += [f"{rest} more wells, for other sets of these reasons"] if rest else []
    lines += [markdown_text(change.told) for change in diff.changes if not change.wells][:_SHOWN]
    return "\n".join([f"**{_counts(diff)}**", "", *(f"- {line}" for line in lines)]).rstrip()


def _counts(diff: PlanDiff) -> str:
    if diff.equal:
        return diff.told
    counts = {
        "stale": len(diff.stale_wells),
        "unchanged": len(diff.unchanged),
        "new": len(diff.added),
        "gone": len(diff.removed),
    }
    return f"Wells: {', '.join(f'{count} {state}' for state, count in counts.items() if count or state == 'stale')}."


def _group(group: StaleGroup, diff: PlanDiff) -> str:
    from openhcs_engine.model.well_spans import told_spans

    reasons = "; ".join(reason.told for reason in group.reasons)
    return markdown_text(f"stale {told_spans(group.wells, diff.wells)} ({len(group.wells)}), because of {reasons}")


__all__ = ["FIRST_PLAN", "changes_since_last", "told_changes"]
