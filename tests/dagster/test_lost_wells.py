"""A well that is lost while its plate still runs: its run fails, and nothing shows the well as done."""

from __future__ import annotations

import shutil

import dagster as dg

from openhcs_dagster.cli.in_process import PlateRun, materialize_plate
from openhcs_dagster.keys import PlateKeys
from openhcs_dagster.plate.compilation import compile_entry
from openhcs_dagster.report.summary import WellState, summarise
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


def report_states(deployment: Deployment) -> dict[str, WellState]:
    """Wells that the report does not call current."""
    entry = deployment.catalogue.read("P001")
    contexts = compile_entry(entry, read_listing(entry.folder, entry.id, entry.reading)).contexts
    summary = summarise(entry, contexts, PlateWells(entry.output_plan.folder, "zarr"))
    return {well.well: well.state for well in summary.not_current}
