"""Arrays whose memory looks different from what libraries expect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.memory.conversion.aligned import empty_aligned

Array = NDArray[Any]

DTYPES: Final = (
    "bool", "uint8", "uint16", "uint32", "int16", "int32", "int64", "float16", "float32", "float64",
    "uint64", "int8", "complex64",
)  # fmt: skip


def plain(dtype: str) -> Array:
    """An aligned, writable, C-contiguous stack (2, 3, 5) of numbers that every dtype can hold."""
    stack = empty_aligned((2, 3, 5), dtype)
    stack[...] = (np.arange(30) % (2 if dtype == "bool" else 127)).reshape(2, 3, 5)
    return stack


def _read_only(dtype: str) -> Array:
    stack = plain(dtype)
    stack.flags.writeable = False
    return stack


def _at_offset(dtype: str, offset: int) -> Array:
    values = plain(dtype)
    stack: Array = np.ndarray(values.shape, dtype, empty_aligned(values.nbytes + 64, np.uint8).data, offset)
    stack[...] = values
    return stack


LAYOUTS: Final[dict[str, Callable[[str], Array]]] = {
    "plain": plain,
    "read-only": _read_only,
    "negative strides": lambda dtype: plain(dtype)[:, ::-1],
    "cropped": lambda dtype: plain(dtype)[:, 1:, 1:4],
    "every second row": lambda dtype: plain(dtype)[:, ::2],
    "transposed": lambda dtype: plain(dtype).T,
    "misaligned by 16 bytes": lambda dtype: _at_offset(dtype, 16),
    "at an odd address": lambda dtype: _at_offset(dtype, 1),
    "no elements": lambda dtype: np.zeros((0, 3, 5), dtype),
    "no dimensions": lambda dtype: np.ones((), dtype),
    "five dimensions": lambda dtype: plain(dtype).reshape(1, 2, 1, 3, 5),
    "one pixel": lambda dtype: plain(dtype)[1:, :1, :1],
    "the other byte order": lambda dtype: plain(dtype).astype(np.dtype(dtype).newbyteorder()),
    "Fortran order": lambda dtype: np.asfortranarray(plain(dtype)),
    "one plane broadcast": lambda dtype: np.broadcast_to(plain(dtype)[:1], (2, 3, 5)),
}
