"""What is noticed: wells ran, so the report is made anew; a plate arrived in the inbox; a run's process is gone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import dagster as dg

from openhcs_dagster.automation.jobs import processing_request, report_request
from openhcs_dagster.automation.lost_runs import fail_lost_runs
from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.catalogue.inbox import InboxMemory, look_into
from openhcs_dagster.catalogue.inbox_file import Inbox
from openhcs_dagster.failures import as_failure
from openhcs_dagster.internals import UnresolvedAssetJobDefinition
from openhcs_dagster.keys import PlateKeys, plates_of_wells
from openhcs_dagster.resources import CatalogueResource, CodeLocation

UNFINISHED: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
REPORTING: Final = {
    "report_after_success": dg.DagsterRunStatus.SUCCESS,
    "report_after_failure": dg.DagsterRunStatus.FAILURE,
    "report_after_cancel": dg.DagsterRunStatus.CANCELED,
}
RECENT: Final = 200
"""Runs looked at for later ones of the same plate."""


def report_sensors(reports: UnresolvedAssetJobDefinition | None) -> list[dg.SensorDefinition]:
    """Sensors that make a plate's report after its wells ran, however they ended."""
    return [_report_sensor(name, status, reports) for name, status in REPORTING.items()]


def _report_sensor(
    name: str, status: dg.DagsterRunStatus, reports: UnresolvedAssetJobDefinition | None
) -> dg.SensorDefinition:
    @dg.run_status_sensor(
        name=name,
        run_status=status,
        request_jobs=[reports] if reports is not None else None,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=10,
        description="Makes a plate's report anew after a run of its wells.",
    )
    @as_failure("looking whether a report is due")
    def sensor(context: dg.RunStatusSensorContext) -> list[dg.RunRequest] | dg.SkipReason:
        return requests_after(context.instance, context.dagster_run)

    return sensor


def requests_after(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[dg.RunRequest] | dg.SkipReason:
    """Reports to make after a run; none for a plate whose wells are still running, or ran again since."""
    plates = plates_of_wells(run.asset_selection or ())
    if not plates:
        return dg.SkipReason(f"Run {run.run_id} had no wells.")
    due = [plate for plate in plates if not _another_run_will_report(instance, run, plate)]
    if not due:
        return dg.SkipReason(
            f"Another run of {', '.join(plates)} ended later or has not ended; its end makes the report."
        )
    return [report_request(plate, run_key=f"{run.run_id}:{plate}") for plate in due]


def _another_run_will_report(instance: dg.DagsterInstance, run: dg.DagsterRun, plate: str) -> bool:
    this = instance.get_run_record_by_id(run.run_id)
    ended = (this.end_time if this else None) or 0.0
    wells = PlateKeys(plate).wells
    return any(
        record.dagster_run.status in UNFINISHED or (record.end_time or 0.0) > ended
        for record in instance.get_run_records(limit=RECENT)
        if record.dagster_run.run_id != run.run_id
        and wells in (record.dagster_run.asset_selection or ())
        and record.dagster_run.remote_job_origin is not None  # a run inside some other process wakes no sensor
    )


def new_plates_sensor(inbox_file: Path, known: Sequence[CatalogueEntry]) -> dg.SensorDefinition:
    """The sensor of the inbox; ``known`` are the plates that this code location was loaded with."""
    loaded = {entry.id for entry in known}

    @dg.sensor(
        name="new_plates",
        asset_selection=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description="Registers plates that are complete in the inbox, and starts them.",
    )
    @as_failure("looking for new plates")
    def new_plates(
        context: dg.SensorEvaluationContext, catalogue: CatalogueResource, code_location: CodeLocation
    ) -> dg.SensorResult | dg.SkipReason:
        inbox = Inbox.read(inbox_file)
        if isinstance(inbox, str):
            return dg.SkipReason(inbox)
        memory = InboxMemory.from_cursor(context.cursor)
        seen = look_into(inbox, catalogue.open(), memory)
        if seen.registered:
            context.log.info(code_location.reload())
        ready = [entry for entry in seen.waiting if entry.id in loaded]
        cursor = seen.memory.without_waiting(entry.id for entry in ready).to_cursor()
        if not ready:
            context.update_cursor(cursor)
            return dg.SkipReason(seen.sentence())
        requests = [processing_request(entry, run_key=f"new:{entry.id}:{entry.added}") for entry in ready]
        return dg.SensorResult(run_requests=requests, cursor=cursor)

    return new_plates


@dg.sensor(
    name="lost_runs",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=10,
    description="Marks runs as failed whose process is gone, so that they do not keep others waiting.",
)
@as_failure("looking for runs whose process is gone")
def lost_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Tidy up after a power cut or a killed process."""
    lost = fail_lost_runs(context.instance)
    return dg.SkipReason(f"Marked as failed: {', '.join(lost)}." if lost else "The process of every run is alive.")
