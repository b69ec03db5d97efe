"""CuPy: NumPy's interface on NVIDIA GPUs. It has no CPU device."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from openhcs_engine.memory.conversion.cast_loss import CastNote
from openhcs_engine.memory.decorators import PIXEL_DTYPES
from openhcs_engine.memory.devices import find_inventory
from openhcs_engine.memory.libraries.casting import cast_array, numpy_like
from openhcs_engine.memory.libraries.contract import AnyArray, ArrayFacts, ArrayLibrary, HostArray
from openhcs_engine.memory.libraries.cuda import cuda_scope, gpu_index, release_gpu, synchronize_gpu
from openhcs_engine.memory.loading import load_framework
from openhcs_engine.memory.types import MemoryType


class CupyLibrary(ArrayLibrary):
    """CuPy arrays; writable, always on a GPU.

    Sources: https://docs.cupy.dev/en/stable/user_guide/interoperability.html (DLPack, CUDA array interface, streams)
    and https://docs.cupy.dev/en/stable/user_guide/memory.html (pools).
    """

    memory_type = MemoryType.CUPY
    package = "cupy"
    extra = "cupy"
    needs_gpu = True
    has_cpu = False
    cuda_array_interface = True
    dtypes = frozenset((*PIXEL_DTYPES, "complex64", "complex128"))

    def why_not(self) -> str | None:
        """Not installed, no GPU (in the inventory's words), or one that CuPy cannot use."""
        if (reason := super().why_not()) is not None:
            return reason
        if (reason := find_inventory().why_no_gpu()) is not None:
            return f"CuPy needs a GPU. {reason}"
        return None if _cupy().is_available() else "CuPy finds no GPU that it can use; its CUDA version may not fit."

    def owns(self, array: object) -> bool:
        return type(array).__module__.partition(".")[0] == "cupy" and hasattr(array, "__cuda_array_interface__")

    def facts(self, array: AnyArray) -> ArrayFacts:
        return ArrayFacts(
            shape=tuple(array.shape),
            dtype=array.dtype.name,
            nbytes=int(array.nbytes),
            device=f"gpu:{array.device.id}",
            pointer=int(array.data.ptr),
            writable=True,
            contiguous=bool(array.flags.c_contiguous),
        )

    def from_dlpack(self, exporter: AnyArray, device: str) -> AnyArray:
        """On the current stream, of which CuPy tells the exporter; so the exporter's work is waited for on the GPU."""
        with _cupy().cuda.Device(gpu_index(device)):
            return _cupy().from_dlpack(exporter)

    def from_cuda_array(self, exporter: AnyArray, device: str) -> AnyArray:
        """The exporter's stream, if it names one, is waited for by CuPy."""
        with _cupy().cuda.Device(gpu_index(device)):
            return _cupy().asarray(exporter)

    def from_host(self, array: HostArray, device: str) -> AnyArray:
        """Uploaded, through pinned memory of CuPy's; the host array may be changed as soon as this returns."""
        with _cupy().cuda.Device(gpu_index(device)):
            return _cupy().asarray(array, blocking=True)

    def to_host(self, array: AnyArray) -> HostArray:
        """Downloaded; waits for the array's values."""
        with array.device:
            host: HostArray = _cupy().asnumpy(array)
        return host

    def copy(self, array: AnyArray) -> AnyArray:
        with array.device:
            return array.copy()

    def cast(self, array: AnyArray, dtype: str, note: CastNote | None = None) -> AnyArray:
        with array.device:
            return cast_array(numpy_like(_cupy()), array, array.dtype.name, dtype, note)

    def scope(self, device: str) -> AbstractContextManager[None]:
        """The device, and this thread's stream on it, which torch uses, too."""
        return cuda_scope(device)

    def synchronize(self, device: str) -> None:
        synchronize_gpu(device)

    def release(self, device: str) -> None:
        """Empties CuPy's pools, of the GPU's and of pinned memory, and torch's."""
        release_gpu(device)


def _cupy() -> Any:  # the module; it has no types where it is not installed
    return load_framework("cupy")
