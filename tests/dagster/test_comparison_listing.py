"""What the nightly comparison sees of an OME-Zarr plate's chunks, and says that it saw."""

from __future__ import annotations

import os
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from openhcs_dagster.automation import staleness
from openhcs_dagster.automation.listed_folders import NIGHTS, PlateFolders
from openhcs_dagster.automation.staleness import Verdict
from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.cli import in_process as materialize
from openhcs_dagster.definitions import build_definitions
from openhcs_dagster.keys import PlateKeys, range_tags
from openhcs_dagster.report.outcomes import OutcomeLog
from openhcs_engine.microscopes.plate_listing import listing_from_json, listing_to_json, read_listing
from openhcs_engine.raw.array_listing import ListedFolder
from openhcs_engine.synthetic import SyntheticPlate, write_ome_zarr
from tests.dagster.deployments import Deployment

FIRST = date(2026, 3, 2)
SPEC = SyntheticPlate(name="Z1", rows=1, columns=2, sites=1, z=2, shape=(32, 32))


def plate_of_yesterday(deployment: Deployment) -> CatalogueEntry:
    """An OME-Zarr plate whose folders did not change of late, and that was run."""
    plate = write_ome_zarr(deployment.root / "raw" / "Z1", SPEC, "0.4")
    age(plate)
    entry = deployment.add(plate, deployment.pipeline("survey_listing"))
    assert not deployment.run(entry).failed
    return entry


def age(plate: Path) -> None:
    """Set the times of all folders back."""
    for folder in (path for path in plate.rglob("*") if path.is_dir()):
        os.utime(folder, (1_700_000_000, 1_700_000_000))


def chunk_of(entry: CatalogueEntry, well: str) -> Path:
    """A chunk of a well's image."""
    array = Path(entry.folder) / well / "0" / "0"
    return min(path for path in array.rglob("*") if path.is_file() and path.name.isdigit())


def rewrite_in_place(chunk: Path) -> None:
    """As another program would: the folder's time stays."""
    status = chunk.stat()
    chunk.open("r+b").close()
    os.utime(chunk, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def judge(entry: CatalogueEntry, night: int) -> Verdict:
    """The verdict of a night, with what the nights before remember; in this process, not in another."""
    memory = Path(entry.output).parent / "nightly"
    return staleness.judge(entry, staleness.compare, time.monotonic() + 60, memory, FIRST + timedelta(days=night))


def test_a_rewritten_chunk_is_seen_within_seven_nights_and_the_verdicts_say_which_night_looked(
    deployment: Deployment,
) -> None:
    """Nights that pass over folders say so; one of seven lists all, and that one starts the plate."""
    entry = plate_of_yesterday(deployment)
    assert judge(entry, 0).reason == "All its wells are current. All its chunks were listed."
    passing = judge(entry, 0)
    assert not passing.start
    assert "folders of chunks whose own time did not change were passed over" in passing.reason
    assert "all were listed on 2026-03-02" in passing.reason
    rewrite_in_place(chunk_of(entry, "A/02"))

    nights = [judge(entry, night) for night in range(1, NIGHTS + 1)]

    first_start = next(number for number, verdict in enumerate(nights) if verdict.start)
    assert nights[first_start].reason == "1 wells are missing, failed or stale. All its chunks were listed."
    assert all("were passed over" in verdict.reason for verdict in nights[:first_start])


def test_a_late_chunk_is_seen_the_next_night(deployment: Deployment) -> None:
    """It changes its folder's time, so that its folder is listed."""
    entry = plate_of_yesterday(deployment)
    judge(entry, 0)
    chunk = chunk_of(entry, "A/01")
    chunk.rename(deployment.root / "late")

    verdict = judge(entry, 0)

    assert verdict.start
    assert verdict.reason.startswith("1 wells are missing, failed or stale.")


def test_a_plate_that_a_run_made_again_is_not_started_by_an_older_memory(
    deployment: Deployment,
) -> None:
    """The run listed all; before a plate is started for chunks that only the memory knows, it is listed whole."""
    entry = plate_of_yesterday(deployment)
    judge(entry, 0)
    rewrite_in_place(chunk_of(entry, "A/02"))
    assert not deployment.run(entry).failed

    verdict = judge(entry, 0)

    assert (verdict.start, verdict.reason) == (False, "All its wells are current. All its chunks were listed.")


def test_without_a_memory_every_night_lists_all(deployment: Deployment) -> None:
    """As whoever compares plates by hand has it."""
    entry = plate_of_yesterday(deployment)
    rewrite_in_place(chunk_of(entry, "A/02"))
    (verdict,) = staleness.compare_plates([entry], budget_s=600)
    assert (verdict.start, verdict.reason) == (
        True,
        "1 wells are missing, failed or stale. All its chunks were listed.",
    )


def test_the_schedule_keeps_its_memory_in_the_home(deployment: Deployment) -> None:
    """Two ticks of the deployed schedule: the first lists all, the second passes over."""
    plate_of_yesterday(deployment)

    def tick(night: int) -> str:
        repository = build_definitions(deployment.settings).get_repository_def()
        when = datetime(2026, 3, 2, 1, tzinfo=UTC) + timedelta(days=night)
        with dg.build_schedule_context(
            instance=deployment.instance, repository_def=repository, scheduled_execution_time=when
        ) as context:
            return repository.get_schedule_def("nightly").evaluate_tick(context).skip_message or ""

    assert tick(0).endswith("All its chunks were listed.")
    assert "were passed over" in tick(0)
    assert (deployment.settings.home / "nightly" / "Z1.msgpack").is_file()


def test_a_backfill_lists_the_chunks_of_its_wells(deployment: Deployment) -> None:
    """Wells alone, by the contexts that an earlier run left: what was rewritten since is made again."""
    entry = plate_of_yesterday(deployment)
    rewrite_in_place(chunk_of(entry, "A/02"))
    job = materialize._job(entry, deployment.settings)

    tags = range_tags(("A01", "A02"))
    result = materialize._run(job, deployment.instance, [PlateKeys("Z1").wells], tags, lambda event: None)

    assert result.success
    ended = OutcomeLog(entry.output_plan.folder).latest()
    assert {well: outcome.status.value for well, outcome in ended.items()} == {"A01": "unchanged", "A02": "done"}


# The memory itself


def folders(path: Path, night: date) -> PlateFolders:
    """What the file holds for a night."""
    return PlateFolders.read(path, "/raw/P1", night)


@pytest.mark.parametrize("root", [f"/raw/P{number}" for number in range(12)])
def test_every_plate_is_listed_whole_in_any_seven_nights(tmp_path: Path, root: str) -> None:
    """Also in the first week, in which plates find their own nights."""
    path, whole = tmp_path / "memory", []
    for number in range(40):
        night = FIRST + timedelta(days=number)
        memory = PlateFolders.read(path, root, night)
        whole.append(not memory.known)
        memory.keep("/raw/P1/0", ListedFolder(1, "abc", 1, ()))
        memory.write(path, root)
    assert all(any(whole[start : start + NIGHTS]) for start in range(40 - NIGHTS))
    assert sum(whole) < 10


def test_plates_take_turns(tmp_path: Path) -> None:
    """300 plates that are first seen in one night are not all due again in one."""
    due = [PlateFolders.read(tmp_path / "none", f"/raw/P{number}", FIRST).due for number in range(300)]
    assert len(set(due)) == NIGHTS
    assert max(due.count(night) for night in set(due)) < 80


@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x80"])
def test_a_memory_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    """The plate is listed whole."""
    (tmp_path / "memory").write_bytes(content)
    assert folders(tmp_path / "memory", FIRST).known == {}


def test_a_memory_of_another_folder_or_of_a_night_to_come_is_none(tmp_path: Path) -> None:
    """A plate that moved, and a clock that was put back, are no reason to pass over anything."""
    memory = folders(tmp_path / "memory", FIRST)
    memory.keep("/raw/P1/0", ListedFolder(1, "abc", 1, ()))
    memory.write(tmp_path / "memory", "/raw/P1")
    assert folders(tmp_path / "memory", FIRST).known
    assert not folders(tmp_path / "memory", FIRST - timedelta(days=1)).known
    assert not PlateFolders.read(tmp_path / "memory", "/raw/P2", FIRST).known


def test_a_folder_that_changed_just_now_is_not_remembered(tmp_path: Path) -> None:
    """It may change again within the same time stamp."""
    memory = folders(tmp_path / "memory", FIRST)
    memory.keep("/raw/P1/0", ListedFolder(time.time_ns(), "abc", 1, ()))
    assert memory.now == {}
    assert memory.summary() == "All its chunks were listed."


# Listings that are kept


def test_kept_listings_have_the_digests_and_older_ones_open(tmp_path: Path) -> None:
    """What plate_index stored before the chunks were followed is read, without them."""
    plate = write_ome_zarr(tmp_path / "Z1", SPEC, "0.4")
    listing = read_listing(plate, "Z1")
    document = listing_to_json(listing)
    assert listing_from_json(document) == listing
    assert all(plane.chunks for plane in listing.index)

    digests = {plane.chunks for plane in listing.index}
    for digest in digests:
        document = document.replace(f',"{digest}"]'.encode(), b"]")

    older = listing_from_json(document)
    assert {plane.chunks for plane in older.index} == {""}
    assert older.index.planes[0].replace(chunks=listing.index.planes[0].chunks) == listing.index.planes[0]


def test_unstored_parts_are_in_the_listing_of_the_night(tmp_path: Path) -> None:
    """The record of plate_index warns of them."""
    plate = write_ome_zarr(tmp_path / "Z1", SPEC, "0.4")
    (plate / "A/01/0/0/0/0/0/0/0").unlink()
    (warning,) = read_listing(plate, "Z1").plate.warnings
    assert "1 of 4 chunks of A/01/0/0 (0/0/0/0/0) is not stored" in warning
