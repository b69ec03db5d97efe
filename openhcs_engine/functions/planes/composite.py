"""Composites: a weighted mean of planes, usually of channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.any_library import any_library
from openhcs_engine.functions.stack import Pixels, require_stack
from openhcs_engine.memory import numpy
from openhcs_engine.memory.conversion.bands import row_bands
from openhcs_engine.memory.conversion.cast_loss import Cast, tell_casts
from openhcs_engine.memory.conversion.dtype import restore_dtype

_NAME: Final = "create_composite"


@numpy(collapses=True)
@any_library
def create_composite(stack: Pixels, weights: Sequence[float] | None = None) -> Pixels:
    """Mix the planes of a stack into one, each with its weight.

    The pixel is ``sum(weight * plane) / sum(weight)``, summed in float64 in the order of the planes.

    Parameters
    ----------
    stack
        ``(plane, y, x)``, any real dtype; never written to.
    weights
        One number a plane; only their ratios matter. None: all planes count the same, which gives their mean.

    Returns
    -------
    ndarray
        ``(1, y, x)`` of the stack's dtype; integers are rounded half to even and clipped.

    Raises
    ------
    ValueError
        If there are not as many weights as planes, or the weights add up to 0.
    """
    require_stack(stack, _NAME)
    factors = _checked(weights, len(stack))
    total = math.fsum(factors)
    composite = np.empty((1, *stack.shape[1:]), stack.dtype)
    casts: list[Cast] = []  # weights below 0 may lead out of the dtype
    for band in row_bands(stack.shape[1:]):
        mixed = _weighted_sum(stack[(slice(None), *band)], factors)
        mixed /= total
        composite[(0, *band)] = restore_dtype(mixed, stack.dtype, casts.append)
    tell_casts(casts)
    return composite


def _checked(weights: Sequence[float] | None, planes: int) -> tuple[float, ...]:
    if weights is None:
        return (1.0,) * planes
    factors = tuple(float(weight) for weight in weights)
    if len(factors) != planes:
        raise ValueError(
            f"{_NAME} got {len(factors)} weights for a stack of {planes} planes; give one weight a plane, or none."
        )
    if not all(map(math.isfinite, factors)) or math.fsum(factors) == 0:
        raise ValueError(f"{_NAME} got the weights {list(factors)}; they must be finite and not add up to 0.")
    return factors


def _weighted_sum(planes: Pixels, weights: tuple[float, ...]) -> NDArray[np.float64]:
    total: NDArray[np.float64] = np.multiply(planes[0], weights[0], dtype=np.float64)
    for plane, weight in zip(planes[1:], weights[1:], strict=True):
        total += plane if weight == 1 else np.multiply(plane, weight, dtype=np.float64)
    return total
