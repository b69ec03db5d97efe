"""JAX: immutable arrays; compiled functions on the CPU and on GPUs."""

from __future__ import annotations

import gc
import sys
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from openhcs_engine.memory.conversion.cast_loss import CastNote
from openhcs_engine.memory.decorators import PIXEL_DTYPES
from openhcs_engine.memory.libraries.casting import BFLOAT16, cast_array, cast_on_host, numpy_like
from openhcs_engine.memory.libraries.contract import AnyArray, ArrayFacts, ArrayLibrary, HostArray
from openhcs_engine.memory.libraries.cuda import cuda_device
from openhcs_engine.memory.loading import load_framework
from openhcs_engine.memory.types import MemoryType

WIDE: Final = frozenset({"int64", "uint64", "float64", "complex128"})
"""What JAX narrows to 32 bits without a word, unless ``jax_enable_x64`` is set."""


class JaxLibrary(ArrayLibrary):
    """JAX arrays on one device. The adapter itself never narrows: inside its methods 64-bit types are enabled.

    Sources: https://docs.jax.dev/en/latest/jax.dlpack.html and
    https://docs.jax.dev/en/latest/notebooks/Common_Gotchas_in_JAX.html#double-64bit-precision
    """

    memory_type = MemoryType.JAX
    package = "jax"
    extra = "jax"
    immutable = True
    releases_memory = False
    dtypes = frozenset((*PIXEL_DTYPES, BFLOAT16, "complex64", "complex128"))
    environment = MappingProxyType(
        {
            # By default JAX takes 75 % of a GPU at its first use.
            # Source: https://docs.jax.dev/en/latest/gpu_memory_allocation.html
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            # Threads of compiled code, and of the CPU's runtime.
            # Source: https://github.com/openxla/xla/blob/main/xla/pjrt/utils.cc (DefaultThreadPoolSize)
            "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
            "PJRT_NPROC": "1",
        }
    )

    def owns(self, array: object) -> bool:
        """Arrays, also those that a transformation traces."""
        jax = sys.modules.get(self.package)
        return jax is not None and isinstance(array, getattr(jax, "Array", ()))

    def facts(self, array: AnyArray) -> ArrayFacts:
        """What is known of an array; one that does not lie in the memory of one device has no pointer."""
        usable = self.why_not_give(array) is None
        return ArrayFacts(
            shape=tuple(array.shape),
            dtype=str(array.dtype),
            nbytes=int(array.size) * int(array.dtype.itemsize),
            device=_device_name(array) if usable else "",
            pointer=int(array.unsafe_buffer_pointer()) if usable else None,
            writable=False,
        )

    def why_not_give(self, array: AnyArray) -> str | None:
        """Only arrays with values, on one device, of a dtype that is a number."""
        jax = _jax()
        if isinstance(array, jax.core.Tracer):
            return "it has no values yet (jit, vmap or grad is tracing a function); convert outside of it"
        if jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
            return "it is a random key; take its numbers with jax.random.key_data"
        if array.is_deleted():
            return "it was deleted, or donated to a compiled function"
        if len(array.devices()) > 1:
            return f"it is spread over {len(array.devices())} devices; gather it with jax.device_put(array, one_device)"
        return None

    def why_not_hold(self, shape: tuple[int, ...], dtype: str) -> str | None:
        """64-bit types only where they are enabled: JAX would narrow the next result."""
        if dtype in WIDE and not _jax().config.jax_enable_x64:
            return (
                f"jax makes 32-bit numbers of {dtype} unless jax_enable_x64 is set "
                "(jax.config.update('jax_enable_x64', True), or JAX_ENABLE_X64=1 in the environment)"
            )
        return super().why_not_hold(shape, dtype)

    def keeping(self, dtype: str) -> AbstractContextManager[None]:
        """Enable 64-bit types in this thread if ``dtype`` is one."""
        return _wide() if dtype in WIDE else nullcontext()

    def to_dlpack(self, array: AnyArray) -> AnyArray:
        """On the CPU JAX computes behind one's back, and there is no stream to wait on; GPU streams are waited for."""
        return array.block_until_ready() if _device_name(array).startswith("cpu") else array

    def from_dlpack(self, exporter: AnyArray, device: str) -> AnyArray:
        """Shared if the memory begins at a multiple of 64 bytes; else JAX copies."""
        with _wide(), cuda_device(device):
            return _jax().dlpack.from_dlpack(exporter, device=_device(device))

    def from_host(self, array: HostArray, device: str) -> AnyArray:
        """Shared, or uploaded; the host array may be changed after an upload, for that is waited for.

        ``device_put`` alone would not do for the CPU: whether it shares or copies is its own choice.
        """
        with _wide():
            if device == "cpu":
                return _jax().dlpack.from_dlpack(array, device=_device(device))
            return _jax().device_put(array, _device(device), may_alias=False).block_until_ready()

    def to_host(self, array: AnyArray) -> HostArray:
        """Shared and read-only, or downloaded; waits for the values."""
        return np.asarray(array)

    def copy(self, array: AnyArray) -> AnyArray:
        """``jax.numpy.array``: ``device_put`` and ``from_dlpack`` share even if told to copy."""
        with _wide():
            return _jax().numpy.array(array, copy=True)

    def cast(self, array: AnyArray, dtype: str, note: CastNote | None = None) -> AnyArray:
        """On the CPU by NumPy on the same memory; on a GPU by JAX, without leaving it."""
        source, device = str(array.dtype), _device_name(array)
        if source == dtype:
            return array
        if device.startswith("cpu") and dtype != BFLOAT16:
            return self.from_host(cast_on_host(self.to_host(array), dtype, note), device)
        return cast_on_device(array, dtype, note)

    def scope(self, device: str) -> AbstractContextManager[None]:
        """Arrays made inside lie on the device. Streams are JAX's own."""
        context: AbstractContextManager[None] = _jax().default_device(_device(device))
        return context

    def synchronize(self, device: str) -> None:
        """Wait for every array of this process on the device; raises the error of one that could not be computed."""
        wanted = _device(device)
        for array in _jax().live_arrays():
            try:
                if wanted in array.devices():
                    array.block_until_ready()
            except RuntimeError:
                if not array.is_deleted():  # by another thread, after it was listed
                    raise

    def release(self, device: str) -> None:
        """Drop what only reference cycles and caches keep, compiled functions included.

        The memory is free for JAX again, but stays JAX's: only the end of the process gives it back to the device.
        Source: https://docs.jax.dev/en/latest/gpu_memory_allocation.html
        """
        gc.collect()
        _jax().clear_caches()


def cast_on_device(array: AnyArray, dtype: str, note: CastNote | None = None) -> AnyArray:
    """The law of ``restore_dtype`` with JAX's own operations."""
    with _wide():
        return cast_array(numpy_like(_jax().numpy), array, str(array.dtype), dtype, note)


def _jax() -> Any:  # the module; it is not there for the type checker
    return load_framework("jax")


def _wide() -> AbstractContextManager[None]:
    """64-bit types, in this thread; ``jax.enable_x64`` was ``jax.experimental.enable_x64`` before JAX 0.8."""
    home: Any = _jax() if hasattr(_jax(), "enable_x64") else load_framework("jax.experimental")
    context: AbstractContextManager[None] = home.enable_x64(True)
    return context


def _device(name: str) -> Any:
    """``cpu``, ``cpu:1`` (JAX can cut the CPU into several), ``gpu:0`` … as JAX's device of this process."""
    platform, _, number = name.partition(":")
    return _jax().local_devices(backend=platform)[int(number or 0)]


def _device_name(array: AnyArray) -> str:
    (device,) = array.devices()
    number = _jax().local_devices(backend=device.platform).index(device)
    return device.platform if (device.platform, number) == ("cpu", 0) else f"{device.platform}:{number}"


__all__ = ["WIDE", "JaxLibrary", "cast_on_device"]
