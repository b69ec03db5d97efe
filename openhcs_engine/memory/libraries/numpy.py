"""NumPy: the host's memory, which all others borrow from."""

from __future__ import annotations

import numpy as np

from openhcs_engine.memory.conversion.aligned import address_of, copy_aligned
from openhcs_engine.memory.conversion.cast_loss import CastNote
from openhcs_engine.memory.conversion.dtype import restore_dtype
from openhcs_engine.memory.decorators import PIXEL_DTYPES
from openhcs_engine.memory.libraries.contract import AnyArray, ArrayFacts, ArrayLibrary, HostArray
from openhcs_engine.memory.types import MemoryType


class NumpyLibrary(ArrayLibrary):
    """NumPy."""

    memory_type = MemoryType.NUMPY
    package = "numpy"
    borrows_strided = True
    dtypes = frozenset((*PIXEL_DTYPES, "complex64", "complex128"))

    def why_not(self) -> str | None:
        """Always there."""
        return None

    def owns(self, array: object) -> bool:
        """Arrays of NumPy and of its subclasses."""
        return isinstance(array, np.ndarray)

    def facts(self, array: AnyArray) -> ArrayFacts:
        """What is known of an array."""
        return ArrayFacts(
            shape=array.shape,
            dtype=array.dtype.name,
            nbytes=array.nbytes,
            device="cpu",
            pointer=address_of(array),
            writable=array.flags.writeable,
            contiguous=array.flags.c_contiguous,
        )

    def why_not_give(self, array: AnyArray) -> str | None:
        """A masked array has values that count and values that do not; no other library knows which."""
        if isinstance(array, np.ma.MaskedArray):
            return "its mask would be lost; fill the masked values first (array.filled(0))"
        return None

    def from_dlpack(self, exporter: AnyArray, device: str) -> AnyArray:
        """Read-only where the exporter's memory is."""
        return np.from_dlpack(exporter)

    def from_host(self, array: HostArray, device: str) -> AnyArray:
        """The array itself."""
        return array

    def to_host(self, array: AnyArray) -> HostArray:
        """The array itself; of a subclass, the plain array of its values."""
        return np.asarray(array)

    def copy(self, array: AnyArray) -> AnyArray:
        """Copy into an aligned buffer."""
        return copy_aligned(array)

    def cast(self, array: AnyArray, dtype: str, note: CastNote | None = None) -> AnyArray:
        """``restore_dtype`` itself."""
        return restore_dtype(array, np.dtype(dtype), note)
