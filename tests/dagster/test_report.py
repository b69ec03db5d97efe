"""The report: what it says of each well, and that it stands by itself."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from openhcs_dagster.report.outcomes import Outcome, OutcomeLog
from openhcs_dagster.report.pictures import duration, number
from openhcs_dagster.report.summary import Layout
from openhcs_engine.execution.results import WellResult, WellStatus
from openhcs_engine.model.plate import Channel, Grid, Plate
from openhcs_engine.output.pictures.greyscale import png, scale_of, shrink, to_grey
from openhcs_engine.output.pictures.mosaic import Mosaic
from openhcs_engine.output.reading.published_wells import PlateWells
from openhcs_engine.plan.run_options import RunOptions
from tests.dagster.deployments import Deployment


def page_of(deployment: Deployment, *wells: str, truncated: tuple[str, ...] = (), backend: str = "zarr") -> str:
    entry = deployment.add(
        deployment.plate(truncated_wells=truncated),
        deployment.pipeline(f"report_{backend}_{len(wells)}_{len(truncated)}"),
        options=RunOptions(runner="threads", workers=1, backend=backend),
    )
    run = deployment.run(entry, *wells)
    assert run.report is not None
    return Path(run.report).read_text()


def test_the_page_says_what_became_of_each_well(deployment: Deployment) -> None:
    """Done, failed and missing wells are told apart, and the failed one's reason is on the page and on hover."""
    page = page_of(deployment, "A01", "A02", "B01", truncated=("A02",))

    assert "<title>A01: done" in page
    assert re.search(r"<title>A02: failed[^<]*is cut off", page)
    assert "<title>B03: missing. It has not been run.</title>" in page
    assert "4 wells need attention" in page


def test_the_page_needs_nothing_else(deployment: Deployment) -> None:
    """No script, no link, no picture outside the file: it can be mailed."""
    page = page_of(deployment)

    assert "<script" not in page
    assert set(re.findall(r"""(?:src|href)\s*=\s*['"]?(.{5})""", page)) == {"data:"}
    assert page.count("data:image/png;base64,") == 3


@pytest.mark.parametrize("backend", ["zarr", "disk"])
def test_both_backends_show_the_same_channels(deployment: Deployment, backend: str) -> None:
    """The montage has a picture of each channel, whatever wrote the wells."""
    page = page_of(deployment, backend=backend)

    assert "<h2>DAPI</h2>" in page
    assert "<h2>GFP</h2>" in page


def test_both_backends_give_the_same_pixels(deployment: Deployment) -> None:
    """A well read back from OME-Zarr and from OME-TIFF is the same array with the same channel names."""
    plate, pipeline = deployment.plate(), deployment.pipeline("both")
    found = {}
    for backend in ("zarr", "disk"):
        options = RunOptions(runner="threads", workers=1, backend=backend)
        entry = deployment.add(plate, pipeline, plate_id=f"as_{backend}", options=options)
        deployment.run(entry, "A01")
        (field,) = PlateWells(entry.output_plan.folder, backend)["A01"].values()
        found[backend] = field

    np.testing.assert_array_equal(found["zarr"].array()[...], found["disk"].array()[...])
    assert found["zarr"].channel_labels == found["disk"].channel_labels == ("DAPI", "GFP")


def test_a_deleted_well_is_missing_in_the_next_report(deployment: Deployment) -> None:
    """The report believes what is published, not what once happened."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("believes"))
    deployment.run(entry)
    (entry.output_plan.folder / "wells" / "B02.json").unlink()

    run = deployment.run(entry, "A01")

    assert run.report is not None
    assert "<title>B02: missing. It was processed, but its output is gone" in Path(run.report).read_text()


def outcome(well: str, status: WellStatus, run_id: str) -> Outcome:
    error = "broken" if status is WellStatus.FAILED else None
    return Outcome.of(WellResult(well=well, status=status, fingerprint="f", error=error, seconds=2.0), run_id)


def test_the_last_outcome_of_a_well_counts(tmp_path: Path) -> None:
    """A later run overtakes an earlier one well by well; files that nothing needs are removed."""
    log = OutcomeLog(tmp_path)
    log.record("one", [outcome("A01", WellStatus.FAILED, "one"), outcome("A02", WellStatus.DONE, "one")])
    log.record("two", [outcome("A01", WellStatus.DONE, "two")])

    latest = log.latest()
    log.record("three", [outcome("A01", WellStatus.DONE, "three"), outcome("A02", WellStatus.DONE, "three")])

    assert {well: found.run_id for well, found in latest.items()} == {"A01": "two", "A02": "one"}
    assert [path.stem for path in log.folder.iterdir()] == ["three"]


def test_the_seconds_of_an_unchanged_well_are_those_of_its_computation(tmp_path: Path) -> None:
    """A rerun that computes nothing does not forget how long the well took."""
    log = OutcomeLog(tmp_path)
    log.record("one", [outcome("A01", WellStatus.DONE, "one")])
    log.record("two", [outcome("A01", WellStatus.UNCHANGED, "two")])

    assert log.latest()["A01"].status is WellStatus.UNCHANGED
    assert log.last_computed()["A01"].run_id == "one"


@pytest.mark.parametrize("shape", [(256, 256), (100, 30), (7, 7), (1000, 31)])
def test_thumbnails_of_noise_stay_below_ten_kilobytes(shape: tuple[int, int]) -> None:
    """The worst case for PNG is a picture that cannot be compressed."""
    noise = np.random.default_rng(1).integers(0, 65535, shape).astype(np.uint16)

    picture = png(to_grey(shrink(noise, 96), scale_of([noise])))

    assert len(picture) <= 10_000


def test_a_plane_without_contrast_is_drawn() -> None:
    """An empty well is black, not a division by zero."""
    even = np.full((32, 32), 500, np.uint16)

    grey = to_grey(even, scale_of([even]))

    assert grey.max() == 0


def test_a_sparse_plate_is_drawn_as_the_block_of_its_wells() -> None:
    """Two wells of a 384-well plate do not need 384 circles; a mostly full plate is drawn whole."""
    plate = Plate(
        plate_id="p", name="p", microscope="m", root="/", wells=("C05", "D07"), sites=(1,), z_indexes=(1,),
        channels=(Channel(index=1),), timepoints=(1,), rows=16, columns=24,
    )  # fmt: skip

    assert Layout.of(plate, ["C05", "D07"]) == Layout(first_row=2, first_column=4, rows=2, columns=3)
    assert Layout.of(plate, [f"{row}{column:02d}" for row in "ABCDEF" for column in range(1, 21)]).columns == 24


def plate_of_sites(count: int, grid: Grid | None = None) -> Plate:
    return Plate(
        plate_id="p", name="p", microscope="m", root="/", wells=("A01",), sites=tuple(range(1, count + 1)),
        z_indexes=(1,), channels=(Channel(index=1),), timepoints=(1,), grid=grid,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "written"), [(58030.4, "58,030"), (62629.0, "62,629"), (0.0, "0"), (3.0, "3"), (0.01234, "0.0123")]
)
def test_numbers_are_written_as_people_write_them(value: float, written: str) -> None:
    """No powers of ten where a person would write none."""
    assert number(value) == written


@pytest.mark.parametrize(
    ("seconds", "written"), [(5.34, "5.3 s"), (59.99, "1 min 0 s"), (725.0, "12 min 5 s"), (11040.0, "3 h 4 min")]
)
def test_times_are_written_as_people_say_them(seconds: float, written: str) -> None:
    """Hours of work are not a number of seconds."""
    assert duration(seconds) == written


def test_the_sites_of_a_well_lie_in_the_plates_grid() -> None:
    """Four sites in one row of four, as the plate says; an absent one leaves its place dark."""
    mosaic = Mosaic.of(plate_of_sites(4, Grid(rows=1, columns=4)), side=80)
    planes = {site: np.full((20, 20), site * 100, np.uint16) for site in (1, 2, 4)}

    whole = mosaic.compose(planes, side=80)

    assert whole.shape == (20, 80)
    assert [int(whole[0, column]) for column in (0, 20, 40, 60)] == [100, 200, 100, 400]


@pytest.mark.parametrize(
    ("sites", "side", "wells", "drawn"), [(4, 100, 24, 4), (9, 40, 96, 9), (9, 20, 96, 1), (16, 100, 384, 1)]
)
def test_sites_too_small_or_too_many_to_read_give_way_to_the_first(
    sites: int, side: int, wells: int, drawn: int
) -> None:
    """A report must be made in seconds, and a site of a few pixels shows nothing."""
    assert len(Mosaic.of(plate_of_sites(sites), side, wells).sites) == drawn


def test_wells_with_one_reason_are_one_row(deployment: Deployment) -> None:
    """A plate that is not run yet is one fact, not one a well."""
    page = page_of(deployment, "A01")

    assert page.count("It has not been run.</td>") == 1
    assert "<b>A02, A03, B01, B02, B03</b>" in page
