"""What a DLPack capsule says, and one for libraries whose own export is too narrow."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Final

from openhcs_engine.memory.libraries.contract import AnyArray

CPU_DEVICE: Final = 1
CUDA_DEVICE: Final = 2
"""``DLDeviceType`` of DLPack. Source: https://dmlc.github.io/dlpack/latest/c_api.html"""


class _Tensor(ctypes.Structure):
    """The head of ``DLTensor``, with which a ``DLManagedTensor`` begins. Source: dlpack.h, version 0.8."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("dtype", ctypes.c_uint8 * 4),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    )


def capsule_address(capsule: object) -> int:
    """Address of the first element that an unversioned, unused capsule (named ``dltensor``) shows; 0: none."""
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    tensor = ctypes.cast(get_pointer(capsule, b"dltensor"), ctypes.POINTER(_Tensor)).contents
    return (tensor.data or 0) + int(tensor.byte_offset)


@dataclass(frozen=True, slots=True)
class PlainExporter:
    """Hands over an array whose values are there already, for libraries that refuse every argument of the protocol.

    The consumer's stream has nothing to wait for; so it may be ignored.
    """

    array: AnyArray

    def __dlpack__(
        self,
        *,
        stream: object = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:  # a capsule: Python has no name for its type
        """A capsule that shares the memory, of DLPack before 1.0."""
        if copy or (dl_device is not None and tuple(dl_device) != tuple(self.__dlpack_device__())):
            raise BufferError("This array can only be shared, not copied or moved, by DLPack.")
        return self.array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        """``(DLDeviceType, number)`` of where it lies."""
        kind, number = self.array.__dlpack_device__()
        return int(kind), int(number)


__all__ = ["CPU_DEVICE", "CUDA_DEVICE", "PlainExporter", "capsule_address"]
