"""The pipelines that the benchmarks compute."""

from __future__ import annotations

from benchmarks.assay_sides import SETTINGS
from benchmarks.measuring import COLUMNS
from openhcs_engine import FunctionStep, Pipeline, VariableComponents
from openhcs_engine.functions import (
    create_composite,
    create_max_projection,
    measure,
    segment_nuclei,
    stack_percentile_normalize,
)

benchmark_pipeline = Pipeline(
    [
        FunctionStep(stack_percentile_normalize, name="Normalize", variable_components=[VariableComponents.Z_INDEX]),
        FunctionStep(create_max_projection, name="Project", variable_components=[VariableComponents.Z_INDEX]),
        FunctionStep(create_composite, name="Composite", variable_components=[VariableComponents.CHANNEL]),
    ],
    name="Benchmark: normalise, project, composite",
)

assay_pipeline = Pipeline(
    [
        FunctionStep(
            {"DAPI": (segment_nuclei, dict(SETTINGS))},
            name="Nuclei",
            uncovered="pass",
        ),
        FunctionStep(
            (measure, {"objects": "nuclei", "features": tuple(COLUMNS.values())}),
            name="Measure",
            variable_components=[VariableComponents.CHANNEL],
        ),
    ],
    name="Benchmark: count and measure nuclei",
)
