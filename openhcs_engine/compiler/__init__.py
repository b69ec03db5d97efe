"""From what users declare and what is on the plate to frozen contexts, or to every reason why not.

Nothing runs here.
"""

from openhcs_engine.compiler.compile import Compilation, compile_plate, pipeline_digest
from openhcs_engine.compiler.functions import FunctionTable

__all__ = ["Compilation", "FunctionTable", "compile_plate", "pipeline_digest"]
