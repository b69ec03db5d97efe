"""What every kind of output must do, be it a folder, fsspec's memory, or an S3 server."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars
import pytest

from openhcs_engine.errors import NotAnOutputError, OutputPlaceError
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.manifest import StagedWell
from openhcs_engine.output.opening import files_of, open_output
from openhcs_engine.output.verification.repair import repair
from openhcs_engine.output.verification.verify import verify
from tests.engine.outputs import WELLS, list_wells, make_images
from tests.engine.plate_outputs import change, contents, context_at, prepared, published


@pytest.fixture(params=["folder", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for outputs that nobody else uses."""
    return str(tmp_path) if request.param == "folder" else f"memory://outputs/{uuid.uuid4().hex}"


@pytest.fixture(params=["folder", "memory", "s3"])
def any_root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The same, also on an S3 server, where each request takes its time."""
    if request.param == "folder":
        return str(tmp_path)
    start = "memory://outputs" if request.param == "memory" else request.getfixturevalue("bucket")
    return f"{start}/{uuid.uuid4().hex}"


def one(output: PlateOutput, start: str, end: str) -> str:
    """The first path of a file by how it begins and ends."""
    return next(path for path in sorted(contents(output)) if path.startswith(start) and path.endswith(end))


@pytest.mark.parametrize("backend", ["zarr", "disk"])
@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_published_wells_are_whole(root: str, backend: str, ngff: str) -> None:
    """And found again by their fingerprint, by it alone, and in plate order."""
    output = prepared(root, backend, ngff)
    for well in reversed(WELLS):
        published(output, well, ngff=ngff, rows=3)
    report = verify(output.address)
    assert (report.whole, report.damaged, report.foreign) == (WELLS, (), ())
    assert output.wells() == WELLS
    mine, other = context_at(root, "A01", backend).fingerprint, context_at(root, "A01", backend, "other").fingerprint
    assert output.published("A01", mine) is not None and output.published("A01", other) is None
    assert output.unchanged({"A01": mine, "A02": other}).keys() == {"A01"}
    assert open_output(output.address, "disk" if backend == "zarr" else "zarr").published("A01", mine) is None


@pytest.mark.parametrize("backend", ["zarr", "disk"])
@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_a_new_version_takes_the_place_of_the_old_one(any_root: str, backend: str, ngff: str) -> None:
    """Of which nothing is left; the other wells keep every byte."""
    output = prepared(any_root, backend, ngff)
    for well in WELLS:
        published(output, well, ngff=ngff, rows=2)
    before = contents(output)
    published(output, "A01", seed=5, plan="plan 2", ngff=ngff, rows=2)
    after = contents(output)
    assert len(after) == len(before)
    assert {path for path, content in before.items() if after.get(path) != content} <= {
        path for path in before if "A01" in path or "/A/01/" in path
    }
    assert verify(output.address).whole == WELLS


def test_images_come_back_as_they_were(any_root: str) -> None:
    """By our own reader, from the place itself, and after a change of version, too."""
    output = prepared(any_root)
    for seed in (1, 2):
        published(output, "A02", seed=seed, plan=f"plan {seed}")
        reader = output.open_images()
        assert reader.wells == ("A02",) and reader.all_wells == WELLS
        for key, plane in make_images("A02", seed).items():
            read = reader["A02"][key.site].plane(channel=key.channel)
            assert read is not None and np.array_equal(read, plane)


@dataclass(frozen=True)
class Damage:
    """Something that happens to one file."""

    name: str
    start: str
    end: str
    content: Callable[[bytes], bytes | None]
    reason: str
    well: str = "A01"

    def __str__(self) -> str:
        return self.name


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES = (
    Damage("byte flipped", "images.zarr/A/01/", "c.0.0.0.0.0", flipped, "was changed after it was written"),
    Damage("chunk missing", "images.zarr/A/01/", "c.0.0.0.0.0", lambda _: None, "is missing"),
    Damage("cut off", "images.zarr/A/01/", "c.0.0.0.0.0", lambda content: content[:-7], "bytes instead of"),
    Damage("group missing", "images.zarr/A/01/z", "zarr.json", lambda _: None, "A/01/zarr.json is missing"),
    Damage("group damaged", "images.zarr/A/01/z", "zarr.json", flipped, "A/01/zarr.json was changed"),
    Damage("table damaged", "tables/cells/A01", ".parquet", flipped, "was changed after it was written"),
    Damage("manifest damaged", "wells/A01", ".json", lambda content: content[:-7], "not a readable manifest"),
    Damage("plate missing", "images.zarr/z", "zarr.json", lambda _: None, "images.zarr/zarr.json is missing", "plate"),
    Damage("row missing", "images.zarr/A/z", "zarr.json", lambda _: None, "images.zarr/A/zarr.json is", "plate"),
)


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_damage_is_found_and_names_well_and_file(root: str, damage: Damage) -> None:
    """A repair drops the well and nothing else, so that the next run makes it again."""
    output = prepared(root)
    for well in WELLS:
        published(output, well, rows=2)
    path = one(output, damage.start, damage.end)
    change(output, path, damage.content(contents(output)[path]))
    report = verify(output.address)
    (found,) = report.damaged
    assert found.well == damage.well and len(found.reasons) == 1 and damage.reason in found.reasons[0]
    assert report.foreign == () and set(report.whole) == set(WELLS) - {damage.well}

    done = repair(output.address, report)
    if damage.well != "plate":
        assert (done.dropped, done.ok, done.report.missing) == (("A01",), True, ("A01",))
        published(output, "A01", rows=2)
        assert verify(output.address).ok and verify(output.address).foreign == ()
    else:
        assert done.dropped == () and not done.ok
        list_wells(output)
        assert verify(output.address).ok


def test_files_that_belong_to_no_well_are_named(root: str) -> None:
    """Inside a well they are its damage; elsewhere they harm none."""
    output = prepared(root)
    published(output, "A01")
    image = one(output, "images.zarr/A/01/", "c.0.0.0.0.0")
    stranger = f"{image.rpartition('/')[0]}/new.txt"
    for path in (stranger, "notes.txt", "images.zarr/A/readme", "logs/run.log", "report/index.html"):
        change(output, path, b"x")
    report = verify(output.address)
    assert set(report.foreign) == {"notes.txt", "images.zarr/A/readme"}
    assert [damage.reasons for damage in report.damaged] == [(f"{stranger} is not in the well's manifest",)]


def test_without_checksums_only_sizes_count(root: str) -> None:
    """A quick look reads no pixels, and asked for some wells reads theirs."""
    output = prepared(root)
    for well in WELLS:
        published(output, well)
    path = one(output, "images.zarr/A/01/", "c.0.0.0.0.0")
    change(output, path, flipped(contents(output)[path]))
    assert verify(output.address, checksums=False).damaged == ()
    assert verify(output.address, checksums=["A02"]).damaged == ()
    assert [damage.well for damage in verify(output.address, checksums=["A01"]).damaged] == ["A01"]


@pytest.mark.parametrize("backend", ["zarr", "disk"])
def test_a_dropped_well_leaves_nothing(any_root: str, backend: str) -> None:
    """The others stay; a well that is not there can be dropped, too."""
    output = prepared(any_root, backend)
    empty = contents(output)
    published(output, "A01", rows=2)
    output.drop("A01")
    output.drop("B01")
    assert contents(output) == empty
    assert output.wells() == () and output.published("A01") is None


def test_a_failed_publishing_leaves_what_was_there() -> None:
    """Whether that was a well or none: a staged file that is gone stops it before anything is replaced."""
    output = prepared(f"memory://outputs/{uuid.uuid4().hex}")
    published(output, "A01")
    before = contents(output)

    def lose_a_file(staged: StagedWell) -> None:
        for file in sorted(staged.folder.rglob("c.*")):
            file.unlink()

    for well in ("A01", "A02"):
        with pytest.raises(OutputPlaceError, match=f"Well {well}: .* is missing or incomplete now"):
            published(output, well, seed=3, plan="plan 2", before=lose_a_file)
        assert contents(output) == before


def test_the_plates_tables_are_joined(any_root: str) -> None:
    """All wells' rows in plate order; made again on a change, and gone with the last table."""
    output = prepared(any_root)
    for seed, well in enumerate(WELLS):
        published(output, well, seed=seed, rows=2)
    assert output.make_tables() == {"cells": ()}
    table = polars.read_parquet(contents(output)["tables/cells.parquet"])
    assert table["well"].to_list() == ["A01", "A01", "A02", "A02", "B01", "B01"]
    assert table["area"].to_list() == [0, 1, 1, 2, 2, 3]
    for well in WELLS:
        published(output, well, plan="plan 2")
    assert output.make_tables() == {}
    assert not any(path.startswith("tables/") for path in contents(output))


def test_preparing_and_listing_again_change_nothing(root: str) -> None:
    """Neither a group nor a well; a group that is gone comes back."""
    output = prepared(root)
    published(output, "A01")
    before = contents(output)
    prepared(root)
    list_wells(output)
    assert contents(output) == before
    change(output, "images.zarr/A/zarr.json", None)
    list_wells(output)
    assert contents(output) == before


def test_another_version_of_ome_zarr_is_refused(root: str) -> None:
    """Readers follow one version throughout a plate."""
    published(prepared(root), "A01")
    with pytest.raises(OutputPlaceError, match=r"is an OME-Zarr plate of version 0\.5"):
        prepared(root, ngff="0.4")


def test_places_that_hold_something_else_are_refused(root: str) -> None:
    """Images of another program are never written among."""
    output = open_output(f"{root}/P1")
    output.check_usable("/raw")
    change(output, "images.zarr/zarr.json", b"{}")
    with pytest.raises(OutputPlaceError, match=r"images\.zarr of something else"):
        output.check_usable("/raw")


def test_places_around_the_raw_plate_are_refused(root: str) -> None:
    """In both directions."""
    output = open_output(f"{root}/P1")
    for raw in (f"{root}/P1", root, f"{root}/P1/raw"):
        with pytest.raises(OutputPlaceError, match="raw plate"):
            output.check_usable(raw)
    output.check_usable(f"{root}/P11")


def test_what_is_no_output_is_refused_by_verify(any_root: str) -> None:
    """The place above the outputs gets a hint."""
    with pytest.raises(NotAnOutputError, match="is not an output folder"):
        verify(f"{any_root}/nothing")
    prepared(any_root)
    with pytest.raises(NotAnOutputError, match="The outputs in it are: P1"):
        verify(any_root)
    assert files_of(f"{any_root}/P1").is_output()


@pytest.mark.parametrize("url", ["sftp://host/results", "https://host/results", "carrier://pigeon"])
def test_urls_of_other_kinds_are_refused(url: str) -> None:
    """What cannot put an object whole would tear wells."""
    with pytest.raises(OutputPlaceError, match="a kind that takes no results"):
        open_output(url)


def test_a_url_without_a_bucket_is_refused() -> None:
    """It would be no place at all."""
    with pytest.raises(OutputPlaceError, match="names no bucket"):
        open_output("s3://")


def test_a_bucket_that_does_not_exist_is_named(bucket: str) -> None:
    """With the remedy."""
    output = open_output(f"{bucket}-that-is-not-there/results/P1")
    with pytest.raises(OutputPlaceError, match="does not exist; create the bucket"):
        output.prepare(context_at("memory://x").plate)
