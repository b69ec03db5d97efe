"""Steps as the UI shows them: of a plan, and of a well that was run."""

from __future__ import annotations

from openhcs_dagster.plate.markdown import markdown_table, plan_table, steps_table, volume_table
from openhcs_engine import FunctionStep, GroupBy, VariableComponents
from openhcs_engine.compiler import compile_plate
from openhcs_engine.execution.results import Rung, RungResult, StepResult
from openhcs_engine.functions import create_max_projection
from openhcs_engine.plan.facts import facts_of_plan
from tests.engine.plates import add, make_plate, output_plan


def test_a_plan_says_of_each_step_what_the_command_line_does() -> None:
    """Functions by channel with their parameters, devices, stacks, places with bytes, time as far as it is known."""
    plate, index = make_plate()
    z = [VariableComponents.Z_INDEX]
    by_channel = {"DAPI": [(add, {"amount": 3}), create_max_projection], "GFP": create_max_projection}
    steps = [
        FunctionStep(by_channel, name="Project", group_by=GroupBy.CHANNEL, variable_components=z),
        FunctionStep(add, name="Brighten | *all*"),
    ]
    facts = facts_of_plan(compile_plate(plate, index, steps, output=output_plan()).contexts)

    lines = plan_table(facts).replace("\N{NO-BREAK SPACE}", " ").splitlines()

    assert lines[2:] == [
        "| step | **1. Project** |",
        r"| functions | DAPI: add(amount=3) → create\_max\_projection |",
        r"|  | GFP: create\_max\_projection |",
        "| memory types | numpy |",
        "| device | cpu: 3 wells |",
        r"| stacks | 4 a well of 3 planes 8 x 6 uint16, along z\_index |",
        "| reads | the plate, 1.2 kB a well |",
        "| writes | memory, 384 bytes a well |",
        "| time | not measured yet |",
        r"| step | **2. Brighten \| \*all\*** |",
        "| functions | add |",
        "| memory types | numpy |",
        "| device | cpu: 3 wells |",
        "| stacks | 2 a well of 2 planes 8 x 6 uint16, along site |",
        "| reads | step 1, from memory, 384 bytes a well |",
        "| writes | the output, 384 bytes a well |",
        "| time | not measured yet |",
    ]
    assert volume_table(facts).splitlines()[2:] == [
        "| a well | 1.2 kB | 1.2 kB | 512 bytes |",
        "| plate | 3.5 kB | 1.2 kB a worker | 1.5 kB |",
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
        f"| 1. One | gpu:0 | 0.50 | 4 | 12 → 4 | numpy -> torch: &lt;DLPack> | {rung.summary} |",
        "| 2. Two | cpu:0 | 0.50 | 4 | 12 → 4 |  |  |",
    ]


def test_nothing_gives_no_table() -> None:
    """A well that was not computed has no steps, and no empty table."""
    assert steps_table(()) == markdown_table([]) == ""
