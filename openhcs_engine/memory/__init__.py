"""Array libraries and devices."""

from openhcs_engine.memory.decorators import (
    FunctionContract,
    contract_of,
    cupy,
    jax,
    numpy,
    pyclesperanto,
    tensorflow,
    torch,
)
from openhcs_engine.memory.types import MemoryType

__all__ = [
    "FunctionContract",
    "MemoryType",
    "contract_of",
    "cupy",
    "jax",
    "numpy",
    "pyclesperanto",
    "tensorflow",
    "torch",
]
