"""Functions that are declared lazy: their planes are read one by one, and no more of them is held than they hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator, VariableComponents
from openhcs_engine.errors import StackShapeError
from openhcs_engine.functions import create_max_projection
from openhcs_engine.memory import LazyStack
from openhcs_engine.memory.stack import Array
from openhcs_engine.ngff.reading.reader import open_plate
from openhcs_engine.plan.context import with_calls
from openhcs_engine.plan.diff import compare_plans
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json
from openhcs_engine.plan.flow import WORKING_COPIES, flows_of
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.engine import lazy_functions as lazies
from tests.engine.lazy_functions import brightest, brightest_of_files
from tests.engine.route_runs import call, planes, send

SITE, CHANNEL, Z = VariableComponents.SITE, VariableComponents.CHANNEL, VariableComponents.Z_INDEX
PROJECT = FunctionStep(create_max_projection, variable_components=[Z])


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One well of 4 sites, 2 channels and 2 z planes."""
    spec = SyntheticPlate(name="small", rows=1, columns=1, sites=4, z=2, shape=(34, 30))
    return write_imagexpress(tmp_path_factory.mktemp("raw") / "small", spec)


def run(plate: Path, output: Path, *steps: FunctionStep, runner: str = "threads", **options: str) -> Path:
    """The output of one well, which must not fail."""
    orchestrator = PipelineOrchestrator(plate, output=output, runner=runner, **options).initialize()  # type: ignore[arg-type]
    contexts = orchestrator.compile_pipelines(Pipeline(steps))
    (result,) = orchestrator.execute_compiled_plate(Pipeline(steps), contexts, max_workers=1).values()
    assert result.error is None, result.traceback
    return output / "small"


def error_of(plate: Path, output: Path, *steps: FunctionStep) -> str:
    """Why the well fails."""
    orchestrator = PipelineOrchestrator(plate, output=output, runner="threads").initialize()
    contexts = orchestrator.compile_pipelines(Pipeline(steps))
    (result,) = orchestrator.execute_compiled_plate(Pipeline(steps), contexts, max_workers=1).values()
    return str(result.error)


def raw(plate: Path, channel: int, site: int | str = "*") -> Array:
    """Planes of the plate, read by other means than ours."""
    files = sorted(plate.rglob(f"*_s{site}_w{channel}.*"))
    return np.stack([tifffile.imread(file) for file in files if "thumb" not in file.name])


def image(folder: Path, site: int | None = None) -> Array:
    """``(t, c, z, y, x)`` of a site, or of all sites in one."""
    return np.asarray(open_plate(folder / "images.zarr")["A01"][site].array())


def test_a_lazy_stack_reads_a_plane_when_it_is_asked_for_and_again_each_time() -> None:
    """Its length, shape, type and bytes are known without; a slice reads nothing; numbers count from the end, too."""
    pixels, asked = planes(3), list[int]()

    def read(number: int) -> Array:
        asked.append(number)
        plane: Array = pixels[number]
        return plane

    stack = LazyStack((3, 6, 8), pixels.dtype, read)

    assert (len(stack), stack.ndim, stack.size, stack.nbytes) == (3, 3, 3 * 48, pixels.nbytes)
    assert len(stack[1:]) == 2 and asked == []
    assert np.array_equal(stack[1:][-1], pixels[2]) and np.array_equal(stack[-3], pixels[0])
    assert all(np.array_equal(plane, expected) for plane, expected in zip(stack, pixels, strict=True))
    assert asked == [2, 0, 0, 1, 2]
    with pytest.raises(IndexError):
        stack[3]
    with pytest.raises(ValueError, match="read-only"):
        stack[0][0, 0] = 1
    assert pixels.flags.writeable


@pytest.mark.parametrize("runner", ["threads", "processes"])
@pytest.mark.parametrize("intermediates", ["memory", "disk", "zarr"])
def test_a_lazy_function_gets_what_another_gets(plate: Path, tmp_path: Path, runner: str, intermediates: str) -> None:
    """The same planes in the same order, wherever they lie between the steps."""
    folder = run(
        plate,
        tmp_path / "out",
        PROJECT,
        FunctionStep(brightest, variable_components=[SITE]),
        runner=runner,
        intermediates=intermediates,
    )

    assert np.array_equal(image(folder)[0, :, 0], [raw(plate, channel).max(axis=0) for channel in (1, 2)])


def test_no_plane_of_the_raw_plate_is_held_behind_the_back_of_a_lazy_function(plate: Path, tmp_path: Path) -> None:
    """What it let go of is gone before the next one is read: the function itself looks."""
    folder = run(plate, tmp_path, FunctionStep(brightest_of_files, variable_components=[SITE, Z]))
    assert np.array_equal(image(folder)[0, 0, 0], raw(plate, 1).max(axis=0))


@pytest.mark.parametrize("steps", [(), (PROJECT,)], ids=["raw", "projected"])
def test_planes_stay_as_they_are_where_the_lazy_stack_comes_back(
    plate: Path, tmp_path: Path, steps: tuple[FunctionStep, ...]
) -> None:
    """Beside what the function found of them."""
    folder = run(plate, tmp_path, *steps, FunctionStep(lazies.look_at_levels, variable_components=[SITE]))

    for site in range(1, 5):
        stack = raw(plate, 2, site)
        expected = stack.max(axis=0, keepdims=True) if steps else stack
        assert np.array_equal(image(folder, site)[0, 1], expected)
    table = pl.read_parquet(folder / "tables" / "levels.parquet").filter(pl.col("channel") == 2)
    assert table["site_of_plane"].to_list()[:4] == [1, 2, 3, 4]


def test_a_lazy_function_may_return_a_new_stack(plate: Path, tmp_path: Path) -> None:
    """Under the same laws as any other; the planes that it was given are gone then."""
    folder = run(plate, tmp_path, PROJECT, FunctionStep(lazies.doubled, variable_components=[SITE]))
    doubled = image(folder, 3)[0, 0, 0]
    assert np.array_equal(doubled, raw(plate, 1, 3).max(axis=0) * 2)


def test_what_a_lazy_function_must_not_return_is_a_sentence(plate: Path, tmp_path: Path) -> None:
    """A part of its stack, and planes of another type than it promises; with step, function and the way out."""
    part = error_of(plate, tmp_path / "part", PROJECT, FunctionStep(lazies.a_part, variable_components=[SITE]))
    assert 'step 2 "a_part"' in part and "returned a LazyStack" in part and "or the very stack that it got" in part
    other = error_of(plate, tmp_path / "type", PROJECT, FunctionStep(lazies.promises_float32))
    assert 'step 2 "promises_float32"' in other and "promises float32, but returned the lazy stack" in other


def test_a_plane_that_cannot_be_read_fails_the_well_with_step_function_and_file(plate: Path, tmp_path: Path) -> None:
    """Though it is read inside the function."""
    copied = tmp_path / "raw"
    for file in (file for file in plate.rglob("*") if file.is_file()):
        target = copied / file.relative_to(plate)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    damaged = next(file for file in sorted(copied.rglob("*_s3_w1.*")) if "thumb" not in file.name)
    damaged.write_bytes(damaged.read_bytes()[:100])

    error = error_of(copied, tmp_path / "out", FunctionStep(brightest, variable_components=[SITE]))

    assert 'step 1 "brightest"' in error and damaged.name in error


def test_a_lazy_function_called_by_the_engine_with_an_array_gets_its_planes() -> None:
    """One law for all stacks: what lies in memory already is shown plane by plane."""
    stack = planes()
    result, _ = send(stack, [(call(lazy=True, collapses=True), brightest)])
    assert np.array_equal(result[0], stack.max(axis=0))
    with pytest.raises(StackShapeError, match="must return 1"):
        send(stack, [(call(lazy=True, collapses=True), lambda given: given)])


def test_the_declaration_is_frozen_told_in_differences_and_counts_where_it_is_used(plate: Path, tmp_path: Path) -> None:
    """It comes back from a document; a plan with a plain function of the same name differs by it."""
    orchestrator = PipelineOrchestrator(plate, output=tmp_path).initialize()
    contexts = orchestrator.compile_pipelines([PROJECT, FunctionStep(brightest, variable_components=[SITE])])

    back = contexts_from_json(contexts_to_json(contexts))

    (lazy,), (plain,) = (
        [call.lazy for route in step.routes for call in route.calls] for step in back["A01"].steps[::-1]
    )
    assert (lazy, plain) == (True, False) and back["A01"].fingerprint == contexts["A01"].fingerprint
    steps = tuple(with_calls(step, lambda call: replace(call, lazy=False)) for step in contexts["A01"].steps)
    diff = compare_plans({"A01": replace(contexts["A01"], steps=steps)}, contexts)
    assert diff.stale_wells == ("A01",)
    assert [change.what for change in diff.changes] == ["brightest reads planes one by one: False → True"]


def test_the_plan_counts_two_rows_of_tiles_as_what_a_lazy_function_holds(tmp_path: Path) -> None:
    """Of 16 tiles 8, and of an array all."""
    spec = SyntheticPlate(name="grid", rows=1, columns=1, sites=16, shape=(34, 30))
    orchestrator = PipelineOrchestrator(
        write_imagexpress(tmp_path / "grid", spec), output=tmp_path / "out"
    ).initialize()
    working = {}
    for function in (brightest, create_max_projection):
        (flow,) = flows_of(orchestrator.compile_pipelines([FunctionStep(function, variable_components=[SITE])]))
        working[function] = flow.steps[0].working
    tile = 34 * 30 * 2
    assert working == {brightest: WORKING_COPIES * 8 * tile, create_max_projection: WORKING_COPIES * 16 * tile}
