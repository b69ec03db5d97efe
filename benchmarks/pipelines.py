"""The pipeline that all variants of the benchmark compute."""

from __future__ import annotations

from openhcs_engine import FunctionStep, Pipeline, VariableComponents
from openhcs_engine.functions import create_composite, create_max_projection, stack_percentile_normalize

benchmark_pipeline = Pipeline(
    [
        FunctionStep(stack_percentile_normalize, name="Normalize", variable_components=[VariableComponents.Z_INDEX]),
        FunctionStep(create_max_projection, name="Project", variable_components=[VariableComponents.Z_INDEX]),
        FunctionStep(create_composite, name="Composite", variable_components=[VariableComponents.CHANNEL]),
    ],
    name="Benchmark: normalise, project, composite",
)
