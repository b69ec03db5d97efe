"""On which ways an array gets from one library to another."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from openhcs_engine.memory.types import MemoryType


class Route(StrEnum):
    """One way, as results name it."""

    SAME = "same"
    """The array itself: library and device are those that are wanted."""
    DLPACK = "DLPack"
    """Both libraries share the memory, by the protocol that all but pyclesperanto speak."""
    CUDA = "CUDA array interface"
    """Both libraries share the GPU's memory, by the older protocol."""
    HOST = "host round trip"
    """The values are copied through the host's memory."""


Routes: TypeAlias = tuple[Route, ...]
"""In the order in which they are tried."""

S: Final = (Route.SAME, Route.HOST)  # host: onto another device
H: Final = (Route.HOST,)
DH: Final = (Route.DLPACK, Route.HOST)
DCH: Final = (Route.DLPACK, Route.CUDA, Route.HOST)

ROUTES: Final[Mapping[MemoryType, Mapping[MemoryType, Routes]]] = MappingProxyType(
    {
        source: MappingProxyType(dict(zip(MemoryType, row, strict=True)))
        # to:                    numpy  cupy  torch  tensorflow  jax  pyclesperanto
        for source, row in {
            MemoryType.NUMPY: (S, H, DH, DH, DH, H),
            MemoryType.CUPY: (H, S, DCH, DH, DH, H),
            MemoryType.TORCH: (DH, DCH, S, DH, DH, H),
            MemoryType.TENSORFLOW: (DH, DH, DH, S, DH, H),
            MemoryType.JAX: (DH, DH, DH, DH, S, H),
            MemoryType.PYCLESPERANTO: (H, H, H, H, H, S),
        }.items()
    }
)
"""``ROUTES[source][target]``. Ways that share memory need both arrays on one device; the host round trip does not.

NumPy and CuPy never share: one is at home in the host's memory, the other one on GPUs. pyclesperanto exports its OpenCL
memory by DLPack, but nothing can take it, and PyTorch ends the process when it tries.
"""


__all__ = ["ROUTES", "Route", "Routes"]
