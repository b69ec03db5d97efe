"""What users declare: steps that do not change, pipelines that are lists, and where pipelines are found."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from openhcs_engine import FunctionStep, GroupBy, InputSource, Materialize, Pipeline, VariableComponents
from openhcs_engine.errors import PipelineError, PipelineImportError
from openhcs_engine.pipeline import load_pipeline
from tests.engine.plates import add, double


def test_a_pipeline_is_a_real_list() -> None:
    """Append, slice, iterate, compare; ``steps`` is the list itself."""
    pipeline = Pipeline(steps=[FunctionStep(add)], name="My pipeline")
    pipeline.append(FunctionStep(double))
    pipeline.add_step(FunctionStep(add, name="again"))

    assert isinstance(pipeline, list) and pipeline.steps is pipeline
    assert [step.name for step in pipeline[1:]] == ["double", "again"]
    assert pipeline.to_dict()["steps"] == ["add", "double", "again"]
    assert pipeline.clone() == pipeline and pipeline.clone() is not pipeline
    assert pipeline.created_at == pipeline.metadata["created_at"]


def test_a_step_is_named_after_its_first_function() -> None:
    """Whatever the pattern."""
    patterns = [add, (add, {"amount": 1}), [add, double], {"DAPI": [(add, {})], "GFP": double}]

    assert {FunctionStep(pattern).name for pattern in patterns} == {"add"}  # type: ignore[arg-type]


def test_a_step_takes_names_and_members_and_cannot_be_changed() -> None:
    """Text becomes enum members; assignment is refused; what has no meaning waits for the compiler to refuse it."""
    step = FunctionStep(add, variable_components="z_index", group_by="site", input_source="start")

    assert step.variable_components == (VariableComponents.Z_INDEX,)
    assert (step.group_by, step.input_source) == (GroupBy.SITE, InputSource.PIPELINE_START)
    with pytest.raises(FrozenInstanceError):
        step.name = "other"  # type: ignore[misc] # that it cannot be assigned is the point
    assert FunctionStep(add, variable_components=["row"]).variable_components == ("row",)


def test_what_a_step_was_given_may_change_and_the_step_does_not() -> None:
    """Dicts and lists of the pattern are copied, down to the parameters."""
    parameters: dict[str, object] = {"amount": [1]}
    chain = [(add, parameters)]
    step = FunctionStep({"DAPI": chain})  # type: ignore[dict-item] # that the lists are copied is the point

    parameters["amount"] = [2]
    chain.append((double, {}))

    assert step == FunctionStep({"DAPI": [(add, {"amount": [1]})]})  # type: ignore[dict-item]


def test_steps_can_be_kept_in_sets() -> None:
    """Whatever their pattern; equal steps are one."""
    assert len({FunctionStep({"DAPI": [add]}), FunctionStep({"DAPI": [add]}), FunctionStep([add, double])}) == 2


def test_an_empty_pipeline_and_a_step_in_place_of_a_list() -> None:
    """None is no step; a single step is refused with what to write."""
    assert Pipeline() == Pipeline(None) == []
    with pytest.raises(PipelineError, match=r"takes a list of steps.*Pipeline\(\[step\]\)"):
        Pipeline(FunctionStep(add))  # type: ignore[arg-type] # that it is wrong is the point


def test_what_a_step_keeps_has_one_form() -> None:
    """True, a sub-folder's name, and a Materialize; False and None keep nothing."""
    kept = [FunctionStep(add, materialize=how).materialize for how in (True, "raw", Materialize(wells=2), False, None)]

    assert kept == [Materialize(), Materialize(sub_folder="raw"), Materialize(wells=2), None, None]


def test_a_pattern_within_itself_ends() -> None:
    """A list that holds itself has no first function; the compiler will refuse it."""
    endless: list[object] = []
    endless.append(endless)

    assert FunctionStep(endless).name == "step"  # type: ignore[arg-type]


@pytest.fixture
def modules(tmp_path: Path) -> Iterator[Path]:
    """A folder for pipeline modules; what tests import from it is forgotten afterwards."""
    before, path = set(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - before:
        del sys.modules[name]


GOOD = """
from openhcs_engine import FunctionStep, Pipeline
from openhcs_engine.functions import create_max_projection
best = Pipeline([FunctionStep(create_max_projection)], name="Best")
steps = [FunctionStep(create_max_projection)]
number = 3
"""


def test_pipelines_are_found_by_module_and_attribute(modules: Path) -> None:
    """A Pipeline, or a plain list of steps."""
    (modules / "lab_good.py").write_text(GOOD)

    assert load_pipeline("lab_good:best", [modules]).name == "Best"
    assert isinstance(load_pipeline("lab_good:steps", [modules]), Pipeline)


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("lab_good", "write module:attribute"),
        ("lab_absent:best", "No module 'lab_absent' was found"),
        ("lab_good:worst", r"has no attribute 'worst' \(pipelines there: best\)"),
        ("lab_good:number", "has a int, no pipeline, called 'number'"),
        ("lab_broken:best", "cannot be imported: ZeroDivisionError"),
        ("lab_needs:best", "cannot be imported: ModuleNotFoundError: No module named 'lab_library'"),
        ("lab_exits:best", "cannot be imported: SystemExit"),
    ],
)
def test_a_pipeline_that_cannot_be_imported_says_why(modules: Path, reference: str, sentence: str) -> None:
    """The sentence names the reference, and what was found instead."""
    (modules / "lab_good.py").write_text(GOOD)
    (modules / "lab_broken.py").write_text("1 / 0")
    (modules / "lab_needs.py").write_text("import lab_library")
    (modules / "lab_exits.py").write_text("raise SystemExit(3)")

    with pytest.raises(PipelineImportError, match=sentence):
        load_pipeline(reference, [modules])


def test_a_namesake_of_an_imported_module_is_refused(modules: Path) -> None:
    """Two plates with different modules of one name cannot share a process; silence would run the wrong pipeline."""
    for folder in ("one", "two"):
        (modules / folder).mkdir()
        (modules / folder / "lab_same.py").write_text(GOOD)
    load_pipeline("lab_same:best", [modules / "one"])

    with pytest.raises(PipelineImportError, match="another module 'lab_same'"):
        load_pipeline("lab_same:best", [modules / "two"])
