"""pyclesperanto: OpenCL devices, each with a memory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from openhcs_engine.errors import LibraryUnavailableError
from openhcs_engine.memory.conversion.cast_loss import CastNote
from openhcs_engine.memory.conversion.dtype import restore_dtype
from openhcs_engine.memory.libraries.contract import AnyArray, ArrayFacts, ArrayLibrary, HostArray
from openhcs_engine.memory.libraries.out_of_memory import says_out_of_memory
from openhcs_engine.memory.loading import load_framework
from openhcs_engine.memory.types import MemoryType


class PyclesperantoLibrary(ArrayLibrary):
    """pyclesperanto; on a CPU through an OpenCL driver such as pocl. Writable, and never in the host's memory.

    Its arrays have ``__dlpack__``, of OpenCL memory: NumPy refuses that, and PyTorch ends the process.
    """

    memory_type: ClassVar = MemoryType.PYCLESPERANTO
    package: ClassVar = "pyclesperanto"
    extra: ClassVar = "pyclesperanto"
    dlpack: ClassVar = False
    # It takes float64, int64 and bool too, and makes float32, int32 and uint8 of them.
    dtypes: ClassVar = frozenset({"uint8", "uint16", "uint32", "int8", "int16", "int32", "float32"})
    most_dimensions: ClassVar = 3
    takes_empty: ClassVar = False

    def why_not(self) -> str | None:
        """Not installed, or without an OpenCL driver, which is not part of its package."""
        try:
            _cle()
        except LibraryUnavailableError as error:
            return str(error)
        return None

    def owns(self, array: object) -> bool:
        """Its one array class, which lies in a compiled module of another package."""
        kind = type(array)
        return kind.__module__.startswith("pyclesperanto") and kind.__name__ == "_Array"

    def facts(self, array: AnyArray) -> ArrayFacts:
        """OpenCL gives no addresses."""
        return ArrayFacts(
            shape=tuple(array.shape),
            dtype=np.dtype(array.dtype).name,
            nbytes=int(array.nbytes),
            device="opencl",
            pointer=None,
            writable=True,
        )

    def why_not_hold(self, shape: tuple[int, ...], dtype: str) -> str | None:
        """It has no arrays of a single number, either."""
        nothing = None if shape else "pyclesperanto has no arrays without dimensions"
        return super().why_not_hold(shape, dtype) or nothing

    def from_host(self, array: HostArray, device: str) -> AnyArray:
        """Uploaded."""
        return _cle().push(array, device=opencl_device(_cle(), device))

    def to_host(self, array: AnyArray) -> HostArray:
        """Downloaded."""
        host: HostArray = _cle().pull(array)
        return host

    def copy(self, array: AnyArray) -> AnyArray:
        """Copied on its device."""
        return array.copy()

    def cast(self, array: AnyArray, dtype: str, note: CastNote | None = None) -> AnyArray:
        """Through the host, because its own casts wrap around."""
        if self.facts(array).dtype == dtype:
            return array
        return _cle().push(restore_dtype(self.to_host(array), np.dtype(dtype), note), device=array.device)

    @contextmanager
    def scope(self, device: str) -> Iterator[None]:
        """What functions make inside lies on the device. Which it is, is one choice for all threads of the process."""
        if _is_named(device):
            _cle().select_device(*_device_number(_cle(), device))
        yield

    def is_out_of_memory(self, error: BaseException) -> bool:
        """OpenCL's codes, in plain RuntimeErrors."""
        return says_out_of_memory(error)


def opencl_device(cle: Any, device: str) -> Any:
    """The OpenCL device that a plan calls ``cpu`` or ``gpu:N``; for any other name, the one in use.

    Raises
    ------
    LibraryUnavailableError
        If no OpenCL driver offers such a device; pyclesperanto itself would take another one.
    """
    if not _is_named(device):
        return cle.get_device()
    # Not select_device, which chooses for the whole process.
    return _driver(cle).getDeviceFromIndex(*_device_number(cle, device))


def _is_named(device: str) -> bool:
    return device.partition(":")[0] in ("cpu", "gpu")


def _device_number(cle: Any, device: str) -> tuple[int, str]:
    """Number and kind of a device, as pyclesperanto counts; LibraryUnavailableError if there is none."""
    kind, _, index = device.partition(":")
    number = int(index or 0)
    if number >= len(_driver(cle).getDevicesList(type=kind)):
        known = ", ".join(_driver(cle).getDevicesList(type="all"))
        raise LibraryUnavailableError(
            f"pyclesperanto finds no OpenCL device for {device} (it finds: {known or 'none'}); install an OpenCL "
            f"driver for it{', such as pocl-opencl-icd' if kind == 'cpu' else ''}, or plan the step on another device.",
            library="pyclesperanto",
        )
    return number, kind


def _driver(cle: Any) -> Any:
    return cle._core._get_backend_manager().get_backend()


def _cle() -> Any:  # the module has no types
    cle = load_framework("pyclesperanto")
    if not hasattr(cle, "push"):  # it imports without a driver, and then has no functions
        raise LibraryUnavailableError(
            "pyclesperanto finds no OpenCL driver on this host; install one (for a CPU, pocl-opencl-icd), or use "
            "functions of another array library.",
            library="pyclesperanto",
        )
    return cle


__all__ = ["PyclesperantoLibrary", "opencl_device"]
