"""What every function expects of a stack."""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[Any]  # Any: the dtype is a matter of run time


def require_stack(stack: Pixels, function: str) -> None:
    """Raise ValueError unless ``stack`` is a real-valued array ``(plane, y, x)`` with at least one pixel."""
    if stack.ndim != 3:
        raise ValueError(f"{function} works on a stack (plane, y, x), but got an array of shape {stack.shape}.")
    if not stack.size:
        raise ValueError(f"{function} got an empty stack of shape {stack.shape}; it needs at least one pixel.")
    if stack.dtype.kind not in "biuf":
        raise ValueError(f"{function} works on real-valued pixels, but the stack has dtype {stack.dtype}.")
