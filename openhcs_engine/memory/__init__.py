"""Array libraries and devices: decorators that say which arrays a function speaks, and the converter between them.

Where planes are stored is not known here.
"""

from openhcs_engine.memory.artifacts import parameter_files, side_data_of, special_inputs, special_outputs
from openhcs_engine.memory.conversion.convert import Conversion, convert
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
from openhcs_engine.memory.lazy_stack import LazyStack
from openhcs_engine.memory.parameter_check import checked_by
from openhcs_engine.memory.types import MemoryType

__all__ = [
    "Conversion",
    "FunctionContract",
    "LazyStack",
    "MemoryType",
    "checked_by",
    "contract_of",
    "convert",
    "cupy",
    "jax",
    "numpy",
    "parameter_files",
    "pyclesperanto",
    "side_data_of",
    "special_inputs",
    "special_outputs",
    "tensorflow",
    "torch",
]
