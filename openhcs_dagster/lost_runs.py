"""Runs whose process is gone: after a power cut or a killed server nobody else tells Dagster.

Such a run would stay "started", and the place it holds among the runs and in its pool would be taken for ever.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

import dagster as dg
from dagster._core.launcher import DefaultRunLauncher

from openhcs_engine.output.writers import process_exists

PROCESS_TAG: Final = "openhcs/process"
"""``host:pid`` of a run inside some other process; for a launched run Dagster's own event tells it."""
TOLERANCE_S: Final = 2.0
"""How much later than the run a process may seem to have started, given the clock's ticks."""


def process_tag() -> dict[str, str]:
    """Tag of a run inside this process."""
    return {PROCESS_TAG: f"{socket.gethostname()}:{os.getpid()}"}


def fail_lost_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs as failed whose process is gone, and free their places; return their ids."""
    going = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING])
    )
    lost = [record.dagster_run for record in going if _is_lost(instance, record)]
    for run in lost:
        instance.report_run_failed(
            run,
            "The process of this run is gone: it was killed, or the machine was switched off. Wells that were "
            "published stay whole; start the plate again, and the rest is done.",
        )
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in lost]


def _is_lost(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    pid = _process_of(instance, record.dagster_run)
    return pid is not None and not is_alive(pid, record.start_time or record.update_timestamp.timestamp())


def _process_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> int | None:
    """Id of the process on this host that runs it; None if it is unknown or elsewhere."""
    if tag := run.tags.get(PROCESS_TAG):
        host, _, pid = tag.rpartition(":")
        return int(pid) if host == socket.gethostname() else None
    if not isinstance(instance.run_launcher, DefaultRunLauncher):
        return None
    events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    pids = [event.dagster_event.engine_event_data.metadata.get("pid") for event in events if event.dagster_event]
    return next((int(str(pid.value)) for pid in reversed(pids) if pid is not None), None)


def is_alive(pid: int, run_started: float) -> bool:
    """True if the process lives and is not a younger one that got the same number, as after a restart."""
    if not process_exists(pid):
        return False
    born = _time_of_birth(pid)
    return born is None or born <= run_started + TOLERANCE_S


def _time_of_birth(pid: int) -> float | None:
    """When a process started, seconds since 1970; None where the system has no /proc."""
    try:
        # The command's name is in brackets and may hold blanks; field 22 of proc(5) is the 20th after it.
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    except (OSError, StopIteration):
        return None
    return int(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
