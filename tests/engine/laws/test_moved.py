"""Modules of ours that moved keep the names by which plans and fingerprints know them."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from openhcs_engine import FunctionStep, VariableComponents, functions
from openhcs_engine.compiler import compile_plate
from openhcs_engine.execution.calls import FunctionSource
from openhcs_engine.laws.moved import MOVED, current_name, stored_name
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json
from openhcs_engine.plan.function_reference import reference_of, resolve
from openhcs_engine.uses.follow import follow
from tests.engine.plates import make_plate, output_plan

OF_BEFORE = {
    "create_composite": "openhcs_engine.functions.composite:create_composite",
    "create_max_projection": "openhcs_engine.functions.projection:create_max_projection",
    "create_mean_projection": "openhcs_engine.functions.projection:create_mean_projection",
    "denoise_images": "openhcs_engine.functions.denoise:denoise_images",
    "enhance_contrast": "openhcs_engine.functions.contrast:enhance_contrast",
    "generate_positions": "openhcs_engine.functions.positions:generate_positions",
    "percentile_from_histogram": "openhcs_engine.functions.histogram:percentile_from_histogram",
    "stack_percentile_normalize": "openhcs_engine.functions.normalize:stack_percentile_normalize",
    "stage_tile_positions": "openhcs_engine.functions.positions:stage_tile_positions",
    "subtract_background": "openhcs_engine.functions.background:subtract_background",
    "tile_positions": "openhcs_engine.functions.positions:tile_positions",
}
"""How version 0.1 named the built-ins in its plans."""

LAB = """
from openhcs_engine.functions import any_library, create_max_projection, stack_percentile_normalize
from openhcs_engine.memory import numpy

TOOLS = {"flat": create_max_projection, "bright": (stack_percentile_normalize, {"low_percentile": 2.0})}


@numpy
@any_library
def by_tools(stack, tool=stack_percentile_normalize):
    return TOOLS["flat"](tool(stack))
"""
DIGEST_OF_BEFORE = "0fd5e91c29236461fb1707bb402caf84657fbaba5db1b229818c722699048e8d"
"""Of ``by_tools``, as version 0.1 computed it."""


@pytest.mark.parametrize("name", OF_BEFORE)
def test_a_built_in_is_named_as_before_and_found_by_that_name(name: str) -> None:
    """Wherever its file lies now."""
    function = getattr(functions, name)

    assert reference_of(function) == OF_BEFORE[name]
    assert resolve(OF_BEFORE[name]) is function
    assert resolve(f"{function.__module__}:{name}") is function


def test_every_module_of_the_table_is_one_that_moved() -> None:
    """The new name can be imported, the old one cannot, and there is one way back."""
    for stored, now in MOVED.items():
        importlib.import_module(now)
        with pytest.raises(ImportError):
            importlib.import_module(stored)
        assert (current_name(stored), stored_name(now)) == (now, stored)
    assert stored_name("lab.functions") == current_name("lab.functions") == "lab.functions"


def test_a_function_of_a_lab_that_holds_built_ins_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its digest tells them, their tables and its wrapper by the names of before."""
    (tmp_path / "lab_that_holds.py").write_text(LAB.lstrip(), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    uses = follow(importlib.import_module("lab_that_holds").by_tools)

    assert uses.sha256 == DIGEST_OF_BEFORE


def test_a_plan_names_built_ins_as_before_and_its_calls_are_found_again() -> None:
    """The document, too; a worker verifies what it finds by the plan's digests."""
    plate, index = make_plate()
    steps = [FunctionStep(functions.create_max_projection, variable_components=[VariableComponents.Z_INDEX])]
    context = compile_plate(plate, index, steps, output=output_plan()).contexts["A01"]
    (call,) = contexts_from_json(contexts_to_json({"A01": context}))["A01"].calls

    assert call.reference == OF_BEFORE["create_max_projection"] and call.importable
    assert list(call.uses) == [call.reference]
    assert FunctionSource().get(call) is functions.create_max_projection
