"""The plate's overview image, and what the report and Dagster say of it."""

from __future__ import annotations

import base64
import io
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.keys import PlateKeys
from openhcs_dagster.plate.metadata import wells_failed
from openhcs_dagster.report.inline_map import INLINE, glance
from openhcs_dagster.report.overview import draw_overview
from openhcs_dagster.report.pictures import COLOURS
from openhcs_dagster.report.summary import PlateSummary, WellState, WellSummary
from openhcs_engine.model.plate import Channel, Plate
from openhcs_engine.model.wells import well_name
from openhcs_engine.ngff.groups import read_attributes
from openhcs_engine.ngff.reading.lazy_array import LazyArray
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.plan.run_options import RunOptions
from tests.dagster.deployments import Deployment


def add(deployment: Deployment, channel: str = "", backend: str = "zarr", high: float = 99.0) -> CatalogueEntry:
    """A plate of six wells whose overview shows a channel."""
    options = RunOptions(runner="threads", workers=1, backend=backend, overview_channel=channel)
    return deployment.add(deployment.plate(), deployment.pipeline("pictured", high), options=options)


def told(deployment: Deployment) -> Mapping[str, object]:
    """What Dagster shows of the latest report."""
    event = deployment.instance.get_latest_materialization_event(PlateKeys("P001").report)
    assert event is not None and event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    return {name: getattr(value, "records", value.value) for name, value in metadata.items()}


def drawn(entry: CatalogueEntry) -> tuple[set[str], str, np.ndarray]:
    """Wells, channel and pixels of the overview."""
    place = entry.output_plan.folder / "report" / "overview.zarr"
    attributes = read_attributes(place)
    (channel,) = attributes["ome"]["omero"]["channels"]
    pixels = np.asarray(LazyArray(place / "0", np.zeros((1, 1, 1), bool))[0, 0, 0])
    return set(attributes["openhcs"]["wells"]), channel["label"], pixels


def test_the_report_draws_the_overview_in_the_channel_of_the_lab(deployment: Deployment) -> None:
    """Page and asset say where it is and what it shows, its channel comes first, and the folder still is whole."""
    entry = add(deployment, "GFP")

    run = deployment.run(entry, "A01", "A02")

    page = Path(run.report or "").read_text()
    wells, channel, _ = drawn(entry)
    assert (wells, channel) == ({"A01", "A02"}, "GFP")
    assert told(deployment)["overview"] == f"{entry.output_plan.folder}/report/overview.zarr"
    assert told(deployment)["overview channel"] == "GFP"
    assert page.index("<h2>GFP</h2>") < page.index("report/overview.zarr</code>") < page.index("<h2>DAPI</h2>")
    report = verify(entry.output_plan.folder)
    assert not report.foreign and not report.damaged


def test_a_channel_that_the_images_lack_is_told_of(deployment: Deployment) -> None:
    """The first one is shown instead, and page and asset say so."""
    run = deployment.run(add(deployment, "Cy5"), "A01")

    assert told(deployment)["overview channel"] == "DAPI, since the images have no channel 'Cy5'"
    assert "asked for, but these images do not have it" in Path(run.report or "").read_text()


def test_the_overview_follows_the_wells(deployment: Deployment) -> None:
    """Wells that were added or computed anew are in the next one; without any well there is none."""
    entry = add(deployment)
    deployment.run(entry, "A01")
    _, _, before = drawn(entry)
    again = replace(entry, pipeline=deployment.pipeline("pictured_otherwise", high=60.0))
    deployment.catalogue.replace(again)

    deployment.run(again, "A01", "B03")

    wells, _, after = drawn(entry)
    assert wells == {"A01", "B03"}
    assert not np.array_equal(before[:64, :64], after[:64, :64])
    for place in ("wells", "images.zarr"):
        shutil.rmtree(entry.output_plan.folder / place)
    assert draw_overview(entry) is None
    assert not (entry.output_plan.folder / "report" / "overview.zarr").exists()


def test_wells_of_one_reason_are_one_row_of_the_asset_s_page(deployment: Deployment) -> None:
    """Whoever looks in the morning reads one line, not one a well."""
    deployment.run(add(deployment), "A01")

    (row,) = told(deployment)["wells needing attention"]  # type: ignore[misc]

    assert row.data == {"wells": "A02, A03, B01, B02, B03", "state": "missing", "why": "It has not been run."}


def test_tiff_files_have_no_overview(deployment: Deployment) -> None:
    """The report is made without a word of it."""
    run = deployment.run(add(deployment, backend="disk"), "A01")

    assert run.report is not None and "overview" not in Path(run.report).read_text()
    assert not {"overview", "overview channel"} & set(told(deployment))


def summary(rows: int, columns: int, bad: int = 0) -> PlateSummary:
    """A full plate, its last wells failed."""
    wells = tuple(well_name(row, column) for row in range(rows) for column in range(columns))
    plate = Plate(
        plate_id="p", name="p", microscope="m", root="/", wells=wells, sites=(1,), z_indexes=(1,),
        channels=(Channel(index=1),), timepoints=(1,), rows=rows, columns=columns,
    )  # fmt: skip
    states = [WellState.DONE] * (len(wells) - bad) + [WellState.FAILED] * bad
    return PlateSummary(
        entry=CatalogueEntry(
            id="p", folder="/f", microscope="m", pipeline="a:b", output="/o", wells=wells, listing_digest="", added=""
        ),
        plate=plate,
        wells=tuple(
            WellSummary(well=well, state=state, reason="", seconds=None, device="")
            for well, state in zip(wells, states, strict=True)
        ),
        fingerprint="",
        versions=(),
        steps=(),
        pipeline="",
        made="2026-01-01T00:00:00+00:00",
    )


def pixels_of(markdown: str) -> np.ndarray:
    (encoded,) = re.findall(r"base64,([^)]+)\)", markdown)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB"))


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (4, 6), (8, 12), (16, 24)])
def test_the_map_of_a_plate_is_seen_at_once(rows: int, columns: int) -> None:
    """Dagster shows short markdown inline: a square a well, the failed ones in their colour, and the numbers."""
    text = glance(summary(rows, columns, bad=1))

    assert text is not None and len(text) < INLINE
    assert text.endswith("1 failed" if rows == 1 else f"{rows * columns - 1} done, 1 failed")
    red = tuple(int(COLOURS[WellState.FAILED][place : place + 2], 16) for place in (1, 3, 5))
    picture = pixels_of(text)
    assert (picture[-3, -3] == red).all()
    side = max(6, min(20, 360 // columns))
    assert (picture == red).all(axis=-1).sum() == (side - 1) ** 2


def test_a_map_that_would_be_hidden_is_left_to_the_large_one() -> None:
    """1536 wells of many states do not fit."""
    many = summary(32, 48)
    rng = np.random.default_rng(1)
    mixed = tuple(
        WellSummary(well=well.well, state=list(WellState)[rng.integers(5)], reason="", seconds=None, device="")
        for well in many.wells
    )
    assert glance(replace(many, wells=mixed)) is None


@pytest.mark.parametrize(
    ("failed", "asked", "said"),
    [
        ({"C04": "Well C04: cut off."}, 24, "1 of 24 wells failed: C04. The others are published. Well C04: cut off."),
        ({"C04": "Well C04: cut off."}, 1, "1 of 1 well failed: C04. Well C04: cut off."),
        (
            {"B10": "Other.", "B02": "One."},
            3,
            "2 of 3 wells failed: B02, B10. The others are published. The first: One.",
        ),
    ],
)
def test_a_failed_run_says_which_wells_and_why_in_its_first_line(failed: dict[str, str], asked: int, said: str) -> None:
    """It is what the run's page and the alert show."""
    assert wells_failed(failed, asked).description == said


def test_a_run_that_lost_a_whole_plate_names_some_wells() -> None:
    """The table beside the sentence has the others."""
    failure = wells_failed({well_name(row, column): "Gone." for row in range(8) for column in range(12)}, 96)

    assert failure.description == (
        "96 of 96 wells failed: "
        + ", ".join(well_name(row, column) for row in range(2) for column in range(12))
        + " and 72 more. Gone."
    )
    table = failure.metadata["failed wells"]
    assert isinstance(table, dg.TableMetadataValue) and len(table.records) == 96
