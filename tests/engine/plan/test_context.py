"""Frozen contexts: deeply immutable, equal after JSON and pickle, with a fingerprint of just what makes pixels."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine import FunctionStep, GroupBy, Pipeline, VariableComponents
from openhcs_engine.compiler import compile_plate
from openhcs_engine.errors import ContextFileError
from openhcs_engine.functions import create_max_projection
from openhcs_engine.model.frozen import FrozenMap
from openhcs_engine.plan.context import ProcessingContext, plan_fingerprint
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json
from tests.engine.plates import add, make_plate, output_plan

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def contexts() -> dict[str, ProcessingContext]:
    """Three wells, two steps, one of them with parameters."""
    plate, index = make_plate()
    pipeline = Pipeline(
        [
            FunctionStep((add, {"amount": 3}), variable_components=[VariableComponents.Z_INDEX]),
            FunctionStep(create_max_projection, variable_components=[VariableComponents.Z_INDEX]),
        ]
    )
    return compile_plate(plate, index, pipeline, output=output_plan()).contexts


def test_a_context_cannot_be_changed(contexts: dict[str, ProcessingContext]) -> None:
    """Neither the context, nor a step, nor a parameter of a function accepts a new value."""
    context = contexts["A01"]
    kwargs = context.steps[0].routes[0].calls[0].kwargs

    for value, name in ((context, "well"), (context.steps[0], "name"), (kwargs, "pairs"), (context.plate, "wells")):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, "other")
    with pytest.raises(TypeError):
        kwargs["amount"] = 4  # type: ignore[index] # that it cannot be assigned is the point


def test_contexts_survive_json_and_pickle(contexts: dict[str, ProcessingContext]) -> None:
    """What is read back equals what was written, fingerprints included."""
    assert contexts_from_json(contexts_to_json(contexts)) == contexts
    assert pickle.loads(pickle.dumps(contexts)) == contexts
    assert {context.fingerprint for context in pickle.loads(pickle.dumps(contexts)).values()} == {
        context.fingerprint for context in contexts.values()
    }


@given(st.dictionaries(st.text(), values, max_size=4))
def test_frozen_parameters_round_trip(parameters: dict[str, object]) -> None:
    """Any JSON parameters freeze to a hashable map that equals itself after pickling."""
    frozen = FrozenMap.of(parameters)

    assert pickle.loads(pickle.dumps(frozen)) == frozen
    assert hash(FrozenMap.of(dict(reversed(parameters.items())))) == hash(frozen)


@pytest.mark.parametrize(
    ("parameter", "sentence"),
    [
        ({"amount": float("nan")}, "not a finite number"),
        ({"amount": [1, float("inf")]}, r"amount\[1\]"),
        ({"amount": Path("a")}, "PosixPath"),
        ({"amount": {1: 2}}, "keys that are not text"),
        ({"amount": np.zeros(3)}, "ndarray"),
    ],
)
def test_parameters_without_an_exact_form_are_refused(parameter: dict[str, object], sentence: str) -> None:
    """The error names the parameter and says what is allowed."""
    with pytest.raises((TypeError, ValueError), match=sentence):
        FrozenMap.of(parameter)


def test_numpy_numbers_and_enums_freeze_to_plain_values() -> None:
    """What comes back from JSON is what was frozen."""
    frozen = FrozenMap.of({"a": np.float32(0.5), "b": np.uint8(3), "c": GroupBy.CHANNEL})

    assert {name: type(value) for name, value in frozen.items()} == {"a": float, "b": int, "c": str}


def test_the_fingerprint_ignores_places_and_names(contexts: dict[str, ProcessingContext]) -> None:
    """Another output, backend, device, plate folder or pipeline name makes the same pixels."""
    context = contexts["A01"]
    moved = replace(
        context,
        output=output_plan(Path("/elsewhere"), "disk"),
        plate=replace(context.plate, root="/mnt/other"),
        steps=tuple(replace(step, reads="disk") for step in context.steps),
        devices=("gpu:0",) * len(context.steps),
    )

    assert moved.fingerprint == context.fingerprint


def test_the_fingerprint_knows_what_makes_pixels(contexts: dict[str, ProcessingContext]) -> None:
    """A parameter, a source, a version, or another file gives another fingerprint."""
    context = contexts["A01"]
    call = context.steps[0].routes[0].calls[0]

    def with_call(**changes: object) -> ProcessingContext:
        route = replace(context.steps[0].routes[0], calls=(replace(call, **changes),))  # type: ignore[arg-type]
        return replace(context, steps=(replace(context.steps[0], routes=(route,)), *context.steps[1:]))

    plane = context.index.planes[0].replace(mtime_ns=2)
    others = [
        with_call(kwargs=FrozenMap.of({"amount": 4})),
        with_call(source_sha256="0" * 64),
        replace(context, versions=("numpy==0",)),
        replace(context, index=type(context.index)((plane, *context.index.planes[1:]))),
    ]

    assert len({context.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_the_plan_fingerprint_is_over_its_wells(contexts: dict[str, ProcessingContext]) -> None:
    """One well fewer is another plan; the order of wells is not."""
    fewer = list(contexts.values())[1:]

    assert plan_fingerprint(fewer) != plan_fingerprint(contexts.values())
    assert plan_fingerprint(reversed(list(contexts.values()))) == plan_fingerprint(contexts.values())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda document: document.update(format=99), "format 99"),
        (lambda document: document.update(surprise=1), "surprise"),
        (lambda document: document["steps"][0].update(name="Other"), "changed after it was written"),
        (lambda document: document["wells"]["A01"].update(fingerprint="0" * 64), "A01"),
        (lambda document: document.pop("plate"), "plate"),
    ],
)
def test_a_tampered_plan_document_is_refused(contexts: dict[str, ProcessingContext], change, sentence: str) -> None:  # type: ignore[no-untyped-def] # table of lambdas
    """Another version, an unknown field, or a value that does not match the fingerprints."""
    document = msgspec.json.decode(contexts_to_json(contexts))
    change(document)

    with pytest.raises(ContextFileError, match=sentence):
        contexts_from_json(msgspec.json.encode(document))


def test_text_that_is_no_plan_document_is_refused() -> None:
    """Garbage is an error sentence, not a parser's traceback."""
    with pytest.raises(ContextFileError, match="not a plan document"):
        contexts_from_json(b"\x80\x04garbage")
