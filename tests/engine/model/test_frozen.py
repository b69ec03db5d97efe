"""Contexts frozen for real: nothing reachable changes, every process computes the same, only what was declared runs."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine import FunctionStep, Materialize, Pipeline, VariableComponents
from openhcs_engine.compiler import Compilation, compile_plate, pipeline_digest
from openhcs_engine.errors import ContextFileError, ExecutionError
from openhcs_engine.execution.calls import FunctionSource
from openhcs_engine.functions import create_max_projection
from openhcs_engine.memory.stack import Array
from openhcs_engine.model.frozen import FrozenMap
from openhcs_engine.model.plate_map import Condition, PlateMap, WellRole
from openhcs_engine.plan.context import ProcessingContext, plan_fingerprint, steps_digest
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json
from tests.engine.plates import add, double, make_plate, output_plan

Z, SITE = VariableComponents.Z_INDEX, VariableComponents.SITE
ROOT = Path(__file__).resolve().parents[3]


def steps() -> list[FunctionStep]:
    """A bit of everything that a step can say."""
    return [
        FunctionStep({"DAPI": [add, (add, {"amount": 2})], "2": double}, variable_components=[Z, SITE], wells="row:A"),
        FunctionStep((add, {"amount": 3}), materialize=Materialize(wells="A02", backend="disk")),
        FunctionStep(create_max_projection, variable_components=Z, input_source="start", materialize="projections"),
    ]


def compiled(*declared: FunctionStep, wells: object = None) -> Compilation:
    """The plan of the small plate, with a plate map."""
    plate, index = make_plate()
    plate_map = PlateMap(
        name="map.csv",
        wells=("A01",),
        conditions=(Condition(name="compound", values=("DMSO",)),),
        roles=(WellRole.NEGATIVE,),
        cells=("A2",),
    )
    return compile_plate(
        replace(plate, plate_map=plate_map),
        index,
        Pipeline(declared or steps()),
        output=output_plan(),
        well_filter=wells,  # type: ignore[arg-type]
    )


def parts(value: object) -> Iterator[tuple[str, object]]:
    """What can be reached from a value in one step, and how."""
    if is_dataclass(value):
        yield from ((field.name, getattr(value, field.name)) for field in fields(value))
    elif isinstance(value, msgspec.Struct):
        yield from ((name, getattr(value, name)) for name in value.__struct_fields__)
    elif isinstance(value, tuple):
        yield from ((f"[{position}]", item) for position, item in enumerate(value))
    elif isinstance(value, FrozenMap):
        yield "pairs", value.pairs
    elif isinstance(value, Mapping):
        yield from ((f"[{key!r}]", item) for key, item in value.items())


def everything(value: object, path: str) -> Iterator[tuple[str, object]]:
    """A value and everything reachable from it."""
    yield path, value
    for name, part in parts(value):
        yield from everything(part, f"{path}.{name}")


def changed(value: Any) -> list[str]:  # Any: whatever is reachable
    """Ways in which a value let itself be changed."""
    if value is None or isinstance(value, bool | int | float | str | Enum):
        return []
    attributes = ["a_new_one", *(name for name, _ in parts(value) if not name.startswith("["))]
    tries: dict[str, Callable[..., object]] = {
        f"set {name}": lambda name=name: setattr(value, name, None) for name in attributes
    }
    tries |= {f"delete {name}": lambda name=name: delattr(value, name) for name in attributes[1:]}
    tries["set an item"] = lambda: value.__setitem__(0, None)
    tries["add an item"] = lambda: value.append(None)
    tries["update"] = lambda: value.update(a=None)
    tries["reach its dict"] = lambda: value.__dict__.update(a=None)
    return [name for name, change in tries.items() if _works(change)]


def _works(change: Any) -> bool:  # Any: a function without arguments
    try:
        change()
    except (AttributeError, TypeError):
        return False
    return True


def test_nothing_that_a_context_reaches_can_be_changed() -> None:
    """Plate, plate map, steps, routes, calls, parameters, planes: each refuses every way to change it."""
    context = compiled().contexts["A02"]
    context.fingerprint, context.index.by_well  # noqa: B018 # what is computed on demand must be as frozen
    before = contexts_to_json({"A02": context})

    found = list(everything(context, "context"))

    assert {path: done for path, value in found if (done := changed(value))} == {}
    assert {type(value) for _, value in found if isinstance(value, list | dict | set | bytearray)} == set()
    assert any("kwargs" in path for path, _ in found) and any("plate_map" in path for path, _ in found)
    assert contexts_to_json({"A02": context}) == before


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    )
)
def test_parameters_are_frozen_as_deep_as_they_go(parameters: dict[str, Any]) -> None:  # Any: JSON
    """Whatever a parameter holds: nothing in it can be changed, and the caller's own value has no part in it."""
    frozen = FrozenMap.of(parameters)
    thawed = frozen.thaw()
    for value in parameters.values():
        if isinstance(value, list | dict):
            value.clear()

    assert [done for _, value in everything(frozen, "") if (done := changed(value))] == []
    assert frozen.thaw() == thawed


def test_contexts_with_everything_in_them_survive_json_and_pickle() -> None:
    """Filters, kept places and coordinates included: equal, with equal fingerprints, and equal hashes."""
    contexts = compiled().contexts

    for again in (contexts_from_json(contexts_to_json(contexts)), pickle.loads(pickle.dumps(contexts))):
        assert again == contexts
        assert plan_fingerprint(again.values()) == plan_fingerprint(contexts.values())
        assert {hash(context) for context in again.values()} == {hash(context) for context in contexts.values()}


PRINT_FINGERPRINTS = """
    from openhcs_engine import FunctionStep
    from openhcs_engine.plan.context import plan_fingerprint
    from tests.engine.model.test_frozen import compiled

    namespace = {"__name__": "no_file"}
    exec(  # a function without a source text, as in a console, with a set and a function inside
        "def typed(stack, kinds=frozenset({'a', 'b', 'c'})):\\n"
        "    return stack if stack.dtype.name in {'uint8', 'uint16', 'int8'} else (lambda s: s + 1)(stack)",
        namespace,
    )
    print(plan_fingerprint(compiled().contexts.values()))
    print(plan_fingerprint(compiled(FunctionStep(namespace["typed"])).contexts.values()))
"""


def test_every_process_computes_the_same_fingerprint() -> None:
    """Whatever the seed of its hashes, and also for functions whose source text is not there."""
    told = [
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(PRINT_FINGERPRINTS)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "4242")
    ]

    assert len(set(told)) == 1
    assert told[0].splitlines()[0] == plan_fingerprint(compiled().contexts.values())


def test_a_fingerprint_knows_of_a_filter_only_whether_the_step_applies() -> None:
    """Other wells in the filter change nothing for a well; being left out does."""
    plans = [
        compiled(FunctionStep(add), FunctionStep(double, wells=wells)).contexts
        for wells in (None, "row:A", "A01", "not:A01")
    ]

    of_a01 = [plan["A01"].fingerprint for plan in plans]
    assert of_a01[0] == of_a01[1] == of_a01[2] != of_a01[3]
    assert [step.name for step in plans[3]["A01"].own_steps] == ["add"]


def test_wells_have_the_same_fingerprint_alone_and_together() -> None:
    """Whatever steps apply to them and are kept of them: a plan's wells, and each by itself."""
    declared = [*steps(), FunctionStep(add, wells="not:A01", materialize=Materialize(sub_folder="b", wells="B01"))]
    contexts = compiled(*declared).contexts
    alone = [replace(context).fingerprint for context in contexts.values()]

    plan_fingerprint(contexts.values())

    assert [context.fingerprint for context in contexts.values()] == alone
    assert len({replace(context, index=contexts["A01"].index).fingerprint for context in contexts.values()}) == 3


def test_a_place_that_is_kept_too_is_part_of_what_a_well_is() -> None:
    """A well that was published without it must run again; wells that keep nothing need not."""
    plain = compiled(FunctionStep(add), FunctionStep(double)).contexts
    kept = compiled(FunctionStep(add, materialize=Materialize(wells="A01")), FunctionStep(double)).contexts

    assert [plain[well].fingerprint == kept[well].fingerprint for well in ("A01", "A02", "B01")] == [False, True, True]


def test_a_step_reads_the_plate_where_it_is_the_first_that_applies() -> None:
    """A well that passes step 1 enters step 2 as the microscope left it."""
    contexts = compiled(FunctionStep(add, wells="A01"), FunctionStep(double)).contexts

    assert [(step.number, step.reads) for step in contexts["A01"].own_steps] == [(1, "source"), (2, "memory")]
    assert [(step.number, step.reads) for step in contexts["B01"].own_steps] == [(2, "source")]


def test_disabled_steps_leave_the_plan_and_a_note() -> None:
    """The plan is that of the pipeline without the step; the note says which one was left out, even a broken one."""
    broken = FunctionStep((add, {"no": 1}), name="Broken", enabled=False)

    with_it, without = (
        compiled(FunctionStep(double), broken, FunctionStep(add)),
        compiled(FunctionStep(double), FunctionStep(add)),
    )

    assert with_it.contexts == without.contexts
    assert [note for note in with_it.notes if note not in without.notes] == [
        "Step 'Broken' (item 2 of the pipeline) is disabled and left out."
    ]


def test_compiling_twice_gives_the_same_and_changes_nothing() -> None:
    """Steps, their patterns and parameters are as they were; both plans are equal."""
    declared = steps()
    before = repr([(vars(step), step.func) for step in declared])

    first, second = compiled(*declared), compiled(*declared)

    assert (first.contexts, first.notes) == (second.contexts, second.notes)
    assert repr([(vars(step), step.func) for step in declared]) == before


def test_a_callers_list_can_change_and_the_step_does_not() -> None:
    """Axes and wells were taken when the step was declared."""
    axes, wells = [Z], ["A01"]
    step = FunctionStep(add, variable_components=axes, wells=wells)
    axes.append(SITE)
    wells.append("B01")

    assert (step.variable_components, step.wells) == ((Z,), ("A01",))


def slip_in(context: ProcessingContext, reference: str) -> ProcessingContext:
    """The context with another function in its first step, all digests of its own made anew."""
    step = context.steps[0]
    call = replace(step.routes[0].calls[0], reference=reference)
    other = replace(step, routes=(replace(step.routes[0], calls=(call,)), *step.routes[1:]))
    return replace(context, steps=(other, *context.steps[1:]))


def test_a_function_that_the_pipeline_did_not_declare_is_refused() -> None:
    """A plan document that names one is not read, although its fingerprints fit: nothing is imported for it."""
    context = slip_in(compiled(FunctionStep(add)).contexts["A01"], "os:system")

    with pytest.raises(ContextFileError, match="functions or parameters that its pipeline did not declare"):
        contexts_from_json(contexts_to_json({"A01": context}))


def test_a_pipeline_is_known_by_what_its_contexts_do_not_by_what_they_say() -> None:
    """The digest of the steps themselves decides whether contexts belong to a pipeline."""
    plate, _ = make_plate()
    context = compiled(FunctionStep(add)).contexts["A01"]

    assert steps_digest(context.steps) == context.pipeline_digest == pipeline_digest(plate, [FunctionStep(add)])
    assert steps_digest(slip_in(context, "os:system").steps) != context.pipeline_digest


def test_functions_are_verified_when_they_are_loaded() -> None:
    """One whose source is another now is refused by name, an imported one as well as one of this process."""
    call = compiled(FunctionStep(add)).contexts["A01"].steps[0].routes[0].calls[0]
    other = replace(call, source_sha256="0" * 64)

    assert FunctionSource().get(call) is add
    for source in (FunctionSource(), FunctionSource(local={call.reference: add})):
        with pytest.raises(ExecutionError, match=r"plates:add is not the one that was compiled"):
            source.get(other)


def local_function(amount: int) -> Any:
    """A function that no other process can import."""

    def inner(stack: Array) -> Array:
        return stack + amount

    return inner


def test_functions_that_live_only_here_are_told_once_when_they_are_compiled() -> None:
    """One sentence: why, what it costs, and what to do."""
    function = local_function(1)

    notes = compiled(FunctionStep([function, function]), FunctionStep(function)).notes

    (told,) = [note for note in notes if "this process only" in note]
    assert "local_function.<locals>.inner" in told and "threads" in told and "Put it into a module" in told
