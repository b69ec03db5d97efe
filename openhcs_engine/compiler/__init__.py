"""From what users declare and what is on the plate to frozen contexts, or to every reason why not."""

from openhcs_engine.compiler.compile import Compilation, compile_plate, pipeline_digest

__all__ = ["Compilation", "compile_plate", "pipeline_digest"]
