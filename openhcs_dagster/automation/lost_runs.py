"""Runs whose process is gone: after a power cut or a killed server nobody else tells Dagster.

Such a run would stay "started", and the place it holds among the runs and in its pool would be taken for ever. A run
says in a tag which process executes it. Only a run of this host can be known to be lost: a process number says nothing
of another host, or of a container that counts its own processes, and homes may be shared.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

import dagster as dg
import msgspec

from openhcs_dagster.automation.jobs import PLATE_TAG
from openhcs_dagster.keys import plates_of_wells
from openhcs_engine.files.processes import Writer, is_alive

PROCESS_TAG: Final = "openhcs/process"
"""The process that executes a run: a ``RunProcess`` as JSON; ``host:pid`` in runs of earlier versions."""

_MACHINE_ID: Final = Path("/etc/machine-id")

UNDER_WAY: Final = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
"""States that a run without its process never leaves. A run without a process of its own yet bears no tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProcess:
    """The process that executes a run, told from every other one on every host."""

    writer: Writer
    machine: str
    """What the host is called from start to start; empty where it is not."""

    @classmethod
    def here(cls) -> Self:
        """This process."""
        return cls(writer=Writer.here(), machine=_machine())

    @classmethod
    def of(cls, run: dg.DagsterRun) -> RunProcess | None:
        """The process of a run; None if it does not say, or said it in an earlier version."""
        try:
            return msgspec.json.decode(run.tags.get(PROCESS_TAG, ""), type=RunProcess)
        except msgspec.MsgspecError:
            return None

    @property
    def is_gone(self) -> bool:
        """True if the process is known to have ended: on this host, or before this host started."""
        return self.writer.is_gone or self._is_of_an_earlier_start

    @property
    def _is_of_an_earlier_start(self) -> bool:
        here = Writer.here()
        same_host = self.machine != "" and (self.machine, self.writer.name) == (_machine(), here.name)
        # Both names hold "boot id/processes". Another container of the same start may share every other name.
        return same_host and self.writer.host.partition("/")[0] != here.host.partition("/")[0]


def process_tag() -> dict[str, str]:
    """Tag of a run inside this process."""
    return {PROCESS_TAG: msgspec.json.encode(RunProcess.here()).decode()}


def _machine() -> str:
    try:
        return _MACHINE_ID.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def fail_lost_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs as failed whose process is gone, and free their places; return their ids.

    Places that runs hold which ended in another way, or are deleted, come free, too.
    """
    going = instance.get_run_records(dg.RunsFilter(statuses=list(UNDER_WAY)))
    lost = [record.dagster_run for record in going if _is_lost(record)]
    for run in lost:
        instance.report_run_failed(
            run,
            "The process of this run is gone: it was killed, or the machine was switched off. Wells that were "
            "published stay whole; start the plate again, and the rest is done.",
        )
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    _free_places_of_ended_runs(instance)
    return [run.run_id for run in lost]


def _is_lost(record: dg.RunRecord) -> bool:
    run = record.dagster_run
    if (process := RunProcess.of(run)) is not None:
        return process.is_gone
    host, _, pid = run.tags.get(PROCESS_TAG, "").rpartition(":")
    started = record.start_time or record.update_timestamp.timestamp()
    return host == socket.gethostname() and pid.isdecimal() and not is_alive(int(pid), started)


def _free_places_of_ended_runs(instance: dg.DagsterInstance) -> None:
    """A run that was killed while it ended has told how it ended, but kept its place."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    for run_id in {run_id for pool in storage.get_concurrency_keys() for run_id in _runs_in(instance, pool)}:
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            storage.free_concurrency_slots_for_run(run_id)


def _runs_in(instance: dg.DagsterInstance, pool: str) -> Iterator[str]:
    """Ids of the runs that hold a place of a pool, or that one was given to."""
    info = instance.event_log_storage.get_concurrency_info(pool)
    yield from (slot.run_id for slot in info.claimed_slots)
    yield from (step.run_id for step in info.pending_steps if step.assigned_timestamp is not None)


def holders(instance: dg.DagsterInstance, pool: str, besides: str = "") -> str:
    """Who holds a pool's places, for people: run, plate, process and since when; ``besides`` is the run that asks."""
    found = []
    for run_id in dict.fromkeys(_runs_in(instance, pool)):
        record = instance.get_run_record_by_id(run_id)
        if record is not None and run_id != besides:
            found.append(_told(record))
    return " and ".join(found)


def _told(record: dg.RunRecord) -> str:
    run = record.dagster_run
    process = RunProcess.of(run)
    since = datetime.fromtimestamp(record.start_time or record.create_timestamp.timestamp(), UTC)
    plates = [run.tags[PLATE_TAG]] if PLATE_TAG in run.tags else plates_of_wells(run.asset_selection or ())
    parts = [
        f"plate {', '.join(plates)}" if plates else "",
        process.writer.told if process is not None else run.tags.get(PROCESS_TAG, ""),
        f"since {since:%Y-%m-%d %H:%M:%S} UTC",
    ]
    return f"run {run.run_id[:8]} ({', '.join(filter(None, parts))})"
