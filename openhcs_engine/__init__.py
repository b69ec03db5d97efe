"""High-content screening plates: declare a pipeline, compile it to frozen contexts, execute it well by well.

Nothing here knows Dagster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openhcs_engine.files.systems import check_this_system

check_this_system()  # before modules that only some systems have

from openhcs_engine.uses.opened_files import WATCH  # noqa: E402

WATCH.start()  # what pipelines' modules read while they are imported after this one

if TYPE_CHECKING:
    from openhcs_engine.memory.artifacts import special_inputs, special_outputs
    from openhcs_engine.model.artifacts import ArtifactKind
    from openhcs_engine.model.components import GroupBy, VariableComponents
    from openhcs_engine.orchestrator import PipelineOrchestrator
    from openhcs_engine.pipeline import FunctionStep, InputSource, Materialize, Pipeline, PlateStep, Sample

__all__ = [
    "ArtifactKind",
    "FunctionStep",
    "GroupBy",
    "InputSource",
    "Materialize",
    "Pipeline",
    "PipelineOrchestrator",
    "PlateStep",
    "Sample",
    "VariableComponents",
    "special_inputs",
    "special_outputs",
]

_HOMES = {
    "ArtifactKind": "openhcs_engine.model.artifacts",
    "FunctionStep": "openhcs_engine.pipeline.step",
    "GroupBy": "openhcs_engine.model.components",
    "InputSource": "openhcs_engine.pipeline.step",
    "Materialize": "openhcs_engine.pipeline.materialize",
    "Pipeline": "openhcs_engine.pipeline.pipeline",
    "PipelineOrchestrator": "openhcs_engine.orchestrator",
    "PlateStep": "openhcs_engine.pipeline.plate_step",
    "Sample": "openhcs_engine.pipeline.plate_step",
    "VariableComponents": "openhcs_engine.model.components",
    "special_inputs": "openhcs_engine.memory.artifacts",
    "special_outputs": "openhcs_engine.memory.artifacts",
}


def __getattr__(name: str) -> Any:  # Any: each public name has its own type, given above
    """Import public names when they are asked for: workers and small tools need only a few of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
