"""A plate's whole graph, run inside this process: no web server and no daemon needed."""

import logging
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg

from openhcs_dagster.automation.jobs import PLATE_TAG
from openhcs_dagster.automation.lost_runs import fail_lost_runs
from openhcs_dagster.automation.run_executor import WAITING, patient_executor
from openhcs_dagster.automation.run_process import process_tag
from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.definitions import build_resources
from openhcs_dagster.failures import home_errors, innermost
from openhcs_dagster.internals import ExecutionResult, InMemoryJob, RunFailureReason, execute_run
from openhcs_dagster.keys import RENEW_TAG, PlateKeys, range_tags, stretches
from openhcs_dagster.plate.assets import plate_graph
from openhcs_dagster.plate.fits import FAILED_FIT
from openhcs_dagster.report.outcomes import Outcome, OutcomeLog
from openhcs_dagster.report.summary import report_folder
from openhcs_dagster.resources import host_has_gpus
from openhcs_dagster.settings import Settings

OnWell = Callable[[str, str], None]
"""Called with a well and its status as soon as it is recorded."""
OnNote = Callable[[str], None]
"""Called with what a person should know while the plate runs: for whom it waits, which well takes long."""
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
    renew: bool = False,
    on_well: OnWell | None = None,
    on_note: OnNote | None = None,
) -> PlateRun:
    """Materialize ``plate_index`` to ``plate_report``; wells that fail do not keep the report from being made.

    Runs of this host that lost their process are settled first. KeyboardInterrupt if a signal ends a run. ``renew``
    computes wells again that were made before an update of this program.
    """
    fail_lost_runs(instance)
    job = _job(entry, settings)
    listener = _listener(on_well, on_note)
    keys = PlateKeys(entry.id, entry.fits)
    purpose = {RENEW_TAG: "true"} if renew else {}
    runs, refusal = [], None
    for number, stretch in enumerate(stretches(wells or entry.wells, entry.wells)):
        selection = keys.processing if number == 0 else [keys.wells]
        tags = {**range_tags(stretch), PLATE_TAG: entry.id, **purpose}
        result = _run(job, instance, selection, tags, listener)
        runs.append(result.run_id)
        if refusal := _refusal(result):
            break
    outcomes = {
        well: outcome
        for well, outcome in OutcomeLog(entry.output_plan.folder).latest().items()
        if outcome.run_id in runs and well in entry.wells
    }
    page = report_folder(entry) / "index.html"
    reported = bool(outcomes) and _run(job, instance, [keys.report], {PLATE_TAG: entry.id}, listener).success
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
        executor=patient_executor,
    )
    return defs.resolve_implicit_global_asset_job_def()


def _run(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    selection: Sequence[dg.AssetKey],
    tags: dict[str, str],
    listener: Callable[[dg.EventLogEntry], None],
) -> ExecutionResult:
    """One run in this process. Not by ``execute_in_process``, which has an executor of its own."""
    part = job.get_subset(asset_selection=frozenset(selection))
    run = instance.create_run_for_job(
        job_def=part,
        run_id=str(uuid.uuid4()),
        run_config=_QUIET,
        tags={**part.run_tags, **tags, **process_tag()},
        asset_selection=frozenset(selection),
    )
    instance.add_event_listener(run.run_id, listener)
    result = execute_run(InMemoryJob(part), run, instance, raise_on_error=False)
    if _was_interrupted(result):
        raise KeyboardInterrupt
    return result


def _listener(on_well: OnWell | None, on_note: OnNote | None) -> Callable[[dg.EventLogEntry], None]:
    """What follows the events of a run."""

    def listen(entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None:
            if on_note is not None and entry.level == logging.WARNING:
                on_note(entry.user_message)
        elif event.is_engine_event and (event.message or "").startswith(WAITING):
            if on_note is not None:
                on_note(str(event.message))
        elif on_well is not None and event.is_step_materialization and event.partition:
            on_well(event.partition, str(event.materialization.metadata["status"].value))

    return listen


def _was_interrupted(result: ExecutionResult) -> bool:
    """Whether a signal ended the run; Dagster keeps the signal to itself."""
    return any(
        event.is_job_failure and event.job_failure_data.failure_reason is RunFailureReason.UNEXPECTED_TERMINATION
        for event in result.all_events
    )


def _refusal(result: ExecutionResult) -> str | None:
    """The sentence with which a step before the wells, or the wells' own start, failed.

    A fit's failure is none: the wells are run, and those that use it fail with its reason.
    """
    for event in result.filter_events(lambda event: event.is_step_failure):
        failure = event.step_failure_data
        user_failure = failure.user_failure_data
        if user_failure is None:
            return innermost(failure.error)
        if not {"wells failed", FAILED_FIT} & user_failure.metadata.keys():
            return user_failure.description
    return None


@contextmanager
def local_instance() -> Iterator[dg.DagsterInstance]:
    """The instance of DAGSTER_HOME."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        with home_errors(), dg.DagsterInstance.get() as instance:
            yield instance
