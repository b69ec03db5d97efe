"""What follows from a plan: bytes, links between steps, and how long it will take."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from openhcs_engine import FunctionStep, GroupBy, Materialize, PipelineOrchestrator, VariableComponents
from openhcs_engine.compiler import compile_plate
from openhcs_engine.functions import create_max_projection, generate_positions
from openhcs_engine.memory import numpy
from openhcs_engine.memory.stack import Array
from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.output.timings import MOST_PLANS, MOST_WELLS, measured_for, read_measurements
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.document import unpacked
from openhcs_engine.plan.facts import PlanFacts, facts_of_plan
from openhcs_engine.plan.facts.measurements import MeasuredStep, MeasuredWell, Measurements
from openhcs_engine.plan.facts.prediction import format_seconds
from openhcs_engine.plan.facts.rows import step_rows
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.engine.plates import add, double, make_plate, output_plan
from tests.engine.side_functions import apply_model, assemble, find_nuclei, fit, mean_in_nuclei

Z, SITE = VariableComponents.Z_INDEX, VariableComponents.SITE
PLANE = 8 * 6 * 2
"""Bytes of a plane of the small plate; a well has 2 sites x 2 channels x 3 z of them."""
PLACE = "/results/P1"


@numpy(dtype="float32")
def as_float(stack: Array) -> Array:
    """Twice the bytes."""
    return np.asarray(stack, np.float32)


def compiled(*steps: FunctionStep, wells: tuple[str, ...] = ("A01", "A02", "B01")) -> dict[str, ProcessingContext]:
    """The plan of the small plate."""
    plate, index = make_plate(wells)
    return compile_plate(plate, index, steps, output=output_plan()).contexts


def rows(facts: PlanFacts) -> list[dict[str, str]]:
    """The cells of each step, lines joined."""
    return [{name: " | ".join(lines) for name, lines in row.items() if lines} for row in step_rows(facts)]


def measured(
    contexts: Mapping[str, ProcessingContext], *seconds: float, device: str = "cpu:0", whole: float | None = None
) -> Measurements:
    """Each well of a plan, with the seconds of its steps."""
    wells = tuple(
        MeasuredWell(
            context=context,
            seconds=sum(seconds) if whole is None else whole,
            steps=tuple(
                MeasuredStep(number=number, seconds=each, device=device) for number, each in enumerate(seconds, start=1)
            ),
        )
        for context in contexts.values()
    )
    return Measurements(output=PLACE, wells=wells, published=len(wells))


def test_bytes_follow_the_planes_and_their_pixel_types() -> None:
    """A projection leaves a third, float32 twice as much; what is kept on the way is written, too."""
    facts = facts_of_plan(
        compiled(
            FunctionStep(create_max_projection, variable_components=[Z], materialize=Materialize(backend="disk")),
            FunctionStep(as_float),
        )
    )

    assert [(step.read, step.left) for step in facts.steps] == [(12 * PLANE, 4 * PLANE), (4 * PLANE, 8 * PLANE)]
    assert facts.a_well.read == 12 * PLANE
    assert facts.a_well.held == 8 * PLANE
    assert facts.a_well.peak == (8 + 3 * 2 * 2) * PLANE  # three copies of two planes of float32
    assert facts.a_well.output == 4 * PLANE + int(8 * PLANE * 4 / 3)  # files of TIFF have no resolutions
    assert facts.plate.output == 3 * facts.a_well.output and facts.plate.peak == facts.a_well.peak


def test_wells_with_fewer_planes_count_less_for_the_plate() -> None:
    """A well is told by the fullest, the plate is the sum of what each has."""
    contexts = compiled(FunctionStep(add))
    contexts["B01"] = replace(contexts["B01"], index=ImageIndex(contexts["B01"].index.planes[:6]))

    facts = facts_of_plan(contexts)

    assert facts.a_well.read == 12 * PLANE and facts.plate.read == (12 + 12 + 6) * PLANE
    assert not facts.same_in_all and "6 at most a well of 2 planes 8 x 6 uint16" in rows(facts)[0]["stacks"]


def test_a_step_tells_functions_keys_parameters_stacks_and_places() -> None:
    """Channels by name; channels with one chain share a line."""
    by_channel = {"DAPI": (add, {"amount": 3}), "GFP": double}
    facts = facts_of_plan(
        compiled(
            FunctionStep({"1": create_max_projection, "2": create_max_projection}, name="Project",
                         variable_components=[Z], materialize="projected"),
            FunctionStep(by_channel, name="Shine", group_by=GroupBy.CHANNEL, wells="row:A"),
        )
    )  # fmt: skip

    project, shine = rows(facts)
    assert project == {
        "step": "1. Project",
        "functions": "DAPI, GFP: create_max_projection",
        "memory types": "numpy",
        "device": "cpu: 3 wells",
        "stacks": "4 a well of 3 planes 8 x 6 uint16, along z_index",
        "reads": "the plate, 1.2 kB a well",
        "writes": "memory, 384 bytes a well, kept in projected.zarr",
        "time": "not measured yet",
    }
    assert shine["wells"] == "2 of 3" and shine["functions"] == "DAPI: add(amount=3) | GFP: double"
    assert shine["reads"] == "step 1, from memory, 384 bytes a well"
    assert shine["writes"].startswith("the output, ")


def test_side_data_are_told_with_the_step_at_the_other_end() -> None:
    """Who makes what, who takes it, and where it is kept; what nobody takes and nobody keeps is said to be so."""
    stitched = facts_of_plan(
        compiled(
            FunctionStep((generate_positions, {"grid_dimensions": (1, 2)}), variable_components=[SITE]),
            FunctionStep(fit, variable_components=[SITE]),
            FunctionStep(assemble, variable_components=[SITE]),
        )
    )
    counted = facts_of_plan(compiled(FunctionStep(find_nuclei), FunctionStep(mean_in_nuclei)))

    assert [row.get("makes") for row in rows(stitched)] == [
        "positions (positions) → step 3, kept in tables/positions",
        "model (object), for nobody",
        None,
    ]
    assert [row.get("takes") for row in rows(stitched)] == [None, None, "positions ← step 1"]
    assert rows(counted)[0]["makes"] == (
        "cells (table), kept in tables/cells | nuclei (labels) → step 2, kept in the labels of the images"
    )
    assert rows(counted)[1]["takes"] == "nuclei ← step 1"


def test_what_lives_in_the_well_only_is_told_with_its_taker() -> None:
    """An object is kept nowhere."""
    made, taken = rows(facts_of_plan(compiled(FunctionStep(fit), FunctionStep(apply_model))))

    assert (made["makes"], taken["takes"]) == ("model (object) → step 2", "model ← step 1")


def test_the_same_plan_is_predicted_to_take_what_it_took() -> None:
    """The median of the wells, for the steps and for the whole; the plate is the sum over its wells."""
    contexts = compiled(FunctionStep(add), FunctionStep(double))
    earlier = measured(contexts, 0.5, 1.5, whole=2.6)

    facts = facts_of_plan(contexts, earlier)

    assert [step.time.seconds for step in facts.steps] == pytest.approx([0.5, 1.5])
    assert facts.time.seconds == pytest.approx(2.6) and facts.time.plate_seconds == pytest.approx(3 * 2.6)
    assert rows(facts)[0]["time"] == "about 0.5 s a well (3 wells measured)"


def test_seconds_grow_with_the_pixels() -> None:
    """A well with half of the planes takes half as long."""
    contexts = compiled(FunctionStep(add))
    half = {well: replace(each, index=ImageIndex(each.index.planes[:6])) for well, each in contexts.items()}

    (step,) = facts_of_plan(half, measured(contexts, 0.5)).steps

    assert step.time.seconds == pytest.approx(0.25)


def test_a_step_is_found_by_its_functions_wherever_it_stood() -> None:
    """Behind a projection it had a third of the pixels, and another name."""
    before = compiled(FunctionStep(create_max_projection, variable_components=[Z]), FunctionStep(double, name="Old"))

    (step,) = facts_of_plan(compiled(FunctionStep(double, name="New")), measured(before, 9.0, 0.1)).steps

    assert step.time.seconds == pytest.approx(0.3)


def test_wells_with_the_very_parameters_are_preferred() -> None:
    """Without any, those with others count, and that is said."""
    quick, slow = compiled(FunctionStep((add, {"amount": 1}))), compiled(FunctionStep((add, {"amount": 9})))
    mixed = measured(quick, 0.1)
    mixed = replace(mixed, wells=(*mixed.wells, *measured(slow, 4.0).wells))

    (same,) = facts_of_plan(slow, mixed).steps
    (other,) = facts_of_plan(slow, measured(quick, 0.1)).steps

    assert (same.time.seconds, same.time.wells, same.time.why) == (pytest.approx(4.0), 3, "")
    assert other.time.told == "about 0.1 s a well (3 wells measured, with other parameters or sources)"


@pytest.mark.parametrize(
    ("earlier", "why"),
    [
        (None, "not measured yet: no output was looked at"),
        (Measurements(output=PLACE), "not measured yet: /results/P1 holds no results"),
        (Measurements(output=PLACE, published=3), "are gone or of another version"),
        (measured(compiled(FunctionStep(double)), 1.0), "no run into /results/P1 called the same functions"),
        (measured(compiled(FunctionStep(add)), 1.0, device="gpu:0"), "it ran on the GPU only"),
    ],
)  # fmt: skip
def test_what_was_not_measured_is_not_invented(earlier: Measurements | None, why: str) -> None:
    """There is no number, and a reason."""
    facts = facts_of_plan(compiled(FunctionStep(add)), earlier)

    assert facts.steps[0].time.seconds is None and why in facts.steps[0].time.told
    assert facts.time.seconds is None and facts.time.told.startswith("not measured yet: ")


def test_a_plan_has_no_time_as_long_as_one_step_has_none() -> None:
    """A sum with a hole would be too small."""
    earlier = measured(compiled(FunctionStep(add)), 1.0)

    facts = facts_of_plan(compiled(FunctionStep(add), FunctionStep(double)), earlier)

    assert [step.time.seconds is None for step in facts.steps] == [False, True]
    assert facts.time.told == "not measured yet: not all steps were"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.0123, "0.012 s"), (5.04, "5 s"), (42.4, "42 s"), (99.4, "99 s"), (200.0, "3 min 20 s"), (7500.0, "2 h 5 min")],
)
def test_seconds_are_told_in_units_that_suit_them(seconds: float, told: str) -> None:
    """Two digits are all that a prediction is worth."""
    assert format_seconds(seconds) == told


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, ProcessingContext]]:
    """A plate's output folder and its contexts, after a run."""
    folder = tmp_path_factory.mktemp("run")
    spec = SyntheticPlate(name="P", rows=1, columns=2, sites=1, z=2, shape=(32, 32))
    orchestrator = PipelineOrchestrator(
        write_imagexpress(folder / "P", spec), output=folder / "out", runner="threads"
    ).initialize()
    pipeline = [FunctionStep(create_max_projection, variable_components=[Z]), FunctionStep(add)]
    contexts = orchestrator.compile_pipelines(pipeline)
    assert all(result.success for result in orchestrator.execute_compiled_plate(pipeline, contexts, 1).values())
    return folder / "out" / "P", contexts


def test_what_a_run_measured_is_read_from_its_output(run: tuple[Path, dict[str, ProcessingContext]]) -> None:
    """Seconds and devices of each step, with the context that was run; so the same plan has a prediction."""
    folder, contexts = run

    found = read_measurements(folder)

    assert found == measured_for(contexts) and found.published == 2
    assert {well.context.well for well in found.wells} == {"A01", "A02"}
    assert all(well.context == contexts[well.context.well] for well in found.wells)
    assert [step.number for step in found.wells[0].steps] == [1, 2]
    facts = facts_of_plan(contexts, found)
    assert all(step.time.wells == 2 for step in facts.steps) and facts.time.seconds is not None


def test_a_plan_as_earlier_versions_kept_it_tells_as_much(
    run: tuple[Path, dict[str, ProcessingContext]], tmp_path: Path
) -> None:
    """Its file is not compressed."""
    folder, _ = run
    shutil.copytree(folder, tmp_path / "P")
    (plan,) = (tmp_path / "P" / "contexts").iterdir()
    plan.with_suffix("").write_bytes(unpacked(plan.read_bytes()))
    plan.unlink()

    assert read_measurements(tmp_path / "P").wells == read_measurements(folder).wells != ()


def test_a_bounded_number_of_files_is_read(run: tuple[Path, dict[str, ProcessingContext]], tmp_path: Path) -> None:
    """However many wells and plans an output has; damaged manifests, and those without a plan, tell nothing."""
    folder, _ = run
    (tmp_path / "wells").mkdir()
    (tmp_path / "contexts").mkdir()
    document = msgspec.json.decode((folder / "wells" / "A01.json").read_bytes())
    (plan,) = (path.read_bytes() for path in (folder / "contexts").glob("*.json.gz"))
    for number in range(MOST_PLANS + 3):
        (tmp_path / "contexts" / f"{number}.json.gz").write_bytes(plan)
    for number in range(MOST_WELLS + 10):
        well = f"{'ABCDEFGH'[number // 12]}{number % 12 + 1:02d}"
        told = document | {"well": well, "plan": str(number % (MOST_PLANS + 3))}
        (tmp_path / "wells" / f"{well}.json").write_bytes(msgspec.json.encode(told))
    (tmp_path / "wells" / "H12.json").write_bytes(b"{")

    found = read_measurements(tmp_path)

    assert found.published == MOST_WELLS + 11
    assert len(found.wells) <= 2 * MOST_PLANS  # each plan has the wells A01 and A02 only
    assert read_measurements(tmp_path / "nowhere") == Measurements(output=str(tmp_path / "nowhere"))
