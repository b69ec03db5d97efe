"""Every way to declare something that cannot be: each refused with its step, its key and what to do."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from openhcs_engine import FunctionStep, GroupBy, Materialize, Pipeline, VariableComponents
from openhcs_engine.compiler import compile_plate
from openhcs_engine.errors import CompilationError, Violation
from openhcs_engine.functions import create_composite, create_max_projection
from openhcs_engine.memory import MemoryType, cupy, pyclesperanto, torch
from openhcs_engine.memory import numpy as numpy_function
from openhcs_engine.memory.devices import Device, DevicePolicy
from openhcs_engine.memory.libraries import library
from openhcs_engine.memory.stack import Array
from openhcs_engine.model.image_index import ImageIndex, PlaneKind, Projections
from openhcs_engine.model.plate import Plate
from tests.engine import side_functions as sides
from tests.engine.lazy_functions import brightest, doubled
from tests.engine.plates import add, double, make_plate, output_plan

Z, CHANNEL, SITE = VariableComponents.Z_INDEX, VariableComponents.CHANNEL, VariableComponents.SITE
Steps = Callable[[], Any]  # Any: what a user may take for a pipeline


@torch(dtype="float64")
def makes_float64(stack: Array) -> Array:
    """In torch."""
    return stack


@numpy_function(dtype="int64")
def makes_int64(stack: Array) -> Array:
    """Which no OME-TIFF file holds."""
    return stack


@pyclesperanto
def on_clesperanto(stack: Array) -> Array:
    """Whose library has no float64."""
    return stack


@cupy
def on_cupy(stack: Array) -> Array:
    """Needs a GPU."""
    return stack


@cupy(cpu=on_cupy)
def with_gpu_twin(stack: Array) -> Array:
    """Its CPU function needs a GPU, too."""
    return stack


@cupy(cpu=add)
def with_other_twin(stack: Array, gain: float = 1) -> Array:
    """Its CPU function calls the parameter otherwise."""
    return stack


@torch(cpu=doubled)
def with_lazy_twin(stack: Array) -> Array:
    """Its CPU function reads plane by plane."""
    return stack


@numpy_function(coordinates=True)
def without_coordinates(stack: Array) -> Array:
    """Asks for coordinates and takes none."""
    return stack


@numpy_function(coordinates=True)
def with_coordinates(stack: Array, coordinates: object) -> Array:
    """Gets them from the engine."""
    return stack


async def later(stack: Array) -> Array:
    """Returns a coroutine."""
    return stack


def one_by_one(stack: Array) -> Iterator[Array]:
    """Returns a generator."""
    yield from stack


async def later_one_by_one(stack: Array) -> AsyncIterator[Array]:
    """Returns an asynchronous generator."""
    yield stack


def by_position(stack: Array, gain: float = 1, /) -> Array:
    """Has a parameter that nobody can name."""
    return stack


def by_position_only(stack: Array, gain: float, /) -> Array:
    """And that it needs."""
    return stack


class Brighter:
    """What it does depends on the object, and the object has no name."""

    def __call__(self, stack: Array) -> Array:
        """The stack."""
        return stack


def holds_itself() -> list[object]:
    """A list without an end."""
    endless: list[object] = []
    endless.append(endless)
    return endless


def needs_more(stack: Array, gain: float) -> Array:
    """Has a parameter without a default."""
    return stack


def nothing_to_take() -> None:
    """Has no parameter for the stack."""


GPU = Device(kind="gpu", index=0, name="Paper GPU", uuid="GPU-paper-0", memory_bytes=100)
"""A GPU that exists on paper only, and has room for a hundred bytes."""


def without_images(plate: Plate, index: ImageIndex) -> tuple[Plate, ImageIndex]:
    """Well A02 has projections only."""
    return plate, ImageIndex(tuple(p.replace(kind=PlaneKind.PROJECTION) if p.key.well == "A02" else p for p in index))


def absent_well(plate: Plate, index: ImageIndex) -> tuple[Plate, ImageIndex]:
    """Well C01 was selected, and has no image."""
    return replace(plate, absent_wells=("C01",)), index


def two_of_a_name(plate: Plate, index: ImageIndex) -> tuple[Plate, ImageIndex]:
    """Both channels are called DAPI."""
    return replace(plate, channels=tuple(replace(channel, name="DAPI") for channel in plate.channels)), index


def no_wells(plate: Plate, index: ImageIndex) -> tuple[Plate, ImageIndex]:
    """Nothing was imaged."""
    return replace(plate, wells=()), ImageIndex(())


def as_it_is(plate: Plate, index: ImageIndex) -> tuple[Plate, ImageIndex]:
    """The small plate."""
    return plate, index


@dataclass(frozen=True)
class Row:
    """One thing that is wrong, and how it is said."""

    name: str
    steps: Steps
    step: int | None
    key: str | None
    says: tuple[str, ...]
    """Essentials of the sentence: first what is wrong, last what would be right."""
    wells: object = None
    how: dict[str, Any] = field(default_factory=dict)  # Any: options of the compiler, each of its own type
    plate: Callable[[Plate, ImageIndex], tuple[Plate, ImageIndex]] = as_it_is
    backend: str = "zarr"


def one(func: object, **arguments: object) -> Steps:
    """A pipeline of one step."""
    return lambda: [FunctionStep(func, **arguments)]  # type: ignore[arg-type] # that it is wrong is the point


FINE = one(add)
CHOOSE_AXES = "choose from site, channel, z_index, timepoint"
FORMS = "row:A-C, col:3, col:01-06, rectangles (A01:B06)"

ROWS = [
    # The pipeline
    Row("no pipeline", lambda: None, None, "pipeline", ("list of steps, but got None", "Pipeline([FunctionStep(…)")),
    Row("not a list", lambda: FunctionStep(add), None, "pipeline", ("got a FunctionStep", "Pipeline([")),
    Row("a text", lambda: "my:pipeline", None, "pipeline", ("got a str", "Pipeline([FunctionStep(…)")),
    Row("no steps", lambda: Pipeline([]), None, "pipeline", ("has no steps", "add at least one FunctionStep")),
    Row("not a step", lambda: [add], None, "item 1", ("Item 1 of the pipeline is a function", "FunctionStep(…)")),
    Row("a step's class", lambda: [FunctionStep], None, "item 1", ("a class (FunctionStep)", "write FunctionStep(…)")),
    Row(
        "all disabled",
        one(add, enabled=False),
        None,
        "enabled",
        ("Every step of the pipeline is disabled", "enable at least one"),
    ),
    # The wells of the run
    Row("unknown well", FINE, None, "H12", ("'H12' of the well filter is not on this plate", "A01, A02, B01"), "H12"),
    Row("no well's name", FINE, None, "well3", ("not the name of a well", FORMS), ["A01", "well3"]),
    Row("empty filter", FINE, None, "", ("well filter is empty", "leave it out"), []),
    Row("well without images", FINE, None, "C1", ("has no images", "leave it out"), "C1", plate=absent_well),
    Row("a well twice", FINE, None, "a1", ("names well A01 twice", "name it once"), "A01,a1"),
    Row("row that is not there", FINE, None, "row:H", ("meets no well of this plate", "3 wells"), "row:H"),
    Row("columns by letter", FINE, None, "col:A-C", ("no pattern", FORMS), "col:A-C"),
    Row("three corners", FINE, None, "A01:A02:B01", ("no pattern", FORMS), "A01:A02:B01"),
    Row("first none", FINE, None, "0", ("first 0 wells", "a number from 1 to 3"), 0),
    Row("less than none", FINE, None, "-2", ("first -2 wells", "a number from 1 to 3"), -2),
    Row("first too many", FINE, None, "4", ("the plate has 3", "a number from 1 to 3"), 4),
    Row("half a well", FINE, None, "float", ("A float is no well filter", FORMS), 1.5),
    Row("a number in a list", FINE, None, "1", ("holds 1, which is no text", FORMS), [1, 2]),
    Row("nothing left", FINE, None, "A01,not:row:A", ("leaves no well", "widen it, or leave it out"), "A01,not:row:A"),
    Row("plate without wells", FINE, None, "wells", ("no well with images", "copy the images"), plate=no_wells),
    Row(
        "no plane enters",
        FINE,
        None,
        "A02",
        ("Well A02 has no images left with projections=ignore", "leave it out"),
        how={"projections": Projections.IGNORE},
        plate=without_images,
    ),
    Row("no step for a well", one(add, wells="A01"), None, "A02", ("No step applies to well A02, B01", "widen")),
    # Types of a step's arguments
    Row("name", one(add, name=5), 1, "name", ("name=5 is no text", "give the step's name as text")),
    Row("unknown axis", one(add, variable_components=["row"]), 1, "row", ("no axis of a stack", CHOOSE_AXES)),
    Row("axis by number", one(add, variable_components=3), 1, "3", ("holds 3", CHOOSE_AXES)),
    Row(
        "along wells",
        one(add, variable_components="well"),
        1,
        "well",
        ("each well is processed by itself", CHOOSE_AXES),
    ),
    Row(
        "no axis",
        one(add, variable_components=[]),
        1,
        "variable_components",
        ("one or more different axes", CHOOSE_AXES),
    ),
    Row(
        "axis twice",
        one(add, variable_components=[Z, Z]),
        1,
        "variable_components",
        ("one or more different axes", CHOOSE_AXES),
    ),
    Row("unknown group", one(add, group_by="plate"), 1, "group_by", ("'plate' is unknown", CHOOSE_AXES)),
    Row("by well", one({"A01": add}, group_by=GroupBy.WELL), 1, "group_by", ("group_by is well", "own wells=…")),
    Row(
        "unknown source",
        one(add, input_source="raw"),
        1,
        "input_source",
        ("'raw' is unknown", "choose from previous, start"),
    ),
    Row(
        "unknown uncovered",
        one(add, uncovered="maybe"),
        1,
        "uncovered",
        ("'maybe' is unknown", "choose from error, pass, drop"),
    ),
    Row(
        "half enabled",
        one(add, enabled="no"),
        1,
        "enabled",
        ("enabled='no' is neither True nor False", "give one of them"),
    ),
    Row("unknown well of a step", one(add, wells="Q99"), 1, "Q99", ("'Q99' is not the name of a well", FORMS)),
    Row("count of a step", one(add, wells=9), 1, "9", ("first 9 wells", "from 1 to 3")),
    Row("type of a step's wells", one(add, wells=2.5), 1, "float", ("no well filter", FORMS)),
    Row("a dict of wells", one(add, wells={"A01": 1}), 1, "dict", ("A dict is no well filter", FORMS)),
    # The pattern
    Row("no function", one(None), 1, "func", ("func holds None", "a function, (function, {parameters})")),
    Row("text", one("add"), 1, "func", ("func holds 'add'", "expected a function, (function, {parameters})")),
    Row("class", one(Pipeline), 1, "func", ("expected a function", "a list of those, or a dict of any of them")),
    Row(
        "tuple of one",
        one((add,)),
        1,
        "func",
        ("func holds (<function add", "a tuple must be (function, {parameters})"),
    ),
    Row(
        "parameters in a list",
        one((add, [1])),
        1,
        "func",
        ("func holds (<function add", "a tuple must be (function, {parameters})"),
    ),
    Row("empty chain", one([]), 1, "func", ("empty list", "give at least one function")),
    Row("empty dict", one({}), 1, "func", ("empty dict", "give at least one entry")),
    Row("chain in a chain", one([add, [double]]), 1, "func[1]", ("Lists are not nested", "write one list")),
    Row("dict in a chain", one([{"DAPI": add}]), 1, "func[0]", ("func[0] holds {", "expected a function")),
    Row(
        "entry of a dict",
        one({"DAPI": add, "GFP": [add, 5]}),
        1,
        "func['GFP'][1]",
        ("func['GFP'][1] holds 5", "expected a function"),
    ),
    Row("boolean key", one({True: add}), 1, "True", ("neither a name nor a number", "name a value of group_by")),
    Row(
        "unknown channel",
        one({"Cy5": add, "DAPI": add, "GFP": add}),
        1,
        "Cy5",
        ("channel 'Cy5' is not on this plate (has: DAPI, GFP)", "Check the keys"),
    ),
    Row(
        "unknown number", one({7: add}, uncovered="drop"), 1, "7", ("channel 7 is not on this plate", "has: DAPI, GFP")
    ),
    Row(
        "a very long number",
        one({"1" * 5000: add}, uncovered="drop"),
        1,
        "1" * 5000,
        ("is not on this plate", "has: DAPI, GFP"),
    ),
    Row(
        "unknown site",
        one({3: add}, group_by="site", variable_components=[Z], uncovered="pass"),
        1,
        "3",
        ("site 3 is not on this plate (has: 1, 2)", "Check the keys"),
    ),
    Row("uncovered", one({"DAPI": add}), 1, "2", ("no entry for channel GFP", 'uncovered="pass"')),
    Row(
        "two keys, one channel",
        one({"GFP": add, "DAPI": add, "1": add}),
        1,
        "1",
        ("the same channel, 'DAPI' and '1'", "keep one"),
    ),
    Row(
        "one name, two channels",
        one({"DAPI": add}),
        1,
        "DAPI",
        ("2 channels are called", "[1, 2]"),
        plate=two_of_a_name,
    ),
    Row(
        "dict without group",
        one({"DAPI": add}, group_by=GroupBy.NONE),
        1,
        "group_by",
        ("group_by is NONE", "name the component that its keys are values of"),
    ),
    Row(
        "grouped along the stack",
        one({"DAPI": add, "GFP": add}, variable_components=[CHANNEL]),
        1,
        "channel",
        ("also in variable_components", "Take it out"),
    ),
    # Functions
    Row("unknown keyword", one((add, {"amuont": 2})), 1, "amuont", ("'amuont'", "did you mean 'amount'?")),
    Row("unlike any keyword", one((add, {"x": 2})), 1, "x", ("'x' (its parameters: amount)", "take it out")),
    Row("keyword is not text", one((add, {3: 2})), 1, "3", ("parameter names must be text", "write it in quotes")),
    Row(
        "missing parameter",
        one(needs_more),
        1,
        "gain",
        ("is missing its parameter 'gain'", 'as in (needs_more, {"gain": …})'),
    ),
    Row("takes no stack", one(nothing_to_take), 1, "nothing_to_take", ("takes no stack", "give it a first parameter")),
    Row("not a number", one((add, {"amount": float("nan")})), 1, "amount", ("not a finite number", "use None")),
    Row(
        "a set as parameter",
        one((add, {"amount": {1, 2}})),
        1,
        "amount",
        ("amount is a set", "numbers, text, booleans"),
    ),
    Row("partial", one(functools.partial(add, amount=2)), 1, "func", ("has no name", "not as functools.partial")),
    Row(
        "partial in a function's clothes",
        one(functools.update_wrapper(functools.partial(add, amount=2), add)),
        1,
        "add",
        ("has no name", "not as functools.partial"),
    ),
    Row("object that can be called", one(Brighter()), 1, "func", ("has no name", "a function defined with def")),
    Row("the stack as parameter", one((add, {"stack": 2})), 1, "stack", ("gets its stack as 'stack'", "take it out")),
    Row("by position", one((by_position, {"gain": 2})), 1, "gain", ("by position only", "take the '/' behind it out")),
    Row("needed by position", one(by_position_only), 1, "gain", ("missing its parameter", "give it a default")),
    Row("text that is none", one((add, {"amount": "\ud800"})), 1, "amount", ("is no Unicode", "write it anew")),
    Row("name that is no text", one(add, name="\ud800"), 1, "name", ("is no Unicode", "write it anew")),
    Row("holds itself", one((add, {"amount": holds_itself()})), 1, "amount", ("holds itself", "plain values")),
    Row("async", one(later), 1, "later", ("is an async function", "plain function")),
    Row(
        "async generator", one(later_one_by_one), 1, "later_one_by_one", ("returns no array", "write a plain function")
    ),
    Row("generator", one(one_by_one), 1, "one_by_one", ("is a generator", "plain function")),
    Row(
        "takes no coordinates",
        one(without_coordinates),
        1,
        "coordinates",
        ("has no parameter 'coordinates'", "add it behind the stack"),
    ),
    Row(
        "gives coordinates itself",
        one((with_coordinates, {"coordinates": 1})),
        1,
        "coordinates",
        ("the engine gives it coordinates", "take the parameter out"),
    ),
    Row(
        "lazy behind an array",
        one([add, brightest], variable_components=[SITE]),
        1,
        "brightest",
        ("brightest is declared lazy=True", "but add of the same chain takes them as one array", "a step of its own"),
    ),
    Row(
        "lazy on the CPU only",
        one(with_lazy_twin),
        1,
        "with_lazy_twin",
        ("the CPU function doubled of with_lazy_twin is declared lazy=True", "give one that takes an array"),
    ),
    # Libraries, pixel types, devices
    Row(
        "pixel type of the step before",
        lambda: [FunctionStep(makes_float64), FunctionStep(on_clesperanto)],
        2,
        "on_clesperanto",
        ("its stacks are float64, which pyclesperanto does not have", 'dtype="float32"'),
    ),
    Row("pixel type of the files", one(makes_int64), 1, "int64", ("OME-TIFF", "zarr"), backend="disk"),
    Row(
        "pixel type of the files kept",
        lambda: [FunctionStep(makes_int64, materialize=Materialize(backend="disk")), FunctionStep(add)],
        1,
        "int64",
        ("OME-TIFF", 'dtype="float32"'),
    ),
    Row("twin on the GPU", one(with_gpu_twin), 1, "with_gpu_twin", ("which need a GPU", "runs on the CPU")),
    Row(
        "twin's parameters",
        one((with_other_twin, {"gain": 2})),
        1,
        "gain",
        ("cannot stand in for it", "take it out of the step"),
    ),
    Row(
        "no GPU",
        one(on_cupy),
        1,
        "on_cupy",
        ("on_cupy works on GPUs only", "give it one, or run where there is a GPU"),
        how={"device_policy": DevicePolicy.AUTO},
    ),
    Row(
        "does not fit",
        one(on_cupy),
        1,
        "on_cupy",
        ("on_cupy needs 576 bytes", "along fewer planes"),
        how={"devices": [GPU]},
    ),
    # Axes that are gone
    Row(
        "collapsed axis",
        lambda: [
            FunctionStep(create_max_projection, variable_components=[Z]),
            FunctionStep(add, variable_components=[Z]),
        ],
        2,
        "z_index",
        ("left one plane for the whole z_index axis", "pipeline's start"),
    ),
    Row(
        "grouped by a collapsed axis",
        lambda: [
            FunctionStep(create_composite, variable_components=[CHANNEL]),
            FunctionStep({"DAPI": add, "GFP": add}, variable_components=[SITE]),
        ],
        2,
        "channel",
        ("keyed by channel", "left one plane for the whole channel axis"),
    ),
    Row(
        "collapsed for one channel",
        lambda: [
            FunctionStep({"DAPI": create_max_projection}, variable_components=[Z], uncovered="pass"),
            FunctionStep({"DAPI": add}, variable_components=[Z], uncovered="pass"),
        ],
        2,
        "z_index",
        ("left one plane", "Move this step before it"),
    ),
    Row(
        "collapsed for some wells",
        lambda: [
            FunctionStep(create_max_projection, variable_components=[Z], wells="row:A"),
            FunctionStep(add, variable_components=[Z], wells="A02,B01"),
        ],
        2,
        "z_index",
        ("left one plane", "Move this step before it"),
    ),
    # Stacks that are gone
    Row(
        "entry for a dropped channel",
        lambda: [FunctionStep({"GFP": add}, uncovered="drop", name="GFP"), FunctionStep({"DAPI": add, "GFP": add})],
        2,
        "DAPI",
        ("step 'GFP' before it drops all its stacks", 'uncovered="pass"'),
    ),
    Row(
        "dropped by one step a well",
        lambda: [
            FunctionStep({"GFP": add}, uncovered="drop", wells="A01"),
            FunctionStep({"GFP": add}, uncovered="drop", wells="not:A01"),
            FunctionStep({1: add}, uncovered="pass"),
        ],
        3,
        "1",
        ("drops all its stacks", "Take the entry out"),
    ),
    # Places
    Row("keeps what?", one(add, materialize=5), 1, "materialize", ("materialize=5 says nothing", "Materialize(…)")),
    Row(
        "keeps in the images",
        one(add, materialize="images"),
        1,
        "materialize",
        ("folder of the output itself", "choose another name"),
    ),
    Row("keeps in the LOGS", one(add, materialize="LOGS"), 1, "materialize", ("logs", "choose another name")),
    Row("keeps at a device", one(add, materialize="com1"), 1, "materialize", ("'com1' is a name", "Windows")),
    Row("keeps elsewhere", one(add, materialize="../raw"), 1, "materialize", ("cannot name a folder", "letters")),
    Row(
        "keeps as what?",
        one(add, materialize=Materialize(backend="hdf5")),  # type: ignore[arg-type] # that it is wrong is the point
        1,
        "materialize",
        ("'hdf5'", "choose from zarr, disk"),
    ),
    Row(
        "keeps which wells?",
        one(add, materialize=Materialize(wells="Q99")),
        1,
        "Q99",
        ("not the name of a well", FORMS),
    ),
    Row(
        "keeps no well",
        one(add, wells="not:A01", materialize=Materialize(wells="A01")),
        1,
        "materialize",
        ("none of the wells that the step applies to", "let both meet"),
        "A02",
    ),
    Row(
        "two in one place",
        lambda: [FunctionStep(add, materialize=True), FunctionStep(double, materialize="Checkpoints")],
        2,
        "Checkpoints.zarr",
        ('where step 1 "add" keeps its own', "sub-folder of its own"),
    ),
]


def refused(row: Row) -> tuple[Violation, ...]:
    """What the compiler says."""
    plate, index = row.plate(*make_plate())
    with pytest.raises(CompilationError) as caught:
        compile_plate(
            plate,
            index,
            row.steps(),
            output=output_plan(backend=row.backend),
            well_filter=row.wells,  # type: ignore[arg-type] # that it is wrong is the point
            **row.how,
        )
    assert str(caught.value) == "\n".join(str(violation) for violation in caught.value.violations)
    return caught.value.violations


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_kind_of_mistake_is_refused_with_its_place_and_a_remedy(row: Row) -> None:
    """Step, key and the sentence's essentials; and nothing else is complained of."""
    (violation,) = refused(row)

    assert (violation.step_number, violation.key) == (row.step, row.key), violation
    assert [part for part in row.says if part not in violation.message] == []
    assert str(violation).startswith(f'Step {row.step} "') is (row.step is not None)


def test_the_table_is_whole() -> None:
    """Many kinds, each with what is wrong and what would be right."""
    assert len({row.name for row in ROWS}) == len(ROWS) >= 35
    assert [row.name for row in ROWS if len(row.says) < 2] == []


def test_all_that_is_wrong_with_one_function_comes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters, values and the library, each with its own key."""
    monkeypatch.setattr(type(library(MemoryType.TORCH)), "installed", lambda _: False)
    given = {"gian": 1, "x": float("inf"), 3: 4}

    found = refused(Row("many", one((makes_float64, given)), 1, None, ()))

    assert [violation.key for violation in found] == ["3", "gian", "x", "makes_float64", "x"]


def test_a_wrong_function_makes_no_further_mistakes_of_others() -> None:
    """What it would do is known all the same: its axis is gone, and the positions that it makes are made."""
    positions = FunctionStep((sides.one_position, {"x": 1}))
    projection = FunctionStep((create_max_projection, {"x": 1}), variable_components=[Z])

    (alone,) = refused(Row("side output", lambda: [positions, FunctionStep(sides.assemble)], 1, "x", ()))
    found = refused(Row("axis", lambda: [projection, FunctionStep(add, variable_components=[Z])], 1, "x", ()))

    assert (alone.step_number, alone.key) == (1, "x")
    assert [(violation.step_number, violation.key) for violation in found] == [(1, "x"), (2, "z_index")]


def test_a_mistake_does_not_hide_that_a_later_step_needs_a_gpu() -> None:
    """Though nobody knows what its stacks would be."""
    found = refused(Row("gpu", lambda: [FunctionStep((add, {"x": 1})), FunctionStep(on_cupy)], None, None, ()))

    assert [(violation.step_number, violation.key) for violation in found] == [(1, "x"), (2, "on_cupy")]


@dataclass(frozen=True)
class Missing:
    """A library that is not installed."""

    function: Callable[..., Array]
    memory_type: MemoryType


@pytest.mark.parametrize(
    "missing",
    [Missing(makes_float64, MemoryType.TORCH), Missing(on_cupy, MemoryType.CUPY)],
    ids=lambda missing: missing.memory_type.value,
)
def test_a_missing_library_is_refused_with_what_installs_it(missing: Missing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the function, the library, and the extra of this package."""
    monkeypatch.setattr(type(library(missing.memory_type)), "installed", lambda _: False)

    (violation,) = refused(Row("missing library", one(missing.function), 1, None, ()))

    assert violation.key == missing.function.__name__
    assert f"pip install 'openhcs-dagster[{missing.memory_type}]'" in violation.message


def test_everything_that_is_wrong_comes_at_once() -> None:
    """Mistakes of the filter, of arguments, of patterns, of functions, of axes and of places, in one error."""

    def steps() -> list[object]:
        return [
            FunctionStep({"Cy5": add, "DAPI": [add, 5], "GFP": (add, {"x": 1})}, name="by channel", uncovered="maybe"),  # type: ignore[list-item, arg-type]
            add,
            FunctionStep(create_max_projection, variable_components=[Z], materialize="logs"),
            FunctionStep(add, variable_components=["well", Z], input_source="raw", wells="row:Q", group_by="plate"),
            FunctionStep(later, enabled="no", name=5, materialize=5),  # type: ignore[arg-type]
            FunctionStep(None, enabled=False),  # type: ignore[arg-type]
        ]

    found = refused(Row("many", steps, None, None, (), wells=["Z99", "A01", "well3"]))

    assert [(violation.step_number, violation.key) for violation in found] == [
        (None, "Z99"),
        (None, "well3"),
        (None, "item 2"),
        (1, "func['DAPI'][1]"),
        (1, "uncovered"),
        (1, "Cy5"),
        (1, "x"),
        (2, "materialize"),
        (3, "well"),
        (3, "group_by"),
        (3, "input_source"),
        (3, "row:Q"),
        (3, "z_index"),
        (4, "name"),
        (4, "enabled"),
        (4, "later"),
        (4, "materialize"),
    ]


@dataclass(frozen=True)
class Fine:
    """Something unusual that is right."""

    name: str
    steps: Steps
    wells: object = None


FINE_ROWS = [
    Fine(
        "channels that collapse one after the other",
        lambda: [
            FunctionStep({"DAPI": create_max_projection}, variable_components=[Z], uncovered="pass"),
            FunctionStep({"GFP": create_max_projection}, variable_components=[Z], uncovered="pass"),
        ],
    ),
    Fine(
        "wells that collapse one after the other",
        lambda: [
            FunctionStep(create_max_projection, variable_components=[Z], wells="row:A"),
            FunctionStep(create_max_projection, variable_components=[Z], wells="not:row:A"),
        ],
    ),
    Fine(
        "from the start again",
        lambda: [
            FunctionStep(create_max_projection, variable_components=[Z]),
            FunctionStep(add, variable_components=[Z], input_source="start"),
        ],
    ),
    Fine("a number for a channel's name", one({1: add, "02": [add, (add, {"amount": 2})]})),
    Fine("by time", one({1: add}, group_by="timepoint")),
    Fine("by z", one({"1": add, "02": double, 3: add}, group_by=GroupBy.Z_INDEX)),
    Fine("group_by of no dict", one(add, variable_components=[CHANNEL], group_by=GroupBy.CHANNEL)),
    Fine(
        "what was dropped needs no entry",
        lambda: [FunctionStep({"GFP": add}, uncovered="drop"), FunctionStep({"GFP": double})],
    ),
    Fine(
        "what was dropped in other wells",
        lambda: [FunctionStep({"GFP": add}, uncovered="drop", wells="A01"), FunctionStep({"DAPI": add, "GFP": double})],
    ),
    Fine(
        "what was dropped is there again at the start",
        lambda: [
            FunctionStep({"GFP": add}, uncovered="drop"),
            FunctionStep({"DAPI": add, "GFP": double}, input_source="start"),
        ],
    ),
    Fine("coordinates", one(with_coordinates, variable_components=[CHANNEL, Z])),
    Fine(
        "the same folder's name in two forms",
        lambda: [
            FunctionStep(add, materialize=Materialize(sub_folder="raw", backend="zarr")),
            FunctionStep(add, materialize=Materialize(sub_folder="raw", backend="disk")),
        ],
    ),
    Fine("wells by number", FINE, 2),
    Fine("wells by the text of a number", FINE, "2"),
]


@pytest.mark.parametrize("fine", FINE_ROWS, ids=lambda fine: fine.name)
def test_what_is_only_unusual_is_not_refused(fine: Fine) -> None:
    """The compiler does not guess that a person meant something else."""
    plate, index = make_plate()

    assert compile_plate(plate, index, fine.steps(), output=output_plan(), well_filter=fine.wells).contexts  # type: ignore[arg-type]
