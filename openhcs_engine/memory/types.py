"""The array libraries that functions may speak."""

from __future__ import annotations

from enum import StrEnum


class MemoryType(StrEnum):
    """An array library; the value is its name in decorators, plans and results."""

    NUMPY = "numpy"
    CUPY = "cupy"
    TORCH = "torch"
    TENSORFLOW = "tensorflow"
    JAX = "jax"
    PYCLESPERANTO = "pyclesperanto"
