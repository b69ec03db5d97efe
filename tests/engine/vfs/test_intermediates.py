"""Where planes wait between the steps of a well: the user's choice, which changes no pixel and leaves nothing."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openhcs_engine import FunctionStep, InputSource, Pipeline, PipelineOrchestrator
from openhcs_engine.errors import CompilationError, OptionError, OutputPlaceError
from openhcs_engine.execution import WellResult, WellStatus, execute_wells
from openhcs_engine.execution.space import check_space
from openhcs_engine.execution.stacks.loading import take_planes
from openhcs_engine.execution.steps import is_given_away
from openhcs_engine.memory import numpy
from openhcs_engine.memory.stack import Array
from openhcs_engine.model.image_index import ImageKey, ImagePlane
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.manifest import read_manifest
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json
from openhcs_engine.plan.flow import flows_of, output_bytes
from openhcs_engine.vfs.disk import DiskBackend
from openhcs_engine.vfs.intermediates import ScratchPlan, open_scratch
from tests.engine.intermediate_functions import (
    BRANCHES,
    EVERYTHING,
    LAYOUTS,
    NUMPY_FILES,
    TIME,
    TORN_TAPE,
    Z,
    count_up,
    odd_layout,
    over_a_budget_of_its_own,
    read_only_view_of_one_buffer,
    reuse_one_array,
    to_float64,
)
from tests.engine.plates import add
from tests.engine.side_functions import kill_self

WELLS = ("A01", "A02")
ADD = FunctionStep(add, variable_components=[Z])
WELL_BYTES = 2 * 2 * 3 * 40 * 48 * 2
"""All planes of a well: sites, channels, z, rows, columns, bytes."""


@pytest.fixture(scope="module")
def ragged_plate(small_plate: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plate whose stacks are not all alike: one is a plane shorter, of one only one plane is left."""
    plate = shutil.copytree(small_plate, tmp_path_factory.mktemp("ragged") / "small")
    for name in ("ZStep_3/*_A01_s2_w1*", "ZStep_1/*_A01_s1_w2*", "ZStep_2/*_A01_s1_w2*"):
        for path in list(plate.rglob(name)):
            path.unlink()
    return plate


@pytest.fixture(scope="module")
def in_memory(ragged_plate: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """What both pipelines leave if planes wait in memory."""
    found = {}
    for pipeline in (EVERYTHING, BRANCHES):
        output = tmp_path_factory.mktemp("memory")
        run(ragged_plate, output, pipeline)
        found[pipeline.name] = results_in(output)
    return found


def run(
    plate: Path,
    output: Path | str,
    pipeline: Pipeline,
    wells: object = WELLS,
    *,
    succeed: bool = True,
    **options: object,
) -> dict[str, WellResult]:
    """Compile and execute; by default in threads, and nothing may fail."""
    settings = {"runner": "threads", "on_missing": "skip", **options}
    orchestrator = PipelineOrchestrator(plate, output=output, **settings).initialize()  # type: ignore[arg-type]
    contexts = orchestrator.compile_pipelines(pipeline, well_filter=list(wells))  # type: ignore[call-overload]
    results = orchestrator.execute_compiled_plate(pipeline, contexts, max_workers=2)
    if succeed:
        assert [result.error for result in results.values()] == [None] * len(results)
    return results


def results_in(output: Path) -> dict[str, bytes]:
    """Every file of pixels, labels and tables, and their metadata; not manifests, logs and plans, which tell times."""
    folder = output / "small"
    told = {"wells", "logs", "contexts"}
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in files
        if path.relative_to(folder).parts[0] not in told
    }


def files_below(folder: Path) -> list[Path]:
    """Whatever is not a folder, and folders of unfinished writes."""
    return [path for path in folder.rglob("*") if path.is_file() or path.name.startswith(".tmp-")]


@pytest.mark.parametrize(
    ("pipeline", "runner", "intermediates"),
    [
        *((EVERYTHING, "processes", place) for place in ("memory", "disk", "zarr", NUMPY_FILES)),
        *(
            (pipeline, "threads", place)
            for pipeline in (EVERYTHING, BRANCHES)
            for place in ("disk", "zarr", NUMPY_FILES)
        ),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_place_changes_no_pixel(
    ragged_plate: Path,
    in_memory: dict[str, dict[str, bytes]],
    tmp_path: Path,
    pipeline: Pipeline,
    runner: str,
    intermediates: str,
) -> None:
    """Pixels, labels, tables and kept steps are equal byte by byte, whoever runs the wells; nothing else is left."""
    run(ragged_plate, tmp_path / "out", pipeline, intermediates=intermediates, runner=runner)

    assert results_in(tmp_path / "out") == in_memory[pipeline.name]
    assert len(in_memory[pipeline.name]) > 10
    assert not (tmp_path / "out" / "small" / ".staging").exists()


@pytest.mark.parametrize(("intermediates", "runner"), [("disk", "processes"), ("zarr", "threads")])
def test_in_an_object_store(
    ragged_plate: Path,
    in_memory: dict[str, dict[str, bytes]],
    tmp_path: Path,
    bucket: str,
    intermediates: str,
    runner: str,
) -> None:
    """Scratch behind a URL gives the same, and is empty in the end."""
    import fsspec

    scratch = f"{bucket}/scratch-{intermediates}"
    options: dict[str, object] = {"intermediates": intermediates, "scratch": scratch, "runner": runner}
    run(ragged_plate, tmp_path / "out", EVERYTHING, ("A01",), **options)

    expected = {path: content for path, content in in_memory["Everything"].items() if "A/02" not in path}
    assert {path: content for path, content in results_in(tmp_path / "out").items() if is_of_a01(path)} == {
        path: content for path, content in expected.items() if is_of_a01(path)
    }
    assert fsspec.filesystem("s3").find(scratch.removeprefix("s3://")) == []


def test_with_an_output_behind_a_url_planes_wait_on_this_host(small_plate: Path, bucket: str) -> None:
    """Where its wells are written before they are published."""
    (result,) = run(
        small_plate, f"{bucket}/results", Pipeline([ADD]), ("A01",), intermediates="disk", plate_id="waiting"
    ).values()  # fmt: skip

    assert result.status is WellStatus.DONE


def is_of_a01(path: str) -> bool:
    """True for a file that belongs to well A01 alone."""
    return "/A/1/" in path or "/A/01/" in path or "A01" in path


@settings(max_examples=60)
@given(data=st.data())
def test_planes_are_taken_as_they_were_kept_and_owned_by_nobody_else(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever their type, size and layout, wherever they wait; to write into one changes no other."""
    dtype = data.draw(st.sampled_from(["bool", "uint8", "uint16", "int64", "float16", "float32", "float64"]))
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5)))
    kind = data.draw(st.sampled_from(["plain", *LAYOUTS]))
    place = data.draw(st.sampled_from(["memory", "disk", "zarr", NUMPY_FILES]))
    stack = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    result = stack if kind == "plain" else odd_layout(stack, kind)
    expected = [plane.copy() for plane in result]
    planes = [ImagePlane(key=ImageKey("A01", 1, 1, z, 1), path=f"step1/z{z}") for z in range(len(result))]

    with open_scratch(ScratchPlan(backend=place), tmp_path_factory.mktemp("staging"), "A01") as intermediates:
        for plane, pixels in zip(planes, result, strict=True):
            intermediates.save(str(plane.path), pixels, give=is_given_away(result))
        taken = take_planes(intermediates, planes)
        assert intermediates.list() == ()

    for number, plane in enumerate(taken):
        assert plane.dtype == dtype and np.array_equal(plane, expected[number])
        if plane.flags.writeable:
            plane[...] = 1


@pytest.mark.parametrize("kind", LAYOUTS)
def test_no_layout_in_memory_makes_planes_share_their_pixels(small_plate: Path, tmp_path: Path, kind: str) -> None:
    """A function may return planes that are one memory, and the next may write into one of them."""
    pipeline = Pipeline(
        [
            FunctionStep((odd_layout, {"kind": kind}), variable_components=[Z]),
            FunctionStep(count_up, variable_components=[TIME]),
            FunctionStep(count_up, variable_components=[Z]),
        ]
    )
    run(small_plate, tmp_path / "memory", pipeline, ("A01",))
    run(small_plate, tmp_path / "disk", pipeline, ("A01",), intermediates="disk")

    assert results_in(tmp_path / "memory") == results_in(tmp_path / "disk")


def test_a_read_only_view_of_what_a_function_fills_again_is_copied(small_plate: Path, tmp_path: Path) -> None:
    """In memory it would show the last stack's pixels for all."""
    pipeline = Pipeline([FunctionStep(read_only_view_of_one_buffer, variable_components=[Z]), ADD])
    run(small_plate, tmp_path / "memory", pipeline, ("A01",))
    run(small_plate, tmp_path / "disk", pipeline, ("A01",), intermediates="disk")

    assert results_in(tmp_path / "memory") == results_in(tmp_path / "disk")


def test_the_same_array_twice_is_refused_only_where_it_would_be_overwritten(small_plate: Path, tmp_path: Path) -> None:
    """On disk the first stack is safe before the second is made."""
    pipeline = Pipeline([FunctionStep(reuse_one_array, variable_components=[Z])])
    failed = run(small_plate, tmp_path / "memory", pipeline, ("A01",), succeed=False)["A01"]
    run(small_plate, tmp_path / "disk", pipeline, ("A01",), intermediates="disk")
    run(small_plate, tmp_path / "right", Pipeline([FunctionStep(add_zero, variable_components=[Z])]), ("A01",))

    assert "the same array for two stacks" in failed.error
    assert results_in(tmp_path / "disk") == results_in(tmp_path / "right")


@numpy
def add_zero(stack: Array) -> Array:
    """A new array a stack."""
    return np.asarray(stack + np.zeros(1, stack.dtype))


def test_a_budget_fails_the_well_with_what_was_needed_and_what_helps(small_plate: Path, tmp_path: Path) -> None:
    """The sentence names well, step, budget, what is in use, and both remedies; no rung of the ladder is taken."""
    failed = run(small_plate, tmp_path, Pipeline([ADD]), ("A01",), succeed=False, memory_budget="10kB")["A01"]

    assert failed.error == (
        'Well A01, step 1 "add": its planes do not fit into the memory budget of 10.0 kB: 7.7 kB are in use, and a '
        "plane of 3.8 kB was to join them (site 1, channel 1, z_index 1 to 3, timepoint 1). Give a larger "
        "memory_budget, or keep the planes between steps on disk with intermediates=disk."
    )
    assert failed.error_type == "StorageBudgetError" and failed.steps == ()
    assert run(small_plate, tmp_path, Pipeline([ADD]), ("A01",), intermediates="disk")["A01"].success


def test_a_budget_is_not_a_devices_memory(small_plate: Path, tmp_path: Path) -> None:
    """Freeing caches and smaller batches would not help: a function's own budget ends the well at once."""
    pipeline = Pipeline([FunctionStep(over_a_budget_of_its_own, variable_components=[Z])])
    failed = run(small_plate, tmp_path, pipeline, ("A01",), succeed=False)["A01"]

    assert failed.error_type == "StorageBudgetError"
    assert "free caches" not in failed.error and "of the budget of 1 bytes are in use" in failed.error


DROP_GFP = FunctionStep({"DAPI": add}, variable_components=[Z], uncovered="drop")


@pytest.mark.parametrize(
    "steps",
    [
        [ADD, ADD, ADD],
        [ADD, FunctionStep(add, variable_components=[Z], input_source=InputSource.PIPELINE_START)],
        [ADD, DROP_GFP, FunctionStep((numpy(dtype="float32")(lambda stack: stack / 2)), name="halve")],
    ],
    ids=["one after another", "read from the start", "dropped"],
)
def test_planes_that_nobody_will_read_take_no_room(
    small_plate: Path, tmp_path: Path, steps: list[FunctionStep]
) -> None:
    """A budget of one step's planes suffices: those of the step before are gone, dropped ones included."""
    run(small_plate, tmp_path, Pipeline(steps), ("A01",), memory_budget=WELL_BYTES)


def test_a_scratch_disk_that_runs_full_fails_the_well(
    small_plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With well, step and place; nothing is left there."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("openhcs_engine.vfs.disk.write_tiff", full)
    options: dict[str, object] = {"intermediates": "disk", "scratch": tmp_path / "fast"}
    failed = run(small_plate, tmp_path / "out", Pipeline([ADD]), ("A01",), succeed=False, **options)["A01"]

    assert failed.error.startswith('Well A01, step 1 "add": ') and "No space left on device" in failed.error
    assert f"{tmp_path}/fast/openhcs-scratch" in failed.error
    assert list((tmp_path / "fast").iterdir()) == []


@pytest.mark.parametrize("runner", ["processes", "threads"])
def test_a_backend_of_ones_own_that_fails_is_told(small_plate: Path, tmp_path: Path, runner: str) -> None:
    """With well and step, in every runner: so it was really asked."""
    failed = run(
        small_plate, tmp_path, Pipeline([ADD]), ("A01",), succeed=False, intermediates=TORN_TAPE, runner=runner
    )["A01"]  # fmt: skip

    assert failed.error.startswith('Well A01, step 1 "add": the tape is torn')


def test_a_backend_of_main_runs_in_threads(small_plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker process could import it; the result says so."""
    import __main__

    monkeypatch.setattr(__main__, "Scratch", DiskBackend, raising=False)
    results = run(
        small_plate, tmp_path, Pipeline([ADD]), ("A01",), runner="processes", intermediates="__main__:Scratch"
    )  # fmt: skip

    assert "ran in threads instead of processes, because __main__:Scratch" in results["A01"].notes[0]


@pytest.mark.parametrize("intermediates", ["disk", "zarr", NUMPY_FILES])
def test_scratch_is_gone_when_wells_fail_and_workers_die(small_plate: Path, tmp_path: Path, intermediates: str) -> None:
    """One well is done, one is killed with its worker, one fails; nothing of them is left in the user's folder."""
    scratch = tmp_path / "fast"
    fail = FunctionStep(reuse_nothing, variable_components=[Z], wells="B01")
    pipeline = Pipeline([ADD, FunctionStep(kill_self, variable_components=[Z], wells="A02"), fail])
    results = run(
        small_plate, tmp_path / "out", pipeline, ("A01", "A02", "B01"),
        succeed=False, runner="processes", intermediates=intermediates, scratch=scratch,
    )  # fmt: skip

    assert {well: result.error_type for well, result in results.items()} == {
        "A01": None, "A02": "WorkerDiedError", "B01": "ValueError",
    }  # fmt: skip
    assert list(scratch.iterdir()) == []
    assert not (tmp_path / "out" / "small" / ".staging").exists()


def reuse_nothing(stack: Array) -> Array:
    """Fails."""
    raise ValueError("no lamp")


def test_closing_the_iterator_leaves_no_scratch(small_plate: Path, tmp_path: Path) -> None:
    """Workers are killed in the midst of their wells, and what they held goes."""
    options: dict[str, object] = {"intermediates": "disk", "scratch": tmp_path / "fast"}
    orchestrator = PipelineOrchestrator(small_plate, output=tmp_path / "out", **options).initialize()  # type: ignore[arg-type]
    pipeline = Pipeline([ADD, FunctionStep(sleepy, variable_components=[Z], wells="not:A01")])
    finished = orchestrator.execute(pipeline, orchestrator.compile_pipelines(pipeline), 2)

    assert next(iter(finished)).well == "A01"
    finished.close()  # type: ignore[attr-defined] # a generator
    assert list((tmp_path / "fast").iterdir()) == []


def sleepy(stack: Array) -> Array:
    """Longer than any test."""
    import time

    time.sleep(600)
    return stack


def test_the_manifest_says_where_planes_waited_and_the_fingerprint_does_not(small_plate: Path, tmp_path: Path) -> None:
    """Another place makes no other well: it is not computed again."""
    places: list[dict[str, object]] = [
        {"memory_budget": "1GB"},
        {"intermediates": "disk", "scratch": tmp_path / "fast"},
        {"intermediates": "zarr"},
        {"intermediates": NUMPY_FILES},
    ]
    seen = {}
    for number, place in enumerate(places):
        (result,) = run(small_plate, tmp_path / str(number), Pipeline([ADD, ADD]), ("A01",), **place).values()
        manifest = read_manifest(tmp_path / str(number) / "small" / "wells" / "A01.json")
        assert manifest is not None and manifest.fingerprint == result.fingerprint
        seen[manifest.provenance["intermediates"]] = result.fingerprint

    assert list(seen) == [
        "memory, at most 1.0 GB a well",
        f"disk, in {tmp_path / 'fast' / 'openhcs-scratch'}",
        "zarr, in the staging folder of the run",
        f"{NUMPY_FILES}, in the staging folder of the run",
    ]
    assert len(set(seen.values())) == 1
    (again,) = run(small_plate, tmp_path / "0", Pipeline([ADD, ADD]), ("A01",), intermediates="disk").values()
    assert again.status is WellStatus.UNCHANGED
    assert verify(tmp_path / "0" / "small").ok


def test_the_plan_names_the_place_and_survives_json(small_plate: Path, tmp_path: Path) -> None:
    """What a step reads and writes; equal plans but for that have one digest."""
    contexts = {}
    for place in ("memory", "disk"):
        orchestrator = PipelineOrchestrator(small_plate, output=tmp_path, intermediates=place).initialize()
        contexts[place] = orchestrator.compile_pipelines(EVERYTHING, well_filter="A01")["A01"]
    steps = contexts["disk"].steps

    assert [(step.reads, step.writes) for step in (steps[0], steps[1], steps[-1])] == [
        ("source", "disk"), ("disk", "disk"), ("disk", "output"),
    ]  # fmt: skip
    assert contexts["disk"].pipeline_digest == contexts["memory"].pipeline_digest
    assert contexts["disk"].fingerprint == contexts["memory"].fingerprint
    (read,) = contexts_from_json(contexts_to_json({"A01": contexts["disk"]})).values()
    assert read == contexts["disk"] and read.output.scratch.backend == "disk"


@pytest.mark.parametrize(
    ("options", "option", "sentence"),
    [
        ({"intermediates": "tape"}, "intermediates", "'tape' is unknown (choose from memory, disk, zarr, or module:"),
        ({"intermediates": ":Tape"}, "intermediates", "choose from memory, disk, zarr, or module:Class"),
        ({"memory_budget": "2G"}, "memory_budget", "memory_budget='2G' is no size; write bytes"),
        ({"memory_budget": 0}, "memory_budget", "must be positive, not 0 bytes"),
        ({"intermediates": "disk", "memory_budget": "2GB"}, "memory_budget", "no meaning for intermediates in 'disk'"),
        ({"scratch": "/fast"}, "scratch", "no meaning for intermediates in memory"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused_at_once(
    tmp_path: Path, options: dict[str, object], option: str, sentence: str
) -> None:
    """Before the plate is looked at, with those that can."""
    with pytest.raises(OptionError) as caught:
        PipelineOrchestrator(tmp_path / "no plate", **options)  # type: ignore[arg-type]
    assert sentence in str(caught.value) and caught.value.option == option


def test_what_only_the_plate_can_tell_is_a_violation(small_plate: Path, tmp_path: Path) -> None:
    """Beside all the others of the pipeline."""
    cases: list[tuple[dict[str, object], str, str]] = [
        ({"intermediates": "no_such_lab:Tape"}, "intermediates", "'no_such_lab:Tape' cannot be imported"),
        ({"intermediates": "os:system"}, "intermediates", "must be a class that derives from"),
        ({"intermediates": "disk", "scratch": small_plate / "x"}, "scratch", "meets the raw plate"),
        ({"intermediates": "zarr", "scratch": "teleport://x"}, "scratch", "teleport"),
    ]
    wrong = Pipeline([FunctionStep({"Cy5": add}, uncovered="drop")])
    for options, key, sentence in cases:
        orchestrator = PipelineOrchestrator(small_plate, output=tmp_path, **options).initialize()  # type: ignore[arg-type]
        with pytest.raises(CompilationError) as caught:
            orchestrator.compile_pipelines(wrong)
        found = {violation.key: violation.message for violation in caught.value.violations}
        assert sentence in found[key] and "Cy5" in found


def test_room_for_what_is_held_knows_workers_and_pixel_types(
    small_plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fullest step counts: float64 takes four times the room of uint16, where a function says so."""
    asked: list[int] = []
    monkeypatch.setattr(
        "openhcs_engine.execution.space.check_free_space", lambda place, needed, **_: asked.append(needed)
    )
    orchestrator = PipelineOrchestrator(small_plate, output=tmp_path, intermediates="disk").initialize()
    plain = orchestrator.compile_pipelines(Pipeline([ADD, ADD]))
    floats = FunctionStep(numpy(dtype="float64")(lambda stack: stack / 2), name="halve")
    wide = orchestrator.compile_pipelines(Pipeline([ADD, floats, ADD]), well_filter="A01")

    folder = PlateFolder(orchestrator.output / "small", "zarr")
    for contexts, workers in ((plain, 1), (plain, 2), (plain, 100), (wide, 2), ({}, 2)):
        check_space(folder, contexts.values(), workers)

    results, wider = output_bytes(flows_of(plain)), output_bytes(flows_of(wide))
    held = [WELL_BYTES, 2 * WELL_BYTES, 6 * WELL_BYTES]
    assert asked == [*(results + each for each in held), wider + 4 * WELL_BYTES]


def test_a_disk_too_small_for_intermediates_is_refused_before_the_run(
    small_plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the file system of the scratch folder, and with the results where both share one; memory needs no disk."""
    orchestrator = PipelineOrchestrator(
        small_plate, output=tmp_path / "out", intermediates="disk", scratch=tmp_path
    ).initialize()
    contexts = orchestrator.compile_pipelines(Pipeline([ADD]))
    folder = PlateFolder(orchestrator.output / "small", "zarr")
    needed = output_bytes(flows_of(contexts)) + 2 * WELL_BYTES
    usage = shutil.disk_usage(tmp_path)

    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed))
    check_space(folder, contexts.values(), 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
    with pytest.raises(
        OutputPlaceError, match="results and the intermediates of 2 wells at a time need up to"
    ) as found:
        execute_wells(contexts, workers=2)
    assert f"{tmp_path}/openhcs-scratch has" in str(found.value) and "run fewer workers" in str(found.value)
    in_memory = PipelineOrchestrator(small_plate, output=tmp_path / "out").initialize()
    check_space(folder, in_memory.compile_pipelines(Pipeline([ADD])).values(), 2)
    assert not (tmp_path / "out").exists()


def test_a_scratch_folder_that_cannot_be_made_is_refused_before_the_run(small_plate: Path, tmp_path: Path) -> None:
    """Here it is a file."""
    (tmp_path / "file").write_text("hello")
    with pytest.raises(OutputPlaceError, match=r"it is a file\); choose another scratch folder"):
        run(small_plate, tmp_path / "out", Pipeline([ADD]), intermediates="disk", scratch=tmp_path / "file")


def test_floats_masks_and_collapsed_planes_survive_tiff(small_plate: Path, tmp_path: Path) -> None:
    """Named here because OME-TIFF has no place for masks, nor for planes without a z."""
    pipeline = Pipeline([FunctionStep(to_float64, variable_components=[Z]), *EVERYTHING[1:2], *EVERYTHING[6:7]])
    run(small_plate, tmp_path / "memory", pipeline, ("A01",))
    run(small_plate, tmp_path / "disk", pipeline, ("A01",), intermediates="disk")

    assert results_in(tmp_path / "memory") == results_in(tmp_path / "disk")
    assert files_below(tmp_path / "disk" / "small" / "images.zarr")
