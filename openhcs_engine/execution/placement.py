"""Where a call runs: from the plan's logical device to what a worker holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from openhcs_engine.errors import DeviceUnavailableError
from openhcs_engine.execution.results import Rung
from openhcs_engine.memory.devices import GPU, DevicePolicy
from openhcs_engine.memory.libraries import library
from openhcs_engine.memory.libraries.contract import ArrayLibrary
from openhcs_engine.memory.types import MemoryType
from openhcs_engine.plan.context import CPU, FunctionCall

_NOBODY_ASKED: Final = "this run holds no GPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDevices:
    """What one worker may run functions on."""

    cpu: str = "cpu:0"
    """Its CPU slot, as results name it."""
    gpu: str | None = None
    """Its leased GPU, as results name it (its number on the host); None: it has none."""
    gpu_here: str = "gpu:0"
    """The same GPU as the array libraries of the worker's process count it."""
    gpu_uuid: str | None = None
    """The same GPU as the driver names it."""
    planned: str = "gpu:0"
    """The plan's logical device that this GPU stands for."""
    why_no_gpu: str = _NOBODY_ASKED
    """Why it has no GPU, if it has none."""
    policy: DevicePolicy = DevicePolicy.AUTO

    @property
    def label(self) -> str:
        """The device the worker is known by."""
        return self.gpu or self.cpu


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """How a call is made."""

    call: FunctionCall
    """The planned call, or its CPU twin."""
    device: str = CPU
    """Device as the libraries of this process name it."""
    label: str
    """Device as results name it."""
    rung: Rung | None = None
    """The rung of the ladder that led here; None: as planned."""
    batch: int | None = None
    """Planes a batch; None: the whole stack at once."""
    fallback: str | None = None
    """Why this is not where the plan wanted it; None: it is."""


def libraries_of(call: FunctionCall) -> tuple[ArrayLibrary, ...]:
    """Adapters of the libraries that a call takes and gives, without its twin's."""
    return tuple(library(MemoryType(name)) for name in dict.fromkeys((call.input_type, call.output_type)))


def runs_on_cpu(call: FunctionCall) -> bool:
    """Whether all libraries of a call can work in the host's memory."""
    return all(adapter.has_cpu for adapter in libraries_of(call))


def planned_mode(call: FunctionCall, planned: str, devices: WorkerDevices) -> Mode:
    """How a call is made if nothing goes wrong. NumPy functions run on the CPU wherever their step is planned.

    Raises
    ------
    DeviceUnavailableError
        If the plan wants a GPU, the worker holds none, and the call has no way on the CPU, or may not take it.
    """
    speaks_gpu = any(adapter.memory_type is not MemoryType.NUMPY for adapter in libraries_of(call))
    wants_gpu = planned.startswith(GPU) and speaks_gpu
    if wants_gpu and devices.gpu is not None:
        return Mode(call=call, device=devices.gpu_here, label=devices.gpu)
    if not wants_gpu and runs_on_cpu(call):
        return Mode(call=call, label=devices.cpu)
    return _without_gpu(call, devices, wanted=wants_gpu)


def cpu_mode(call: FunctionCall, devices: WorkerDevices) -> Mode | None:
    """How a call is made on the CPU: by itself, or by its twin; None if neither can."""
    if runs_on_cpu(call):
        return Mode(call=call, label=devices.cpu)
    return None if call.cpu_twin is None else Mode(call=call.cpu_twin, label=devices.cpu)


def _without_gpu(call: FunctionCall, devices: WorkerDevices, *, wanted: bool) -> Mode:
    if devices.policy is DevicePolicy.GPU_REQUIRED:
        raise DeviceUnavailableError(
            f"{call.reference} is planned on a GPU and the policy {devices.policy} keeps it there, but there is none "
            f"({devices.why_no_gpu}).",
            kind=GPU,
        )
    mode = cpu_mode(call, devices)
    if mode is None:
        raise DeviceUnavailableError(
            f"{call.reference} needs a GPU and there is none ({devices.why_no_gpu}). Run it on a host that has one, or "
            "declare what runs instead with cpu=….",
            kind=GPU,
        )
    instead = "" if mode.call is call else f", as {mode.call.reference},"
    why = f"there was no GPU ({devices.why_no_gpu})" if wanted else "its step is planned there"
    return Mode(
        call=mode.call,
        label=mode.label,
        fallback=f"{call.reference} ran{instead} on the CPU, because {why}",
    )
