"""What a run and its worker processes say to each other: length-prefixed msgpack over two pipes. No pickle."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import IO, TypeVar

import msgspec

from openhcs_engine.execution.fits.fitting import FitResult
from openhcs_engine.execution.placement import WorkerDevices
from openhcs_engine.execution.results import WellResult
from openhcs_engine.memory.types import MemoryType

_LENGTH = struct.Struct("<Q")
_LONGEST = 1 << 32
"""A longer message is none: a function wrote to a descriptor that is not its own."""


class Setup(msgspec.Struct, tag="setup", forbid_unknown_fields=True):
    """The first message to a worker."""

    search_path: list[str]
    """Where the run's own process finds modules."""
    staging: str
    """Folder in which wells are written before they are published."""
    devices: WorkerDevices
    """What this worker holds."""
    libraries: tuple[MemoryType, ...]
    """Array libraries that the plan names, NumPy aside."""
    plan: str
    """Fingerprint of the whole plan."""


class Task(msgspec.Struct, tag="task", forbid_unknown_fields=True):
    """One well to run."""

    document: bytes
    """Plan document that holds just this well."""
    fit: str = ""
    """Not the well shall be run, but this fit of its plan be made."""


ToWorker = Setup | Task
Result = TypeVar("Result", WellResult, FitResult)


def send(pipe: IO[bytes], message: ToWorker | WellResult | FitResult) -> None:
    """Write one message and flush."""
    payload = msgspec.msgpack.encode(message)
    pipe.write(_LENGTH.pack(len(payload)) + payload)
    pipe.flush()


def receive_task(pipe: IO[bytes]) -> ToWorker | None:
    """The next message to a worker; None at the end of the pipe."""
    payload = _receive(pipe)
    return None if payload is None else msgspec.msgpack.decode(payload, type=ToWorker)


def send_begun(pipe: IO[bytes]) -> None:
    """Say that the worker is ready and begins the well it was given."""
    pipe.write(_LENGTH.pack(0))
    pipe.flush()


def receive_result(pipe: IO[bytes], on_begun: Callable[[], None], kind: type[Result]) -> Result | None:
    """The next result of a worker, of a kind; None if it ended, or sent something else."""
    while (payload := _receive(pipe)) == b"":
        on_begun()
    try:
        return None if payload is None else msgspec.msgpack.decode(payload, type=kind)
    except msgspec.MsgspecError:
        return None


def _receive(pipe: IO[bytes]) -> bytes | None:
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > _LONGEST:
        return None
    payload = pipe.read(length)
    return payload if len(payload) == length else None
