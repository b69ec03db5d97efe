"""Projections: one plane for a whole stack."""

from __future__ import annotations

from typing import Final

import numpy as np

from openhcs_engine.functions.any_library import any_library
from openhcs_engine.functions.stack import Pixels, require_stack
from openhcs_engine.memory import numpy
from openhcs_engine.memory.conversion.aligned import empty_aligned
from openhcs_engine.memory.conversion.bands import row_bands
from openhcs_engine.memory.conversion.dtype import restore_dtype

_SUMMED_AS_INTEGERS: Final = (np.dtype(np.uint8), np.dtype(np.uint16))
_MOST_PLANES: Final = 2**16
"""Of uint16, whose sum a uint32 holds."""


@numpy(collapses=True)
@any_library
def create_max_projection(stack: Pixels) -> Pixels:
    """Keep, at each pixel, the brightest value of all planes.

    Parameters
    ----------
    stack
        ``(plane, y, x)``, any real dtype; never written to.

    Returns
    -------
    ndarray
        ``(1, y, x)`` of the same dtype; NaN where a plane has NaN.
    """
    require_stack(stack, "create_max_projection")
    projection: Pixels = stack.max(axis=0, keepdims=True)
    return projection


@numpy(collapses=True)
@any_library
def create_mean_projection(stack: Pixels) -> Pixels:
    """Take, at each pixel, the mean of all planes.

    Parameters
    ----------
    stack
        ``(plane, y, x)``, any real dtype; never written to.

    Returns
    -------
    ndarray
        ``(1, y, x)`` of the same dtype: the sum in float64, in the order of the planes, divided by their number;
        integers are rounded half to even.
    """
    require_stack(stack, "create_mean_projection")
    small = stack.dtype in _SUMMED_AS_INTEGERS and len(stack) <= _MOST_PLANES
    projection = empty_aligned((1, *stack.shape[1:]), stack.dtype)
    for band in row_bands(stack.shape[1:]):
        # Sums of small integers are exact either way, and faster so.
        total = np.add.reduce(stack[(slice(None), *band)], axis=0, dtype=np.uint32 if small else np.float64)
        projection[(0, *band)] = restore_dtype(total / np.float64(len(stack)), stack.dtype)
    return projection
