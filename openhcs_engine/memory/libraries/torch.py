"""PyTorch."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, suppress
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from openhcs_engine.memory.conversion.cast_loss import CastNote
from openhcs_engine.memory.conversion.dtype import restore_dtype
from openhcs_engine.memory.decorators import PIXEL_DTYPES
from openhcs_engine.memory.libraries.casting import BFLOAT16, CastOperations, cast_array
from openhcs_engine.memory.libraries.contract import AnyArray, ArrayFacts, ArrayLibrary, HostArray
from openhcs_engine.memory.libraries.cuda import cuda_scope, release_gpu, synchronize_gpu
from openhcs_engine.memory.loading import load_framework
from openhcs_engine.memory.types import MemoryType

Torch = Any  # the module; the engine's types are checked without PyTorch

WITH_ARITHMETIC: Final = MappingProxyType({"uint16": "int32", "uint32": "int64"})
"""PyTorch stores these dtypes, but lacks most arithmetic on them; the next larger ones have all."""


class TorchLibrary(ArrayLibrary):
    """PyTorch, on the CPU or on NVIDIA GPUs."""

    memory_type = MemoryType.TORCH
    package = "torch"
    extra = "torch"
    borrows_strided = True
    cuda_array_interface = True
    dtypes = frozenset((*PIXEL_DTYPES, BFLOAT16, "complex64", "complex128"))
    # Lets the pool's memory grow in place, so that less of it is held without use beside other libraries.
    # Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#optimizing-memory-usage-with-pytorch-alloc-conf
    environment = MappingProxyType({"PYTORCH_ALLOC_CONF": "expandable_segments:True"})

    def owns(self, array: object) -> bool:
        """Tensors, parameters and other subclasses."""
        torch = sys.modules.get(self.package)
        return torch is not None and isinstance(array, getattr(torch, "Tensor", ()))

    def facts(self, array: AnyArray) -> ArrayFacts:
        """What is known of a tensor; one without plain storage has no pointer."""
        strided = _has_plain_storage(array)
        return ArrayFacts(
            shape=tuple(array.shape) if not array.is_nested else (),
            dtype=_dtype_name(array.dtype),
            nbytes=array.numel() * array.element_size() if strided else 0,
            device=_device_name(array.device),
            pointer=array.data_ptr() if strided else None,
            writable=True,
            contiguous=strided and array.is_contiguous(),
        )

    def why_not_give(self, array: AnyArray) -> str | None:
        """Only dense tensors with values are arrays."""
        if array.is_nested:
            return "its rows differ in length; pad them first (torch.nested.to_padded_tensor)"
        if array.layout is not _torch().strided:
            return "it is sparse; make it dense first (tensor.to_dense())"
        if array.is_quantized:
            return "it is quantized; make it a float tensor first (tensor.dequantize())"
        if not _has_plain_storage(array):
            return "it has a shape but no values (a meta or fake tensor)"
        if array.device.type not in ("cpu", "cuda"):
            return f"it lies on the device {array.device}, which the engine does not know; call tensor.cpu() first"
        return None

    def to_dlpack(self, array: AnyArray) -> AnyArray:
        """The values without their gradient's history, and with conjugation and negation carried out."""
        return array.detach().resolve_conj().resolve_neg()

    def from_dlpack(self, exporter: AnyArray, device: str) -> AnyArray:
        """On a GPU, on this thread's current stream."""
        return _torch().from_dlpack(exporter)

    def from_cuda_array(self, exporter: AnyArray, device: str) -> AnyArray:
        """Share an array of CuPy, or of any other library that has the interface; PyTorch does not heed its stream."""
        synchronize_gpu(device)
        return _torch().as_tensor(exporter, device=_torch_device(device))

    def from_host(self, array: HostArray, device: str) -> AnyArray:
        """Share the array, or upload it."""
        tensor = _torch().from_dlpack(array)
        if device == "cpu":
            return tensor
        if not _torch().cuda.is_available():  # torch's own error would be an AssertionError
            raise RuntimeError(f"PyTorch {_torch().__version__} finds no CUDA device")
        return tensor.to(_torch_device(device))

    def to_host(self, array: AnyArray) -> HostArray:
        """Share the tensor's memory, or download it; both wait for it."""
        host: HostArray = self.to_dlpack(array).cpu().numpy()
        return host

    def copy(self, array: AnyArray) -> AnyArray:
        """Clone, in C order, without the gradient's history."""
        return array.detach().clone(memory_format=_torch().contiguous_format)

    def cast(self, array: AnyArray, dtype: str, note: CastNote | None = None) -> AnyArray:
        """On the CPU by NumPy, on the same memory; on a GPU, and from or to bfloat16, by PyTorch."""
        source = _dtype_name(array.dtype)
        if source == dtype:
            return array
        if array.device.type == "cpu" and BFLOAT16 not in (source, dtype):
            return _torch().from_dlpack(restore_dtype(self.to_host(array), np.dtype(dtype), note))
        return cast_array(operations(_torch()), array.detach(), source, dtype, note)

    def entry_dtype(self, dtype: str) -> str:
        """Stacks of uint16 and uint32 enter functions as int32 and int64, which hold all their values."""
        return WITH_ARITHMETIC.get(dtype, dtype)

    def scope(self, device: str) -> AbstractContextManager[None]:
        """The device, and this thread's stream on it, which CuPy uses, too."""
        return cuda_scope(device)

    def settle(self) -> None:
        """One thread within an operation, and one for several side by side; the latter only before the first work."""
        torch = _torch()
        torch.set_num_threads(1)
        with suppress(RuntimeError):
            torch.set_num_interop_threads(1)

    def synchronize(self, device: str) -> None:
        """All streams of the GPU."""
        synchronize_gpu(device)

    def release(self, device: str) -> None:
        """Empties PyTorch's pool, and CuPy's."""
        release_gpu(device)


def operations(torch: Torch) -> CastOperations:
    """What casting needs, on any device; PyTorch can neither compare nor clip unsigned numbers beyond uint8."""
    return CastOperations(
        astype=lambda tensor, dtype: tensor.to(getattr(torch, dtype)),
        round=torch.round,
        extent=lambda tensor: _extent(torch, tensor),
        count=lambda mask: int(torch.count_nonzero(mask)),
        total=lambda tensor: float(tensor.sum()),
        changed=lambda kept, tensor: int(torch.count_nonzero(kept != _signed(torch, tensor))),
        choose=lambda where, number, other: _choose(torch, where, number, other),
        clip=lambda tensor, low, high: _clip(torch, tensor, low, high),
    )


def _choose(torch: Torch, where: AnyArray, number: int, other: AnyArray) -> AnyArray:
    return torch.where(where, torch.tensor(number, dtype=other.dtype, device=other.device), other)


def _clip(torch: Torch, tensor: AnyArray, low: int, high: int) -> AnyArray:
    signed = _signed(torch, tensor)
    if tensor.dtype is not torch.uint64:
        return signed.clamp(low, high)
    return torch.where((signed < 0) | (signed > high), high, signed)


def _extent(torch: Torch, tensor: AnyArray) -> tuple[float, float]:
    """By ``aminmax``, which hands on NaN, and lacks the unsigned numbers beyond uint8."""
    moved = tensor.dtype is torch.uint64  # by 2**63, so that all numbers are in order as signed ones
    if not tensor.dtype.is_floating_point:
        tensor = _signed(torch, tensor) ^ (torch.iinfo(torch.int64).min if moved else 0)
    low, high = torch.stack(torch.aminmax(tensor)).tolist()
    return (low + 2**63, high + 2**63) if moved else (low, high)


def _signed(torch: Torch, tensor: AnyArray) -> AnyArray:
    """Integers as int64; numbers from 2**63 on look negative."""
    return tensor.view(torch.int64) if tensor.dtype is torch.uint64 else tensor.to(torch.int64)


def _torch() -> Torch:
    return load_framework("torch")


def _has_plain_storage(tensor: AnyArray) -> bool:
    torch = _torch()
    if tensor.is_nested or tensor.layout is not torch.strided or tensor.device.type == "meta":
        return False
    return not any(kind.__name__ == "FakeTensor" for kind in type(tensor).__mro__)


def _dtype_name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _device_name(device: Any) -> str:
    return f"gpu:{device.index or 0}" if device.type == "cuda" else str(device.type)


def _torch_device(device: str) -> str:
    return device.replace("gpu", "cuda")


__all__ = ["TorchLibrary", "operations"]
