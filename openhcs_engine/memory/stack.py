"""Planes to stacks and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]


def stack_planes(planes: Sequence[Array]) -> Array:
    """One array ``(plane, y, x)`` of planes ``(y, x)`` of equal shape and dtype.

    Planes that lie one after another in one buffer, as a stack that was taken apart, are put together without a copy.
    """
    return _neighbours(planes) if _are_neighbours(planes) else np.stack(planes)


def _are_neighbours(planes: Sequence[Array]) -> bool:
    first = planes[0]
    start = _address(first)
    return all(
        plane.base is not None
        and plane.base is first.base
        and plane.flags.c_contiguous
        and plane.shape == first.shape
        and plane.dtype == first.dtype
        and _address(plane) == start + position * first.nbytes
        for position, plane in enumerate(planes)
    )


def _neighbours(planes: Sequence[Array]) -> Array:
    first = planes[0]
    return as_strided(first, shape=(len(planes), *first.shape), strides=(first.nbytes, *first.strides))


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
