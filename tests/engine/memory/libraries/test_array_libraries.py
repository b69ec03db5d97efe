"""Five array libraries on the CPU, through the whole engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator, VariableComponents
from openhcs_engine.execution.results import WellResult
from openhcs_engine.ngff.reading.reader import open_plate
from tests.engine import library_functions as functions
from tests.engine.execution.test_execution import raw_stack

Z = [VariableComponents.Z_INDEX]

TOLERANCE = 1
"""Grey levels of uint16: a float32 product that lies on a half may be rounded either way."""


def run(plate: Path, output: Path, pipeline: Pipeline, runner: str = "processes") -> WellResult:
    """Run one well."""
    orchestrator = PipelineOrchestrator(plate, output=output, runner=runner).initialize()  # type: ignore[arg-type]
    contexts = orchestrator.compile_pipelines(pipeline, well_filter=["A01"])
    return orchestrator.execute_compiled_plate(pipeline, contexts, max_workers=1)["A01"]


def pixels(output: Path) -> np.ndarray:
    """All channels of the well's first site, ``(t, c, z, y, x)``."""
    return np.asarray(open_plate(output / "small" / "images.zarr")["A01"][1].array())


def normalised_projection(stack: np.ndarray) -> np.ndarray:
    """The pipeline in one line of NumPy, in float64."""
    scaled = (stack.astype(float) - stack.min()) * (65535 / (float(stack.max()) - float(stack.min())))
    return np.rint(scaled).max(axis=0)


@pytest.mark.parametrize("library", ["numpy", "torch", "tensorflow", "jax", "pyclesperanto"])
def test_the_same_pipeline_in_each_library_gives_the_same_pixels(
    small_plate: Path, tmp_path: Path, library: str
) -> None:
    """Normalise and project, in two steps, in a worker process; uint16 comes back as uint16."""
    steps = [getattr(functions, f"{name}_{library}") for name in ("normalise", "project")]

    result = run(small_plate, tmp_path, Pipeline([FunctionStep(step, variable_components=Z) for step in steps]))

    assert result.success, result.error
    found = pixels(tmp_path)
    assert found.dtype == np.uint16
    for channel in (1, 2):
        expected = normalised_projection(raw_stack(small_plate, "A01", 1, channel))
        assert np.abs(found[0, channel - 1, 0] - expected).max() <= TOLERANCE


def expected_mix(plate: Path) -> np.ndarray:
    """The mixed pipeline in NumPy."""
    stacks = np.stack([raw_stack(plate, "A01", 1, channel) for channel in (1, 2)]).astype(np.int64)
    return np.maximum(np.minimum((stacks + 1) * 2, 65535) - 1, 300).max(axis=1) + 5


MIX = [
    functions.brighten, functions.double, functions.darken, functions.floor, functions.project_pyclesperanto,
    functions.lift,
]  # fmt: skip


def test_a_mixed_list_reports_every_boundary(small_plate: Path, tmp_path: Path) -> None:
    """Six functions of five libraries in one step: each hands over to the next, and the result names the ways."""
    result = run(small_plate, tmp_path, Pipeline([FunctionStep(list(MIX), name="Mix", variable_components=Z)]))

    assert result.success, result.error
    assert np.array_equal(pixels(tmp_path)[0, :, 0], expected_mix(small_plate))
    routes = result.steps[0].routes
    boundaries = ["numpy -> torch", "torch -> tensorflow", "tensorflow -> jax", "jax -> pyclesperanto",
                  "pyclesperanto -> numpy"]  # fmt: skip
    assert [route.partition(":")[0] for route in routes] == boundaries
    assert "uint16 as int32" in routes[0] and all("(4 times)" in route for route in routes)
    assert all("DLPack" in route for route in routes[:3])


def test_a_mixed_pipeline_of_steps_gives_the_same(small_plate: Path, tmp_path: Path) -> None:
    """One step a function: between steps the planes are NumPy's."""
    steps = [FunctionStep(function, variable_components=Z) for function in MIX[:-1]]
    last = FunctionStep(MIX[-1], variable_components=[VariableComponents.SITE])

    result = run(small_plate, tmp_path, Pipeline([*steps, last]))

    assert result.success, result.error
    assert np.array_equal(pixels(tmp_path)[0, :, 0], expected_mix(small_plate))
    told = [[route.partition(":")[0] for route in step.routes] for step in result.steps]
    assert told[:4] == [
        [], ["numpy -> torch", "torch -> numpy"], ["numpy -> tensorflow", "tensorflow -> numpy"],
        ["numpy -> jax", "jax -> numpy"],
    ]  # fmt: skip


def test_raw_planes_enter_jax_without_a_copy(small_plate: Path, tmp_path: Path) -> None:
    """They are read into buffers that XLA can borrow."""
    pipeline = Pipeline([FunctionStep(functions.project_jax, variable_components=Z)])

    result = run(small_plate, tmp_path, pipeline, runner="threads")

    assert result.steps[0].routes[0] == "numpy -> jax: DLPack, zero copy (4 times)"
