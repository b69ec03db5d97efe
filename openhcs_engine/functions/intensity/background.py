"""Removing what lies under the objects."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from openhcs_engine.functions.any_library import any_library
from openhcs_engine.functions.stack import Pixels, require_stack
from openhcs_engine.memory import numpy
from openhcs_engine.memory.conversion.aligned import empty_aligned
from openhcs_engine.memory.conversion.dtype import restore_dtype

_NAME: Final = "subtract_background"


@numpy(slice_by_slice=True)
@any_library
def subtract_background(stack: Pixels, radius: int = 50) -> Pixels:
    """Subtract from every plane what is wider than its objects: the white top-hat.

    The background is the plane's morphological opening by a square of ``2 * radius + 1`` pixels an edge: at each pixel,
    the brightest of the darkest values of all such squares that contain it. So what is bright and fits into the square
    stays, and everything slower than it goes. Beyond the border, the nearest pixel of the plane counts.

    Parameters
    ----------
    stack
        ``(plane, y, x)``, any real dtype but bool, integers up to 2**53; never written to.
    radius
        In pixels, at least 1; larger than the radius of the largest object.

    Returns
    -------
    ndarray
        Shape and dtype of ``stack``. Never below 0: no pixel is darker than its background.

    Raises
    ------
    ValueError
        If the radius is no whole number above 0, or the pixels are bool.

    Notes
    -----
    ``plane - scipy.ndimage.grey_opening(plane, 2 * radius + 1, mode="nearest")``. Needs two planes of memory beside the
    result, and the same time for any radius.
    """
    require_stack(stack, _NAME)
    if isinstance(radius, bool) or not 1 <= radius < math.inf or radius != int(radius):
        raise ValueError(f"{_NAME}: radius={radius} must be a whole number of pixels, at least 1.")
    if stack.dtype.kind == "b":
        raise ValueError(f"{_NAME} works on grey values, but the stack is a mask (bool).")
    from scipy.ndimage import grey_opening

    flat = empty_aligned(stack.shape, stack.dtype)
    for plane, target in zip(stack, flat, strict=True):
        # SciPy has no filters of float16; in float32 they choose from the same values.
        whole = plane.astype(np.float32) if plane.dtype == np.float16 else plane
        target[...] = _difference(whole, grey_opening(whole, size=2 * int(radius) + 1, mode="nearest"))
    return flat


def _difference(plane: Pixels, background: Pixels) -> Pixels:
    """What is above the background, clipped where a signed dtype cannot hold it."""
    above: Pixels = plane - background
    if plane.dtype.kind != "i":
        return above
    # It is never negative, and wraps around at most once: read as unsigned, it is right.
    return restore_dtype(above.view(f"u{above.itemsize}"), plane.dtype)
