"""Devices of this host, and the pool that lends them.

A lease is a ``flock`` on one file a device. The kernel drops it when its holder ends, however it ends, so that no
device is ever lost to a killed process; and each lease opens its own file, so that it holds against threads of the same
process as well as against other processes.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

from openhcs_engine.errors import DeviceUnavailableError
from openhcs_engine.files.locks import lock_holder, try_lock, unlock

CPU: Final = "cpu"

GPU: Final = "gpu"

_POLL_S: Final = 0.05
"""Pause between two looks for a free device; flock can wait for one file only, not for the first of several."""

_SHARED: Final = Path("/tmp")
"""Where every process of a host may write. *Source*: Filesystem Hierarchy Standard 3.0, section 3.18."""

_REMIND_S: Final = 600.0
"""Seconds until who still waits says so again."""


class DevicePolicy(StrEnum):
    """Which devices a run may use."""

    AUTO = "auto"
    """A GPU where there is one that the functions can use, otherwise the CPU."""
    CPU = "cpu"
    """The CPU, whatever else there is."""
    GPU_REQUIRED = "gpu_required"
    """A GPU for every function that can use one; what would run on the CPU instead is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One thing that can run a function: a GPU, or one of the CPU's slots."""

    kind: str
    """``cpu`` or ``gpu``."""
    index: int
    """Number among the devices of its kind, as the driver counts them."""
    name: str
    uuid: str
    """Unique on this host and stable over restarts; names the lease's file."""
    memory_bytes: int
    """Its memory; for a CPU slot, its even share of the host's."""

    @property
    def label(self) -> str:
        """Short name for results and logs, e.g. ``gpu:0``."""
        return f"{self.kind}:{self.index}"


class Inventory(Protocol):
    """Knows which devices there are."""

    def devices(self) -> tuple[Device, ...]:
        """All devices, in the order in which they should be used."""
        ...

    def why_no_gpu(self) -> str | None:
        """Why there is no GPU, as a sentence; None if there is one."""
        ...


def usable_cpus() -> int:
    """CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class CpuInventory:
    """The host's CPU, cut into slots."""

    slots: int = field(default_factory=usable_cpus)
    """How many functions may run at once."""

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise ValueError(f"slots={self.slots}: a CPU inventory needs at least one slot.")

    def devices(self) -> tuple[Device, ...]:
        """One device a slot."""
        share = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // self.slots
        return tuple(
            Device(kind=CPU, index=index, name=f"CPU slot {index}", uuid=f"cpu-{index}", memory_bytes=share)
            for index in range(self.slots)
        )

    def why_no_gpu(self) -> str:
        """Nobody looked."""
        return "No GPU: this inventory holds CPU slots only."


@dataclass(frozen=True, slots=True)
class NvmlInventory:
    """NVIDIA GPUs, as the management library (NVML) counts them; it counts without creating a context on the GPU."""

    visible: str | None = field(default_factory=lambda: os.environ.get("CUDA_VISIBLE_DEVICES"))
    """Those that may be used, by number or uuid, separated by commas; NVML itself does not heed it. None: all."""

    def devices(self) -> tuple[Device, ...]:
        """The NVIDIA GPUs of the host that may be used, in the order of ``visible``; empty where there is none."""
        gpus = _ask_nvml()[0]
        return gpus if self.visible is None else tuple(_named(gpus, self.visible))

    def why_no_gpu(self) -> str | None:
        """What NVML or its absence says."""
        gpus, reason = _ask_nvml()
        if gpus and not self.devices():
            return f"No GPU: CUDA_VISIBLE_DEVICES={self.visible!r} names none of the {len(gpus)} that are there."
        return reason


@dataclass(frozen=True, slots=True)
class HostInventory:
    """All that the host has: GPUs first, then CPU slots."""

    gpus: Inventory = field(default_factory=NvmlInventory)
    cpus: Inventory = field(default_factory=CpuInventory)

    def devices(self) -> tuple[Device, ...]:
        """GPUs, then CPU slots."""
        return self.gpus.devices() + self.cpus.devices()

    def why_no_gpu(self) -> str | None:
        """The GPU inventory's own words."""
        return self.gpus.why_no_gpu()


def find_inventory() -> Inventory:
    """The devices of this host: its NVIDIA GPUs, if any, and its CPU slots."""
    return HostInventory()


def default_lease_folder() -> Path:
    """Where this user's processes on this host meet: a folder of the user in the one for temporary files.

    TMPDIR and XDG_RUNTIME_DIR do not move it: a service and a shell of one user would lend the same device twice.
    """
    shared = _SHARED if os.access(_SHARED, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    return shared / f"openhcs-leases-{os.getuid()}"


@dataclass(frozen=True, slots=True)
class DevicePool:
    """Lends the devices of an inventory, each to one holder at a time on this host."""

    inventory: Inventory = field(default_factory=find_inventory)
    lease_folder: Path = field(default_factory=default_lease_folder)
    """One lock file a slot lies here; pools that shall not share a device must share this folder."""
    slots: int = 1
    """Holders that one GPU may have at the same time, if its memory suffices for all of them. A CPU slot has one."""

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise ValueError(f"slots={self.slots}: a GPU has at least one holder.")

    @contextmanager
    def lease(
        self,
        wanted: int = 1,
        kind: str = CPU,
        timeout_s: float = 60.0,
        on_wait: Callable[[str], None] | None = None,
    ) -> Iterator[tuple[Device, ...]]:
        """Hold devices of one kind for the length of a ``with`` block.

        Parameters
        ----------
        wanted
            Devices to take if so many are free; fewer are taken at once, none is waited for if one is there.
        kind
            ``cpu`` or ``gpu``.
        timeout_s
            Seconds to wait while none is free.
        on_wait
            Called with who holds the devices if none is free at once, and again every ten minutes.

        Yields
        ------
        tuple of Device
            One to ``wanted`` devices, given back at the end of the block or with the end of this process. A GPU with
            several slots may be among them several times, but only once the others are taken.

        Raises
        ------
        DeviceUnavailableError
            If there is no such device, or none came free in time.
        ValueError
            If fewer than one device is wanted.
        """
        if wanted < 1:
            raise ValueError(f"wanted={wanted}: a lease holds at least one device.")
        devices = self._of_kind(kind)
        with ExitStack() as locks:
            yield self._wait_for(devices, wanted, timeout_s, locks, on_wait)

    def _of_kind(self, kind: str) -> tuple[Device, ...]:
        devices = tuple(device for device in self.inventory.devices() if device.kind == kind)
        if not devices:
            reason = self.inventory.why_no_gpu() if kind == GPU else None
            raise DeviceUnavailableError(reason or f"This host has no device of kind {kind!r}.", kind=kind)
        return devices

    def _wait_for(
        self,
        devices: tuple[Device, ...],
        wanted: int,
        timeout_s: float,
        locks: ExitStack,
        on_wait: Callable[[str], None] | None,
    ) -> tuple[Device, ...]:
        deadline = time.monotonic() + timeout_s
        say_at = -math.inf
        while not (held := self._take_free(devices, wanted, locks)):
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._none_free(devices, timeout_s)
            if on_wait is not None and time.monotonic() >= say_at:
                say_at = time.monotonic() + _REMIND_S
                on_wait(
                    f"Waits for a device: all {len(devices)} of kind {devices[0].kind} are held by "
                    f"{self._holders(devices)}."
                )
            time.sleep(min(_POLL_S, left))
        return held

    def _take_free(self, devices: tuple[Device, ...], wanted: int, locks: ExitStack) -> tuple[Device, ...]:
        held: list[Device] = []
        for slot in range(self._slots_of(devices[0])):
            for device in devices:
                if len(held) < wanted and (lock := try_lock(self._file(device, slot))) is not None:
                    locks.callback(unlock, lock)
                    held.append(device)
        return tuple(held)

    def _slots_of(self, device: Device) -> int:
        return self.slots if device.kind == GPU else 1

    def _file(self, device: Device, slot: int) -> Path:
        return self.lease_folder / (f"{device.uuid}-{slot}.lock" if slot else f"{device.uuid}.lock")

    def _none_free(self, devices: tuple[Device, ...], timeout_s: float) -> DeviceUnavailableError:
        kind = devices[0].kind
        return DeviceUnavailableError(
            f"None of the {len(devices)} {kind} devices ({', '.join(device.label for device in devices)}) "
            f"came free within {timeout_s:g} s; they are held by {self._holders(devices)}. "
            "Wait for those runs, start fewer workers, or allow more time.",
            kind=kind,
        )

    def _holders(self, devices: tuple[Device, ...]) -> str:
        """The processes that hold devices, for people, each with the time since when."""
        slots = range(self._slots_of(devices[0]))
        files = [self._file(device, slot) for device in devices for slot in slots]
        holders = sorted({holder for file in files if (holder := lock_holder(file))})
        return f"the processes {', '.join(holders) or 'unknown'}"


def _ask_nvml() -> tuple[tuple[Device, ...], str | None]:
    """The GPUs, or none and the reason."""
    try:
        import pynvml
    except ImportError:
        return (), "No GPU: the NVIDIA management library is not installed (pip install 'openhcs-dagster[gpu]')."
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return (), f"No GPU: the NVIDIA management library found no driver ({error})."
    try:
        gpus = tuple(_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError as error:
        return (), f"No GPU: the NVIDIA driver does not answer ({error})."
    finally:
        pynvml.nvmlShutdown()
    return gpus, None if gpus else "No GPU: the NVIDIA driver is there, but counts no device."


def _named(gpus: tuple[Device, ...], names: str) -> Iterator[Device]:
    """The GPUs that a list names; as in CUDA, what follows an unknown name is not looked at."""
    for name in names.split(","):
        name = name.strip()
        found = [gpu for gpu in gpus if name == str(gpu.index) or (name and gpu.uuid.startswith(name))]
        if not found:
            return
        yield found[0]


def _gpu(nvml: Any, index: int) -> Device:  # Any: pynvml has no types
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    return Device(
        kind=GPU,
        index=index,
        name=nvml.nvmlDeviceGetName(handle),
        uuid=nvml.nvmlDeviceGetUUID(handle),
        memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
    )
