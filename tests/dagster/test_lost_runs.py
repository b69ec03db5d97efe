"""Runs whose process is gone are settled at every start; what waits for a place says for whom, and can be ended."""

from __future__ import annotations

import ast
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
import yaml  # type: ignore[import-untyped] # its stubs are a package of their own
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from openhcs_dagster.automation import lost_runs, run_process
from openhcs_dagster.automation.lost_runs import fail_lost_runs
from openhcs_dagster.automation.run_executor import patient_executor
from openhcs_dagster.automation.run_process import LAUNCHER_TAG, PROCESS_TAG, RunProcess, process_tag
from openhcs_dagster.cli.commands import main
from openhcs_dagster.cli.in_process import local_instance, materialize_plate
from openhcs_dagster.definitions import build_definitions
from openhcs_dagster.home import prepare_home
from openhcs_dagster.run_launcher import TaggingRunLauncher
from openhcs_dagster.settings import Settings
from openhcs_engine.files import processes
from openhcs_engine.files.processes import may_have_spawned
from tests.dagster.deployments import Deployment

POOL = "openhcs_cpu"
SAY_WHO_AND_WAIT = (
    "import sys; from openhcs_dagster.automation.run_process import process_tag; print(process_tag()); sys.stdin.read()"
)


class Stranger:
    """Another process of this host, and the tag of a run inside it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SAY_WHO_AND_WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.tag = dict(ast.literal_eval(self.process.stdout.readline()))

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def dead() -> dict[str, str]:
    """Tag of a run whose process was killed on this host."""
    stranger = Stranger()
    stranger.kill()
    return stranger.tag


def started(deployment: Deployment, tag: dict[str, str], *, until: str = "PIPELINE_START", plate: str = "P9") -> str:
    """A run as one leaves it that was killed, with a place of its pool."""
    instance = deployment.instance
    run = dg.DagsterRun(job_name="plates", tags={**tag, "openhcs/plate": plate})
    instance.add_run(run)
    for kind in ("PIPELINE_STARTING", "PIPELINE_START"):
        if until >= kind:
            instance.report_dagster_event(DagsterEvent(event_type_value=kind, job_name="plates"), run.run_id)
    instance.event_log_storage.set_concurrency_slots(POOL, 1)
    assert instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "wells").is_claimed
    return run.run_id


def status(deployment: Deployment, run_id: str) -> dg.DagsterRunStatus:
    run = deployment.instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def places(deployment: Deployment) -> int:
    return deployment.instance.event_log_storage.get_concurrency_info(POOL).active_slot_count


@pytest.mark.parametrize("until", ["A run that had not begun", "PIPELINE_START"])
def test_a_run_whose_process_was_killed_is_settled_with_its_place(
    deployment: Deployment, dead: dict[str, str], until: str
) -> None:
    """Whether it had begun or not: it is marked as failed, and its place is free at once."""
    run_id = started(deployment, dead, until=until)

    assert fail_lost_runs(deployment.instance) == [run_id]

    assert status(deployment, run_id) is dg.DagsterRunStatus.FAILURE
    assert places(deployment) == 0


def test_the_list_of_plates_settles_lost_runs_and_says_so_once(
    tmp_path: Path, dead: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a power cut nobody has to start a run or a server for Dagster to show what became of the last one."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    prepare_home(tmp_path)
    with local_instance() as instance:
        run_id = started(Deployment(tmp_path, Settings.of({"DAGSTER_HOME": str(tmp_path)}), instance), dead)

    told = []
    for _ in range(2):
        with pytest.raises(SystemExit) as exit_:
            main(["list"])
        told.append(capsys.readouterr().err)
        assert exit_.value.code == 0

    assert f"Run {run_id[:8]} lost its process" in told[0] and "lost its process" not in told[1]
    with local_instance() as instance:
        record = instance.get_run_by_id(run_id)
        assert record is not None and record.status is dg.DagsterRunStatus.FAILURE
        assert instance.event_log_storage.get_concurrency_info(POOL).active_slot_count == 0


def test_the_list_of_plates_makes_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks where nothing ever ran leaves nothing."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))

    with pytest.raises(SystemExit):
        main(["list"])

    assert list(tmp_path.iterdir()) == []


def test_a_place_comes_free_whose_run_has_ended_or_was_deleted(deployment: Deployment, dead: dict[str, str]) -> None:
    """A process that dies between the two leaves a finished run with a place that nobody would take from it."""
    ended = started(deployment, dead)
    deployment.instance.report_run_failed(deployment.instance.get_run_by_id(ended) or pytest.fail("no run"))
    assert places(deployment) == 1

    assert fail_lost_runs(deployment.instance) == [] and places(deployment) == 0

    deleted = started(deployment, process_tag())
    deployment.instance.delete_run(deleted)
    assert fail_lost_runs(deployment.instance) == [] and places(deployment) == 0


@dataclass(frozen=True)
class Elsewhere:
    """Where a run's process lives, made from one that is dead on this host."""

    name: str
    change: Callable[[RunProcess], RunProcess]
    lost: bool

    def __str__(self) -> str:
        return self.name


def of_host(process: RunProcess, boot: str = "", space: str = "", name: str = "", machine: str = "") -> RunProcess:
    own_boot, _, own_space = process.writer.host.partition("/")
    host = f"{boot or own_boot}/{space or own_space}"
    writer = replace(process.writer, host=host, name=name or process.writer.name)
    return replace(process, writer=writer, machine=machine or process.machine)


ELSEWHERE = [
    Elsewhere("this host", of_host, lost=True),
    Elsewhere("this host before it was started again", lambda run: of_host(run, boot="b00t"), lost=True),
    Elsewhere("another container of this host", lambda run: of_host(run, space="pid:[17]"), lost=False),
    Elsewhere("another host", lambda run: of_host(run, boot="b00t", name="lab2", machine="m2"), lost=False),
    Elsewhere("a namesake of this host", lambda run: of_host(run, boot="b00t", machine="m2"), lost=False),
    Elsewhere("a copy of this machine", lambda run: of_host(run, boot="b00t", name="lab2"), lost=False),
]


@pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=str)
def test_only_runs_of_this_host_are_judged(
    deployment: Deployment, dead: dict[str, str], monkeypatch: pytest.MonkeyPatch, elsewhere: Elsewhere
) -> None:
    """A home may be shared by hosts and containers, where the same number is another process."""
    monkeypatch.setattr(run_process, "_machine", lambda: "m1")
    known = RunProcess.of(dg.DagsterRun(job_name="plates", tags=dead))
    assert known is not None
    process = elsewhere.change(replace(known, machine="m1"))
    monkeypatch.setattr(RunProcess, "here", lambda: process)
    run_id = started(deployment, process_tag())

    assert fail_lost_runs(deployment.instance) == ([run_id] if elsewhere.lost else [])
    assert (places(deployment) == 0) is elsewhere.lost


@pytest.mark.parametrize("told", ["", "{}", "elsewhere:17", "not a number:x", '{"writer": null}'])
def test_a_run_that_does_not_say_where_it_is_stays(deployment: Deployment, told: str) -> None:
    """Somebody's own job, or a run of another version's, is never settled by a guess."""
    started(deployment, {PROCESS_TAG: told})

    assert fail_lost_runs(deployment.instance) == [] and places(deployment) == 1


LONG_AFTER = "2100-01-01"


def launched(deployment: Deployment, tag: dict[str, str], pid: int | None = None) -> str:
    """A run as its launcher leaves it, whose process has said its number, or has not come so far."""
    (process,) = tag.values()
    run_id = started(deployment, {LAUNCHER_TAG: process}, until="A run that had not begun")
    starting = DagsterEvent(event_type_value="PIPELINE_STARTING", job_name="plates")
    deployment.instance.report_dagster_event(starting, run_id)
    if pid is not None:
        run = deployment.instance.get_run_by_id(run_id)
        deployment.instance.report_engine_event("Started process for run.", run, EngineEventData.in_process(pid))
    assert status(deployment, run_id) is dg.DagsterRunStatus.STARTING
    return run_id


@pytest.fixture
def nothing_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long after a launch, on a machine where nobody else spawns processes."""
    now = datetime.fromisoformat(LONG_AFTER).timestamp()
    monkeypatch.setattr(lost_runs, "time", SimpleNamespace(time=lambda: now))
    monkeypatch.setattr(lost_runs, "may_have_spawned", lambda since: False)


@pytest.mark.usefixtures("nothing_spawned")
def test_a_run_that_was_killed_with_its_launcher_is_settled(deployment: Deployment, dead: dict[str, str]) -> None:
    """Nobody is left who could begin it: it is marked as failed with a sentence, and its place is free."""
    run_id = launched(deployment, dead)

    assert fail_lost_runs(deployment.instance) == [run_id]

    assert status(deployment, run_id) is dg.DagsterRunStatus.FAILURE and places(deployment) == 0
    messages = [event.message for event in deployment.instance.all_logs(run_id)]
    assert any("Nobody is left to begin this run" in message for message in messages)


@pytest.mark.usefixtures("nothing_spawned")
def test_a_launched_run_whose_own_process_died_is_settled_while_its_launcher_lives(deployment: Deployment) -> None:
    """A served home lives on; the run's process was killed before it executed anything."""
    stranger = Stranger()
    stranger.kill()
    run_id = launched(deployment, process_tag(), pid=stranger.process.pid)

    assert fail_lost_runs(deployment.instance) == [run_id] and places(deployment) == 0


@pytest.mark.usefixtures("nothing_spawned")
def test_a_launched_run_keeps_its_place_while_anybody_may_begin_it(
    deployment: Deployment, dead: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its launcher lives, or its process does, or one that may be its process was spawned since."""
    run_ids = [launched(deployment, process_tag())]
    assert fail_lost_runs(deployment.instance) == []
    deployment.instance.delete_run(run_ids.pop())

    run_id = launched(deployment, dead, pid=os.getpid())
    assert fail_lost_runs(deployment.instance) == []
    deployment.instance.delete_run(run_id)
    fail_lost_runs(deployment.instance)

    launched(deployment, dead)
    monkeypatch.setattr(lost_runs, "may_have_spawned", lambda since: True)
    assert fail_lost_runs(deployment.instance) == [] and places(deployment) == 1


def test_a_spawned_process_is_seen_from_its_launch_on() -> None:
    """A code server's child is known before it has said anything, and no longer once it has ended."""
    before = time.time()
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    process.start()
    try:
        assert may_have_spawned(before)
        assert processes._is_spawned(Path(f"/proc/{process.pid}"), before)
        assert not processes._is_spawned(Path(f"/proc/{process.pid}"), before + 3600)
    finally:
        process.kill()
        process.join()
    assert not processes._is_spawned(Path(f"/proc/{process.pid}"), before)


def test_a_home_launches_runs_that_say_who_launches_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher of a new home is Dagster's own; it writes the tag before it lets anything begin."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    prepare_home(tmp_path)
    with local_instance() as instance:
        launcher = instance.run_launcher
        assert isinstance(launcher, TaggingRunLauncher)
        run = dg.DagsterRun(job_name="plates")
        instance.add_run(run)
        seen = []
        monkeypatch.setattr(
            dg.DefaultRunLauncher,
            "launch_run",
            lambda self, context: seen.append(instance.get_run_by_id(context.dagster_run.run_id)),
        )

        launcher.launch_run(LaunchRunContext(run, None))

        (found,) = seen
        assert found is not None
        assert RunProcess.of(found, LAUNCHER_TAG) == RunProcess.here()


@pytest.mark.parametrize(("limit_s", "ends"), [(1, True), (3600, False)])
def test_a_run_that_nobody_can_judge_ends_by_dagsters_limit_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit_s: int, ends: bool
) -> None:
    """No daemon need run: whatever starts next asks whether a run without our tags took too long to begin."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    prepare_home(tmp_path)
    file = tmp_path / "dagster.yaml"
    found = yaml.safe_load(file.read_text())
    found["run_monitoring"] = {"enabled": True, "start_timeout_seconds": limit_s}
    file.write_text(yaml.safe_dump(found))
    with local_instance() as instance:
        run = instance.add_run(dg.DagsterRun(job_name="plates"))
        event = DagsterEvent(event_type_value="PIPELINE_STARTING", job_name="plates")
        instance.report_dagster_event(event, run.run_id)
        time.sleep(1.1)  # by Dagster's own clock, in whole seconds at the least

        settled = fail_lost_runs(instance)

        kept = instance.get_run_by_id(run.run_id)
    assert settled == ([run.run_id] if ends else [])
    assert kept is not None and kept.is_finished is ends


def test_a_living_process_keeps_its_run(deployment: Deployment) -> None:
    """This very process holds the run."""
    run_id = started(deployment, process_tag())

    assert fail_lost_runs(deployment.instance) == []
    assert status(deployment, run_id) is dg.DagsterRunStatus.STARTED and places(deployment) == 1


@pytest.mark.parametrize("state", ["NOT_STARTED", "QUEUED"])
def test_a_run_that_nobody_began_blocks_no_home(deployment: Deployment, state: str) -> None:
    """Created and never submitted, or waiting in the queue of a server that is off: it holds no place, and stays."""
    instance = deployment.instance
    location = RegisteredCodeLocationOrigin("openhcs")
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), "plates")
    run = dg.DagsterRun(job_name="plates", status=dg.DagsterRunStatus(state), remote_job_origin=origin)
    instance.add_run(run)
    instance.event_log_storage.set_concurrency_slots(POOL, 1)
    assert status(deployment, run.run_id).value == state
    entry = deployment.add(deployment.plate(), deployment.pipeline("lab"))

    materialized = deployment.run(entry)

    assert materialized.refusal is None and len(materialized.outcomes) == len(entry.wells) and not materialized.failed
    assert status(deployment, run.run_id).value == state


def test_a_new_run_settles_the_lost_one_and_takes_its_place(deployment: Deployment, dead: dict[str, str]) -> None:
    """A home with one place, held by a killed run, and no server: the plate is materialized all the same."""
    lost = started(deployment, dead)
    entry = deployment.add(deployment.plate(), deployment.pipeline("lab"))

    run = deployment.run(entry)

    assert run.refusal is None and len(run.outcomes) == len(entry.wells) and not run.failed
    assert status(deployment, lost) is dg.DagsterRunStatus.FAILURE and places(deployment) == 0


def test_a_waiting_run_says_for_whom_and_goes_on_when_that_process_dies(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names run, plate, process and time, and needs no server to see that the place is free."""
    monkeypatch.setattr("openhcs_dagster.automation.run_executor.SETTLE_S", 0.2)
    stranger = Stranger()
    holder = started(deployment, stranger.tag, plate="P777")
    entry = deployment.add(deployment.plate(), deployment.pipeline("lab"))
    notes: list[str] = []

    def then_kill(note: str) -> None:
        notes.append(note)
        stranger.kill()

    run = materialize_plate(entry, deployment.settings, deployment.instance, on_note=then_kill)

    assert len(notes) == 1
    for part in (POOL, holder[:8], "P777", f"process {stranger.process.pid} on ", "since 20"):
        assert part in notes[0]
    assert not run.failed and len(run.outcomes) == len(entry.wells)
    assert status(deployment, holder) is dg.DagsterRunStatus.FAILURE
    told = [
        event.dagster_event.message for event in deployment.instance.all_logs(run_of(deployment)) if event.dagster_event
    ]
    assert notes[0] in told


def run_of(deployment: Deployment) -> str:
    """The run of the wells that was started last, but for the report's."""
    return deployment.instance.get_runs(limit=2)[-1].run_id


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_that_waits(deployment: Deployment, number: signal.Signals) -> None:
    """Who waits for a plate of many hours must not need kill -9; nothing of the run stays behind in the pool."""
    holder = started(deployment, process_tag())
    entry = deployment.add(deployment.plate(), deployment.pipeline("lab"))
    handler = signal.getsignal(number)
    signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            materialize_plate(
                entry, deployment.settings, deployment.instance, on_note=lambda _: os.kill(os.getpid(), number)
            )
    finally:
        signal.signal(number, handler)

    info = deployment.instance.event_log_storage.get_concurrency_info(POOL)
    assert {place.run_id for place in (*info.claimed_slots, *info.pending_steps)} == {holder}
    assert deployment.instance.get_runs(limit=1)[0].is_finished


def test_a_signal_ends_a_run_of_wells_and_frees_its_place(deployment: Deployment, tmp_path: Path) -> None:
    """Published wells stay, the others are done by the next run, which need not wait."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("lab"))
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        materialize_plate(
            entry, deployment.settings, deployment.instance, on_well=lambda *_: os.kill(os.getpid(), signal.SIGINT)
        )

    assert signal.getsignal(signal.SIGINT) is handler and places(deployment) == 0
    again = deployment.run(entry)
    assert len(again.outcomes) == len(entry.wells) and not again.failed


def test_runs_of_the_code_location_wait_the_same_way(deployment: Deployment) -> None:
    """What the UI starts is executed by the same executor, which says in a tag which process it is."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("lab"))

    job = build_definitions(deployment.settings).resolve_implicit_global_asset_job_def()
    deployment.run(entry, entry.wells[0])

    assert job.executor_def is patient_executor
    run = deployment.instance.get_run_by_id(run_of(deployment))
    assert run is not None and RunProcess.of(run) == RunProcess.here()


PUBLISH_AND_DIE = """
import os, signal, sys
from pathlib import Path
import openhcs_engine.execution.well_lister as lister
from openhcs_dagster.cli.in_process import local_instance, materialize_plate
from openhcs_dagster.settings import Settings
from openhcs_dagster.catalogue.catalogue import Catalogue

output = Path(sys.argv[1])


def die_once_published(self):
    if (output / "wells" / "A02.json").exists():
        os.kill(os.getpid(), signal.SIGKILL)


lister.WellLister.list = die_once_published
settings = Settings.of(os.environ)
with local_instance() as instance:
    materialize_plate(Catalogue(settings.catalogue).read("P001"), settings, instance, wells=["A02"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("before", [["A01"], []], ids=["a plate with a group", "a plate without a group"])
def test_wells_that_a_killed_run_published_are_listed_when_it_is_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: list[str]
) -> None:
    """The run is killed between publishing a well and listing it; the groups are what the plate's next run makes."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    prepare_home(tmp_path)
    settings = Settings.of({"DAGSTER_HOME": str(tmp_path)})
    with local_instance() as instance:
        deployment = Deployment(tmp_path, settings, instance)
        entry = deployment.add(deployment.plate("P001"), deployment.pipeline(f"lab_killed_{len(before)}"))
        if before:
            materialize_plate(entry, settings, instance, wells=before)
        output = entry.output_plan.folder

        killed = subprocess.run([sys.executable, "-c", PUBLISH_AND_DIE, str(output)], timeout=100)

        assert killed.returncode == -signal.SIGKILL
        assert (output / "wells" / "A02.json").exists() and listed(output) == ["A/01"] * len(before)
        assert len(fail_lost_runs(instance)) == 1
        assert listed(output) == [*["A/01"] * len(before), "A/02"]

        groups = contents(output, "images.zarr/**/zarr.json")
        run = deployment.run(entry, "A02")
        assert [outcome.status.value for outcome in run.outcomes] == ["unchanged"]
        assert contents(output, "images.zarr/**/zarr.json") == groups


def test_a_settled_run_names_its_plate_that_the_catalogue_does_not_have(
    deployment: Deployment, dead: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing says where that plate's wells are."""
    monkeypatch.setenv("DAGSTER_HOME", str(deployment.settings.home))
    run_id = started(deployment, dead, plate="P404")

    assert fail_lost_runs(deployment.instance) == [run_id]

    (told,) = [event.message for event in deployment.instance.all_logs(run_id) if "P404" in (event.message or "")]
    assert "not in the catalogue any more" in told and "Add the plate again and run it" in told


def contents(output: Path, pattern: str) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for path in output.glob(pattern)}


def listed(output: Path) -> list[str]:
    groups = list(output.glob("*.zarr/zarr.json"))
    return [
        well["path"]
        for group in groups
        for well in json.loads(group.read_text())["attributes"]["ome"]["plate"]["wells"]
    ]
