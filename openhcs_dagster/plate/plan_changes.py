"""What changed since the plan before, as the UI shows it with a new plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from openhcs_dagster.plate.compilation import plan_version
from openhcs_dagster.plate.lineage import recorded_version
from openhcs_dagster.plate.markdown import markdown_text
from openhcs_dagster.storage.io_manager import VfsIOManager
from openhcs_engine.errors import OpenHCSError
from openhcs_engine.plan.context import ProcessingContext, plan_fingerprint

if TYPE_CHECKING:
    from openhcs_engine.plan.diff import PlanDiff, StaleGroup

Plan = Mapping[str, ProcessingContext]
FIRST_PLAN: Final = "This is the plate's first plan here."
FINGERPRINT: Final = "fingerprint"
"""Metadata of a recorded plan: what it makes of its wells."""
_SHOWN: Final = 10
"""Groups of wells, and changes that make no well stale, that are listed one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChange:
    """A new plan beside the one that was stored before."""

    summary: str
    """In markdown: how many wells the new plan makes stale, and why."""
    version: str
    """Data version of the new plan: that of the plan before if no well is another one."""


def change_since_last(
    instance: dg.DagsterInstance,
    io_manager: Any,
    key: dg.AssetKey,
    after: Plan,  # Any: whatever a deployment uses
) -> PlanChange:
    """Compare a plan with the one that ``io_manager`` keeps, and find its data version.

    An update of this program changes how fingerprints are made, and so the plan's own; where by the law of then all
    wells are the same, the version that was recorded stays, and the UI shows no well as stale.
    """
    version = plan_version(after)
    if not isinstance(io_manager, VfsIOManager):
        return PlanChange(summary="The plan before is kept where it cannot be compared.", version=version)
    try:
        before: Any = io_manager.stored(key)
    except OpenHCSError as error:
        return PlanChange(summary=f"The plan before cannot be compared: {markdown_text(str(error))}", version=version)
    if before is None:
        return PlanChange(summary=FIRST_PLAN, version=version)
    recorded = _recorded_version(instance, key, before) if _are_same(before, after) else None
    return PlanChange(summary=changes_markdown(before, after), version=recorded or version)


def _are_same(before: Plan, after: Plan) -> bool:
    """Whether two plans make the same of the same wells, and say the same of what was in them."""
    from openhcs_engine.plan.diff import compare_plans

    diff = compare_plans(before, after)
    maps = (next(iter(plan.values())).plate.plate_map for plan in (before, after))
    return not diff.stale and not diff.added and not diff.removed and next(maps) == next(maps)


def _recorded_version(instance: dg.DagsterInstance, key: dg.AssetKey, before: Plan) -> str | None:
    """The data version with which the plan before was recorded; None if another plan was recorded last."""
    records = instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=key), limit=1).records
    made = records[0].asset_materialization if records else None
    if made is None or (recorded := made.metadata.get(FINGERPRINT)) is None:
        return None
    if recorded.value != plan_fingerprint(before.values()):  # a run ended between keeping and recording a plan
        return None
    return recorded_version(made.tags)


def changes_markdown(before: Plan, after: Plan) -> str:
    """The difference of two plans in markdown: a sentence, then a line for each group of stale wells."""
    from openhcs_engine.plan.diff import compare_plans

    diff = compare_plans(before, after)
    lines = [_group(group, diff) for group in diff.stale[:_SHOWN]]
    rest = sum(len(group.wells) for group in diff.stale[_SHOWN:])
    lines += [f"{rest} more wells, for other sets of these reasons"] if rest else []
    lines += [markdown_text(change.summary) for change in diff.changes if not change.wells][:_SHOWN]
    return "\n".join([f"**{_counts(diff)}**", "", *(f"- {line}" for line in lines)]).rstrip()


def _counts(diff: PlanDiff) -> str:
    if diff.equal:
        return diff.summary
    counts = {
        "stale": len(diff.stale_wells),
        "unchanged": len(diff.unchanged),
        "new": len(diff.added),
        "gone": len(diff.removed),
    }
    return f"Wells: {', '.join(f'{count} {state}' for state, count in counts.items() if count or state == 'stale')}."


def _group(group: StaleGroup, diff: PlanDiff) -> str:
    from openhcs_engine.model.well_spans import format_spans

    reasons = "; ".join(reason.summary for reason in group.reasons)
    return markdown_text(f"stale {format_spans(group.wells, diff.wells)} ({len(group.wells)}), because of {reasons}")


__all__ = ["FINGERPRINT", "FIRST_PLAN", "PlanChange", "change_since_last", "changes_markdown"]
