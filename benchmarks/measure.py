"""Time, CPU, memory and output of one command and all the processes it starts."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_S = 0.1
"""Pause between two looks at the process tree; shorter looks would compete with what they measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one run took."""

    wall_s: float
    """From the start of the process to its exit."""
    cpu_s: float
    """User and system time of the process and all descendants that it waited for."""
    tree_mb: float
    """Highest sum of resident memory over the process tree, as sampled; pages that processes share count in each."""
    process_mb: float
    """Highest resident memory of any one process, as sampled."""
    output_mb: float = 0.0
    """What it stored as images."""
    files: int = 0


class CommandFailedError(Exception):
    """A variant did not exit with 0; the message holds the end of its output."""


def run_measured(command: Sequence[str], env: Mapping[str, str], log: Path, folder: Path) -> Cost:
    """Run a command in ``folder`` with its output in ``log``; raise CommandFailedError if it fails."""
    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
        memory = _MemoryWatch(process.pid)
        memory.start()
        _, status, usage = os.wait4(process.pid, 0)  # unlike Popen.wait, it tells the tree's CPU time
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    memory.stop()
    if process.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        raise CommandFailedError(f"{' '.join(command)}\nended with exit code {process.returncode}:\n{tail}")
    return Cost(
        wall_s=wall,
        cpu_s=usage.ru_utime + usage.ru_stime,
        tree_mb=memory.tree / 1e6,
        process_mb=memory.process / 1e6,
    )


def stored(folder: Path) -> tuple[float, int]:
    """Megabytes and number of the files below a folder."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return sum(sizes) / 1e6, len(sizes)


def peak_mb() -> float:
    """Highest resident memory of this process; unlike ``ru_maxrss`` without that of the one that started it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


class _MemoryWatch(threading.Thread):
    """Samples the resident memory of a process tree until stopped."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.tree = 0
        self.process = 0
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            with suppress(psutil.NoSuchProcess):
                root = psutil.Process(self.pid)
                sizes = [_resident(process) for process in (root, *root.children(recursive=True))]
                self.tree = max(self.tree, sum(sizes))
                self.process = max(self.process, *sizes)

    def stop(self) -> None:
        """End sampling and wait for the last look."""
        self._ended.set()
        self.join()


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0
