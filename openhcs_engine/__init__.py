"""High-content screening plates: declare a pipeline, compile it to frozen contexts, execute it well by well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openhcs_engine.model.components import GroupBy, VariableComponents
    from openhcs_engine.orchestrator import PipelineOrchestrator
    from openhcs_engine.pipeline import FunctionStep, InputSource, Pipeline

__all__ = ["FunctionStep", "GroupBy", "InputSource", "Pipeline", "PipelineOrchestrator", "VariableComponents"]

_HOMES = {
    "FunctionStep": "openhcs_engine.pipeline.step",
    "GroupBy": "openhcs_engine.model.components",
    "InputSource": "openhcs_engine.pipeline.step",
    "Pipeline": "openhcs_engine.pipeline.pipeline",
    "PipelineOrchestrator": "openhcs_engine.orchestrator",
    "VariableComponents": "openhcs_engine.model.components",
}


def __getattr__(name: str) -> Any:  # Any: each public name has its own type, given above
    """Import public names when they are asked for: workers and small tools need only a few of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
