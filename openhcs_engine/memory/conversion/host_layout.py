"""Whether an array in the host's memory may be shared as it lies there; what sharing would break is copied first.

Each reason stands for something that was seen: a process that died, a raw file that was written to, a result that
changed later.
"""

from __future__ import annotations

import mmap
from typing import Any, Final

from openhcs_engine.memory.conversion.aligned import ALIGNMENT, is_aligned
from openhcs_engine.memory.libraries.contract import ArrayLibrary, HostArray
from openhcs_engine.memory.types import MemoryType

NOT_CONTIGUOUS: Final = "it is not C-contiguous"
NOT_ALIGNED: Final = f"it does not start at a multiple of {ALIGNMENT} bytes"


def why_copy(host: HostArray, source: ArrayLibrary, target: ArrayLibrary, give: bool) -> str | None:
    """Why ``target`` must not share the memory that ``host`` shows, as a clause about the source; None if it may.

    Parameters
    ----------
    host
        The source's own memory, as NumPy sees it.
    source, target
        The libraries of the source and of what becomes of it.
    give
        True if nobody else will look at the source any more.
    """
    return (
        why_not_readable(host)
        or _why_not_writable(host, source)
        or why_not_owned(source, target, give)
        or _why_not_borrowed(host, target)
    )


def why_not_readable(host: HostArray) -> str | None:
    """Why other libraries would not see the same values at the same address."""
    if not host.dtype.isnative:
        return "its bytes are in the other order"
    if any(stride < 0 for stride in host.strides):
        return "its strides are negative"  # PyTorch ends the process
    if any(stride == 0 and size > 1 for stride, size in zip(host.strides, host.shape, strict=True)):
        return "its elements share memory"  # to write one would write many
    if not host.flags.aligned or any(stride % host.itemsize for stride in host.strides):
        return "its elements do not start at multiples of their size"
    return None


def is_memory_mapped(array: HostArray) -> bool:
    """Whether the array's memory, or that of the array it is a view of, is a file."""
    owner: Any = array
    while owner is not None:
        if isinstance(owner, mmap.mmap):
            return True
        owner = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
    return False


def why_not_owned(source: ArrayLibrary, target: ArrayLibrary, give: bool) -> str | None:
    """Why what ``target`` may write to must not be the source's memory."""
    writes = not target.immutable and target.memory_type is not MemoryType.NUMPY  # NumPy gets a read-only view
    return f"{source.memory_type} arrays must not change" if source.immutable and writes and not give else None


def _why_not_writable(host: HostArray, source: ArrayLibrary) -> str | None:
    if source.memory_type is not MemoryType.NUMPY:
        return None
    # No other library knows arrays that are read-only: PyTorch writes into them, and into files, without a word.
    if is_memory_mapped(host):
        return "it is a file, mapped into memory"
    return None if host.flags.writeable else "it is read-only"


def _why_not_borrowed(host: HostArray, target: ArrayLibrary) -> str | None:
    if target.borrows_strided:
        return None
    if not host.flags.c_contiguous:
        return NOT_CONTIGUOUS
    # JAX would copy; TensorFlow shares it, and ends the process in its next operation.
    return None if is_aligned(host) else NOT_ALIGNED


__all__ = ["NOT_ALIGNED", "NOT_CONTIGUOUS", "is_memory_mapped", "why_copy", "why_not_owned", "why_not_readable"]
