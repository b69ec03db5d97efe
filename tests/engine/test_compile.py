"""From declared pipelines to frozen plans, or to every reason why not."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from openhcs_engine import FunctionStep, GroupBy, InputSource, Pipeline, VariableComponents
from openhcs_engine.compiler import compile_plate
from openhcs_engine.context import ProcessingContext
from openhcs_engine.errors import CompilationError, PlateError
from openhcs_engine.functions import create_composite, create_max_projection, stack_percentile_normalize
from openhcs_engine.memory import numpy as numpy_function
from openhcs_engine.memory.stack import Array
from openhcs_engine.model.components import Component
from openhcs_engine.model.image_index import ImageIndex
from tests.engine.plates import add, double, make_plate, output_plan

Z, CHANNEL, SITE = VariableComponents.Z_INDEX, VariableComponents.CHANNEL, VariableComponents.SITE


def compiled(*steps: FunctionStep, wells: object = None) -> dict[str, ProcessingContext]:
    """Contexts of the small plate."""
    plate, index = make_plate()
    return compile_plate(plate, index, Pipeline(steps), output=output_plan(), well_filter=wells).contexts  # type: ignore[arg-type]


@numpy_function(input_type="torch", output_type="torch")
def _speaks_torch(stack: Array) -> Array:
    return stack


@dataclass(frozen=True)
class Shape:
    """A pattern and the calls it means, by channel number (None: all)."""

    name: str
    func: object
    expected: dict[int | None, list[tuple[str, dict[str, object]]]]


SHAPES = [
    Shape("single function", add, {None: [("add", {})]}),
    Shape("with parameters", (add, {"amount": 2}), {None: [("add", {"amount": 2})]}),
    Shape("chain", [add, (add, {"amount": 2}), double], {None: [("add", {}), ("add", {"amount": 2}), ("double", {})]}),
    Shape("by channel name", {"DAPI": add, "GFP": double}, {1: [("add", {})], 2: [("double", {})]}),
    Shape("by channel number", {"1": add, 2: double}, {1: [("add", {})], 2: [("double", {})]}),
    Shape("by padded number", {"01": add, "02": add}, {1: [("add", {})], 2: [("add", {})]}),
    Shape(
        "nested",
        {"DAPI": [add, (add, {"amount": 9})], "GFP": (add, {"amount": 3})},
        {1: [("add", {}), ("add", {"amount": 9})], 2: [("add", {"amount": 3})]},
    ),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_the_four_patterns_and_their_nesting_have_one_form(shape: Shape) -> None:
    """Every pattern becomes routes of calls, keys resolved to the plate's numbers."""
    (plan,) = compiled(FunctionStep(shape.func))["A01"].steps  # type: ignore[arg-type]

    assert {
        route.key: [(call.reference.rpartition(":")[2], call.kwargs.thaw()) for call in route.calls]
        for route in plan.routes
    } == shape.expected


def test_a_plan_says_completely_what_will_happen() -> None:
    """Axes, routes, and where each step reads and writes are fields of the plan."""
    context = compiled(
        FunctionStep(stack_percentile_normalize, variable_components=[Z]),
        FunctionStep(create_max_projection, variable_components=[Z]),
        FunctionStep(create_composite, variable_components=[CHANNEL], name="Composite"),
    )["B01"]

    assert [(step.name, step.variable_components, step.reads, step.writes) for step in context.steps] == [
        ("stack_percentile_normalize", (Component.Z_INDEX,), "source", "memory"),
        ("create_max_projection", (Component.Z_INDEX,), "memory", "memory"),
        ("Composite", (Component.CHANNEL,), "memory", "output"),
    ]
    assert {plane.key.well for plane in context.index} == {"B01"}
    assert context.steps[0].routes[0].calls[0].version.startswith("openhcs-dagster==")


def test_compiling_changes_nothing_and_twice_gives_the_same() -> None:
    """The pipeline is as it was, and both plans are equal."""
    pattern = {"DAPI": [add, (add, {"amount": 2})], "GFP": double}
    pipeline = Pipeline([FunctionStep(pattern)], name="once")
    plate, index = make_plate()

    plans = [compile_plate(plate, index, pipeline, output=output_plan()).contexts for _ in range(2)]

    assert plans[0] == plans[1]
    assert pattern == {"DAPI": [add, (add, {"amount": 2})], "GFP": double}
    assert pipeline[0].func is pattern and len(pipeline) == 1


def test_a_step_may_read_from_the_start_again() -> None:
    """After a collapse, a step from the pipeline's start has all axes again."""
    plans = compiled(
        FunctionStep(create_max_projection, variable_components=[Z]),
        FunctionStep(add, variable_components=[Z], input_source=InputSource.PIPELINE_START),
    )["A01"].steps

    assert plans[1].from_start and plans[1].reads == "source"


@pytest.mark.parametrize(
    ("wells", "expected"),
    [(None, ["A01", "A02", "B01"]), ("b1, a01", ["A01", "B01"]), (["A02"], ["A02"]), (["r02c01"], ["B01"])],
)
def test_wells_are_chosen_in_any_spelling_and_kept_in_plate_order(wells: object, expected: list[str]) -> None:
    """The filter is a list or a comma-separated text."""
    assert list(compiled(FunctionStep(add), wells=wells)) == expected


@dataclass(frozen=True)
class Refusal:
    """Something wrong, and a part of the sentence that the user sees."""

    name: str
    steps: Callable[[], list[object]]
    sentence: str
    wells: object = None


def _local() -> Callable[[Array], Array]:
    def inner(stack: Array) -> Array:
        return stack

    return inner


REFUSALS = [
    Refusal("no steps", list, "has no steps"),
    Refusal("not a step", lambda: [add], "Item 1 of the pipeline is a function"),
    Refusal(
        "unknown channel",
        lambda: [FunctionStep({"Cy5": add, "DAPI": add, "GFP": add})],
        "Step 1 \"add\": channel 'Cy5' is not on this plate (has: DAPI, GFP). Check the keys of func={…}.",
    ),
    Refusal(
        "unknown channel number", lambda: [FunctionStep({7: add}, uncovered="drop")], "channel 7 is not on this plate"
    ),
    Refusal("uncovered channel", lambda: [FunctionStep({"DAPI": add})], "no entry for channel GFP"),
    Refusal(
        "two keys, one channel", lambda: [FunctionStep({"DAPI": add, "1": add, "GFP": add})], "mean the same channel"
    ),
    Refusal(
        "unknown site", lambda: [FunctionStep({3: add}, group_by="site", variable_components=[Z])], "site 3 is not"
    ),
    Refusal("unknown keyword", lambda: [FunctionStep((add, {"amuont": 2}))], "its parameters: amount"),
    Refusal("keyword is not text", lambda: [FunctionStep((add, {3: 2}))], "parameter names must be text"),  # type: ignore[dict-item]
    Refusal("not a number", lambda: [FunctionStep((add, {"amount": float("nan")}))], "not a finite number"),
    Refusal("an array as parameter", lambda: [FunctionStep((add, {"amount": {1, 2}}))], "is a set"),
    Refusal("partial", lambda: [FunctionStep(functools.partial(add, amount=2))], "not as functools.partial"),
    Refusal("class", lambda: [FunctionStep(Pipeline)], "expected a function"),
    Refusal("not callable", lambda: [FunctionStep("add")], "holds 'add'"),  # type: ignore[arg-type]
    Refusal("tuple of one", lambda: [FunctionStep((add,))], "must be (function, {parameters})"),  # type: ignore[arg-type]
    Refusal("empty chain", lambda: [FunctionStep([])], "empty list"),
    Refusal("empty dict", lambda: [FunctionStep({})], "empty dict"),
    Refusal("boolean key", lambda: [FunctionStep({True: add})], "neither a name nor a number"),
    Refusal("dict without group", lambda: [FunctionStep({"DAPI": add}, group_by=GroupBy.NONE)], "group_by is NONE"),
    Refusal(
        "grouped along the stack",
        lambda: [FunctionStep({"DAPI": add, "GFP": add}, variable_components=[CHANNEL])],
        "also in variable_components",
    ),
    Refusal("no axis", lambda: [FunctionStep(add, variable_components=[])], "one or more different axes"),
    Refusal("axis twice", lambda: [FunctionStep(add, variable_components=[Z, Z])], "one or more different axes"),
    Refusal("unknown uncovered", lambda: [FunctionStep(add, uncovered="maybe")], "choose from error, pass, drop"),  # type: ignore[arg-type]
    Refusal(
        "collapsed axis",
        lambda: [
            FunctionStep(create_max_projection, variable_components=[Z]),
            FunctionStep(add, variable_components=[Z]),
        ],
        "left one plane for the whole z_index axis",
    ),
    Refusal(
        "grouped by a collapsed axis",
        lambda: [
            FunctionStep(create_composite, variable_components=[CHANNEL]),
            FunctionStep({"DAPI": add, "GFP": add}, variable_components=[SITE]),
        ],
        "left one plane for the whole channel axis",
    ),
    Refusal("array library without adapter", lambda: [FunctionStep(_speaks_torch)], "speaks torch arrays"),
    Refusal("unknown well", lambda: [FunctionStep(add)], "'H12' of the well filter is not on this plate", wells="H12"),
    Refusal("no well's name", lambda: [FunctionStep(add)], "not the name of a well", wells=["A01", "well3"]),
    Refusal("empty filter", lambda: [FunctionStep(add)], "well filter is empty", wells=[]),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_everything_that_can_be_known_to_be_wrong_is_refused(refusal: Refusal) -> None:
    """One sentence names the step and the key, and says what would be right."""
    with pytest.raises(CompilationError) as caught:
        compiled(*refusal.steps(), wells=refusal.wells)  # type: ignore[arg-type]

    assert refusal.sentence in str(caught.value)


def test_all_violations_come_at_once() -> None:
    """Three mistakes in two steps and the filter give three violations, each with its place."""
    with pytest.raises(CompilationError) as caught:
        compiled(FunctionStep({"Cy5": add}, uncovered="pass"), FunctionStep((add, {"x": 1})), wells="Z99")

    assert [(violation.step_number, violation.key) for violation in caught.value.violations] == [
        (None, "Z99"),
        (1, "Cy5"),
        (2, "add"),
    ]


def test_functions_that_live_only_here_are_marked() -> None:
    """A function inside a function compiles, but its plan says that no other process can import it."""
    local, importable = (
        compiled(FunctionStep(function))["A01"].steps[0].routes[0].calls[0] for function in (_local(), add)
    )

    assert (local.importable, importable.importable) == (False, True)


def test_two_lambdas_have_two_names() -> None:
    """Functions of the same name in one chain stay distinguishable."""
    chain = [lambda stack: stack + 1, lambda stack: stack * 2]
    calls = compiled(FunctionStep(chain))["A01"].steps[0].routes[0].calls  # type: ignore[arg-type]

    assert len({call.reference for call in calls}) == 2


def test_a_plate_without_images_is_refused_in_one_sentence() -> None:
    """Metadata alone can be inspected, not run."""
    plate, index = make_plate()
    absent = ImageIndex(tuple(plane.replace(present=False) for plane in index))

    with pytest.raises(PlateError, match="none of their image files"):
        compile_plate(plate, absent, Pipeline([FunctionStep(add)]), output=output_plan())


def adds(amount: int) -> Callable[[Array], Array]:
    """A function that is made by another, and knows its amount from there."""
    return lambda stack: stack + amount


def adds_by_default(amount: int) -> Callable[[Array], Array]:
    """The same, with a default."""

    def added(stack: Array, amount: int = amount) -> Array:
        return stack + amount

    return added


@pytest.mark.parametrize("make", [adds, adds_by_default])
def test_values_that_a_function_holds_change_the_fingerprint(make: Callable[[int], Callable[[Array], Array]]) -> None:
    """The same source text with another value makes other pixels."""
    one, same, other = (compiled(FunctionStep(make(amount)))["A01"].fingerprint for amount in (1, 1, 1000))
    assert one == same != other
