"""Processes: who they are, and whether they still live. Known on their own host alone."""

from __future__ import annotations

import os
import signal
import socket
import time
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Self

TOLERANCE_S: Final = 2.0
"""How much later than the run a process may seem to have started, given the clock's ticks."""


def is_alive(pid: int, run_started: float) -> bool:
    """True if the process lives and is not a younger one that got the same number, as after a restart."""
    if not process_exists(pid):
        return False
    born = _time_of_birth(pid)
    return born is None or born <= run_started + TOLERANCE_S


def _time_of_birth(pid: int) -> float | None:
    """When a process started, seconds since 1970; None where the system has no /proc."""
    try:
        ticks = int(_stat(pid)[_STARTTIME])
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    except (OSError, StopIteration):
        return None
    return int(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")


def may_have_spawned(since: float) -> bool:
    """True if a process lives that Python's ``multiprocessing`` spawned since then, or if the system does not tell.

    ``since`` in seconds since 1970. Whoever reads that process's own account of what it does may be too early.
    """
    processes = [path for path in Path("/proc").glob("[0-9]*") if path.name.isdecimal()]
    return not processes or any(_is_spawned(path, since) for path in processes)


def _is_spawned(process: Path, since: float) -> bool:
    try:
        spawned = _SPAWN in (process / "cmdline").read_bytes()
    except PermissionError:  # somebody hides it
        return True
    except OSError:  # it ended meanwhile
        return False
    born = _time_of_birth(int(process.name)) if spawned else None
    return born is not None and born >= since - TOLERANCE_S


_SPAWN = b"from multiprocessing.spawn import spawn_main"
"""In the command of such a process. *Source*: ``multiprocessing.spawn.get_command_line`` of Python 3.11 to 3.13."""
_ENDED = ("Z", "X")
"""States of processes that run no more. *Source*: proc_pid_stat(5)."""
_STARTTIME: Final = 19
"""Index after the command's name of field 22, the start in ticks since the boot. *Source*: proc_pid_stat(5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """One process, distinct from every other one that there was or will be."""

    host: str
    """What distinguishes this host since its start from others, containers with processes of their own included."""
    name: str
    """The host's name, for people."""
    pid: int
    started: str
    """When the process started, as the system counts; empty where it does not tell."""

    @classmethod
    def here(cls) -> Self:
        """This process."""
        return cls(host=this_host(), name=socket.gethostname(), pid=os.getpid(), started=_started(os.getpid()) or "")

    @property
    def has_ended(self) -> bool:
        """True if the process is known to have ended; never True for one of another host."""
        return self.host == this_host() and _started(self.pid) != self.started

    @property
    def description(self) -> str:
        """For messages."""
        return f"process {self.pid} on {self.name}"


@cache
def this_host() -> str:
    """Another value after each start of the host, and in each container that counts its own processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # Containers share the boot id; a process number means nothing outside its namespace.
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 # the link names no path
    except OSError:
        return f"{socket.gethostname()}/{uuid.getnode():x}"


def _started(pid: int) -> str | None:
    """When a process started; None if it runs no more, empty where the system does not tell."""
    try:
        fields = _stat(pid)
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() or not process_exists(pid) else ""
    except OSError:  # it ended while it was read
        return None
    return None if fields[0] in _ENDED else fields[_STARTTIME]


def _stat(pid: int) -> list[str]:
    """Fields of ``/proc/<pid>/stat`` after the command's name, which stands in brackets and may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def signal_name(number: int) -> str:
    """``SIGKILL``; empty for real-time signals, most of which have no name."""
    return signal.Signals(number).name if number in {known.value for known in signal.Signals} else ""


def process_exists(pid: int) -> bool:
    """True if a process of this host has the number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def seconds_awake() -> float:
    """A clock that goes on while the host sleeps, where there is one: others count that time, too."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


__all__ = [
    "TOLERANCE_S",
    "Writer",
    "is_alive",
    "may_have_spawned",
    "process_exists",
    "seconds_awake",
    "signal_name",
    "this_host",
]
