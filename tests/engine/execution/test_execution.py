"""Running wells: each by itself, in processes or threads, published whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from openhcs_engine import FunctionStep, GroupBy, Pipeline, PipelineOrchestrator, VariableComponents
from openhcs_engine.errors import OptionError, OutputPlaceError, PipelineError, PipelineMismatchError, PlateError
from openhcs_engine.execution import WellResult, WellStatus, execute_wells
from openhcs_engine.execution.results import StepResult
from openhcs_engine.execution.runners import processes
from openhcs_engine.execution.well import record_of
from openhcs_engine.functions import create_composite, create_max_projection, stack_percentile_normalize
from openhcs_engine.memory import numpy as numpy_function
from openhcs_engine.memory.stack import Array
from openhcs_engine.model.image_index import ImageIndex, PlaneKind
from openhcs_engine.ngff.reading.reader import open_plate
from openhcs_engine.output.manifest import read_manifest
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.engine.plates import add, explode, first_plane, two_planes

Z, CHANNEL, SITE = VariableComponents.Z_INDEX, VariableComponents.CHANNEL, VariableComponents.SITE

MAIN_JOB = Pipeline(
    name="Main job",
    steps=[
        FunctionStep(stack_percentile_normalize, variable_components=[Z]),
        FunctionStep(create_max_projection, variable_components=[Z]),
        FunctionStep(create_composite, variable_components=[CHANNEL], name="Composite"),
    ],
)


def kill_worker_of_a02(stack: Array) -> Array:
    """Ends the process that runs well A02, as the system does when memory is short."""
    if (Path.cwd() / "holder").read_text() == str(int(stack.sum())):
        os.kill(os.getpid(), signal.SIGKILL)
    return stack


def print_and_pass(stack: Array) -> Array:
    """Prints, as users' functions do."""
    print("hello from a function")
    return stack


def divides_by_nothing(stack: Array) -> Array:
    """Makes numbers that uint16 does not have."""
    return stack * np.float32(np.nan)


def exit_politely(stack: Array) -> Array:
    """Ends the program, as scripts do."""
    sys.exit(3)


def say_the_unsayable(stack: Array) -> Array:
    """Its message has a lone surrogate, as names of undecodable files do."""
    raise ValueError("bad \ud800 letter")


def reuse_one_array(stack: Array, kept: dict[int, Array] = {}) -> Array:  # noqa: B006 # the fault under test
    """Fills the same array for each stack, one a thread."""
    kept.setdefault(threading.get_ident(), np.empty_like(stack))[...] = stack
    return kept[threading.get_ident()]


def ask_the_user(stack: Array) -> Array:
    """Waits for a person who is not there."""
    input("Continue? ")
    return stack


def die_of_a_nameless_signal(stack: Array) -> Array:
    """Real-time signals have numbers only."""
    os.kill(os.getpid(), signal.SIGRTMIN + 6)
    return stack


def leave_a_child_and_die(stack: Array) -> Array:
    """The child lives on, with the descriptors of its parent."""
    if not os.fork():
        time.sleep(300)
        os._exit(0)
    os._exit(9)


def write_to_the_engines_pipe(stack: Array) -> Array:
    """Writes to whatever descriptors it finds open."""
    for descriptor in range(3, 1024):
        with contextlib.suppress(OSError):
            os.write(descriptor, b"garbage garbage garbage")
    return stack


@numpy_function(dtype="native")
def to_float(stack: Array) -> Array:
    """Leaves the pixel type."""
    return stack.astype(np.float32) / 2


def too_bright(stack: Array) -> Array:
    """Floats beyond the range of uint16."""
    return stack.astype(np.float64) * 1000 + 0.5


def in_place(stack: Array) -> Array:
    """Writes into the stack it was given."""
    stack += 1
    return stack


@numpy_function(collapses=True)
def darkest(stack: Array) -> Array:
    """The smallest value of all planes."""
    return stack.min(axis=0, keepdims=True)


DARKEST = FunctionStep(darkest, variable_components=[Z])


def run(
    plate: Path, output: Path, pipeline: Pipeline, wells: object = None, workers: int = 2, **options: object
) -> dict[str, WellResult]:
    """Compile and execute in one go."""
    orchestrator = PipelineOrchestrator(plate, output=output, **options).initialize()  # type: ignore[arg-type]
    contexts = orchestrator.compile_pipelines(pipeline, well_filter=wells)  # type: ignore[arg-type]
    return orchestrator.execute_compiled_plate(pipeline, contexts, max_workers=workers)


def raw_stack(plate: Path, well: str, site: int, channel: int) -> Array:
    """The z planes of one channel, read by other means than ours."""
    files = sorted(plate.rglob(f"*_{well}_s{site}_w{channel}.*"))
    files = [file for file in files if file.suffix.lower() in {".tif", ".tiff"} and "thumb" not in file.name]
    return np.stack([tifffile.imread(file) for file in files])


def image(folder: Path, well: str, site: int) -> Array:
    """The published pixels of one site, ``(t, c, z, y, x)``, full size."""
    return np.asarray(open_plate(folder / "images.zarr")[well][site].array())


def expected_composite(plate: Path, well: str, site: int) -> Array:
    """The main job in plain NumPy."""
    projections = []
    for channel in (1, 2):
        stack = raw_stack(plate, well, site, channel)
        low, high = np.percentile(stack, (1, 99))
        scaled = (np.clip(stack.astype(float), low, high) - low) * 65535.0 / (high - low)
        projections.append(np.rint(scaled).astype(np.uint16).max(axis=0))
    return np.rint(np.mean(projections, axis=0)).astype(np.uint16)


@pytest.mark.parametrize("runner", ["processes", "threads"])
def test_the_main_job_gives_the_pixels_of_plain_numpy(small_plate: Path, tmp_path: Path, runner: str) -> None:
    """Normalise, project, composite: every site of every well equals a script's result, whoever runs it."""
    results = run(small_plate, tmp_path, MAIN_JOB, runner=runner)

    assert {well: result.get("success") for well, result in results.items()} == dict.fromkeys(
        ["A01", "A02", "A03", "B01", "B02", "B03"], True
    )
    for well in results:
        for site in (1, 2):
            assert np.array_equal(
                image(tmp_path / "small", well, site)[0, 0, 0], expected_composite(small_plate, well, site)
            )
    assert verify(tmp_path / "small").whole == tuple(results)


def test_a_result_answers_like_the_documented_dict(small_plate: Path, tmp_path: Path) -> None:
    """``get`` and ``[]`` know ``success``, ``error`` and the fields; other names get the default."""
    result = run(small_plate, tmp_path, MAIN_JOB, ["A01"])["A01"]

    assert result["success"] is True and result.get("error") is None
    assert result.get("nonsense", 7) == 7
    assert [step.name for step in result.steps] == ["stack_percentile_normalize", "create_max_projection", "Composite"]
    assert [(step.stacks, step.planes_read, step.planes_written) for step in result.steps] == [
        (4, 12, 12), (4, 12, 4), (2, 4, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("runner", ["processes", "threads"])
def test_a_failing_well_never_stops_another(small_plate: Path, tmp_path: Path, runner: str) -> None:
    """A truncated file fails its well, named in the sentence; the others are published."""
    plate = tmp_path / "plate"
    shutil.copytree(small_plate, plate)
    victim = next(plate.rglob("*_A02_s1_w1.*"))
    os.truncate(victim, victim.stat().st_size // 2)

    results = run(plate, tmp_path / "out", MAIN_JOB, runner=runner)

    assert [well for well, result in results.items() if not result.success] == ["A02"]
    assert "Well A02" in results["A02"].error and victim.name in results["A02"].error
    assert verify(tmp_path / "out" / "plate").missing == ("A02",)


def test_a_killed_worker_fails_only_the_well_it_held(
    small_plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL in the middle of one well: that well says so, all others are done."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "holder").write_text(str(int(raw_stack(small_plate, "A02", 1, 1).sum())))
    pipeline = Pipeline([FunctionStep(kill_worker_of_a02, variable_components=[Z])])

    results = run(small_plate, tmp_path / "out", pipeline)

    assert "killed by signal 9 (SIGKILL)" in results["A02"].error
    assert [well for well, result in results.items() if not result.success] == ["A02"]


@pytest.mark.parametrize("runner", ["processes", "threads"])
@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (exit_politely, "raised SystemExit: 3"),
        (say_the_unsayable, "raised ValueError: bad \\ud800 letter"),
        (reuse_one_array, "returned the same array for two stacks"),
    ],
    ids=["sys.exit", "surrogate", "one array"],
)
def test_odd_functions_fail_their_wells_in_a_sentence(
    small_plate: Path, tmp_path: Path, function: Callable[[Array], Array], sentence: str, runner: str
) -> None:
    """Neither the worker nor the run dies of them."""
    pipeline = Pipeline([FunctionStep(function, variable_components=[Z])])
    results = run(small_plate, tmp_path / "out", pipeline, runner=runner)

    assert all(f'step 1 "{function.__name__}"' in result.error for result in results.values())
    assert all(sentence in result.error for result in results.values())


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (ask_the_user, "raised EOFError"),
        (die_of_a_nameless_signal, f"killed by signal {signal.SIGRTMIN + 6} while"),
        (leave_a_child_and_die, "ended with code 9"),
        (write_to_the_engines_pipe, "while it held this well"),
    ],
)
def test_a_worker_in_disorder_never_hangs_the_run(
    small_plate: Path, tmp_path: Path, function: Callable[[Array], Array], sentence: str
) -> None:
    """Every well gets its result, whatever its function does to the worker."""
    results = run(small_plate, tmp_path / "out", Pipeline([FunctionStep(function, variable_components=[Z])]), "A01")

    assert all(sentence in result.error for result in results.values())


def test_a_machine_that_starts_no_process_fails_the_wells(
    small_plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of memory or descriptors: each well says so."""

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr("openhcs_engine.execution.runners.processes.subprocess.Popen", refuse)
    results = run(small_plate, tmp_path / "out", Pipeline([DARKEST]))

    assert all("no worker process could be started" in result.error for result in results.values())


def test_a_log_that_cannot_be_written_is_refused(small_plate: Path, tmp_path: Path) -> None:
    """Before any well is run, in a sentence."""
    (tmp_path / "out" / "small").mkdir(parents=True)
    (tmp_path / "out" / "small" / "logs").write_text("a file")
    with pytest.raises(OutputPlaceError, match="while starting the run's log"):
        run(small_plate, tmp_path / "out", Pipeline([DARKEST]))


def _expect(sentence: str, *steps: FunctionStep) -> tuple[str, Pipeline]:
    return sentence, Pipeline(steps)


@pytest.mark.parametrize(
    ("sentence", "pipeline"),
    [
        _expect(
            'step 1 "explode": tests.engine.plates:explode raised ValueError: the lamp is off', FunctionStep(explode)
        ),
        _expect(
            "got 3 planes and returned 2; it must return 1 or 3", FunctionStep(two_planes, variable_components=[Z])
        ),
        _expect("returned a float", FunctionStep(np.mean)),
        _expect(
            "tests.engine.execution.test_execution:divides_by_nothing: The result holds NaN",
            FunctionStep([add, divides_by_nothing, add]),
        ),
    ],
    ids=["raises", "wrong count", "no array", "NaN in a chain"],
)
def test_a_failing_function_is_named(small_plate: Path, tmp_path: Path, sentence: str, pipeline: Pipeline) -> None:
    """The sentence names well, step and function, and what was wrong."""
    result = run(small_plate, tmp_path, pipeline, ["A01"], workers=1)["A01"]

    assert not result.success and result.error.startswith("Well A01") and sentence in result.error


def test_results_come_back_to_the_pixel_type_they_came_from(small_plate: Path, tmp_path: Path) -> None:
    """Rounded and clipped, never stretched; a function that declares ``native`` keeps its own."""
    run(small_plate, tmp_path, Pipeline([FunctionStep(too_bright)]), ["A01"], plate_id="clipped", runner="threads")
    run(small_plate, tmp_path, Pipeline([FunctionStep(to_float)]), ["A01"], plate_id="native", runner="threads")

    raw = raw_stack(small_plate, "A01", 1, 1)
    assert np.array_equal(
        image(tmp_path / "clipped", "A01", 1)[0, 0], np.minimum(raw * 1000.0, 65535).astype(np.uint16)
    )
    native = image(tmp_path / "native", "A01", 1)
    assert native.dtype == np.float32 and np.array_equal(native[0, 0], raw.astype(np.float32) / 2)


def test_a_function_may_write_into_its_stack(small_plate: Path, tmp_path: Path) -> None:
    """Its stack is its own, in every step; neither the raw plate nor another step sees it."""
    pipeline = Pipeline([FunctionStep(in_place, variable_components=[axis]) for axis in (Z, Z, SITE)])

    result = run(small_plate, tmp_path, pipeline, ["A01"], workers=1)["A01"]

    assert result.error is None
    assert np.array_equal(image(tmp_path / "small", "A01", 1)[0, 0], raw_stack(small_plate, "A01", 1, 1) + 3)


def test_an_undeclared_collapse_is_accepted_and_noted(small_plate: Path, tmp_path: Path) -> None:
    """One plane from three without saying so: recorded in the step's notes."""
    pipeline = Pipeline([FunctionStep(first_plane, variable_components=[Z])])

    result = run(small_plate, tmp_path, pipeline, ["A01"], workers=1)["A01"]

    assert any("without declaring collapses=True" in note for note in result.steps[0].notes)
    assert image(tmp_path / "small", "A01", 1).shape[2] == 1


def test_uncovered_stacks_pass_or_drop_as_the_step_says(small_plate: Path, tmp_path: Path) -> None:
    """``pass`` leaves GFP as it was, ``drop`` leaves it out; the result notes either."""
    for uncovered, channels in (("pass", 2), ("drop", 1)):
        pipeline = Pipeline([FunctionStep({"DAPI": (add, {"amount": 5})}, uncovered=uncovered)])  # type: ignore[arg-type]
        result = run(small_plate, tmp_path, pipeline, ["A01"], plate_id=uncovered, workers=1)["A01"]
        pixels = image(tmp_path / uncovered, "A01", 1)
        assert pixels.shape[1] == channels
        assert np.array_equal(pixels[0, 0], raw_stack(small_plate, "A01", 1, 1) + 5)
        assert result.steps[0].notes == (f"{uncovered}{'ped' if uncovered == 'drop' else 'ed'} stacks of channel 2",)


def test_functions_that_live_only_here_run_in_threads(small_plate: Path, tmp_path: Path) -> None:
    """The result says so, and names the function."""
    result = run(small_plate, tmp_path, Pipeline([FunctionStep(lambda stack: stack + 1)]), ["A01"])["A01"]

    assert result.success and "ran in threads instead of processes" in result.notes[0]


def test_another_pipelines_contexts_are_refused(small_plate: Path, tmp_path: Path) -> None:
    """Contexts run only with the pipeline that made them; an equal one is the same one."""
    orchestrator = PipelineOrchestrator(small_plate, output=tmp_path).initialize()
    contexts = orchestrator.compile_pipelines(Pipeline([FunctionStep((add, {"amount": 1}))]), well_filter=["A01"])

    with pytest.raises(PipelineMismatchError, match="compiled from another pipeline"):
        orchestrator.execute_compiled_plate(Pipeline([FunctionStep((add, {"amount": 2}))]), contexts)
    with pytest.raises(PipelineError, match="no contexts"):
        orchestrator.execute_compiled_plate(MAIN_JOB, {})
    again = orchestrator.execute_compiled_plate(Pipeline([FunctionStep((add, {"amount": 1}))]), contexts, max_workers=1)
    assert again["A01"].success


def test_a_pipeline_runs_with_its_own_functions(small_plate: Path, tmp_path: Path) -> None:
    """Two lambdas have one name; another pipeline may have been compiled in between."""
    orchestrator = PipelineOrchestrator(small_plate, output=tmp_path, plate_id="first").initialize()
    first, second = Pipeline([FunctionStep(lambda stack: stack + 1)]), Pipeline([FunctionStep(lambda stack: stack * 2)])
    contexts = orchestrator.compile_pipelines(first, well_filter="A01")
    orchestrator.compile_pipelines(second, well_filter="A01")

    result = orchestrator.execute_compiled_plate(first, contexts)["A01"]

    assert result.error is None
    assert np.array_equal(image(tmp_path / "first", "A01", 1)[0, 0], raw_stack(small_plate, "A01", 1, 1) + 1)


def test_an_orchestrator_that_was_not_initialised_says_so(small_plate: Path) -> None:
    """Instead of an attribute error."""
    with pytest.raises(PlateError, match="call initialize"):
        PipelineOrchestrator(small_plate).compile_pipelines(MAIN_JOB)


def test_a_rerun_computes_only_what_is_missing_or_changed(small_plate: Path, tmp_path: Path) -> None:
    """Nothing; then just the well whose output was deleted; then all after a parameter changed."""

    def statuses(pipeline: Pipeline) -> dict[str, WellStatus]:
        return {well: result.status for well, result in run(small_plate, tmp_path, pipeline).items()}

    brighter = Pipeline([FunctionStep((add, {"amount": 2}))])
    assert set(statuses(Pipeline([FunctionStep((add, {"amount": 1}))])).values()) == {WellStatus.DONE}
    assert set(statuses(Pipeline([FunctionStep((add, {"amount": 1}))])).values()) == {WellStatus.UNCHANGED}
    shutil.rmtree(tmp_path / "small" / "images.zarr" / "B" / "02")
    again = statuses(Pipeline([FunctionStep((add, {"amount": 1}))]))
    assert [well for well, status in again.items() if status is WellStatus.DONE] == ["B02"]
    assert set(statuses(brighter).values()) == {WellStatus.DONE}


def test_every_run_leaves_a_log_with_a_section_a_well(small_plate: Path, tmp_path: Path) -> None:
    """Steps, what functions printed, errors and tracebacks."""
    run(small_plate, tmp_path, Pipeline([FunctionStep(print_and_pass)]), ["A01"], workers=1)
    run(small_plate, tmp_path, Pipeline([FunctionStep(explode)]), ["A02", "B01"], workers=1)

    logs = [log.read_text() for log in sorted((tmp_path / "small" / "logs").iterdir())]
    assert len(logs) == 2
    good, bad = sorted(logs, key=lambda log: "explode" in log)
    assert "== A01: done" in good and "hello from a function" in good
    assert "== A02: failed" in bad and "== B01: failed" in bad and "the lamp is off" in bad and "Traceback" in bad


def test_the_raw_plate_is_left_as_it_was(small_plate: Path, tmp_path: Path) -> None:
    """No file is added, removed, or touched."""
    before = _listing(small_plate)

    run(small_plate, tmp_path, MAIN_JOB)

    assert _listing(small_plate) == before


def _listing(folder: Path) -> Mapping[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


def test_an_output_inside_the_raw_plate_is_refused(small_plate: Path, tmp_path: Path) -> None:
    """By its real place, through a link or not."""
    (tmp_path / "link").symlink_to(small_plate)
    for output in (small_plate / "results", tmp_path / "link"):
        with pytest.raises(OutputPlaceError, match="raw plate"):
            run(small_plate, output, MAIN_JOB)


def test_a_well_with_missing_planes_fails_by_itself(small_plate: Path, tmp_path: Path) -> None:
    """A shorter stack would be another result; the sentence says which planes are missing."""
    plate = tmp_path / "plate"
    shutil.copytree(small_plate, plate)
    next(plate.rglob("*_B02_s2_w2.*")).unlink()

    results = run(plate, tmp_path / "out", MAIN_JOB)

    assert [well for well, result in results.items() if not result.success] == ["B02"]
    assert "1 of 12 declared planes have no file (site 2, channel 2" in results["B02"].error


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda file: tifffile.imwrite(file, np.zeros((40, 50), np.uint16)), "50 x 40"),
        (lambda file: tifffile.imwrite(file, np.zeros((40, 48), np.uint8)), "uint8"),
        (lambda file: file.write_bytes(b""), "empty"),
        (lambda file: file.write_bytes(b"II*\x00 not really a TIFF"), "cannot be decoded"),
    ],
    ids=["shape", "dtype", "empty file", "garbage"],
)
def test_a_plane_that_does_not_fit_fails_its_well(
    small_plate: Path, tmp_path: Path, spoil: Callable[[Path], object], sentence: str
) -> None:
    """Another shape or pixel type, or no image at all: the file is named."""
    plate = tmp_path / "plate"
    shutil.copytree(small_plate, plate)
    file = next(plate.rglob("*_A03_s2_w1.*"))
    spoil(file)

    results = run(plate, tmp_path / "out", MAIN_JOB)

    assert [well for well, result in results.items() if not result.success] == ["A03"]
    assert file.name in results["A03"].error and sentence in results["A03"].error


def test_closing_the_iterator_stops_the_run_and_leaves_whole_wells(small_plate: Path, tmp_path: Path) -> None:
    """What was published stays; nothing half-written does; the next run does the rest."""
    orchestrator = PipelineOrchestrator(small_plate, output=tmp_path).initialize()
    contexts = orchestrator.compile_pipelines(MAIN_JOB)
    results = orchestrator.execute(MAIN_JOB, contexts, 1)
    first = next(results)
    results.close()  # type: ignore[attr-defined] # execute is a generator

    report = verify(tmp_path / "small")
    assert first.well in report.whole and not report.damaged and not report.foreign
    assert not (tmp_path / "small" / ".staging").exists()
    rest = run(small_plate, tmp_path, MAIN_JOB)
    assert rest[first.well].status is WellStatus.UNCHANGED and all(result.success for result in rest.values())


def test_a_run_that_is_stopped_reads_what_its_workers_left_before_it_closes_their_files(
    small_plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that takes an answer in the moment of Ctrl-C ends without a traceback."""
    printed, ended = processes._Worker.printed, processes._Worker.end
    stopped, broken = threading.Event(), list[object]()

    def end(worker: processes._Worker) -> None:
        ended(worker)
        stopped.set()

    def late(worker: processes._Worker) -> str:
        if threading.current_thread() in keepers[1:]:
            assert stopped.wait(60)
            closed = time.monotonic() + 1.0
            while time.monotonic() < closed and not worker._output.closed:
                time.sleep(0.01)
        return printed(worker)

    keepers: list[threading.Thread] = []
    begin = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if "_look_after" in thread.name:
            keepers.append(thread)
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(processes._Worker, "end", end)
    monkeypatch.setattr(processes._Worker, "printed", late)
    monkeypatch.setattr(threading, "excepthook", broken.append)
    orchestrator = PipelineOrchestrator(small_plate, output=tmp_path).initialize()
    results = orchestrator.execute(MAIN_JOB, orchestrator.compile_pipelines(MAIN_JOB), 2)
    next(results)
    results.close()  # type: ignore[attr-defined] # execute is a generator

    assert len(keepers) == 2 and broken == []


def test_no_workers_is_refused(small_plate: Path, tmp_path: Path) -> None:
    """So is an unknown runner; the valid ones are listed."""
    contexts: dict[str, ProcessingContext] = (
        PipelineOrchestrator(small_plate, output=tmp_path).initialize().compile_pipelines(MAIN_JOB)
    )

    with pytest.raises(Exception, match="at least one worker"):
        execute_wells(contexts, workers=0)
    with pytest.raises(Exception, match="choose from processes, threads"):
        execute_wells(contexts, runner="carrier pigeon")


def test_a_full_disk_is_refused_before_the_run(
    small_plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence gives what is needed and what is free."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))

    with pytest.raises(OutputPlaceError, match="free"):
        run(small_plate, tmp_path, MAIN_JOB)
    assert not (tmp_path / "small").exists()


def test_contexts_carry_everything_a_worker_needs(small_plate: Path, tmp_path: Path) -> None:
    """A context that went through JSON, in a process that never saw the pipeline, makes the same pixels."""
    from openhcs_engine.plan.document import contexts_from_json, contexts_to_json

    orchestrator = PipelineOrchestrator(small_plate, output=tmp_path).initialize()
    contexts = orchestrator.compile_pipelines(MAIN_JOB, well_filter="A01")
    moved = {
        well: replace(context, output=replace(context.output, root=str(tmp_path / "again")))
        for well, context in contexts_from_json(contexts_to_json(contexts)).items()
    }

    (result,) = execute_wells(moved, workers=1)

    assert result.success
    assert np.array_equal(
        image(tmp_path / "again" / "small", "A01", 1)[0, 0, 0], expected_composite(small_plate, "A01", 1)
    )


def test_planes_of_a_collapsed_axis_need_an_entry_too(small_plate: Path, tmp_path: Path) -> None:
    """A projection has no z of its own: a dict keyed by z has no entry for it, and nothing passes in silence."""
    orchestrator = PipelineOrchestrator(small_plate, output=tmp_path).initialize()
    pipeline = Pipeline([FunctionStep({1: add, 2: add, 3: add}, group_by="z_index")])
    contexts = orchestrator.compile_pipelines(pipeline, well_filter="A01")
    planes = tuple(
        plane.replace(key=plane.key.replace(z_index=None)) if plane.key.z_index == 3 else plane
        for plane in contexts["A01"].index
    )
    contexts["A01"] = replace(contexts["A01"], index=ImageIndex.of(planes))

    result = orchestrator.execute_compiled_plate(pipeline, contexts, max_workers=1)["A01"]

    assert "has no entry for z_index None" in result.error


def test_files_are_asked_where_the_metadata_give_no_shape(small_plate: Path, tmp_path: Path) -> None:
    """A plate without shape and pixel type is processed as its files are."""
    orchestrator = PipelineOrchestrator(small_plate, output=tmp_path).initialize()
    contexts = orchestrator.compile_pipelines(MAIN_JOB, well_filter="A01")
    channels = tuple(replace(channel, shape=None, dtype=None) for channel in orchestrator.plate.channels)
    plate = replace(orchestrator.plate, shape=None, dtype=None, channels=channels)

    (result,) = execute_wells({"A01": replace(contexts["A01"], plate=plate)}, workers=1)

    assert result.success


def test_missing_planes_are_left_out_or_blank_as_asked(small_plate: Path, tmp_path: Path) -> None:
    """``skip`` makes the stack shorter, ``blank`` puts zeros in it; the result and its fingerprint say so."""
    plate = tmp_path / "plate"
    shutil.copytree(small_plate, plate)
    next(plate.rglob("*ZStep_2/*_B02_s2_w2.*")).unlink()
    whole = raw_stack(small_plate, "B02", 2, 2).astype(np.uint16)
    expected = {"skip": whole[[0, 2]].min(axis=0), "blank": np.zeros_like(whole[0])}
    fingerprints = set()

    for policy, pixels in expected.items():
        result = run(plate, tmp_path / policy, Pipeline([DARKEST]), ["B02"], on_missing=policy)["B02"]
        fingerprints.add(result.fingerprint)
        assert np.array_equal(image(tmp_path / policy / "plate", "B02", 2)[0, 1, 0], pixels)
        assert "1 of 12 declared planes have no file (site 2, channel 2, z 2" in result.notes[0]
    assert len(fingerprints) == 2


def test_projections_enter_as_asked(tmp_path: Path) -> None:
    """``fallback`` ignores them beside planes, ``only`` takes nothing else."""
    plate = write_imagexpress(
        tmp_path / "plate",
        SyntheticPlate(name="plate", rows=1, columns=1, sites=1, z=2, shape=(40, 48), projections=True),
    )
    depths = {}
    for projections in ("fallback", "ignore", "only"):
        orchestrator = PipelineOrchestrator(plate, output=tmp_path, projections=projections).initialize()
        contexts = orchestrator.compile_pipelines(Pipeline([FunctionStep(add)]))
        depths[projections] = {(plane.kind, plane.key.z_index) for plane in contexts["A01"].index}

    planes = {(PlaneKind.PLANE, 1), (PlaneKind.PLANE, 2)}
    assert depths == {"fallback": planes, "ignore": planes, "only": {(PlaneKind.PROJECTION, None)}}


@dataclass(frozen=True)
class Misuse:
    """Contexts that an orchestrator is not made for."""

    name: str
    contexts: Callable[[dict[str, ProcessingContext]], Any]  # Any: what a user may take for contexts
    sentence: str


MISUSES = [
    Misuse("a list", lambda known: list(known.values()), r"a dict of wells.*got a list.*\{context.well: context"),
    Misuse("another name", lambda known: {"B02": known["A01"]}, "under 'B02' is that of well A01; give each under its"),
    Misuse(
        "two plates",
        lambda known: known | {"A02": replace(known["A02"], plate=replace(known["A02"].plate, root="/elsewhere"))},
        "several plates or outputs: well A01 is of .*, well A02 of /elsewhere",
    ),
    Misuse(
        "another plate",
        lambda known: {"A01": replace(known["A01"], plate=replace(known["A01"].plate, root="/elsewhere"))},
        "compiled for the plate in /elsewhere, but this orchestrator reads",
    ),
]


@pytest.mark.parametrize("misuse", MISUSES, ids=lambda misuse: misuse.name)
def test_contexts_of_something_else_are_refused(small_plate: Path, tmp_path: Path, misuse: Misuse) -> None:
    """Before anything is run or written, with what to give instead."""
    orchestrator = PipelineOrchestrator(small_plate, output=tmp_path / "out").initialize()
    contexts = orchestrator.compile_pipelines(MAIN_JOB)

    with pytest.raises(PipelineError, match=misuse.sentence):
        orchestrator.execute_compiled_plate(MAIN_JOB, misuse.contexts(contexts))
    assert not (tmp_path / "out").exists()


def test_other_wrong_calls_of_an_orchestrator_are_options_that_cannot_be(small_plate: Path, tmp_path: Path) -> None:
    """A number of workers, a component, a folder."""
    orchestrator = PipelineOrchestrator(small_plate, output=tmp_path, runner="threads").initialize()
    contexts = orchestrator.compile_pipelines(MAIN_JOB)

    for workers in ("2", 1.5, True):
        with pytest.raises(OptionError, match=f"max_workers={workers!r} is no whole number"):
            orchestrator.execute_compiled_plate(MAIN_JOB, contexts, max_workers=workers)  # type: ignore[arg-type]
    for component in (GroupBy.NONE, "plate"):
        with pytest.raises(OptionError, match=f"component='{component}' is unknown .choose from well, site"):
            orchestrator.get_component_keys(component)
    for folder in (None, "", 5):
        with pytest.raises(OptionError, match=f"plate_path={folder!r} names no folder"):
            PipelineOrchestrator(folder)  # type: ignore[arg-type]


def test_an_unknown_option_lists_the_valid_ones(small_plate: Path) -> None:
    """Before anything is read."""
    for option in ("runner", "backend", "on_missing", "projections"):
        with pytest.raises(OptionError, match=f"{option}='wrong' is unknown \\(choose from "):
            PipelineOrchestrator(small_plate, **{option: "wrong"})  # type: ignore[arg-type]


def test_a_mended_file_gives_the_fingerprint_of_what_was_read(small_plate: Path, tmp_path: Path) -> None:
    """Run with the old plan, the well is noted as changed; a new plan then finds it current and computes nothing."""
    plate = tmp_path / "plate"
    shutil.copytree(small_plate, plate)
    victim = next(plate.rglob("*_A02_s1_w1.*"))
    whole = victim.read_bytes()
    os.truncate(victim, len(whole) // 2)
    orchestrator = PipelineOrchestrator(plate, output=tmp_path / "out").initialize()
    contexts = orchestrator.compile_pipelines(MAIN_JOB, well_filter="A02")
    victim.write_bytes(whole)

    mended = orchestrator.execute_compiled_plate(MAIN_JOB, contexts, max_workers=1)["A02"]
    again = run(plate, tmp_path / "out", MAIN_JOB, ["A02"])["A02"]

    assert mended.success and "1 raw files changed" in mended.notes[0]
    assert mended.fingerprint != contexts["A02"].fingerprint
    assert (again.status, again.fingerprint) == (WellStatus.UNCHANGED, mended.fingerprint)


def test_a_step_that_takes_no_time_keeps_its_seconds(small_plate: Path, tmp_path: Path) -> None:
    """A measured zero is a number: what a step took stands in the manifest, however short it was."""
    step = StepResult(
        number=1, name="Add", seconds=0.0, stacks=1, planes_read=1, planes_written=1, bytes_read=0, device="cpu:0"
    )

    assert record_of(step) == {"number": 1, "name": "Add", "seconds": 0.0, "device": "cpu:0"}
    assert record_of(replace(step, seconds=0.0004))["seconds"] == 0.0004

    orchestrator = PipelineOrchestrator(small_plate, output=tmp_path, runner="threads").initialize()
    pipeline = [FunctionStep(add)]
    contexts = orchestrator.compile_pipelines(pipeline, well_filter="A01")
    orchestrator.execute_compiled_plate(pipeline, contexts)
    manifest = read_manifest(tmp_path / "small" / "wells" / "A01.json")
    assert manifest is not None and isinstance(manifest.provenance["steps"][0]["seconds"], float)
