"""Array libraries and devices."""

from openhcs_engine.memory.decorators import FunctionContract, contract_of, numpy
from openhcs_engine.memory.types import MemoryType

__all__ = ["FunctionContract", "MemoryType", "contract_of", "numpy"]
