"""What is noticed: finished runs of wells, and new plates in the inbox."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
import tifffile
from dagster import DagsterEvent

from openhcs_dagster.automation.lost_runs import fail_lost_runs
from openhcs_dagster.automation.run_process import PROCESS_TAG
from openhcs_dagster.automation.sensors import requests_after
from openhcs_dagster.definitions import build_definitions, build_resources
from openhcs_dagster.keys import PlateKeys, stretches
from openhcs_dagster.resources import CodeLocation
from openhcs_engine.files.processes import is_alive
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.synthetic import SyntheticPlate, write_ome_zarr
from tests.dagster.deployments import Deployment
from tests.engine.files.vanishing import fail_when_listed


class Location(CodeLocation):
    """A code location that counts its reloads."""

    def reload(self) -> str:
        Path(self.address_file).write_text("reloaded")
        return "reloaded"


def configure_inbox(deployment: Deployment, **options: object) -> Path:
    inbox = deployment.root / "inbox"
    inbox.mkdir()
    places = {"folder": str(inbox), "pipeline": "absent:pipeline", "output": str(deployment.root / "out")}
    deployment.settings.inbox_file.write_text(json.dumps({**places, **options}))
    return inbox


def tick(deployment: Deployment, cursor: str | None) -> tuple[list[dg.RunRequest], str | None, str, bool]:
    """One evaluation of the inbox's sensor by a freshly loaded code location: requests, cursor, why not, reloaded."""
    defs = build_definitions(deployment.settings)
    sensor = defs.resolve_sensor_def("new_plates")
    flag = deployment.root / "reloaded"
    flag.unlink(missing_ok=True)
    resources = {**build_resources(deployment.settings), "code_location": Location(address_file=str(flag))}
    with dg.build_sensor_context(
        instance=deployment.instance,
        cursor=cursor,
        repository_def=defs.get_repository_def(),
        resources={"catalogue": resources["catalogue"], "code_location": resources["code_location"]},
    ) as context:
        ticked = sensor.evaluate_tick(context)
    return list(ticked.run_requests or []), ticked.cursor, ticked.skip_message or "", flag.exists()


def test_without_an_inbox_the_sensor_says_how_to_configure_one(deployment: Deployment) -> None:
    """The skip names the file to write and shows an example."""
    requests, _, why, _ = tick(deployment, None)

    assert requests == []
    assert str(deployment.settings.inbox_file) in why
    assert '"pipeline"' in why


@pytest.mark.parametrize("content", ["{", '{"folder": 3}', "{}"])
def test_an_inbox_file_that_cannot_be_read_is_named(deployment: Deployment, content: str) -> None:
    """A mistyped inbox file is a skip with the reason, not a sensor that fails."""
    deployment.settings.inbox_file.write_text(content)

    _, _, why, _ = tick(deployment, None)

    assert "cannot be used" in why and '"pipeline"' in why


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"microscope": "abacus"}, "microscope='abacus' is unknown (choose from imagexpress, opera_phenix"),
        ({"preset": "abacus"}, "choose one of cytation, arrayscan"),
        ({"pattern": "(?P<colour>x)"}, "Valid groups"),
        ({"preset": "cytation", "pattern": "x"}, "Give either a preset"),
        ({"on_missing": "ignore"}, "choose one of error, skip, blank"),
        ({"projections": "both"}, "choose one of fallback, ignore, only"),
        ({"backend": "hdf5"}, "choose one of zarr, disk"),
        ({"planes_csv": 3}, "Expected `str | null`"),
        ({"count_from": 2}, "choose 0 or 1"),
        ({"plate_wells": 100}, "there are plates of 6, 12, 24, 48, 96, 384, 1536 wells"),
        (
            {"output": "s3://bucket/results"},
            "s3://bucket/results is a URL, but Dagster keeps",
        ),
        ({"fsync": "yes"}, "Expected `bool`"),
        ({"on_mising": "skip"}, "'on_mising' is not an option (choose from folder, pipeline, output, search_path"),
    ],
)
def test_wrong_options_of_the_inbox_are_refused_with_the_valid_ones(
    deployment: Deployment, options: dict[str, object], sentence: str
) -> None:
    """The sensor skips with the same sentence as the command line; nothing is registered."""
    inbox = configure_inbox(deployment, **options)
    deployment.plate("P007").rename(inbox / "P007")
    _, cursor, _, _ = tick(deployment, None)

    _, _, why, _ = tick(deployment, cursor)

    assert sentence in why
    assert not deployment.catalogue.list().entries


def test_plates_are_registered_with_the_options_of_the_inbox(deployment: Deployment) -> None:
    """Options of running and reading reach the catalogue entry; files are found beside the inbox file."""
    options = {
        "microscope": "imagexpress",
        "plate_map": "map.csv",
        "on_missing": "skip",
        "projections": "ignore",
        "fsync": True,
        "overview_channel": "GFP",
        "output": "../results",
    }
    inbox = configure_inbox(deployment, **options)
    (deployment.settings.home / "map.csv").write_text("Well,Compound\nA01,DMSO\n")
    deployment.plate("P007").rename(inbox / "P007")
    _, cursor, _, _ = tick(deployment, None)

    tick(deployment, cursor)

    entry = deployment.catalogue.read("P007")
    assert (entry.options.on_missing, entry.options.projections) == ("skip", "ignore")
    assert (entry.options.fsync, entry.options.overview_channel) == (True, "GFP")
    assert entry.output_plan.fsync
    assert entry.output == str(deployment.settings.home.parent / "results")
    assert entry.reading == ReadOptions(microscope="imagexpress", plate_map=str(deployment.settings.home / "map.csv"))


def test_images_of_unknown_make_are_registered_once_the_inbox_says_what_they_are(deployment: Deployment) -> None:
    """Names that fit a preset are not enough by themselves: such a folder may lack half of its images."""
    inbox = configure_inbox(deployment)
    (inbox / "gen5").mkdir()
    tifffile.imwrite(inbox / "gen5" / "B7_01_1_1_DAPI_001.tif", np.zeros((8, 8), np.uint16))
    _, cursor, _, _ = tick(deployment, None)

    _, cursor, why, _ = tick(deployment, cursor)
    told = json.loads(deployment.settings.inbox_file.read_text()) | {"preset": "cytation"}
    deployment.settings.inbox_file.write_text(json.dumps(told))
    tick(deployment, cursor)

    assert "choose a preset in the inbox file (cytation" in why
    assert deployment.catalogue.read("gen5").reading.preset == "cytation"


def test_numbered_wells_are_registered_once_the_inbox_says_the_plates_size(deployment: Deployment) -> None:
    """The number means nothing without it; the entry keeps what was said."""
    inbox = configure_inbox(deployment, preset="scanr", plate_wells=384, count_from=1)
    (inbox / "scanr").mkdir()
    tifffile.imwrite(inbox / "scanr" / "a--W00025--P00001--Z00000--T00000--DAPI.tif", np.zeros((8, 8), np.uint16))
    _, cursor, _, _ = tick(deployment, None)

    tick(deployment, cursor)

    entry = deployment.catalogue.read("scanr")
    assert entry.wells == ("B01",)
    assert entry.reading == ReadOptions(preset="scanr", plate_wells=384, count_from=1)


def test_an_ome_zarr_plate_is_complete_when_the_wells_that_it_lists_are_there(deployment: Deployment) -> None:
    """It describes itself before its wells are written: until they are, the tick says which are awaited."""
    inbox = configure_inbox(deployment)
    plate = write_ome_zarr(
        deployment.root / "P3.zarr", SyntheticPlate(name="P3", rows=1, columns=2, sites=1, z=1, shape=(32, 32))
    )
    plate.rename(inbox / "P3.zarr")
    (inbox / "P3.zarr" / "A" / "02").rename(deployment.root / "02")
    _, cursor, _, _ = tick(deployment, None)

    _, cursor, why, _ = tick(deployment, cursor)
    (deployment.root / "02").rename(inbox / "P3.zarr" / "A" / "02")
    _, cursor, _, _ = tick(deployment, cursor)
    tick(deployment, cursor)

    assert "lists wells whose images are not there yet (1: A02)" in why
    assert deployment.catalogue.read("P3").wells == ("A01", "A02")


def test_a_damaged_well_of_an_ome_zarr_plate_keeps_no_plate_waiting(deployment: Deployment) -> None:
    """It never heals by waiting: the plate is registered with it, and the well will fail alone."""
    inbox = configure_inbox(deployment)
    spec = SyntheticPlate(name="P4", rows=1, columns=2, sites=1, z=1, shape=(32, 32))
    plate = write_ome_zarr(deployment.root / "P4.zarr", spec)
    (plate / "A/02/zarr.json").write_text("{")
    plate.rename(inbox / "P4.zarr")
    _, cursor, _, _ = tick(deployment, None)
    tick(deployment, cursor)

    assert deployment.catalogue.read("P4").wells == ("A01", "A02")


def test_an_inbox_that_is_a_plate_itself_is_refused(deployment: Deployment) -> None:
    """Its rows would be taken for plates that arrive."""
    inbox = configure_inbox(deployment)
    (inbox / "zarr.json").write_text("{}")

    _, _, why, _ = tick(deployment, None)

    assert "is a plate itself (it holds zarr.json)" in why


def test_a_plate_is_registered_when_it_has_settled_and_started_one_tick_later(deployment: Deployment) -> None:
    """First tick: seen. Second: unchanged, so registered and reloaded. Third: started once. Fourth: nothing."""
    inbox = configure_inbox(deployment)
    deployment.plate("P007").rename(inbox / "P007")

    first, cursor, why_first, _ = tick(deployment, None)
    second, cursor, why_second, reloaded = tick(deployment, cursor)
    third, cursor, _, _ = tick(deployment, cursor)
    fourth, _, why_fourth, _ = tick(deployment, cursor)

    assert (first, second, fourth) == ([], [], [])
    assert "waiting until it no longer changes" in why_first
    assert "P007 is registered" in why_second
    assert reloaded
    (request,) = third
    assert request.asset_selection == PlateKeys("P007").processing
    assert request.tags["dagster/asset_partition_range_start"] == "A01"
    assert request.tags["dagster/asset_partition_range_end"] == "B03"
    assert deployment.catalogue.read("P007").pipeline == "absent:pipeline"
    assert "No new folder" in why_fourth


def test_a_plate_that_still_grows_is_left_alone(deployment: Deployment) -> None:
    """As long as files appear or grow between two ticks nothing is registered."""
    inbox = configure_inbox(deployment)
    deployment.plate("P007").rename(inbox / "P007")
    _, cursor, _, _ = tick(deployment, None)
    (inbox / "P007" / "TimePoint_1" / "late.tif").write_bytes(b"x")

    _, _, why, reloaded = tick(deployment, cursor)

    assert "P007: " in why
    assert "waiting" in why
    assert not reloaded
    assert not deployment.catalogue.list().entries


def test_a_bare_folder_is_never_a_plate(deployment: Deployment) -> None:
    """A settled folder without a vendor's description is named with the reason, and other plates are registered."""
    inbox = configure_inbox(deployment)
    (inbox / "empty").mkdir()
    (inbox / "notes").mkdir()
    (inbox / "notes" / "readme.txt").write_text("not a plate")
    deployment.plate("P007").rename(inbox / "P007")
    _, cursor, _, _ = tick(deployment, None)

    _, cursor, why, _ = tick(deployment, cursor)
    _, _, why_later, _ = tick(deployment, cursor)

    assert [entry.id for entry in deployment.catalogue.list()] == ["P007"]
    assert "notes: " in why
    assert "empty: 0 files" in why or "empty" in why_later


def test_without_its_description_an_imagexpress_folder_waits(deployment: Deployment) -> None:
    """Images alone, without the HTD file that MetaXpress writes, are not registered."""
    inbox = configure_inbox(deployment)
    plate = deployment.plate("P007")
    (description,) = plate.glob("*.HTD")
    description.unlink()
    plate.rename(inbox / "P007")
    _, cursor, _, _ = tick(deployment, None)

    _, _, why, _ = tick(deployment, cursor)

    assert not deployment.catalogue.list().entries
    assert "P007: " in why


def run_of_wells(deployment: Deployment, plate: str, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    """A run as a daemon made it: with an origin, over a plate's wells."""
    from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
    from dagster._core.storage.dagster_run import DagsterRun
    from dagster._core.utils import make_new_run_id

    origin = RemoteJobOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("openhcs"), "__repository__"), "__ASSET_JOB"
    )
    run = DagsterRun(
        job_name="__ASSET_JOB",
        run_id=make_new_run_id(),
        status=dg.DagsterRunStatus.STARTED,
        asset_selection=frozenset(PlateKeys(plate).processing),
        remote_job_origin=origin,
    )
    deployment.instance.add_run(run)
    finish(deployment, run, status)
    return run


def finish(deployment: Deployment, run: dg.DagsterRun, status: dg.DagsterRunStatus) -> None:
    if status is dg.DagsterRunStatus.SUCCESS:
        deployment.instance.report_dagster_event(
            dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=run.job_name), run_id=run.run_id
        )
    elif status is dg.DagsterRunStatus.FAILURE:
        deployment.instance.report_run_failed(run)


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE])
def test_the_report_follows_a_run_of_wells(deployment: Deployment, status: dg.DagsterRunStatus) -> None:
    """Whether wells failed or not, the report of that plate is asked for."""
    run = run_of_wells(deployment, "P001", status)

    requests = requests_after(deployment.instance, run)

    assert isinstance(requests, list)
    (request,) = requests
    assert request.asset_selection == [PlateKeys("P001").report]
    assert request.job_name == "plate_reports"


def test_several_runs_of_one_backfill_make_one_report(deployment: Deployment) -> None:
    """While another run of the same wells is going on, or ended later, the report is left to that one's end."""
    first = run_of_wells(deployment, "P001", dg.DagsterRunStatus.SUCCESS)
    second = run_of_wells(deployment, "P001", dg.DagsterRunStatus.STARTED)

    while_running = requests_after(deployment.instance, first)
    finish(deployment, second, dg.DagsterRunStatus.FAILURE)
    after_both = requests_after(deployment.instance, first)
    of_the_last = requests_after(deployment.instance, second)

    assert isinstance(while_running, dg.SkipReason)
    assert isinstance(after_both, dg.SkipReason)
    assert isinstance(of_the_last, list)
    assert len(of_the_last) == 1


def test_another_plates_run_does_not_delay_the_report(deployment: Deployment) -> None:
    """Only runs of the same plate count."""
    run = run_of_wells(deployment, "P001", dg.DagsterRunStatus.SUCCESS)
    run_of_wells(deployment, "P002", dg.DagsterRunStatus.STARTED)

    assert isinstance(requests_after(deployment.instance, run), list)


def test_a_run_without_wells_makes_no_report(deployment: Deployment) -> None:
    """The report's own run, or a user's asset, wakes nothing."""
    run = dg.DagsterRun(job_name="j", run_id="r", asset_selection=frozenset([PlateKeys("P001").report]))

    assert isinstance(requests_after(deployment.instance, run), dg.SkipReason)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("", []),
        ("A01", [["A01"]]),
        ("A01 A02 B01", [["A01", "A02"], ["B01"]]),
        ("B02 A01", [["A01"], ["B02"]]),
        ("A01 A02 A03 B01 B02", [["A01", "A02", "A03", "B01", "B02"]]),
    ],
)
def test_scattered_wells_are_split_into_neighbours(asked: str, found: list[list[str]]) -> None:
    """A ranged run can hold only wells that follow one another."""
    assert stretches(asked.split(), ["A01", "A02", "A03", "B01", "B02"]) == found


def started_run(deployment: Deployment, pid: int) -> str:
    """A run as one leaves it that was killed: started, with a place of its pool."""
    instance = deployment.instance
    run_id = dg.DagsterRun(job_name="plates").run_id
    instance.add_run(
        dg.DagsterRun(job_name="plates", run_id=run_id, tags={PROCESS_TAG: f"{socket.gethostname()}:{pid}"})
    )
    for status in (dg.DagsterEventType.PIPELINE_STARTING, dg.DagsterEventType.PIPELINE_START):
        event = DagsterEvent(event_type_value=status.value, job_name="plates")
        instance.report_dagster_event(event, run_id)
    instance.event_log_storage.set_concurrency_slots("openhcs_cpu", 1)
    instance.event_log_storage.claim_concurrency_slot("openhcs_cpu", run_id, "wells")
    return run_id


def test_a_run_whose_process_is_gone_fails_and_frees_its_place(deployment: Deployment) -> None:
    """After a power cut the next plate must not wait for a run that nobody executes."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    run_id = started_run(deployment, gone.pid)

    lost = fail_lost_runs(deployment.instance)

    run = deployment.instance.get_run_by_id(run_id)
    assert lost == [run_id]
    assert run is not None and run.status is dg.DagsterRunStatus.FAILURE
    assert deployment.instance.event_log_storage.get_concurrency_info("openhcs_cpu").active_slot_count == 0


def test_a_run_whose_process_lives_is_left_alone(deployment: Deployment) -> None:
    """This very process holds the run."""
    started_run(deployment, os.getpid())

    assert fail_lost_runs(deployment.instance) == []


def test_a_younger_process_with_the_same_number_is_not_the_run(deployment: Deployment) -> None:
    """Numbers are given again after a restart: a process younger than the run cannot be its own."""
    assert is_alive(os.getpid(), time.time())
    assert not is_alive(os.getpid(), time.time() - 7 * 24 * 3600)


def test_a_broken_link_in_one_folder_does_not_stop_the_inbox(deployment: Deployment) -> None:
    """The plate beside it is registered all the same."""
    inbox = configure_inbox(deployment)
    (inbox / "odd").mkdir()
    (inbox / "odd" / "gone.tif").symlink_to("/nowhere/gone.tif")
    deployment.plate("P009").rename(inbox / "P009")

    _, cursor, _, _ = tick(deployment, None)
    _, _, _, reloaded = tick(deployment, cursor)

    assert reloaded
    assert [entry.id for entry in deployment.catalogue.list()] == ["P009"]


def test_a_link_in_the_inbox_is_not_registered(deployment: Deployment) -> None:
    """It is named at each look, with what to do; the plate beside it is registered."""
    inbox = configure_inbox(deployment)
    deployment.plate("P008").rename(inbox / "P008")
    (inbox / "P007").symlink_to(deployment.plate("P007"))
    _, cursor, _, _ = tick(deployment, None)

    _, _, why, _ = tick(deployment, cursor)

    assert "P007: it is a link to" in why and "openhcs-dagster add" in why
    assert [entry.id for entry in deployment.catalogue.list()] == ["P008"]


def test_an_inbox_that_vanishes_while_it_is_listed_holds_nothing(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its drive was taken away in that moment; the next look says that it is no folder."""
    inbox = configure_inbox(deployment)
    fail_when_listed(monkeypatch, "inbox")

    requests, _, why, _ = tick(deployment, None)
    monkeypatch.undo()
    inbox.rmdir()

    assert (requests, why) == ([], "No new folder in the inbox.")
    assert "is no folder" in tick(deployment, None)[2]
