"""Buffers that every array library can share."""

from __future__ import annotations

from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

ALIGNMENT: Final = 64
"""Bytes. XLA borrows host memory only from such addresses; NumPy's own allocations start at multiples of 16."""


def empty_aligned(shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Make an uninitialised C-contiguous array whose first element lies at a multiple of 64 bytes.

    Parameters
    ----------
    shape
        As for ``numpy.empty``.
    dtype
        Any dtype of fixed size without references to Python objects.

    Returns
    -------
    ndarray
        Writable; it owns up to 63 bytes more than it shows.
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    kind = np.dtype(dtype)
    nbytes = prod(shape) * kind.itemsize
    raw = np.empty(nbytes + ALIGNMENT - 1, np.uint8)
    start = -address_of(raw) % ALIGNMENT
    return np.ndarray(shape, kind, buffer=raw, offset=start)


def copy_aligned(array: NDArray[Any]) -> NDArray[Any]:
    """Copy an array to an aligned one, C-contiguous and in native byte order, with the same values."""
    copy = empty_aligned(array.shape, array.dtype.newbyteorder("="))
    np.copyto(copy, array, casting="equiv")
    return copy


def address_of(array: NDArray[Any]) -> int:
    """Address of an array's first element in memory."""
    address: int = array.__array_interface__["data"][0]
    return address


def is_aligned(array: NDArray[Any]) -> bool:
    """Whether the first element lies at a multiple of 64 bytes."""
    return address_of(array) % ALIGNMENT == 0
