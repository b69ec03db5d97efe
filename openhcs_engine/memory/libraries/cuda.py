"""CUDA devices and streams, as torch and CuPy share them.

Each thread has one stream a device for as long as it lives. The library that needs it first makes it, the other one
wraps it: what both do inside a scope is ordered without waiting. TensorFlow and JAX have streams of their own that
nobody can set; their adapters wait at the boundary.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol, TypeAlias

AnyStream: TypeAlias = Any  # torch.cuda.Stream or cupy.cuda.Stream

GPU_PREFIX: Final = "gpu:"


def gpu_index(device: str) -> int | None:
    """The N of ``gpu:N``; None for every other device."""
    return int(device.removeprefix(GPU_PREFIX)) if device.startswith(GPU_PREFIX) else None


class CudaLibrary(Protocol):
    """What torch and CuPy can both do with streams and devices."""

    @property
    def name(self) -> str:
        """Name it is imported by."""
        ...

    def create(self, device: int) -> AnyStream:
        """Make a stream on a device."""
        ...

    def adopt(self, owner: CudaLibrary, stream: AnyStream, device: int) -> AnyStream:
        """Wrap another library's stream, which must outlive the wrapper."""
        ...

    def address(self, stream: AnyStream) -> int:
        """The ``cudaStream_t`` of one of its own streams."""
        ...

    def on(self, device: int) -> AbstractContextManager[object]:
        """Make a device current in this thread, and leave streams alone."""
        ...

    def use(self, stream: AnyStream, device: int) -> AbstractContextManager[None]:
        """Make device and stream current in this thread, after what the stream before them still has to do."""
        ...

    def synchronize(self, device: int) -> None:
        """Wait for all work on a device, of all streams and libraries of this process."""
        ...

    def release(self, device: int) -> None:
        """Give what its memory pools hold without using it back to the device."""
        ...


@dataclass(frozen=True, slots=True)
class TorchCuda:
    """torch's streams. Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-streams"""

    torch: Any
    """The module."""
    name: ClassVar[str] = "torch"

    def create(self, device: int) -> AnyStream:
        """One of torch's pool of streams; they live as long as the process."""
        return self.torch.cuda.Stream(device=device)

    def adopt(self, owner: CudaLibrary, stream: AnyStream, device: int) -> AnyStream:
        """Source: https://docs.pytorch.org/docs/stable/generated/torch.cuda.ExternalStream.html"""
        return self.torch.cuda.ExternalStream(owner.address(stream), device=device)

    def address(self, stream: AnyStream) -> int:
        """torch calls it ``cuda_stream``."""
        return int(stream.cuda_stream)

    def on(self, device: int) -> AbstractContextManager[object]:
        """Source: https://docs.pytorch.org/docs/stable/generated/torch.cuda.device.html"""
        context: AbstractContextManager[object] = self.torch.cuda.device(device)
        return context

    @contextmanager
    def use(self, stream: AnyStream, device: int) -> Iterator[None]:
        """Both ways the streams wait for each other on the GPU; the host waits for neither."""
        with self.on(device):
            before = self.torch.cuda.current_stream(device)
            stream.wait_stream(before)
            try:
                with self.torch.cuda.stream(stream):
                    yield
            finally:
                before.wait_stream(stream)

    def synchronize(self, device: int) -> None:
        """Source: https://docs.pytorch.org/docs/stable/generated/torch.cuda.synchronize.html"""
        self.torch.cuda.synchronize(device)

    def release(self, device: int) -> None:
        """Source: https://docs.pytorch.org/docs/stable/generated/torch.cuda.memory.empty_cache.html"""
        with self.on(device):
            self.torch.cuda.empty_cache()


@dataclass(frozen=True, slots=True)
class CupyCuda:
    """CuPy's streams. Source: https://docs.cupy.dev/en/stable/user_guide/basic.html#current-stream"""

    cupy: Any
    """The module."""
    name: ClassVar[str] = "cupy"

    def create(self, device: int) -> AnyStream:
        """Does not wait for the null stream, as torch's do not."""
        with self.on(device):
            return self.cupy.cuda.Stream(non_blocking=True)

    def adopt(self, owner: CudaLibrary, stream: AnyStream, device: int) -> AnyStream:
        """By the CUDA stream protocol, which keeps the stream alive; older versions by address.

        Source: cupy.cuda.Stream.from_external (CuPy 14), which supersedes cupy.cuda.ExternalStream.
        """
        with self.on(device):
            if hasattr(self.cupy.cuda.Stream, "from_external") and hasattr(stream, "__cuda_stream__"):
                return self.cupy.cuda.Stream.from_external(stream)
            return self.cupy.cuda.ExternalStream(owner.address(stream), device)

    def address(self, stream: AnyStream) -> int:
        """CuPy calls it ``ptr``."""
        return int(stream.ptr)

    def on(self, device: int) -> AbstractContextManager[object]:
        """Source: https://docs.cupy.dev/en/stable/user_guide/basic.html#current-device"""
        context: AbstractContextManager[object] = self.cupy.cuda.Device(device)
        return context

    @contextmanager
    def use(self, stream: AnyStream, device: int) -> Iterator[None]:
        """CuPy has a current stream for each device and thread: the device comes first."""
        with self.on(device):
            before = self.cupy.cuda.get_current_stream()
            stream.wait_event(before.record())
            try:
                with stream:
                    yield
            finally:
                before.wait_event(stream.record())

    def synchronize(self, device: int) -> None:
        """Source: https://docs.cupy.dev/en/stable/reference/generated/cupy.cuda.Device.html"""
        self.cupy.cuda.Device(device).synchronize()

    def release(self, device: int) -> None:
        """Source: https://docs.cupy.dev/en/stable/user_guide/memory.html"""
        with self.on(device):
            self.cupy.get_default_memory_pool().free_all_blocks()
            self.cupy.get_default_pinned_memory_pool().free_all_blocks()


@dataclass(slots=True)
class SharedStream:
    """One stream on one device, as each library sees it."""

    device: int
    views: dict[str, tuple[CudaLibrary, AnyStream]] = field(default_factory=dict)
    """By library; the first is the owner's, and stays as long as the wrappers."""

    def view(self, library: CudaLibrary) -> AnyStream:
        """The stream as ``library`` sees it, made or wrapped when first asked for."""
        if library.name not in self.views:
            self.views[library.name] = (library, self._view(library))
        return self.views[library.name][1]

    def _view(self, library: CudaLibrary) -> AnyStream:
        if not self.views:
            return library.create(self.device)
        owner, stream = next(iter(self.views.values()))
        return library.adopt(owner, stream, self.device)


class ThreadStreams(threading.local):
    """The streams of the thread that asks, one a device."""

    def __init__(self) -> None:
        self.streams: dict[int, SharedStream] = {}

    def on(self, device: int) -> SharedStream:
        """This thread's stream on a device."""
        return self.streams.setdefault(device, SharedStream(device))


_THREAD_STREAMS: Final = ThreadStreams()
"""The one state here: a stream must be the same from call to call, and belongs to a thread, not to a value."""


@contextmanager
def cuda_scope(
    device: str, libraries: Sequence[CudaLibrary] | None = None, streams: ThreadStreams = _THREAD_STREAMS
) -> Iterator[None]:
    """Work inside goes to a GPU, on the stream that this thread keeps for it; other devices than GPUs need nothing.

    Parameters
    ----------
    device
        ``gpu:N``; anything else does nothing.
    libraries
        Whose device and stream are set; None: those of torch and CuPy that this process has imported and that see a
        GPU. One that a function imports later gets the stream at the next scope.
    streams
        Where threads keep their streams.
    """
    index = gpu_index(device)
    with ExitStack() as scopes:
        if index is not None:
            for library in loaded_libraries() if libraries is None else libraries:
                scopes.enter_context(library.use(streams.on(index).view(library), index))
        yield


@contextmanager
def cuda_device(device: str, libraries: Sequence[CudaLibrary] | None = None) -> Iterator[None]:
    """The GPU on which another library takes memory over: torch exports only what lies on the current one.

    Source: torch.Tensor.__dlpack__ ("Can't export tensors on a different CUDA device index").
    """
    index = gpu_index(device)
    with ExitStack() as scopes:
        if index is not None:
            for library in loaded_libraries() if libraries is None else libraries:
                scopes.enter_context(library.on(index))
        yield


def synchronize_gpu(device: str, libraries: Sequence[CudaLibrary] | None = None) -> None:
    """Wait for all work of this process on a GPU, by whichever library can; other devices than GPUs need nothing."""
    index = gpu_index(device)
    if index is not None:
        for library in (loaded_libraries() if libraries is None else libraries)[:1]:
            library.synchronize(index)


def release_gpu(device: str, libraries: Sequence[CudaLibrary] | None = None) -> None:
    """Drop arrays that only reference cycles keep, then empty the memory pools of torch and CuPy on a GPU.

    Both pools, whoever asked: memory that one of them holds unused is what the other one lacks.
    """
    gc.collect()
    index = gpu_index(device)
    if index is not None:
        for library in loaded_libraries() if libraries is None else libraries:
            library.release(index)


def loaded_libraries() -> tuple[CudaLibrary, ...]:
    """torch and CuPy, where imported and seeing a GPU; torch first, for its streams live as long as the process."""
    found: list[CudaLibrary] = []
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        found.append(TorchCuda(torch))
    if (cupy := sys.modules.get("cupy")) is not None and cupy.is_available():
        found.append(CupyCuda(cupy))
    return tuple(found)


__all__ = [
    "CudaLibrary",
    "CupyCuda",
    "SharedStream",
    "ThreadStreams",
    "TorchCuda",
    "cuda_device",
    "cuda_scope",
    "gpu_index",
    "loaded_libraries",
    "release_gpu",
    "synchronize_gpu",
]
