"""Steps as the UI shows them: of a plan, and of a well that was run."""

from __future__ import annotations

from openhcs_dagster.step_tables import markdown_table, plan_table, steps_table
from openhcs_engine import FunctionStep, GroupBy, VariableComponents
from openhcs_engine.compiler import compile_plate
from openhcs_engine.execution.results import Rung, RungResult, StepResult
from openhcs_engine.functions import create_max_projection
from tests.engine.plates import add, make_plate, output_plan


def test_a_plan_says_of_each_step_what_the_command_line_does() -> None:
    """Functions by channel with their parameters, devices, stacks with sizes and bytes, places."""
    plate, index = make_plate()
    z = [VariableComponents.Z_INDEX]
    by_channel = {"DAPI": [(add, {"amount": 3}), create_max_projection], "GFP": create_max_projection}
    steps = [
        FunctionStep(by_channel, name="Project", group_by=GroupBy.CHANNEL, variable_components=z),
        FunctionStep(add, name="Brighten | *all*"),
    ]

    lines = (
        plan_table(compile_plate(plate, index, steps, output=output_plan()).contexts)
        .replace("\N{NO-BREAK SPACE}", " ")
        .splitlines()
    )

    assert lines[2:] == [
        "| step | **1. Project** |",
        "| functions | DAPI: add |",
        "|  | with amount=3 |",
        r"|  | → create\_max\_projection |",
        r"|  | GFP: create\_max\_projection |",
        "| device | cpu |",
        r"| stacks a well | 4 of 3 planes 8 x 6 uint16, along z\_index |",
        "|  | 1.1 KiB |",
        "| reads → writes | source → memory |",
        r"| step | **2. Brighten \| \*all\*** |",
        "| functions | add |",
        "| device | cpu |",
        "| stacks a well | 2 of 2 planes 8 x 6 uint16, along site |",
        "|  | 384 bytes |",
        "| reads → writes | memory → output |",
    ]


def test_the_steps_of_a_well_are_one_table() -> None:
    """A row a step, with its device, conversions, fallback and rungs; columns that say nothing are left out."""
    rung = RungResult(rung=Rung.FREE, outcome="helped", detail="gpu:0 ran out of memory")
    common = {"seconds": 0.5, "stacks": 4, "planes_read": 12, "planes_written": 4, "bytes_read": 0}
    steps = (
        StepResult(number=1, name="One", device="gpu:0", routes=("numpy -> torch: <DLPack>",), rungs=(rung,), **common),  # type: ignore[arg-type]
        StepResult(number=2, name="Two", device="cpu:0", **common),  # type: ignore[arg-type]
    )

    assert steps_table(steps).splitlines() == [
        "| step | device | seconds | stacks | planes | conversions | out of memory |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        f"| 1. One | gpu:0 | 0.50 | 4 | 12 → 4 | numpy -> torch: &lt;DLPack> | {rung.told} |",
        "| 2. Two | cpu:0 | 0.50 | 4 | 12 → 4 |  |  |",
    ]


def test_nothing_gives_no_table() -> None:
    """A well that was not computed has no steps, and no empty table."""
    assert steps_table(()) == markdown_table([]) == ""
