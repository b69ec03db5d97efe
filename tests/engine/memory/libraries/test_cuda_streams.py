"""CUDA streams that torch and CuPy share, with libraries that only note what they are told; and real ones, on a GPU."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from openhcs_engine.memory.devices import find_inventory
from openhcs_engine.memory.libraries import cuda, library
from openhcs_engine.memory.libraries.cuda import (
    CudaLibrary,
    CupyCuda,
    ThreadStreams,
    TorchCuda,
    cuda_device,
    cuda_scope,
    gpu_index,
    loaded_libraries,
    release_gpu,
    synchronize_gpu,
)
from openhcs_engine.memory.libraries.torch import TorchLibrary
from openhcs_engine.memory.loading import load_framework


@dataclass
class PaperLibrary:
    """A library whose streams are tuples."""

    name: str
    said: list[str] = field(default_factory=list)
    used: list[Any] = field(default_factory=list)

    def create(self, device: int) -> Any:
        """``(owner, thread, device)``."""
        return (self.name, threading.get_ident(), device)

    def adopt(self, owner: CudaLibrary, stream: Any, device: int) -> Any:
        """The same with its own name before."""
        assert owner.address(stream) == hash(stream)
        return (self.name, *stream)

    def address(self, stream: Any) -> int:
        """Any number."""
        return hash(stream)

    @contextmanager
    def on(self, device: int) -> Iterator[None]:
        """Noted."""
        self.said.append(f"on {device}")
        yield
        self.said.append(f"off {device}")

    @contextmanager
    def use(self, stream: Any, device: int) -> Iterator[None]:
        """Notes the stream, and both ends."""
        self.used.append(stream)
        self.said.append(f"enter {device}")
        yield
        self.said.append(f"leave {device}")

    def synchronize(self, device: int) -> None:
        """Noted."""
        self.said.append(f"synchronize {device}")

    def release(self, device: int) -> None:
        """Noted."""
        self.said.append(f"release {device}")


def pair() -> tuple[PaperLibrary, PaperLibrary]:
    """Two libraries."""
    return PaperLibrary("first"), PaperLibrary("second")


@pytest.mark.parametrize(("device", "index"), [("gpu:0", 0), ("gpu:12", 12), ("cpu", None), ("cpu:1", None)])
def test_gpus_are_numbered(device: str, index: int | None) -> None:
    """``gpu:N`` is GPU N; nothing else is one."""
    assert gpu_index(device) == index


def test_one_library_makes_the_stream_and_the_other_wraps_it() -> None:
    """Both work on one stream, the same from scope to scope; whoever came first owns it."""
    first, second = pair()
    streams = ThreadStreams()

    with cuda_scope("gpu:0", [first], streams):
        pass
    for _ in range(2):
        with cuda_scope("gpu:0", [second, first], streams):
            pass

    here = ("first", threading.get_ident(), 0)
    assert first.used == [here] * 3
    assert second.used == [("second", *here)] * 2


def test_threads_and_devices_have_streams_of_their_own() -> None:
    """No thread ever uses another's stream, and each device has its own."""
    (first, _), streams = pair(), ThreadStreams()

    def work() -> None:
        for device in ("gpu:0", "gpu:1", "gpu:0"):
            with cuda_scope(device, [first], streams):
                pass

    work()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    ours, theirs = first.used[:3], first.used[3:]
    assert ours[0] == ours[2]
    assert theirs[0] == theirs[2]
    assert len(set(first.used)) == 4


def test_a_scope_that_fails_is_left() -> None:
    """The error comes through, and what was entered is left, in the opposite order."""
    said: list[str] = []

    class Noting(PaperLibrary):
        @contextmanager
        def use(self, stream: Any, device: int) -> Iterator[None]:
            said.append(f"enter {self.name}")
            try:
                yield
            finally:
                said.append(f"leave {self.name}")

    with pytest.raises(ZeroDivisionError), cuda_scope("gpu:0", [Noting("a"), Noting("b")], ThreadStreams()):
        raise ZeroDivisionError

    assert said == ["enter a", "enter b", "leave b", "leave a"]


def test_the_cpu_needs_nothing() -> None:
    """Scope, synchronisation and release of the CPU touch no GPU library."""
    first, second = pair()

    with cuda_scope("cpu", [first, second], ThreadStreams()):
        pass
    synchronize_gpu("cpu", [first, second])
    release_gpu("cpu", [first, second])

    assert first.said == second.said == []


def test_memory_changes_hands_on_its_own_gpu() -> None:
    """The device is set for all libraries, and no stream; nothing is set for the CPU."""
    first, second = pair()

    with cuda_device("gpu:1", [first, second]), cuda_device("cpu", [first, second]):
        first.said.append("take")

    assert first.said == ["on 1", "take", "off 1"]
    assert second.said == ["on 1", "off 1"]
    assert first.used == []


def test_one_library_waits_for_all_and_each_empties_its_own_pool() -> None:
    """A device-wide wait is for all streams of the process; pools belong to their libraries."""
    first, second = pair()

    synchronize_gpu("gpu:1", [first, second])
    release_gpu("gpu:1", [first, second])

    assert first.said == ["synchronize 1", "release 1"]
    assert second.said == ["release 1"]


@dataclass
class PaperStream:
    """A stream as torch and CuPy have them; it notes what it waits for."""

    name: str
    log: list[str]
    cuda_stream: int = 0x7F00
    ptr: int = 0x7F00

    def wait_stream(self, other: PaperStream) -> None:
        """torch's."""
        self.log.append(f"{self.name} waits for {other.name}")

    def wait_event(self, event: str) -> None:
        """CuPy's."""
        self.log.append(f"{self.name} waits for {event}")

    def record(self) -> str:
        """CuPy's event."""
        return self.name

    def __enter__(self) -> None:
        self.log.append(f"{self.name} is current")

    def __exit__(self, *_: object) -> None:
        self.log.append(f"{self.name} is left")

    def __cuda_stream__(self) -> tuple[int, int]:
        return (0, self.ptr)


def noting_device(log: list[str]) -> Any:
    """A context manager of devices."""

    @contextmanager
    def device(index: int) -> Iterator[None]:
        log.append(f"device {index}")
        yield
        log.append(f"device {index} is left")

    return device


ORDER = [
    "device 1", "own waits for before", "own is current", "work", "own is left", "before waits for own",
    "device 1 is left",
]  # fmt: skip


def test_torch_streams_wait_for_each_other_both_ways() -> None:
    """Work inside begins after what came before, and what comes after begins after it; also if it fails."""
    log: list[str] = []
    own, before = PaperStream("own", log), PaperStream("before", log)
    torch = SimpleNamespace(
        cuda=SimpleNamespace(
            device=noting_device(log), current_stream=lambda _: before, stream=lambda stream: stream,
        )
    )  # fmt: skip

    with TorchCuda(torch).use(own, 1):
        log.append("work")

    assert log == ORDER


def test_cupy_streams_wait_for_each_other_both_ways() -> None:
    """The same order; and the device is set before its stream."""
    log: list[str] = []
    own, before = PaperStream("own", log), PaperStream("before", log)
    cupy = SimpleNamespace(cuda=SimpleNamespace(Device=noting_device(log), get_current_stream=lambda: before))

    with CupyCuda(cupy).use(own, 1):
        log.append("work")

    assert log == ORDER


def test_torch_wraps_a_stream_by_its_address() -> None:
    """torch keeps no owner alive; so the owner stays beside the wrapper."""
    made: list[tuple[int, int]] = []

    def wrap(address: int, device: int) -> str:
        made.append((address, device))
        return "view"

    cupy = CupyCuda(SimpleNamespace())
    torch = TorchCuda(SimpleNamespace(cuda=SimpleNamespace(ExternalStream=wrap)))
    shared = cuda.SharedStream(3)
    shared.views["cupy"] = (cupy, owner := PaperStream("owner", []))

    assert shared.view(torch) == "view"
    assert made == [(0x7F00, 3)]
    assert shared.views["cupy"][1] is owner


@pytest.mark.parametrize("has_protocol", [True, False])
def test_cupy_wraps_by_the_protocol_where_it_can(has_protocol: bool) -> None:
    """CuPy 14 takes the stream itself, and keeps it alive; older ones its address and device."""

    class Stream:
        """CuPy's class."""

    if has_protocol:
        Stream.from_external = staticmethod(lambda stream: ("protocol", stream))  # type: ignore[attr-defined]
    cupy = SimpleNamespace(
        cuda=SimpleNamespace(
            Device=noting_device([]), Stream=Stream, ExternalStream=lambda *of: ("address", *of)
        )
    )  # fmt: skip
    stream = PaperStream("torch's", [])

    wrapped = CupyCuda(cupy).adopt(TorchCuda(None), stream, 2)

    assert wrapped == (("protocol", stream) if has_protocol else ("address", 0x7F00, 2))


@pytest.mark.parametrize(("torch_sees", "cupy_sees"), [(True, True), (True, False), (False, True), (False, False)])
def test_only_loaded_libraries_that_see_a_gpu_take_part(
    monkeypatch: pytest.MonkeyPatch, torch_sees: bool, cupy_sees: bool
) -> None:
    """Imported is not enough: a CPU build has no streams. torch comes first."""
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: torch_sees)))
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(is_available=lambda: cupy_sees))

    names = [known.name for known in loaded_libraries()]

    assert names == ["torch"] * torch_sees + ["cupy"] * cupy_sees


def test_libraries_that_nobody_imported_are_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scope of one library does not load the other."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)

    assert loaded_libraries() == ()
    assert not {"torch", "cupy"} & set(sys.modules)


def test_memory_pools_are_emptied_on_the_device() -> None:
    """torch's cache; CuPy's pool and its pinned memory; each inside its device."""
    log: list[str] = []

    def pool(name: str) -> Any:
        return lambda: SimpleNamespace(free_all_blocks=lambda: log.append(name))

    torch = SimpleNamespace(
        cuda=SimpleNamespace(device=noting_device(log), empty_cache=lambda: log.append("cache"))
    )  # fmt: skip
    cupy = SimpleNamespace(
        cuda=SimpleNamespace(Device=noting_device(log)),
        get_default_memory_pool=pool("pool"),
        get_default_pinned_memory_pool=pool("pinned"),
    )

    release_gpu("gpu:1", [TorchCuda(torch), CupyCuda(cupy)])

    assert log == ["device 1", "cache", "device 1 is left", "device 1", "pool", "pinned", "device 1 is left"]


def test_tensors_without_memory_tell_their_gpu() -> None:
    """torch can pretend a GPU: device and shape are known and carried on, but there is nothing to share."""
    adapter = TorchLibrary()
    if not adapter.installed():
        pytest.skip("torch is not installed")
    torch = load_framework("torch")
    fake = pytest.importorskip("torch._subclasses.fake_tensor")

    with fake.FakeTensorMode():
        tensor = torch.empty((4, 8, 8), dtype=torch.int32, device="cuda:1")
        made = [tensor, tensor.float(), adapter.copy(tensor)]
        facts = [adapter.facts(each) for each in made]

    assert [fact.device for fact in facts] == ["gpu:1"] * 3
    assert facts[2].shape == (4, 8, 8)
    assert [fact.pointer for fact in facts] == [None] * 3


@pytest.fixture
def gpu() -> str:
    """A GPU that torch and CuPy can use; skips in the inventory's words."""
    for reason in (find_inventory().why_no_gpu(), library("torch").why_not(), library("cupy").why_not()):
        if reason is not None:
            pytest.skip(reason)
    if not load_framework("torch").cuda.is_available():
        pytest.skip("this build of torch sees no GPU")
    return "gpu:0"


@pytest.mark.gpu
def test_torch_and_cupy_share_a_real_stream(gpu: str) -> None:
    """Inside a scope both have the same current stream; it is the same in the next scope, and another one outside."""
    torch, cupy = load_framework("torch"), load_framework("cupy")
    inside: list[int] = []

    for _ in range(2):
        with cuda_scope(gpu):
            inside += [torch.cuda.current_stream().cuda_stream, cupy.cuda.get_current_stream().ptr]

    assert len(set(inside)) == 1
    assert inside[0] != 0
    assert torch.cuda.current_stream().cuda_stream != inside[0]
    assert cupy.cuda.get_current_stream().ptr != inside[0]


@pytest.mark.gpu
def test_work_of_both_libraries_keeps_its_order(gpu: str) -> None:
    """A long computation of torch is read by CuPy, and of CuPy by torch, without anybody waiting in between."""
    torch, cupy = load_framework("torch"), load_framework("cupy")
    torchs, cupys = library("torch"), library("cupy")

    for _ in range(20):
        with cuda_scope(gpu):
            tensor = torch.ones((2048, 2048), device="cuda:0")
            for _ in range(10):
                tensor = tensor @ tensor / 2048
            array = cupys.from_dlpack(torchs.to_dlpack(tensor + 1), gpu)
            assert cupys.facts(array).device == gpu
            back = torchs.from_dlpack(cupys.to_dlpack(cupy.sin(array) * 0 + array + 1), gpu)
            total = (back - 3).abs().sum()
        assert float(total) == pytest.approx(0, abs=1e-2)
        del tensor, array, back


@pytest.mark.gpu
def test_released_memory_is_the_other_librarys(gpu: str) -> None:
    """After a release the driver counts the memory of both pools as free again."""
    torch, cupy = load_framework("torch"), load_framework("cupy")
    release_gpu(gpu)
    before, _ = torch.cuda.mem_get_info(0)
    held = [torch.zeros(2**28, device="cuda:0"), cupy.zeros(2**28, np.float32)]
    del held
    synchronize_gpu(gpu)
    full, _ = torch.cuda.mem_get_info(0)

    release_gpu(gpu)

    after, _ = torch.cuda.mem_get_info(0)
    assert full < before - 2**30
    assert after > full + 2**30
