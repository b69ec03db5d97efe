"""What a worker process is born with, and which array libraries it imports."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress

from openhcs_engine.errors import LibraryUnavailableError
from openhcs_engine.execution.placement import WorkerDevices
from openhcs_engine.memory.framework_environment import ONE_THREAD, worker_environment
from openhcs_engine.memory.libraries import library
from openhcs_engine.memory.loading import load_framework
from openhcs_engine.memory.types import MemoryType


def environment_of(devices: WorkerDevices, libraries: Iterable[MemoryType]) -> dict[str, str]:
    """Variables of a worker process: what must be set before its array libraries are imported.

    A worker that holds a GPU sees no other one, so that every library counts it as its first.
    """
    inherited = {**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(search_path())}
    return inherited | worker_environment(libraries, devices.gpu_uuid, inherited)


def search_path() -> list[str]:
    """This process's module search path; the current folder by its name."""
    return [entry or os.getcwd() for entry in sys.path]  # noqa: PTH109 # sys.path holds text


def load_libraries(libraries: Iterable[MemoryType]) -> tuple[MemoryType, ...]:
    """Import what a plan names, before any function's module can do so in an order that kills the process.

    Returns
    -------
    tuple of MemoryType
        Those that could be imported. The others are left to the first well that needs them: it says why it fails.
    """
    loaded: list[MemoryType] = []
    for memory_type in sorted(set(libraries), key=lambda name: name is not MemoryType.PYCLESPERANTO):
        with suppress(LibraryUnavailableError):
            load_framework(library(memory_type).package)
            loaded.append(memory_type)
    return tuple(loaded)
