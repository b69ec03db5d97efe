"""Settings: parameters of the function that makes a pipeline, and of the functions in it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator
from openhcs_engine.errors import CompilationError, OptionError, PipelineError, PipelineMismatchError
from openhcs_engine.functions import create_max_projection, stack_percentile_normalize
from openhcs_engine.memory import numpy as numpy_stack
from openhcs_engine.pipeline import load_pipeline
from openhcs_engine.pipeline.settings import as_kind, configured
from openhcs_engine.plan.run_options import parse_settings
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress


class Shade(StrEnum):
    LIGHT = "light"
    DARK = "dark"


@numpy_stack
def scale(image_stack: np.ndarray, factor: float = 1.0, shade: Shade = Shade.LIGHT, names: Sequence[str] = ()) -> Any:
    """Multiply."""
    return image_stack * factor


def scaled(*, factor: float = 2.0, low: int = 1, mode: Literal["fast", "slow"] = "fast") -> Pipeline:
    """A pipeline of one's own."""
    return Pipeline([FunctionStep((scale, {"factor": factor * low}), name="first"), FunctionStep(scale, name="second")])


def with_role(nuclei: str, bounds: tuple[int, int] = (1, 2)) -> list[FunctionStep]:
    """It must be told which channel shows nuclei."""
    return [FunctionStep({nuclei: (scale, {"names": [nuclei, *map(str, bounds)]})})]


def kwargs(pipeline: Sequence[FunctionStep], position: int = 0) -> dict[str, object]:
    """The parameters of a step's one function."""
    func: Any = pipeline[position].func
    while isinstance(func, dict | list):
        func = next(iter(func.values())) if isinstance(func, dict) else func[0]
    return dict(func[1]) if isinstance(func, tuple) else {}


def refusals(pipeline: Any, settings: dict[str, object]) -> list[str]:
    with pytest.raises(CompilationError) as refused:
        configured(pipeline, settings)
    return [violation.message for violation in refused.value.violations]


def test_a_function_makes_the_pipeline() -> None:
    """With its defaults, or with what is set; texts and values alike."""
    assert kwargs(configured(scaled, {})) == {"factor": 2.0}
    assert kwargs(configured(scaled, {"factor": "0.5", "low": "3"})) == {"factor": 1.5}
    assert kwargs(configured(scaled, {"factor": 3, "mode": "slow"})) == {"factor": 3.0}


def test_the_pipeline_is_named_by_its_function_and_settings() -> None:
    """People see in every plan and report what was set."""
    assert getattr(configured(scaled, {}), "name", "") == "scaled"
    assert getattr(configured(scaled, {"low": "3", "scale.factor": 2}), "name", "") == "scaled (low=3, scale.factor=2)"


def test_functions_are_set_by_their_name_or_their_steps() -> None:
    """All that have the function's name; only those of the step, if the step is named."""
    both = configured(scaled, {"scale.factor": "7"})
    assert [kwargs(both, step) for step in (0, 1)] == [{"factor": 7.0}, {"factor": 7.0}]

    second = configured(scaled, {"second.factor": "7"})
    assert [kwargs(second, step) for step in (0, 1)] == [{"factor": 2.0}, {"factor": 7.0}]


def test_every_pattern_is_set() -> None:
    """Functions alone, with parameters, in chains and by channel; others stay as they are."""
    steps = [
        FunctionStep(
            {"DAPI": [scale, (scale, {"shade": "dark"}), create_max_projection], "GFP": (scale, {"factor": 5.0})}
        )
    ]
    func: Any = configured(steps, {"scale.factor": 3})[0].func

    assert func == {
        "DAPI": [(scale, {"factor": 3.0}), (scale, {"shade": "dark", "factor": 3.0}), create_max_projection],
        "GFP": (scale, {"factor": 3.0}),
    }
    assert steps[0].func["DAPI"][0] is scale  # type: ignore[index,call-overload] # the pattern that was declared


def test_a_pipeline_without_settings_is_itself() -> None:
    """Nothing is copied or renamed."""
    pipeline = Pipeline([FunctionStep(scale)], name="mine")
    assert configured(pipeline, {}) is pipeline


def test_all_that_is_wrong_is_said_together() -> None:
    """Unknown names with those there are and the nearest, wrong values with what they can be."""
    told = refusals(
        scaled, {"facto": 1, "low": "1.5", "mode": "medium", "factor": True, "scale.shade": "blue", "scale.gain": 1}
    )

    assert told == [
        "The pipeline 'scaled' has no parameter 'facto' (there are: factor, low, mode); did you mean 'factor'?",
        "--set low=1.5: 'low' is a whole number.",
        "--set mode=medium: 'mode' is one of fast, slow.",
        "--set factor=True: 'factor' is a number.",
        "--set scale.shade=blue: 'shade' is one of light, dark.",
        "'scale' has no parameter 'gain' (there are: factor, shade, names).",
    ]
    assert refusals(scaled, {"scale.shade": "blue", "scale.gain": 1, "scal.factor": 1}) == [
        "--set scale.shade=blue: 'shade' is one of light, dark.",
        "'scale' has no parameter 'gain' (there are: factor, shade, names).",
        "--set scal.factor: the pipeline has no function or step 'scal' (functions with parameters: scale); did you "
        "mean 'scale'?",
    ]


def test_what_has_no_default_must_be_set() -> None:
    """A role, as the channel of the nuclei, is asked for by its name."""
    assert refusals(with_role, {}) == ["The pipeline 'with_role' needs 'nuclei'; give it: --set nuclei=…."]
    assert kwargs(configured(with_role, {"nuclei": "DAPI", "bounds": "3, 4"})) == {"names": ["DAPI", "3", "4"]}


def test_a_list_of_steps_has_no_parameters_of_its_own() -> None:
    """The refusal says what can be set."""
    assert refusals(Pipeline([FunctionStep(scale)], name="mine"), {"factor": 2}) == [
        "The pipeline 'mine' has no parameter 'factor' (there are: none). It is a list of steps; name a function's "
        "parameter, as in scale.factor."
    ]


def test_built_in_functions_are_set() -> None:
    """Through their decorators, by their own annotations."""
    steps = [FunctionStep(stack_percentile_normalize)]
    assert kwargs(configured(steps, {"stack_percentile_normalize.low_percentile": "2"})) == {"low_percentile": 2.0}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: None, "returned a NoneType"),
        (lambda: [scale], "returned a list"),
        (functools.partial(int, "x"), "cannot be made: ValueError"),
    ],
)
def test_a_function_that_makes_none_is_refused(made: Any, said: str) -> None:
    """Whether it fails or returns something else."""
    with pytest.raises(PipelineError, match=said):
        configured(made, {})


@pytest.mark.parametrize(
    ("value", "kind", "read"),
    [
        ("30", int, 30),
        ("true", bool, True),
        ("False", bool, False),
        ("1e-3", float, 0.001),
        (3, float, 3.0),
        ("800", str | float, 800.0),
        ("otsu", float | str, "otsu"),
        ("none", float | None, None),
        (None, float | None, None),
        ("007", str, "007"),
        ("dark", Shade, Shade.DARK),
        ("2", Literal[1, 2], 2),
        ("DAPI, GFP", list[str], ["DAPI", "GFP"]),
        ("", list[str], []),
        ("1,2", tuple[float, ...], (1.0, 2.0)),
        ([1, 2], tuple[int, int], (1, 2)),
        ('{"a": 1}', dict[str, int], {"a": 1}),
        ("30", Any, 30),
        ("DAPI", Any, "DAPI"),
    ],
)
def test_texts_are_read_by_annotation(value: object, kind: Any, read: object) -> None:
    """As a command line gives them; what is no text must be of the type."""
    assert as_kind(value, kind) == read and type(as_kind(value, kind)) is type(read)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("30.5", int), (True, int), (1, bool), ("yes", bool), ("1,5", float), (3, str), ("none", float), ("red", Shade),
        ("1,2,3", tuple[int, int]), ("a,b", list[int]), (3.5, int), ([1], str), ("3", Literal[1, 2]),
    ],
)  # fmt: skip
def test_values_of_another_type_are_refused(value: object, kind: Any) -> None:
    """Nothing is rounded, cut or guessed."""
    with pytest.raises(ValueError, match="is not"):
        as_kind(value, kind)


@pytest.mark.parametrize(
    ("texts", "said"), [(["nuclei"], "NAME=VALUE"), (["=DAPI"], "NAME=VALUE"), (["a=1", "a=2"], "given twice")]
)
def test_what_is_no_setting_is_refused(texts: list[str], said: str) -> None:
    """A name and a value, once; the value may hold anything."""
    with pytest.raises(OptionError, match=said):
        parse_settings(texts)
    assert parse_settings(["a = b=c", "b="]) == {"a": " b=c", "b": ""}


def test_a_pipeline_is_made_where_it_is_loaded(tmp_path: Path) -> None:
    """``module:function``, with settings."""
    (tmp_path / "lab_settings.py").write_text(
        "from __future__ import annotations\n"
        "from openhcs_engine import FunctionStep, Pipeline\n"
        "from openhcs_engine.functions import create_max_projection\n"
        "def projected(name: str | None = None, times: int = 1) -> Pipeline:\n"
        "    return Pipeline([FunctionStep(create_max_projection)] * times, name=name or 'plain')\n"
    )

    assert load_pipeline("lab_settings:projected", [tmp_path]).name == "plain"
    assert len(load_pipeline("lab_settings:projected", settings={"times": "2", "name": "none"})) == 2


def test_settings_are_part_of_plan_and_run(tmp_path: Path) -> None:
    """Other settings make another plan, whose contexts the pipeline with the first settings does not execute."""
    plate = write_imagexpress(tmp_path / "P1", SyntheticPlate(rows=1, columns=1, sites=1, z=1, shape=(32, 32)))

    def orchestrator(**settings: object) -> PipelineOrchestrator:
        return PipelineOrchestrator(plate, output=tmp_path / "out", settings=settings, runner="threads").initialize()

    first, second = (orchestrator(factor=factor).compile_pipelines(scaled) for factor in ("2", "3"))
    assert first["A01"].fingerprint != second["A01"].fingerprint
    assert first["A01"].output.pipeline == "scaled (factor=2)"

    assert orchestrator(factor=3.0).execute_compiled_plate(scaled, second)["A01"].success
    with pytest.raises(PipelineMismatchError):
        orchestrator(factor=2).execute_compiled_plate(scaled, second)
    with pytest.raises(OptionError, match="no dict"):
        PipelineOrchestrator(plate, settings=["factor=2"])
