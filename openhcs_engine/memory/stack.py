"""Planes to stacks and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from openhcs_engine.memory.conversion.aligned import address_of, empty_aligned

Array: TypeAlias = NDArray[Any]


def stack_planes(planes: Sequence[Array]) -> Array:
    """One array ``(plane, y, x)`` of planes ``(y, x)`` of equal shape and dtype.

    Planes that lie one after another in one buffer, as a stack that was taken apart, are put together without a copy,
    and stay read-only if they are. Others are copied into a buffer that every array library can share.
    """
    if _are_neighbours(planes):
        return _neighbours(planes)
    first = planes[0]
    return np.stack(planes, out=empty_aligned((len(planes), *first.shape), first.dtype))


def _are_neighbours(planes: Sequence[Array]) -> bool:
    first = planes[0]
    start = address_of(first)
    return all(
        plane.base is not None
        and plane.base is first.base
        and plane.flags.c_contiguous
        and plane.shape == first.shape
        and plane.dtype == first.dtype
        and address_of(plane) == start + position * first.nbytes
        for position, plane in enumerate(planes)
    )


def _neighbours(planes: Sequence[Array]) -> Array:
    first = planes[0]
    return as_strided(first, shape=(len(planes), *first.shape), strides=(first.nbytes, *first.strides))
