"""The array libraries, one adapter a file under one contract. No other package imports an array framework."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from openhcs_engine.memory.libraries.contract import ArrayLibrary
from openhcs_engine.memory.libraries.cupy import CupyLibrary
from openhcs_engine.memory.libraries.jax import JaxLibrary
from openhcs_engine.memory.libraries.numpy import NumpyLibrary
from openhcs_engine.memory.libraries.pyclesperanto import PyclesperantoLibrary
from openhcs_engine.memory.libraries.tensorflow import TensorFlowLibrary
from openhcs_engine.memory.libraries.torch import TorchLibrary
from openhcs_engine.memory.types import MemoryType

LIBRARIES: Final[Mapping[MemoryType, ArrayLibrary]] = MappingProxyType(
    {
        MemoryType.NUMPY: NumpyLibrary(),
        MemoryType.CUPY: CupyLibrary(),
        MemoryType.TORCH: TorchLibrary(),
        MemoryType.TENSORFLOW: TensorFlowLibrary(),
        MemoryType.JAX: JaxLibrary(),
        MemoryType.PYCLESPERANTO: PyclesperantoLibrary(),
    }
)
"""All six; making them imports none of the libraries but NumPy."""


def library(memory_type: MemoryType | str) -> ArrayLibrary:
    """The adapter of an array library.

    Raises
    ------
    ValueError
        If the name is not one of the six.
    """
    return LIBRARIES[MemoryType(memory_type)]


def library_of(array: object) -> ArrayLibrary | None:
    """The adapter of the library that made an array; None for everything else. Imports nothing."""
    return next((known for known in LIBRARIES.values() if known.owns(array)), None)


__all__ = ["LIBRARIES", "ArrayLibrary", "library", "library_of"]
