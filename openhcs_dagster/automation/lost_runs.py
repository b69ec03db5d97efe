"""Runs whose process is gone: after a power cut or a killed server nobody else reports it to Dagster.

Such a run would stay "started", and the slot it holds among the runs and in its pool would be taken for ever. A run
says in a tag which process executes it, and before that in another one which process launches it. Only a run of this
host can be known to be lost: a process number says nothing of another host, or of a container that counts its own
processes, and homes may be shared.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

import dagster as dg

from openhcs_dagster.automation.jobs import PLATE_TAG
from openhcs_dagster.automation.run_process import LAUNCHER_TAG, PROCESS_TAG, RunProcess
from openhcs_dagster.catalogue.catalogue import Catalogue
from openhcs_dagster.failures import sentence_of
from openhcs_dagster.keys import plates_of_wells
from openhcs_dagster.settings import Settings
from openhcs_engine.errors import OpenHCSError
from openhcs_engine.files.processes import TOLERANCE_S, is_alive, may_have_spawned
from openhcs_engine.output.unlisted_wells import list_published_wells

UNDER_WAY: Final = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
"""States that a run without its process never leaves. One that waits in the queue needs none."""


def fail_lost_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs as failed whose process is gone, and free their slots; return their ids.

    Slots of runs that ended in another way, or are deleted, are freed, too.
    """
    going = instance.get_run_records(dg.RunsFilter(statuses=list(UNDER_WAY)))
    settled = [record.dagster_run.run_id for record in going if _settle(instance, record)]
    for run_id in settled:
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    _free_slots_of_ended_runs(instance)
    lost = [record.dagster_run for record in going if record.dagster_run.run_id in settled]
    if began := [run for run in lost if PROCESS_TAG in run.tags]:
        _list_published(instance, began)
    return settled


def _settle(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """Mark a run as failed if it is lost; True if it was."""
    run = record.dagster_run
    if PROCESS_TAG in run.tags:
        lost, message = _is_lost(record), _KILLED
    elif LAUNCHER_TAG in run.tags:
        lost, message = _is_lost_before_it_began(instance, record), _NEVER_BEGUN
    else:
        return _is_overdue(instance, record)
    if lost:
        instance.report_run_failed(run, message)
    return lost or (PROCESS_TAG not in run.tags and _is_overdue(instance, record))


_KILLED: Final = (
    "The process of this run is gone: it was killed, or the machine was switched off. Wells that were published stay "
    "whole; start the plate again, and the rest is done."
)
_NEVER_BEGUN: Final = (
    "Nobody is left to begin this run: what was about to do so was killed, or the machine was switched off. Nothing of "
    "it was done; start the plate again."
)


def _is_lost(record: dg.RunRecord) -> bool:
    """Whether the process is gone that a run says executes it."""
    run = record.dagster_run
    if (process := RunProcess.of(run)) is not None:
        return process.has_ended
    host, _, pid = run.tags[PROCESS_TAG].rpartition(":")
    started = record.start_time or record.update_timestamp.timestamp()
    return host == socket.gethostname() and pid.isdecimal() and not is_alive(int(pid), started)


def _is_lost_before_it_began(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """Whether everything is gone that could execute a launched run, which has no tag of its process yet."""
    run = record.dagster_run
    launcher = RunProcess.of(run, LAUNCHER_TAG)
    if launcher is None or not launcher.is_of_this_start:
        return launcher is not None and launcher.is_of_an_earlier_start
    # Dagster writes the process's number seconds before it executes anything of ours, which writes the tag.
    for event in reversed(instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)):
        pid = event.dagster_event.engine_event_data.metadata.get("pid") if event.dagster_event else None
        if pid is not None:
            return not is_alive(int(str(pid.value)), event.timestamp)
    # Before that the launcher waits for the code server, which may have begun the process when both are killed.
    launched = instance.get_run_stats(run.run_id).launch_time or record.create_timestamp.timestamp()
    return launcher.has_ended and time.time() > launched + TOLERANCE_S and not may_have_spawned(launched)


def _is_overdue(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """End a run of which nothing is known, if it takes too long by Dagster's own law; True if it did.

    That law is its monitoring's, which a daemon alone would ask, and later. A run that was never submitted is left to
    it: that holds no slot, and whoever asked for it may still submit it.
    """
    status = record.dagster_run.status
    if not instance.run_monitoring_enabled:
        return False
    # Dagster's daemon takes as long to import as Dagster itself, and few starts find such a run.
    from openhcs_dagster.internals import monitor_canceling_run, monitor_starting_run

    if status is dg.DagsterRunStatus.STARTING and instance.run_monitoring_start_timeout_seconds > 0:
        monitor_starting_run(instance, record, _LOGGER)
    elif status is dg.DagsterRunStatus.CANCELING and instance.run_monitoring_cancel_timeout_seconds > 0:
        monitor_canceling_run(instance, record, _LOGGER)
    else:
        return False
    run = instance.get_run_by_id(record.dagster_run.run_id)
    return run is not None and run.is_finished


def _list_published(instance: dg.DagsterInstance, runs: Iterable[dg.DagsterRun]) -> None:
    """Make the plates' groups list what lost runs had published and not listed yet; their logs say what refuses."""
    catalogue = Catalogue(Settings.of(os.environ).catalogue)
    for run in runs:
        for plate in _plates_of(run):
            try:
                entries = {entry.id: entry for entry in catalogue.list()}
                if plate in entries:
                    output = entries[plate].output_plan
                    list_published_wells(output.address, output.backend)
                    continue
                message = (
                    f"Plate {plate} is not in the catalogue any more: wells that this run had published may not be "
                    "listed in its groups, since nothing says where they are. Add the plate again and run it."
                )
            except (OpenHCSError, OSError) as error:
                message = (
                    f"Wells of plate {plate} that this run had published may not be listed in its groups: "
                    f"{sentence_of(error, 'listing wells')} The next run of the plate lists them."
                )
            instance.report_engine_event(message, run)


def _plates_of(run: dg.DagsterRun) -> list[str]:
    return [run.tags[PLATE_TAG]] if PLATE_TAG in run.tags else plates_of_wells(run.asset_selection or ())


_LOGGER: Final = logging.getLogger(__name__)


def _free_slots_of_ended_runs(instance: dg.DagsterInstance) -> None:
    """A run that was killed while it ended may have reported its end, but still hold its slot."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    for run_id in {run_id for pool in storage.get_concurrency_keys() for run_id in _runs_in(instance, pool)}:
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            storage.free_concurrency_slots_for_run(run_id)


def _runs_in(instance: dg.DagsterInstance, pool: str) -> Iterator[str]:
    """Ids of the runs that hold a slot of a pool, or that one was given to."""
    info = instance.event_log_storage.get_concurrency_info(pool)
    yield from (slot.run_id for slot in info.claimed_slots)
    yield from (step.run_id for step in info.pending_steps if step.assigned_timestamp is not None)


def holders(instance: dg.DagsterInstance, pool: str, besides: str = "") -> str:
    """Who holds a pool's slots, for people: run, plate, process and since when; ``besides`` is the run that asks."""
    found = []
    for run_id in dict.fromkeys(_runs_in(instance, pool)):
        record = instance.get_run_record_by_id(run_id)
        if record is not None and run_id != besides:
            found.append(_holder(record))
    return " and ".join(found)


def _holder(record: dg.RunRecord) -> str:
    run = record.dagster_run
    process = RunProcess.of(run)
    since = datetime.fromtimestamp(record.start_time or record.create_timestamp.timestamp(), UTC)
    plates = _plates_of(run)
    parts = [
        f"plate {', '.join(plates)}" if plates else "",
        process.writer.description if process is not None else run.tags.get(PROCESS_TAG, ""),
        f"since {since:%Y-%m-%d %H:%M:%S} UTC",
    ]
    return f"run {run.run_id[:8]} ({', '.join(filter(None, parts))})"
