"""What a plate lacks, as Dagster and the report show it: the same number everywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from openhcs_dagster.cli.screen import PlateScreen
from openhcs_dagster.keys import PlateKeys
from openhcs_engine.microscopes.plate_listing import listing_from_json, listing_to_json, read_listing
from openhcs_engine.model.completeness import missing_planes
from openhcs_engine.plan.run_options import RunOptions
from tests.dagster.deployments import Deployment
from tests.dagster.test_plate_graph import check_passed, recorded
from tests.dagster.test_sensors import configure_inbox, tick

SPEC = {"rows": 1, "columns": 3}
"""With two channels and two z planes: a channel that is gone is six planes."""


def without_gfp(folder: Path) -> Path:
    """The plate without a file of its second channel."""
    for path in folder.rglob("*_w2.tif"):
        path.unlink()
    return folder


def test_results_of_a_plate_without_a_channel_are_done_with_gaps(deployment: Deployment) -> None:
    """Entry, record of the index, wells, check, report and table: six planes, two a well."""
    entry = deployment.add(without_gfp(deployment.plate(**SPEC)), deployment.pipeline("gaps"))

    run = deployment.run(entry)

    index = deployment.instance.get_latest_materialization_event(PlateKeys("P001").index)
    assert index is not None and index.asset_materialization is not None
    told = {name: value.value for name, value in index.asset_materialization.metadata.items()}
    page = Path(run.report or "").read_text()
    table = Path(run.report or "").with_name("wells.csv").read_text()
    assert entry.missing_planes == 6
    assert (told["missing planes"], told["missing"]) == (6, "6 planes in A01, A02, A03")
    assert [well.metadata["missing planes"].value for well in recorded(deployment, "P001").values()] == [2, 2, 2]
    assert check_passed(deployment, "P001") == (True, "All 3 wells are current. With gaps: 3.")
    assert "3 wells done with gaps" in page and "<title>A01: done" in page
    assert table.count("Done with gaps: 2 planes of the well are missing") == 3
    assert ("with gaps", "3; 6 planes are missing, see the report", "yellow") in PlateScreen(entry, 3)._rows(run)


def test_planes_that_were_left_out_are_gaps_too(deployment: Deployment) -> None:
    """``skip`` publishes a shorter stack; the report says so, and of no other well."""
    folder = deployment.plate(**SPEC)
    next(folder.rglob("ZStep_2/*_A02_s1_w1.tif")).unlink()
    options = RunOptions(runner="threads", workers=1, on_missing="skip")
    entry = deployment.add(folder, deployment.pipeline("skips"), options=options)

    run = deployment.run(entry)

    page = Path(run.report or "").read_text()
    assert {outcome.well: outcome.missing_planes for outcome in run.outcomes} == {"A01": 0, "A02": 1, "A03": 0}
    assert "1 well done with gaps" in page and "1 of 4 declared planes have no file" in page


def test_the_inbox_says_what_a_plate_lacks(deployment: Deployment) -> None:
    """It has settled and describes itself, so it is registered; the tick has the number."""
    inbox = configure_inbox(deployment)
    without_gfp(deployment.plate(**SPEC)).rename(inbox / "P001")
    _, cursor, _, _ = tick(deployment, None)

    _, _, why, _ = tick(deployment, cursor)

    assert "P001 is registered" in why and "6 planes of it are missing" in why
    assert deployment.catalogue.read("P001").missing_planes == 6


def test_a_kept_listing_lacks_the_same(deployment: Deployment) -> None:
    """Through its document, and as an entry of an earlier version, which knows no number."""
    folder = without_gfp(deployment.plate(**SPEC))
    listing = listing_from_json(listing_to_json(read_listing(folder)))
    entry = deployment.add(folder, "gaps:pipeline")
    path = deployment.settings.catalogue / "P001.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "missing_planes"}))

    assert len(missing_planes(listing.plate, listing.index)) == 6
    assert deployment.catalogue.read("P001").missing_planes == 0
    assert entry.listing_digest == listing.digest


def test_the_digest_of_a_whole_plate_is_that_of_earlier_versions(data_dir: Path) -> None:
    """Facts that plates have since then make no folder look changed."""
    listing = read_listing(data_dir / "operetta_ball_384")
    other = replace(listing.plate, failed=(("C03", 1, 1, 1, 0),))
    assert replace(listing, plate=replace(listing.plate, declares_planes=False)).digest == listing.digest
    assert replace(listing, plate=other).digest != listing.digest
