"""Projections: one plane for a whole stack."""

from __future__ import annotations

from openhcs_engine.functions.stack import Pixels, require_stack
from openhcs_engine.memory import numpy


@numpy(collapses=True)
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
