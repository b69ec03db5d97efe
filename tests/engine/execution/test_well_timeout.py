"""Wells that take long are named, and ended at a limit; the others go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from openhcs_engine import FunctionStep, PipelineOrchestrator
from openhcs_engine.errors import ExecutionError, OptionError
from openhcs_engine.execution import WellStatus, execute_wells
from openhcs_engine.execution.runners import processes, well_watch
from openhcs_engine.execution.runners.well_watch import Patience, WatchedWell, WellWatch
from openhcs_engine.memory.stack import Array
from openhcs_engine.model.quantities.durations import format_duration, parse_seconds
from tests.engine.slow_functions import hang_once, wait_for


def orchestrator(plate: Path, output: Path, **options: Any) -> PipelineOrchestrator:
    return PipelineOrchestrator(plate, output=output, **options).initialize()


@pytest.mark.slow
def test_a_well_that_takes_too_long_fails_alone_and_its_worker_is_replaced(small_plate: Path, tmp_path: Path) -> None:
    """With one worker: its successor runs the wells behind the ended one, and the next run needs only that one."""
    pipeline = [FunctionStep((hang_once, {"marker": str(tmp_path / "marker")}))]
    run = orchestrator(small_plate, tmp_path / "out", well_timeout="6s")
    contexts = run.compile_pipelines(pipeline, well_filter="A01,A02,A03")

    results = run.execute_compiled_plate(pipeline, contexts, max_workers=1)

    (ended,) = [result for result in results.values() if not result.success]
    assert sum(result.status is WellStatus.DONE for result in results.values()) == 2
    assert ended.error_type == "WellTimeoutError" and ended.error is not None
    assert ended.error.startswith(f"Well {ended.well}: it was not done after 6 s") and "--well-timeout" in ended.error
    (log,) = (tmp_path / "out" / "small" / "logs").glob("*.log")
    assert "first, and never done" in log.read_text()
    assert not (tmp_path / "out" / "small" / ".staging").exists()

    again = run.execute_compiled_plate(pipeline, contexts)
    assert {well for well, result in again.items() if result.status is WellStatus.DONE} == {ended.well}


@pytest.mark.parametrize("runner", ["processes", "threads"])
def test_a_well_that_works_long_is_named_again_and_again(small_plate: Path, tmp_path: Path, runner: str) -> None:
    """The run goes on only because it was said: who is told opens the gate at the second time."""
    gate = tmp_path / "gate"
    pipeline = [FunctionStep((wait_for, {"file": str(gate)}))]
    run = orchestrator(small_plate, tmp_path / "out", runner=runner)
    contexts = run.compile_pipelines(pipeline, well_filter="A02")
    told: list[str] = []

    def note(sentence: str) -> None:
        told.append(sentence)
        if len(told) == 2:
            gate.touch()

    (result,) = execute_wells(contexts, runner=runner, workers=1, remind_s=0.05, on_notice=note)

    assert result.success
    assert all(sentence.startswith("Well A02 has been in work for ") for sentence in told)
    (log,) = (tmp_path / "out" / "small" / "logs").glob("*.log")
    assert f"note: {told[0]}" in log.read_text()


def test_nobody_is_named_before_ten_minutes() -> None:
    """A lab that watches wants no line for each well."""
    assert Patience().remind_s == 600 and Patience().limit_s is None


def test_the_time_of_a_well_begins_when_its_worker_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing array libraries is no well's work; but a worker that never begins is ended, too."""
    watched = WatchedWell(well="A01", device="cpu:0", end=lambda: None, patience=Patience(limit_s=1.0), since=100.0)
    assert watched.ends_at == 101.0 + well_watch.START_S
    monkeypatch.setattr(well_watch.time, "monotonic", lambda: 150.0)

    watched.begin()

    assert watched.ends_at == 151.0


def test_a_well_that_is_over_is_never_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker may hold the next well already."""
    monkeypatch.setattr(well_watch, "START_S", 0.0)
    ended = threading.Event()
    watch = WellWatch(Patience(limit_s=0.02))
    with watch.over("A01", "cpu:0", ended.set) as late:
        assert ended.wait(30)
    assert late.ended
    with watch.over("A02", "cpu:0", lambda: pytest.fail("ended")) as early:
        pass
    watch.close()
    assert not early.ended


def test_an_answer_in_the_moment_of_the_end_counts(
    small_plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The well is published, so it is done; but its worker was ended, and gets no other well."""
    pids: list[int] = []

    class AlwaysLate(WellWatch):
        @contextmanager
        def over(self, *given: Any) -> Iterator[WatchedWell]:
            with super().over(*given) as watched:
                yield watched
                given[-1]()
                watched.ended = True

    real = processes._Worker

    class Counted(real):  # type: ignore[misg,misc,valid-type] # mypy wants no variable as a base
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            pids.append(self._process.pid)

    monkeypatch.setattr(processes, "WellWatch", AlwaysLate)
    monkeypatch.setattr(processes, "_Worker", Counted)
    (tmp_path / "gate").touch()
    pipeline = [FunctionStep((wait_for, {"file": str(tmp_path / "gate")}))]
    run = orchestrator(small_plate, tmp_path / "out")
    contexts = run.compile_pipelines(pipeline, well_filter="A01,A02")

    results = run.execute_compiled_plate(pipeline, contexts, max_workers=1)

    assert all(result.status is WellStatus.DONE for result in results.values()) and len(set(pids)) == 2


def test_a_limit_is_refused_where_threads_run_the_wells(small_plate: Path, tmp_path: Path) -> None:
    """Nobody can end a thread: threads that are asked for are refused at once, forced ones before the first well."""

    def only_here(stack: Array) -> Array:
        return stack

    with pytest.raises(OptionError, match=r"ended only with its process.*--runner processes"):
        PipelineOrchestrator(small_plate, output=tmp_path, runner="threads", well_timeout=60)

    run = orchestrator(small_plate, tmp_path, well_timeout=60)
    pipeline = [FunctionStep(only_here)]
    contexts = run.compile_pipelines(pipeline, well_filter="A01")
    with pytest.raises(ExecutionError, match=r"ended only with its process.*only_here.* cannot be imported"):
        run.execute_compiled_plate(pipeline, contexts)
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (90, 90),
        (0.5, 0.5),
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("10 min", 600),
        ("1.5h", 5400),
        (" 2 H ", 7200),
        ("1d", 86400),
    ],
)
def test_times_are_read_as_people_write_them(written: float | str, seconds: float) -> None:
    """Numbers are seconds."""
    assert parse_seconds(written) == seconds


@pytest.mark.parametrize(
    "written", [0, -1, True, float("nan"), float("inf"), "", "m", "10 parsecs", "-5s", "1:30", "0m", "1e3"]
)
def test_what_is_no_time_is_refused_with_an_example(small_plate: Path, written: float | str) -> None:
    """Zero, too: a well needs some time."""
    with pytest.raises(OptionError, match=r"no length of time.*such as 90s or 10m"):
        PipelineOrchestrator(small_plate, well_timeout=written)


@pytest.mark.parametrize(("seconds", "told"), [(0.05, "0.05 s"), (45, "45 s"), (600, "10 min"), (9000, "2.5 h")])
def test_times_are_told_in_units_that_suit_them(seconds: float, told: str) -> None:
    """As in sentences about wells."""
    assert format_duration(seconds) == told
