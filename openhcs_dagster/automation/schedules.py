"""What is done every night: every plate that has something to do is started."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import dagster as dg

from openhcs_dagster.automation.jobs import ALL_ASSETS, processing_request
from openhcs_dagster.automation.staleness import compare_plates
from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.environment import NIGHTLY, TIMEZONE
from openhcs_dagster.failures import as_failure

COMPARISON_S: Final = 45.0
"""Seconds for comparing plates with their plans: Dagster gives a schedule 60 in all."""


def nightly_schedule(
    entries: Sequence[CatalogueEntry],
    cron: str = NIGHTLY,
    timezone: str = TIMEZONE,
    faults: Sequence[str] = (),
    memory: Path | None = None,
) -> dg.ScheduleDefinition:
    """The schedule of the plates that this code location was loaded with.

    ``faults`` say why nobody knows when it should start: then it is off, starts nothing if it is switched on, and says
    why in its description. ``memory`` as ``compare_plates`` has it.
    """

    @dg.schedule(
        name="nightly",
        cron_schedule=cron,
        execution_timezone=timezone,
        job_name=ALL_ASSETS,
        default_status=dg.DefaultScheduleStatus.STOPPED if faults else dg.DefaultScheduleStatus.RUNNING,
        description=" ".join(faults) or "Starts every plate that is new, stale, or has failed or missing wells.",
    )
    @as_failure("looking for plates that have something to do")
    def nightly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        if faults:
            return dg.SkipReason(" ".join(faults))
        night = _night(context)
        verdicts = compare_plates(
            entries,
            budget_s=COMPARISON_S,
            memory=memory,
            night=night.date(),
            on_verdict=lambda verdict: context.log.info(str(verdict)),
        )
        by_id = {entry.id: entry for entry in entries}
        started = [by_id[verdict.plate_id] for verdict in verdicts if verdict.start]
        if not started:
            return dg.SkipReason(f"Nothing to start. {' '.join(map(str, verdicts))}")
        return [processing_request(entry, run_key=f"nightly:{entry.id}:{night.isoformat()}") for entry in started]

    return nightly


def _night(context: dg.ScheduleEvaluationContext) -> datetime:
    """The scheduled time: a tick that is evaluated again asks for the same runs."""
    try:
        return context.scheduled_execution_time
    except dg.DagsterInvariantViolationError:  # started by hand
        return datetime.now(UTC)
