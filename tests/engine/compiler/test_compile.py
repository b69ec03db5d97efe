"""From declared pipelines to frozen plans, or to every reason why not."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from openhcs_engine import FunctionStep, GroupBy, InputSource, Pipeline, VariableComponents
from openhcs_engine.compiler import compile_plate
from openhcs_engine.errors import CompilationError, PlateError
from openhcs_engine.functions import create_composite, create_max_projection, stack_percentile_normalize
from openhcs_engine.memory import MemoryType, cupy, jax, pyclesperanto, tensorflow, torch
from openhcs_engine.memory import numpy as numpy_function
from openhcs_engine.memory.devices import Device
from openhcs_engine.memory.libraries import library
from openhcs_engine.memory.stack import Array
from openhcs_engine.model.components import Component
from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.plan.context import FunctionCall, ProcessingContext
from tests.engine.plates import add, double, first_plane, make_plate, output_plan

Z, CHANNEL, SITE = VariableComponents.Z_INDEX, VariableComponents.CHANNEL, VariableComponents.SITE


def compiled(*steps: FunctionStep, wells: object = None) -> dict[str, ProcessingContext]:
    """Contexts of the small plate."""
    plate, index = make_plate()
    return compile_plate(plate, index, Pipeline(steps), output=output_plan(), well_filter=wells).contexts  # type: ignore[arg-type]


@pyclesperanto
def speaks_pyclesperanto(stack: Array) -> Array:
    """Keeps the pixel type."""
    return stack


@pyclesperanto(dtype="float64")
def promises_too_much(stack: Array) -> Array:
    """pyclesperanto has no float64."""
    return stack


@torch(dtype="float64")
def makes_float64(stack: Array) -> Array:
    """For the step after it."""
    return stack


@torch(dtype="native")
def makes_anything(stack: Array) -> Array:
    """Only a run can tell what."""
    return stack


@jax
def keeps(stack: Array) -> Array:
    """Any pixel type."""
    return stack


@numpy_function(collapses=True)
def host_projection(stack: Array) -> Array:
    """On the CPU."""
    return stack


def brighter(stack: Array, by: int = 1) -> Array:
    """Plain, and with another parameter than ``add``."""
    return stack + by


@cupy(cpu=add)
def add_on_gpu(stack: Array, amount: int = 1) -> Array:
    """Has a CPU function with the same parameters."""
    return stack + amount


@cupy(cpu=brighter)
def add_with_strange_twin(stack: Array, amount: int = 1) -> Array:
    """Its CPU function calls the amount otherwise."""
    return stack + amount


@cupy(cpu=add_on_gpu)
def add_with_twin_on_gpu(stack: Array, amount: int = 1) -> Array:
    """Its CPU function needs a GPU."""
    return stack + amount


@cupy(cpu=host_projection)
def add_with_projecting_twin(stack: Array) -> Array:
    """Its CPU function makes one plane of many."""
    return stack


@torch(dtype="float32", slice_by_slice=True, cpu=lambda stack: stack)
def with_unnamed_twin(stack: Array) -> Array:
    """Its CPU function lives only here."""
    return stack


@cupy(collapses=True, cpu=first_plane)
def projection_on_gpu(stack: Array) -> Array:
    """Its CPU function is plain."""
    return stack[:1]


GPU = Device(kind="gpu", index=0, name="Paper GPU", uuid="GPU-paper-0", memory_bytes=2**34)
"""A GPU that exists on paper only."""


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
    assert pipeline[0].func == pattern and len(pipeline) == 1


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
        "Step 1 \"add\": channel 'Cy5' is not on this plate (has: DAPI, GFP). Check the keys of func={…}, "
        "or the setting that gives them.",
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
    Refusal(
        "pixel type of the step before",
        lambda: [FunctionStep(makes_float64), FunctionStep(keeps), FunctionStep(speaks_pyclesperanto)],
        'Step 3 "speaks_pyclesperanto": speaks_pyclesperanto takes pyclesperanto arrays, but its stacks are float64, '
        "which pyclesperanto does not have (it has uint8, uint16, uint32, int8, int16, int32, float32).",
    ),
    Refusal(
        "pixel type of the function before",
        lambda: [FunctionStep([keeps, makes_float64, speaks_pyclesperanto])],
        "its stacks are float64 after 2 of its functions",
    ),
    Refusal(
        "promised pixel type",
        lambda: [FunctionStep(promises_too_much)],
        "promises float64 in pyclesperanto arrays, which pyclesperanto does not have",
    ),
    Refusal(
        "twin with other parameters",
        lambda: [FunctionStep((add_with_strange_twin, {"amount": 2}))],
        "the CPU function brighter of add_with_strange_twin cannot stand in for it: brighter",
    ),
    Refusal(
        "twin on the GPU",
        lambda: [FunctionStep(add_with_twin_on_gpu)],
        "the CPU function add_on_gpu of add_with_twin_on_gpu speaks cupy arrays, which need a GPU",
    ),
    Refusal(
        "twin with other results",
        lambda: [FunctionStep(add_with_projecting_twin)],
        "promises other results (dtype=preserve, collapses=True) than it (dtype=preserve, collapses=False)",
    ),
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
        (2, "x"),
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


def first_call(*steps: FunctionStep) -> FunctionCall:
    """The first call of a plan for a host with a GPU."""
    plate, index = make_plate()
    contexts = compile_plate(plate, index, Pipeline(steps), output=output_plan(), devices=[GPU]).contexts
    return contexts["A01"].steps[0].routes[0].calls[0]


@tensorflow(output_type="numpy", dtype="native", slice_by_slice=True)
def mixed(stack: Array) -> Array:
    """Takes one library's arrays and returns another's."""
    return stack


def test_a_call_carries_what_its_function_declares() -> None:
    """Libraries, dtype, and how its stacks may be cut."""
    call = first_call(FunctionStep(mixed))

    assert (call.input_type, call.output_type, call.dtype) == ("tensorflow", "numpy", "native")
    assert (call.slice_by_slice, call.collapses, call.declared, call.cpu_twin) == (True, False, True, None)
    assert not first_call(FunctionStep(add)).declared


@pytest.mark.parametrize("function", [keeps, mixed, makes_float64, speaks_pyclesperanto, add_on_gpu, add])
def test_functions_of_every_library_compile(function: Callable[..., Array]) -> None:
    """Each alone, and behind one of another library: all pairs of libraries convert."""
    for before in (keeps, makes_anything, mixed, speaks_pyclesperanto, add_on_gpu, add):
        assert first_call(FunctionStep([before, function])).reference.endswith(before.__name__)


def test_a_pixel_type_that_only_a_run_can_tell_is_not_refused() -> None:
    """``native`` may well return what the next function takes."""
    assert compiled(FunctionStep([makes_anything, speaks_pyclesperanto]))


@pytest.mark.parametrize("dtype", ["bool", "int64", "uint64", "float16", "float64"])
def test_the_plates_own_pixel_type_must_suit_the_library(dtype: str) -> None:
    """It stands in the metadata: no run is needed to refuse it."""
    plate, index = make_plate()
    channels = tuple(replace(channel, dtype=dtype) for channel in plate.channels)
    other = replace(plate, channels=channels, dtype=dtype)

    with pytest.raises(CompilationError, match=f"its stacks are {dtype}, which pyclesperanto does not have"):
        compile_plate(other, index, [FunctionStep(speaks_pyclesperanto)], output=output_plan())
    assert compile_plate(other, index, [FunctionStep(keeps)], output=output_plan()).contexts


@pytest.mark.parametrize(
    ("function", "memory_type"),
    [
        (makes_float64, MemoryType.TORCH),
        (keeps, MemoryType.JAX),
        (mixed, MemoryType.TENSORFLOW),
        (speaks_pyclesperanto, MemoryType.PYCLESPERANTO),
        (add_on_gpu, MemoryType.CUPY),
    ],
)
def test_a_library_that_is_not_installed_is_refused(
    monkeypatch: pytest.MonkeyPatch, function: Callable[..., Array], memory_type: MemoryType
) -> None:
    """The sentence names the extra that installs it."""
    monkeypatch.setattr(type(library(memory_type)), "installed", lambda _: False)

    with pytest.raises(CompilationError) as caught:
        first_call(FunctionStep(function))

    assert f"speaks {memory_type} arrays, but {memory_type} is not installed here" in str(caught.value)
    assert f"(pip install 'openhcs-dagster[{memory_type}]')" in str(caught.value)


def test_a_cpu_function_is_frozen_with_the_same_parameters_and_promises() -> None:
    """Decorated or plain: what stands in promises what the function promises."""
    call = first_call(FunctionStep((add_on_gpu, {"amount": 3})))
    projection = first_call(FunctionStep(projection_on_gpu))
    unnamed = first_call(FunctionStep(with_unnamed_twin))

    assert call.cpu_twin is not None and projection.cpu_twin is not None and unnamed.cpu_twin is not None
    assert call.cpu_twin.reference == "tests.engine.plates:add"
    assert call.cpu_twin.kwargs == call.kwargs and call.cpu_twin.input_type == "numpy"
    assert projection.cpu_twin.collapses
    assert (unnamed.cpu_twin.dtype, unnamed.cpu_twin.slice_by_slice) == ("float32", True)


def test_a_function_whose_cpu_function_lives_only_here_cannot_leave_this_process() -> None:
    """Another process could not find what may have to stand in."""
    call = first_call(FunctionStep(with_unnamed_twin))

    assert not call.importable
    assert first_call(FunctionStep(add_on_gpu)).importable


def test_versions_of_the_libraries_that_make_pixels_are_in_the_plan() -> None:
    """Those that functions speak, and no others; none is imported for it."""
    before = set(sys.modules)

    names = [version.partition("==")[0] for version in compiled(FunctionStep([makes_anything, keeps]))["A01"].versions]

    assert names == ["openhcs-dagster", "numpy", "tifffile", "imagecodecs", "jax", "jaxlib", "torch"]
    assert {"jax", "torch"} & (set(sys.modules) - before) == set()
    plain = [version.partition("==")[0] for version in compiled(FunctionStep(add))["A01"].versions]
    assert plain == ["openhcs-dagster", "numpy", "tifffile", "imagecodecs"]


def test_plain_functions_are_remarked_once() -> None:
    """Without a decorator a function counts as NumPy, and the compilation says so."""
    plate, index = make_plate()
    pipeline = [FunctionStep([add, keeps]), FunctionStep(add), FunctionStep(add_on_gpu)]

    notes = compile_plate(plate, index, pipeline, output=output_plan(), devices=[GPU]).notes

    assert notes == (
        "tests.engine.plates:add has no decorator and counts as a NumPy function; put @numpy from "
        "openhcs_engine.memory on it.",
    )


def test_a_wrong_step_does_not_hide_what_is_wrong_before_it() -> None:
    """Pixel types and devices are judged as far as the plan is sound, together with all other mistakes."""
    with pytest.raises(CompilationError) as caught:
        compiled(
            FunctionStep([makes_float64, speaks_pyclesperanto]),
            FunctionStep(add_on_gpu, name="on gpu"),
            FunctionStep((add, {"x": 1})),
            wells="Z99,A01",
        )

    assert [violation.step_number for violation in caught.value.violations] == [None, 3, 1], str(caught.value)
