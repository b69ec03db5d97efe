"""What a step may say beside its functions, seen in the results: filters, kept planes, coordinates, names of planes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tifffile

from openhcs_engine import FunctionStep, Materialize, Pipeline, PipelineOrchestrator, VariableComponents
from openhcs_engine.errors import PipelineMismatchError
from openhcs_engine.execution import WellResult, WellStatus
from openhcs_engine.functions import create_composite, create_max_projection
from openhcs_engine.memory import numpy as numpy_function
from openhcs_engine.memory.stack import Array
from openhcs_engine.ngff.reading.reader import open_plate
from openhcs_engine.output.verification.verify import verify
from tests.engine.plates import add, double, first_plane

Z, CHANNEL, SITE = VariableComponents.Z_INDEX, VariableComponents.CHANNEL, VariableComponents.SITE
PROJECT = FunctionStep(create_max_projection, variable_components=[Z])


def run(
    plate: Path,
    output: Path,
    *steps: FunctionStep,
    backend: str = "zarr",
    runner: str = "threads",
    wells: object = None,
) -> dict[str, WellResult]:
    """Compile and execute in one go."""
    orchestrator = PipelineOrchestrator(plate, output=output, runner=runner, backend=backend).initialize()  # type: ignore[arg-type]
    pipeline = Pipeline(steps)
    contexts = orchestrator.compile_pipelines(pipeline_definition=pipeline, well_filter=wells)  # type: ignore[arg-type]
    results = orchestrator.execute_compiled_plate(pipeline, contexts, max_workers=2)
    assert [result.error for result in results.values() if result.error] == []
    return results


def images(folder: Path, well: str, site: int = 1) -> Array:
    """The pixels of one site in an OME-Zarr plate, ``(t, c, z, y, x)``."""
    return np.asarray(open_plate(folder)[well][site].array())


def raw(plate: Path, well: str, site: int, channel: int) -> Array:
    """The z planes of one channel, read by other means than ours."""
    files = sorted(plate.rglob(f"*_{well}_s{site}_w{channel}.*"))
    return np.stack([tifffile.imread(file) for file in files if "thumb" not in file.name])


@numpy_function(collapses=True, coordinates=True)
def brightest_plane_of_second_channel(stack: Array, coordinates: Mapping[str, tuple[int, ...]]) -> Array:
    """The flattened stack, unfolded by its coordinates."""
    channels, planes = (sorted(set(coordinates[axis])) for axis in ("channel", "z_index"))
    unfolded = stack.reshape(len(channels), len(planes), *stack.shape[1:])
    assert (coordinates["channel"][0], coordinates["channel"][-1]) == (channels[0], channels[-1])
    projection: Array = unfolded[channels.index(2)].max(axis=0, keepdims=True)
    return projection


def test_a_step_with_a_filter_leaves_other_wells_as_they_were(small_plate: Path, tmp_path: Path) -> None:
    """Wells of the filter are changed, the others pass; their results say which step they passed."""
    results = run(
        small_plate, tmp_path, FunctionStep((add, {"amount": 7}), wells="row:A,not:A02"), FunctionStep(double)
    )

    for well, added in (("A01", 7), ("A02", 0), ("B03", 0)):
        expected = (raw(small_plate, well, 1, 1) + added) * 2
        assert np.array_equal(images(tmp_path / "small" / "images.zarr", well)[0, 0], expected)
    passed = 'step 1 "add" is for other wells and passed its planes unchanged'
    assert {well for well, result in results.items() if passed in result.notes} == {"A02", "B01", "B02", "B03"}
    assert [step.name for step in results["B01"].steps] == ["double"]


@pytest.mark.parametrize("runner", ["threads", "processes"])
@pytest.mark.parametrize("backend", ["zarr", "disk"])
def test_a_step_keeps_its_planes_as_an_image_set_of_its_own(
    small_plate: Path, tmp_path: Path, backend: str, runner: str
) -> None:
    """In the form that was asked for, for the wells that were asked for, published and verified with the well."""
    steps = [
        FunctionStep((add, {"amount": 5}), materialize=Materialize(sub_folder="brighter", backend="zarr", wells="A01")),
        FunctionStep(double, materialize=Materialize(sub_folder="doubled", backend="disk")),
        FunctionStep(create_max_projection, variable_components=[Z], materialize=True),
    ]
    folder = tmp_path / "small"

    run(small_plate, tmp_path, *steps, backend=backend, runner=runner, wells="A01,B01")

    assert np.array_equal(images(folder / "brighter.zarr", "A01")[0, 1], raw(small_plate, "A01", 1, 2) + 5)
    assert [well for well in ("A01", "B01") if (folder / "doubled" / well).is_dir()] == ["A01", "B01"]
    assert not list((folder / "brighter.zarr" / "B" / "01").glob("*/"))
    kept = sorted((folder / "doubled" / "B01").iterdir())
    assert np.array_equal(tifffile.imread(kept[0]), raw(small_plate, "B01", 1, 1)[0] * 2 + 10)
    assert (folder / ("checkpoints.zarr" if backend == "zarr" else "checkpoints")).is_dir()
    report = verify(folder)
    assert (report.whole, report.damaged, report.foreign) == (("A01", "B01"), (), ())
    again = run(small_plate, tmp_path, *steps, backend=backend, wells="A01,B01")
    assert {result.status for result in again.values()} == {WellStatus.UNCHANGED}


def test_kept_planes_are_checked_and_mended_as_the_results_are(small_plate: Path, tmp_path: Path) -> None:
    """A damaged one makes its well damaged; the next run makes the well again; a plan without it takes it away."""
    folder = tmp_path / "small"
    step, kept = FunctionStep(add), FunctionStep(add, materialize=Materialize(sub_folder="kept", backend="disk"))
    run(small_plate, tmp_path, kept, wells="A01,A02")
    victim = sorted((folder / "kept" / "A02").iterdir())[0]
    victim.write_bytes(b"torn")

    (damaged,) = verify(folder).damaged
    assert damaged.well == "A02" and f"kept/A02/{victim.name}" in damaged.reasons[0]

    results = run(small_plate, tmp_path, kept, wells="A01,A02")
    assert {well: result.status for well, result in results.items()} == {
        "A01": WellStatus.UNCHANGED,
        "A02": WellStatus.DONE,
    }
    run(small_plate, tmp_path, step, wells="A01")
    assert not (folder / "kept" / "A01").exists() and (folder / "kept" / "A02").is_dir()
    assert verify(folder).ok and verify(folder).foreign == ()


def test_what_dead_runs_left_of_kept_planes_is_swept(small_plate: Path, tmp_path: Path) -> None:
    """A place that a plan names and no manifest lists goes; a folder of a person's own stays."""
    folder = tmp_path / "small"
    run(
        small_plate,
        tmp_path,
        FunctionStep(add, materialize=Materialize(sub_folder="kept", backend="disk")),
        wells="A01",
    )
    for name in ("kept/B02", "my own/B02"):
        (folder / name).mkdir(parents=True)
        (folder / name / "left.ome.tif").write_bytes(b"unfinished")

    run(small_plate, tmp_path, FunctionStep(double), wells="A02")

    assert not (folder / "kept" / "B02").exists()
    assert (folder / "my own" / "B02" / "left.ome.tif").exists()


def test_a_function_learns_the_shape_of_a_stack_along_two_axes(small_plate: Path, tmp_path: Path) -> None:
    """The first axis is the slowest; ``coordinates`` has one number a plane for each."""
    run(
        small_plate,
        tmp_path,
        FunctionStep([add, brightest_plane_of_second_channel], variable_components=[CHANNEL, Z]),
        wells="A01",
    )

    assert np.array_equal(
        images(tmp_path / "small" / "images.zarr", "A01")[0, 0, 0], raw(small_plate, "A01", 1, 2).max(axis=0) + 1
    )


def test_coordinates_after_a_collapse_are_those_of_the_plane_that_is_left(small_plate: Path, tmp_path: Path) -> None:
    """None on each axis that the plane stands for."""
    seen = []

    @numpy_function(coordinates=True)
    def look(stack: Array, coordinates: Mapping[str, tuple[int | None, ...]]) -> Array:
        seen.append(dict(coordinates))
        return stack

    run(small_plate, tmp_path, FunctionStep([look, create_max_projection, look], variable_components=[Z]), wells="A01")

    assert {tuple(places["z_index"]) for places in seen} == {(1, 2, 3), (None,)}


def test_a_composite_is_called_as_the_step_that_made_it(small_plate: Path, tmp_path: Path) -> None:
    """Not as the channel that came first: in OME-Zarr, in OME-TIFF, and where a step keeps it."""
    kept_as_files = Materialize(backend="disk")
    steps = [
        PROJECT,
        FunctionStep(create_composite, variable_components=[CHANNEL], name="Blend", materialize=kept_as_files),
        FunctionStep(add),
    ]
    run(small_plate, tmp_path, *steps, wells="A01")

    assert open_plate(tmp_path / "small" / "images.zarr")["A01"][1].channel_labels == ("Blend",)
    (kept, _) = sorted((tmp_path / "small" / "checkpoints" / "A01").iterdir())
    with tifffile.TiffFile(kept) as file:
        assert 'Name="Blend"' in str(file.ome_metadata) and "collapsed: channel, z_index" in str(file.ome_metadata)
        assert "DAPI" not in str(file.ome_metadata)


def test_a_composite_of_the_plate_itself_is_not_called_as_an_earlier_one(small_plate: Path, tmp_path: Path) -> None:
    """What the earlier step made is gone when a step reads from the start."""
    along = [CHANNEL]
    steps = [
        FunctionStep(create_composite, variable_components=along, name="First"),
        FunctionStep(create_composite, variable_components=along, name="Second", input_source="start"),
    ]

    run(small_plate, tmp_path, *steps, wells="A01")

    assert open_plate(tmp_path / "small" / "images.zarr")["A01"][1].channel_labels == ("Second",)


def test_a_projection_keeps_its_channels_name(small_plate: Path, tmp_path: Path) -> None:
    """One plane of a channel is still that channel."""
    run(small_plate, tmp_path, PROJECT, wells="A01")

    assert open_plate(tmp_path / "small" / "images.zarr")["A01"][1].channel_labels == ("DAPI", "GFP")


def test_an_undeclared_collapse_is_told_once_a_step(small_plate: Path, tmp_path: Path) -> None:
    """Eight stacks, one note, in the step's result."""
    results = run(small_plate, tmp_path, FunctionStep(first_plane, variable_components=[Z]), wells="A01")

    (step,) = results["A01"].steps
    assert step.stacks > 1
    assert [note for note in step.notes if "without declaring collapses=True" in note] == list(step.notes)
    assert len(step.notes) == 1


def test_a_function_that_was_defined_anew_is_not_run_for_an_older_plan(small_plate: Path, tmp_path: Path) -> None:
    """A notebook cell that was run again: the contexts of before take the function of before, or none."""

    def cell(text: str) -> object:
        namespace: dict[str, object] = {"__name__": "__main__"}
        exec(text, namespace)
        return namespace["bright"]

    orchestrator = PipelineOrchestrator(small_plate, output=tmp_path).initialize()
    older, newer = (Pipeline([FunctionStep(cell(f"def bright(stack): return stack + {n}"))]) for n in (1, 2))  # type: ignore[arg-type]
    contexts = orchestrator.compile_pipelines(older, well_filter="A01")
    orchestrator.compile_pipelines(newer, well_filter="A01")

    with pytest.raises(PipelineMismatchError):
        orchestrator.execute_compiled_plate(newer, contexts)
    result = orchestrator.execute_compiled_plate(older, contexts)["A01"]

    assert result.error is None
    np.testing.assert_array_equal(
        images(tmp_path / "small" / "images.zarr", "A01")[0, 0], raw(small_plate, "A01", 1, 1) + 1
    )
