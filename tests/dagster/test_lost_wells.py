"""A well that is lost while its plate still runs: its run fails, and nothing shows the well as done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.storage.dagster_run import DagsterRun
from dagster._grpc.types import ExecuteRunArgs
from dagster_shared.serdes import serialize_value

from openhcs_dagster.cli.in_process import PlateRun, local_instance, materialize_plate
from openhcs_dagster.definitions import build_definitions
from openhcs_dagster.home import prepare_home
from openhcs_dagster.keys import PlateKeys, range_tags
from openhcs_dagster.plate.compilation import compile_entry
from openhcs_dagster.report.summary import WellState, summarise
from openhcs_dagster.settings import Settings
from openhcs_engine.microscopes.plate_listing import read_listing
from openhcs_engine.output.reading.published_wells import PlateWells
from tests.dagster.deployments import Deployment, partition_states

KEYS = PlateKeys("P001")
OTHERS = ["A01", "A03", "B01", "B02", "B03"]


def run_and_lose(deployment: Deployment, *paths: str, after: str = "B03") -> PlateRun:
    """Run a plate; when a well is recorded, paths in its output go."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("lab"))

    def lose(well: str, status: str) -> None:
        for path in paths if well == after else ():
            target = entry.output_plan.folder / path
            shutil.rmtree(target) if target.is_dir() else target.unlink()

    return materialize_plate(entry, deployment.settings, deployment.instance, on_well=lose)


def test_a_well_that_is_lost_while_its_plate_runs_fails_the_run_and_is_shown_as_failed(deployment: Deployment) -> None:
    """Its materialization was recorded before; in the UI, the report and the table of the run it counts as failed."""
    run = run_and_lose(deployment, "wells/A02.json")

    assert run.refusal is None
    (failed,) = run.failed
    assert failed.well == "A02" and len(run.outcomes) == 6 and run.refusal is None
    for part in ("Well A02", "wells/A02.json", str(deployment.root / "out/P001"), "Run the well again"):
        assert part in str(failed.error)
    states = partition_states(deployment, KEYS.wells)
    assert (states["failed"], states["materialized"]) == (["A02"], OTHERS)
    (record,) = deployment.instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    (event,) = [
        entry.dagster_event
        for entry in deployment.instance.all_logs(record.dagster_run.run_id)
        if entry.dagster_event and entry.dagster_event.is_step_failure
    ]
    told = event.step_failure_data.user_failure_data
    assert told is not None and str(told.description).startswith("1 of 6 wells failed: A02.")
    observed = deployment.instance.fetch_observations(KEYS.wells, limit=10).records
    assert [each.partition_key for each in observed] == ["A02"]
    assert report_states(deployment) == {"A02": WellState.FAILED}

    again = deployment.run(deployment.catalogue.read("P001"))
    assert {outcome.well: outcome.status.value for outcome in again.outcomes}["A02"] == "done" and not again.failed
    assert partition_states(deployment, KEYS.wells)["failed"] == [] and report_states(deployment) == {}


def test_images_that_are_lost_while_their_manifest_stays_count_too(deployment: Deployment) -> None:
    """The well's folder alone was removed."""
    run = run_and_lose(deployment, "images.zarr/A/02")

    assert [outcome.well for outcome in run.failed] == ["A02"] and "images.zarr/A/02" in str(run.failed[0].error)
    assert partition_states(deployment, KEYS.wells)["failed"] == ["A02"]
    assert report_states(deployment) == {"A02": WellState.FAILED}


def test_an_output_that_is_removed_whole_fails_every_well_that_it_held(deployment: Deployment) -> None:
    """Also if nothing of it is left when the run ends."""
    run = run_and_lose(deployment, ".")

    assert [outcome.well for outcome in run.failed] == ["A01", "A02", "A03", "B01", "B02", "B03"]
    assert partition_states(deployment, KEYS.wells)["materialized"] == []


LOSING = """
import shutil
from pathlib import Path
from openhcs_engine import FunctionStep, Pipeline
from openhcs_engine.memory import numpy

@numpy
def lose(stack, output, path):
    "Removes something of the output, once, as soon as a well is published there."
    output, once = Path(output), Path(output + ".lost")
    if any((output / "wells").glob("*.json")) and not once.exists():
        once.touch()
        # Other workers write there meanwhile; what was moved away is found by none of them.
        (output / path).rename(removed := output.with_name("removed"))
        shutil.rmtree(removed) if removed.is_dir() else removed.unlink()
    return stack

pipeline = Pipeline([FunctionStep((lose, {"output": OUTPUT, "path": PATH}))])
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home for other processes; those find it in their environment."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "1000")
    prepare_home(tmp_path / "home")
    return Settings.of(os.environ)


def losing(root: Path, path: str) -> str:
    """A pipeline that removes something of the plate's output."""
    return LOSING.replace("OUTPUT", repr(str(root / "out" / "P001"))).replace("PATH", repr(path))


@pytest.mark.slow
def test_materialize_exits_1_if_its_output_was_removed_meanwhile(tmp_path: Path, home: Settings) -> None:
    """Wells that were published are missing, wells at work have lost their files: each says that, and blames nobody."""
    with local_instance() as instance:
        deployment = Deployment(tmp_path, home, instance)
        deployment.add(deployment.plate(), deployment.pipeline("lab_losing", text=losing(tmp_path, ".")))

    done = subprocess.run(
        [sys.executable, "-m", "openhcs_dagster.cli", "materialize", "P001"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip

    assert done.returncode == 1, done.stderr
    rows = {well: row for row in done.stdout.splitlines() for well in (*OTHERS, "A02") if f"Well {well}:" in row}
    assert sorted(rows) == sorted((*OTHERS, "A02")), done.stdout
    assert "this run published it, but wells/A01.json" in rows.pop("A01")
    for row in rows.values():
        assert ".staging" in row and "is missing or incomplete now" in row and "another run" not in row
        assert "by whom and when is not known. Run the well again, and keep others from its files" in row


@pytest.mark.slow
def test_a_launched_run_fails_at_its_end_if_a_well_was_removed_meanwhile(tmp_path: Path, home: Settings) -> None:
    """The process that server and daemon begin for a run of the UI: same end, same words, same state of the well."""
    with local_instance() as instance:
        deployment = Deployment(tmp_path, home, instance)
        entry = deployment.add(
            deployment.plate(), deployment.pipeline("lab_losing", text=losing(tmp_path, "wells/A01.json"))
        )
        run = launchable_run(deployment, KEYS, entry.wells)
        origin = run.job_code_origin
        assert origin is not None
        given = ExecuteRunArgs(
            job_origin=origin, run_id=run.run_id, instance_ref=instance.get_ref(), set_exit_code_on_failure=True
        )

        done = subprocess.run(
            [sys.executable, "-m", "dagster", "api", "execute_run", serialize_value(given)],
            cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

        ended = instance.get_run_by_id(run.run_id)
        assert ended is not None and ended.status is dg.DagsterRunStatus.FAILURE and done.returncode == 1, done.stderr
        (failure,) = [
            entry.dagster_event.step_failure_data.user_failure_data
            for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
            if entry.dagster_event
        ]
        assert failure is not None and str(failure.description).startswith("1 of 6 wells failed: A01.")
        assert "Well A01: this run published it, but wells/A01.json" in str(failure.description) + str(failure.metadata)
        assert partition_states(deployment, KEYS.wells)["failed"] == ["A01"]


def launchable_run(deployment: Deployment, keys: PlateKeys, wells: tuple[str, ...]) -> DagsterRun:
    """A run of a plate that another process can execute: it says by which module its code is found."""
    selection = frozenset(keys.processing)
    job = build_definitions(deployment.settings).resolve_implicit_global_asset_job_def()
    part = job.get_subset(asset_selection=selection)
    repository = ReconstructableRepository.for_module("openhcs_dagster.definitions", "defs")
    found = ReconstructableJob(repository=repository, job_name=job.name, asset_selection=selection)
    return deployment.instance.create_run_for_job(
        job_def=part,
        tags={**part.run_tags, **range_tags(wells)},
        asset_selection=selection,
        job_code_origin=found.get_python_origin(),
    )


def report_states(deployment: Deployment) -> dict[str, WellState]:
    """Wells that the report does not call current."""
    entry = deployment.catalogue.read("P001")
    contexts = compile_entry(entry, read_listing(entry.folder, entry.id, entry.reading)).contexts
    summary = summarise(entry, contexts, PlateWells(entry.output_plan.folder, "zarr"))
    return {well.well: well.state for well in summary.not_current}
