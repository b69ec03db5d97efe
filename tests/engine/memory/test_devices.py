"""Which devices there are, and who holds them."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from openhcs_engine.errors import DeviceUnavailableError
from openhcs_engine.memory.devices import (
    CpuInventory,
    Device,
    DevicePool,
    HostInventory,
    NvmlInventory,
    find_inventory,
)

GIB = 2**30


@dataclass(frozen=True)
class FakeInventory:
    """Some GPUs that exist on paper only."""

    gpus: int

    def devices(self) -> tuple[Device, ...]:
        """GPUs with 16 GiB each."""
        return tuple(
            Device(kind="gpu", index=index, name="Paper GPU", uuid=f"GPU-paper-{index}", memory_bytes=16 * GIB)
            for index in range(self.gpus)
        )

    def why_no_gpu(self) -> str | None:
        """A reason if there is none."""
        return None if self.gpus else "No GPU: the paper is blank."


HOLDER = """
import sys
from pathlib import Path
from openhcs_engine.memory.devices import CpuInventory, DevicePool

pool = DevicePool(CpuInventory(slots=int(sys.argv[2])), Path(sys.argv[1]))
with pool.lease(int(sys.argv[3]), timeout_s=60) as devices:
    print(",".join(device.label for device in devices), flush=True)
    sys.stdin.readline()
"""


@contextmanager
def holder(folder: Path, slots: int, wanted: int = 1) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that holds a lease until its standard input ends; yields it and the labels it got."""
    command = [sys.executable, "-c", HOLDER, str(folder), str(slots), str(wanted)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_a_lease_gives_up_to_the_wanted_number(tmp_path: Path) -> None:
    """One to ``wanted`` devices: all that are free at that moment, in the inventory's order."""
    pool = DevicePool(CpuInventory(slots=3), tmp_path)

    with pool.lease(2) as first, pool.lease(2, timeout_s=0) as rest:
        assert [device.label for device in first] == ["cpu:0", "cpu:1"]
        assert [device.label for device in rest] == ["cpu:2"]


def test_devices_come_back_at_the_end_of_the_block(tmp_path: Path) -> None:
    """Whether the block ended well or with an error."""
    pool = DevicePool(CpuInventory(slots=1), tmp_path)

    with pytest.raises(RuntimeError, match="stain"), pool.lease(timeout_s=0):
        raise RuntimeError("stain")

    with pool.lease(timeout_s=0) as devices:
        assert len(devices) == 1


def test_none_free_in_time_is_told_with_numbers(tmp_path: Path) -> None:
    """The error counts the devices, names the holders' processes and the time."""
    pool = DevicePool(FakeInventory(2), tmp_path)

    with pool.lease(2, "gpu"), pytest.raises(DeviceUnavailableError) as caught, pool.lease(1, "gpu", timeout_s=0.01):
        pass

    assert "None of the 2 gpu devices (gpu:0, gpu:1) came free within 0.01 s" in str(caught.value)
    assert f"held by the processes {os.getpid()}" in str(caught.value)
    assert caught.value.kind == "gpu"
    assert isinstance(caught.value, TimeoutError)


def test_a_kind_that_does_not_exist_is_not_waited_for(tmp_path: Path) -> None:
    """Without a GPU the answer comes at once, in the inventory's own words."""
    pool = DevicePool(FakeInventory(0), tmp_path)

    with pytest.raises(DeviceUnavailableError, match=r"^No GPU: the paper is blank\.$"), pool.lease(1, "gpu", 3600):
        pass
    with pytest.raises(DeviceUnavailableError, match=r"no device of kind 'tpu'"), pool.lease(1, "tpu", 3600):
        pass


def test_impossible_numbers_are_refused(tmp_path: Path) -> None:
    """Zero devices are no lease, and zero slots no inventory."""
    with pytest.raises(ValueError, match="at least one device"), DevicePool(CpuInventory(1), tmp_path).lease(0):
        pass
    with pytest.raises(ValueError, match="at least one slot"):
        CpuInventory(slots=0)


def test_threads_never_share_a_device(tmp_path: Path) -> None:
    """Four threads on two devices: each device has one holder at a time, and all threads get their turn."""
    pool = DevicePool(FakeInventory(2), tmp_path)
    holders: dict[str, int] = {"gpu:0": 0, "gpu:1": 0}
    most: list[int] = []

    def work() -> None:
        for _ in range(10):
            with pool.lease(1, "gpu", timeout_s=60) as (device,):
                holders[device.label] += 1
                most.append(holders[device.label])
                holders[device.label] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(most) == 40
    assert set(most) == {1}


def test_processes_never_share_a_device(tmp_path: Path) -> None:
    """Two other processes hold one slot each, of two; nobody gets a third until one of them ends."""
    pool = DevicePool(CpuInventory(slots=2), tmp_path)

    with holder(tmp_path, 2) as (first, its), holder(tmp_path, 2) as (_, others):
        assert {its, others} == {"cpu:0", "cpu:1"}
        with pytest.raises(DeviceUnavailableError, match=str(first.pid)), pool.lease(timeout_s=0):
            pass

        first.communicate("\n")

        with pool.lease(timeout_s=0) as (device,):
            assert device.label == its


def test_a_killed_holder_leaves_nothing_behind(tmp_path: Path) -> None:
    """kill -9: the device is free as soon as the process is gone."""
    pool = DevicePool(CpuInventory(slots=1), tmp_path)

    with holder(tmp_path, 1) as (process, label):
        assert label == "cpu:0"
        process.send_signal(signal.SIGKILL)
        process.wait()

        with pool.lease(timeout_s=0) as devices:
            assert [device.label for device in devices] == ["cpu:0"]


def test_a_waiting_lease_gets_the_device_that_comes_free(tmp_path: Path) -> None:
    """Who waits is served when the holder ends, well before the time is up."""
    pool = DevicePool(CpuInventory(slots=1), tmp_path)
    got: list[str] = []

    def wait_for_it() -> None:
        with pool.lease(timeout_s=60) as (device,):
            got.append(device.label)

    with ExitStack() as held:
        held.enter_context(pool.lease())
        waiter = threading.Thread(target=wait_for_it)
        waiter.start()
        assert got == []
    waiter.join(timeout=240)

    assert got == ["cpu:0"]


def test_a_pool_travels_to_workers(tmp_path: Path) -> None:
    """A pool is a value: it pickles, and its copy respects the leases of the original."""
    pool = DevicePool(CpuInventory(slots=1), tmp_path)
    copy: DevicePool = pickle.loads(pickle.dumps(pool))

    with pool.lease(), pytest.raises(DeviceUnavailableError), copy.lease(timeout_s=0):
        pass


def test_the_host_lists_gpus_before_cpu_slots() -> None:
    """A host with GPUs keeps its CPU slots for the steps that need none."""
    inventory = HostInventory(FakeInventory(1), CpuInventory(slots=2))

    assert [device.label for device in inventory.devices()] == ["gpu:0", "cpu:0", "cpu:1"]
    assert inventory.why_no_gpu() is None


def test_every_host_has_a_device_or_a_reason() -> None:
    """CPU slots always exist and have memory; GPUs are there, or a sentence says why not."""
    inventory = find_inventory()
    kinds = {device.kind for device in inventory.devices()}

    assert "cpu" in kinds
    assert all(device.memory_bytes > 0 for device in inventory.devices())
    assert ("gpu" in kinds) == (inventory.why_no_gpu() is None)


def test_a_missing_management_library_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pynvml there is no GPU, and the sentence says what to install."""
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert NvmlInventory().devices() == ()
    assert "management library is not installed (pip install 'openhcs-dagster[gpu]')" in NvmlInventory().why_no_gpu()  # type: ignore[operator]


class FakeNvml(types.ModuleType):
    """The management library of a host with some number of GPUs; -1: without a driver."""

    class NVMLError(Exception):
        """As pynvml's."""

    def __init__(self, gpus: int) -> None:
        super().__init__("pynvml")
        self.gpus = gpus
        self.sessions = 0

    def nvmlInit(self) -> None:  # noqa: N802 # pynvml's names
        if self.gpus < 0:
            raise self.NVMLError("Driver Not Loaded")
        self.sessions += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.sessions -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self.gpus

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        return f"Fake {handle}"

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return f"GPU-{handle}"

    def nvmlDeviceGetMemoryInfo(self, _handle: int) -> types.SimpleNamespace:  # noqa: N802
        return types.SimpleNamespace(total=80 * GIB)


@pytest.mark.parametrize(("gpus", "reason"), [(-1, "found no driver (Driver Not Loaded)"), (0, "counts no device")])
def test_the_driver_says_why_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch, gpus: int, reason: str) -> None:
    """No driver, or a driver without devices: each has its sentence."""
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(gpus))

    assert NvmlInventory().devices() == ()
    assert reason in str(NvmlInventory().why_no_gpu())


def test_gpus_are_listed_as_the_driver_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Index, name, uuid and memory of each GPU; the library is shut down again."""
    nvml = FakeNvml(2)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)

    devices = NvmlInventory().devices()

    assert devices[1] == Device(kind="gpu", index=1, name="Fake 1", uuid="GPU-1", memory_bytes=80 * GIB)
    assert NvmlInventory().why_no_gpu() is None
    assert nvml.sessions == 0


@pytest.mark.parametrize(
    ("visible", "indexes"),
    [(None, [0, 1, 2]), ("2,0", [2, 0]), ("GPU-1", [1]), ("1,7,0", [1]), ("", []), ("-1", [])],
)
def test_only_the_gpus_that_the_user_shows_are_there(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, indexes: list[int]
) -> None:
    """CUDA_VISIBLE_DEVICES is heeded as CUDA does: in its order, up to the first unknown name."""
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(3))
    inventory = NvmlInventory(visible)

    assert [device.index for device in inventory.devices()] == indexes
    assert (inventory.why_no_gpu() is None) == bool(indexes)
    if not indexes:
        assert "names none of the 3 that are there" in str(inventory.why_no_gpu())


@pytest.mark.gpu
def test_a_real_gpu_can_be_leased(tmp_path: Path) -> None:
    """Where there is a GPU, it has a name and memory, and a second holder must wait."""
    inventory = NvmlInventory()
    if (reason := inventory.why_no_gpu()) is not None:
        pytest.skip(reason)
    pool = DevicePool(inventory, tmp_path)

    with pool.lease(len(inventory.devices()), "gpu", timeout_s=0) as devices:
        assert all(device.name and device.memory_bytes > GIB for device in devices)
        with pytest.raises(DeviceUnavailableError), pool.lease(1, "gpu", timeout_s=0):
            pass
