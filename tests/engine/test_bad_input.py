"""Bad input from images to numbers: refused at compile where it can be known, else the well fails and says where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openhcs_engine import FunctionStep, GroupBy, Pipeline, PipelineOrchestrator, VariableComponents
from openhcs_engine.errors import CompilationError
from openhcs_engine.functions import create_max_projection, measure, segment_nuclei, spots
from openhcs_engine.pipeline import PlateStep, Sample
from tests.engine import bad_input_steps as steps

CHANNEL, SITE, Z = VariableComponents.CHANNEL, VariableComponents.SITE, VariableComponents.Z_INDEX
PROJECT = FunctionStep(create_max_projection, variable_components=[Z])
SEGMENT = FunctionStep({"DAPI": segment_nuclei}, group_by=GroupBy.CHANNEL, uncovered="pass", variable_components=[SITE])


def measuring(**parameters: Any) -> FunctionStep:
    """All channels of a site at once."""
    return FunctionStep((measure, parameters), name="measure", variable_components=[CHANNEL])


def field(**sample: Any) -> PlateStep:
    """A fit that later functions take."""
    return PlateStep(steps.mean_of_sample, name="field", sample=Sample(**sample))


def with_role(nuclei: str) -> Pipeline:
    """A pipeline that must be told its channel."""
    return Pipeline([FunctionStep({nuclei: segment_nuclei}, group_by=GroupBy.CHANNEL, uncovered="pass")])


SUBTRACT = FunctionStep(steps.subtract_fitted)


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        pytest.param(
            [FunctionStep({"Cy5": segment_nuclei}, group_by=GroupBy.CHANNEL, uncovered="pass")],
            "'Cy5' is not on this plate",
            id="unknown channel of a step",
        ),
        pytest.param(
            [PROJECT, SEGMENT, measuring(channels=["Cy5"])],
            "channel 'Cy5' is not there (there are: DAPI, GFP)",
            id="unknown channel to measure",
        ),
        pytest.param([field(channels="Cy5"), SUBTRACT], "Cy5", id="unknown channel of a sample"),
        pytest.param([PROJECT, SEGMENT, measuring(features=["shape", "texure"])], "'texure'", id="unknown feature"),
        pytest.param([FunctionStep((segment_nuclei, {"diameter_px": -8}))], "diameter_px=-8", id="negative diameter"),
        pytest.param([FunctionStep((segment_nuclei, {"minimum_area_px": -1}))], "area_px=-1", id="negative area"),
        pytest.param([FunctionStep((spots, {"diameter_px": -1}))], "diameter_px=-1", id="negative size of a spot"),
        pytest.param([field(wells="role:negative"), SUBTRACT], "role", id="sample of controls without a plate map"),
        pytest.param([field(sites=[7]), SUBTRACT], "7", id="sample of a site that is not there"),
        pytest.param([field(images=48, minimum=40), SUBTRACT], "at least 40", id="sample with too few images"),
        pytest.param([PROJECT, measuring()], "takes 'nuclei', which no step before it makes", id="no labels"),
        pytest.param(with_role, "needs 'nuclei'; give it: --set nuclei=", id="missing role"),
    ],
)
def test_what_can_be_known_is_refused_at_compile(pipeline: Any, said: str, small_plate: Path, tmp_path: Path) -> None:
    """With what there is or what to do, before a pixel is read."""
    orchestrator = PipelineOrchestrator(small_plate, output=tmp_path).initialize()
    with pytest.raises(CompilationError) as refused:
        orchestrator.compile(Pipeline(pipeline) if isinstance(pipeline, list) else pipeline)
    assert any(said in violation.message for violation in refused.value.violations), refused.value
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("label", "said"),
    [
        pytest.param(
            {"DAPI": steps.shifted_labels, "GFP": (steps.shifted_labels, {"shift": 4})},
            ('step 3 "measure"', "other labels for one channel than for another", "site 1"),
            id="labels of two channels that overlap",
        ),
        pytest.param(
            {"DAPI": steps.negative_labels},
            ('step 2 "label"', "objects are counted from 1", "site 1"),
            id="numbers below 0",
        ),
    ],
)
def test_what_only_pixels_know_fails_the_well_with_step_site_and_reason(
    label: Any, said: tuple[str, ...], small_plate: Path, tmp_path: Path
) -> None:
    """Objects that were found in two channels and lie over each other are no one object."""
    pipeline = Pipeline([
        PROJECT,
        FunctionStep(label, name="label", group_by=GroupBy.CHANNEL, uncovered="pass", variable_components=[SITE]),
        measuring(),
    ])  # fmt: skip
    orchestrator = PipelineOrchestrator(small_plate, output=tmp_path, runner="threads").initialize()
    contexts = orchestrator.compile_pipelines(pipeline, well_filter="A01")
    result = orchestrator.execute_compiled_plate(pipeline, contexts)["A01"]
    assert result.error is not None
    assert result.error.startswith("Well A01, ")
    for part in said:
        assert part in result.error
