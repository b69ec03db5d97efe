"""A plate's whole graph, run inside this process: no web server and no daemon needed."""

import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg

from openhcs_dagster.catalogue import CatalogueEntry
from openhcs_dagster.definitions import build_resources
from openhcs_dagster.jobs import PLATE_TAG
from openhcs_dagster.keys import PlateKeys, range_tags, stretches
from openhcs_dagster.lost_runs import process_tag
from openhcs_dagster.outcomes import Outcome, OutcomeLog
from openhcs_dagster.plate_graph import plate_graph
from openhcs_dagster.report import report_folder
from openhcs_dagster.resources import host_has_gpus
from openhcs_dagster.settings import Settings

OnWell = Callable[[str, str], None]
"""Called with a well and its status as soon as it is recorded."""
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateRun:
    """What became of a plate."""

    outcomes: tuple[Outcome, ...]
    """The wells that were asked for, in plate order; empty if the plate was refused."""
    refusal: str | None
    """Why no well was run: an unreadable plate, a refused pipeline, an output place that cannot be used."""
    report: str | None
    """The report's file; None if it was not made."""

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Wells that failed."""
        return tuple(outcome for outcome in self.outcomes if outcome.error is not None)


def materialize_plate(
    entry: CatalogueEntry,
    settings: Settings,
    instance: dg.DagsterInstance,
    *,
    wells: Sequence[str] = (),
    on_well: OnWell | None = None,
) -> PlateRun:
    """Materialize ``plate_index`` to ``plate_report``; wells that fail do not keep the report from being made."""
    job = _job(entry, settings)
    keys = PlateKeys(entry.id)
    runs, refusal = [], None
    for number, stretch in enumerate(stretches(wells or entry.wells, entry.wells)):
        selection = keys.processing if number == 0 else [keys.wells]
        result = _run(job, instance, selection, {**range_tags(stretch), PLATE_TAG: entry.id}, on_well)
        runs.append(result.run_id)
        if refusal := _refusal(result):
            break
    outcomes = {
        well: outcome
        for well, outcome in OutcomeLog(entry.output_plan.folder).latest().items()
        if outcome.run_id in runs and well in entry.wells
    }
    page = report_folder(entry) / "index.html"
    reported = bool(outcomes) and _run(job, instance, [keys.report], {PLATE_TAG: entry.id}, None).success
    return PlateRun(
        outcomes=tuple(outcomes[well] for well in entry.wells if well in outcomes),
        refusal=refusal,
        report=str(page) if reported else None,
    )


def _job(entry: CatalogueEntry, settings: Settings) -> dg.JobDefinition:
    graph = plate_graph(entry, host_has_gpus=host_has_gpus())
    defs = dg.Definitions(
        assets=graph.assets,
        asset_checks=graph.checks,
        resources=build_resources(settings),
        executor=dg.in_process_executor,
    )
    return defs.resolve_implicit_global_asset_job_def()


def _run(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    selection: Sequence[dg.AssetKey],
    tags: dict[str, str],
    on_well: OnWell | None,
) -> dg.ExecuteInProcessResult:
    run_id = str(uuid.uuid4())

    def listen(entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if on_well is not None and event is not None and event.is_step_materialization and event.partition:
            on_well(event.partition, str(event.materialization.metadata["status"].value))

    instance.add_event_listener(run_id, listen)
    return job.execute_in_process(
        run_config=_QUIET,
        instance=instance,
        raise_on_error=False,
        asset_selection=list(selection),
        run_id=run_id,
        tags={**tags, **process_tag()},
    )


def _refusal(result: dg.ExecuteInProcessResult) -> str | None:
    """The sentence with which a step before the wells, or the wells' own start, failed."""
    for event in result.filter_events(lambda event: event.is_step_failure):
        failure = event.step_failure_data
        told = failure.user_failure_data
        if told is None:
            return failure.error_display_string
        if "wells failed" not in told.metadata:
            return told.description
    return None


@contextmanager
def local_instance() -> Iterator[dg.DagsterInstance]:
    """The instance of DAGSTER_HOME."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        with dg.DagsterInstance.get() as instance:
            yield instance
