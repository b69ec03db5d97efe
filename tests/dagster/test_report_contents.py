"""What was in the wells: in the report, in its table, and in each well's record."""

from __future__ import annotations

import base64
import csv
import io
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from openhcs_dagster.automation.staleness import due_wells
from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.catalogue.registration import register
from openhcs_dagster.cli.in_process import PlateRun
from openhcs_dagster.definitions import build_resources
from openhcs_dagster.keys import PlateKeys
from openhcs_dagster.plate.assets import plate_graph
from openhcs_dagster.report.conditions import PALEST, ROLE_COLOURS, RoleColours, WellConditions, alike
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.model.plate_map import WellRole
from openhcs_engine.plan.run_options import RunOptions
from tests.dagster.deployments import Deployment, StaleStatus

MAP = """\
Well,Compound,Dose,Role,Batch,State
A01,DMSO,,negative,b1,x
A02,Wortmannin <b>,0.1,sample,b1,
A03,Wortmannin <b>,0.3,sample,b2,
B01,Staurosporine,10,positive,b1,
B02,,,empty,,
"""


def run_with_map(deployment: Deployment, table: str = MAP) -> tuple[CatalogueEntry, PlateRun]:
    """A plate of six wells, A02 damaged, with a map of five of them."""
    (deployment.root / "map.csv").write_text(table)
    entry = register(
        deployment.catalogue,
        deployment.plate(truncated_wells=("A02",)),
        pipeline=deployment.pipeline("mapped"),
        output=deployment.root / "results",
        search_path=[deployment.root / "lab"],
        options=RunOptions(runner="threads", workers=1),
        reading=ReadOptions(plate_map=str(deployment.root / "map.csv")),
    )
    return entry, deployment.run(entry)


def rows_of(text: str) -> dict[str, dict[str, str]]:
    """A table of wells by well."""
    return {row["well"]: row for row in csv.DictReader(io.StringIO(text))}


def recorded(deployment: Deployment, entry: CatalogueEntry, well: str) -> Mapping[str, object]:
    """What the UI shows of a well's last materialization."""
    filtered = dg.AssetRecordsFilter(asset_key=PlateKeys(entry.id).wells, asset_partitions=[well])
    (record,) = deployment.instance.fetch_materializations(filtered, limit=1).records
    assert record.asset_materialization is not None
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def test_the_page_shows_what_was_in_each_well(deployment: Deployment) -> None:
    """A colour a role with its legend, the whole on hover, and a row for wells that had the same, escaped."""
    _, run = run_with_map(deployment)

    page = Path(run.report or "").read_text()

    assert "<h2>Plate map</h2>" in page
    assert "<title>A01: negative, DMSO; Batch: b1; State: x</title>" in page
    assert "<title>A03: sample, Wortmannin &lt;b&gt;, dose 0.3; Batch: b2</title>" in page
    assert "Contents, as map.csv says" in page
    assert f"--c:{ROLE_COLOURS[WellRole.POSITIVE]}" in page
    assert re.search(r"sample, darker: higher dose \(2\)", page)
    assert "<b>0 of 1 current</b>" in page
    assert re.findall(r"class=wells>([^<]+)<", page) == ["A01", "B01", "A02", "A03", "B02"]
    assert "Wortmannin <b>" not in page


def test_failures_say_what_was_in_the_well(deployment: Deployment) -> None:
    """A person sees that the lost well was a sample of that dose, not a control."""
    _, run = run_with_map(deployment)

    page = Path(run.report or "").read_text()

    attention = page[page.index("class=attention") : page.index("</table>")]
    assert "<td>sample, Wortmannin &lt;b&gt;, dose 0.1</td>" in attention


def test_the_table_of_wells_lies_beside_the_page_and_in_it(deployment: Deployment) -> None:
    """One row a well with state, seconds, fingerprint and conditions; the page carries the same table."""
    entry, run = run_with_map(deployment)

    page = Path(run.report or "").read_text()
    text = Path(run.report or "").with_name("wells.csv").read_bytes().decode()

    rows = rows_of(text)
    assert list(rows) == ["A01", "A02", "A03", "B01", "B02", "B03"]
    assert rows["A02"]["state"] == "failed"
    assert "cut off" in rows["A02"]["reason"]
    assert rows["A02"]["fingerprint"] == ""
    assert (rows["A03"]["role"], rows["A03"]["compound"], rows["A03"]["dose"]) == ("sample", "Wortmannin <b>", "0.3")
    assert rows["A03"]["fingerprint"] == recorded(deployment, entry, "A03")["fingerprint"]
    assert float(rows["A03"]["seconds"]) > 0
    assert (rows["B03"]["role"], rows["B03"]["Batch"]) == ("", "")
    (link,) = re.findall(r"href='data:text/csv;base64,([^']+)'", page)
    assert base64.b64decode(link).decode() == text


def test_a_well_s_record_has_its_conditions(deployment: Deployment) -> None:
    """Role, compound and dose as metadata of their own, the other columns in a list; nothing for a well off the map."""
    entry, _ = run_with_map(deployment)

    mapped, unmapped = recorded(deployment, entry, "A03"), recorded(deployment, entry, "B03")

    assert (mapped["role"], mapped["compound"], mapped["dose"]) == ("sample", "Wortmannin <b>", "0.3")
    assert mapped["conditions"] == "- Batch: b2"
    assert not {"role", "compound", "dose", "conditions"} & set(unmapped)


def test_a_column_of_the_map_never_hides_one_of_ours(deployment: Deployment) -> None:
    """A map may have a column called as one of the table's; both are there."""
    table = MAP.replace("Batch", "device")
    _, run = run_with_map(deployment, table)

    rows = rows_of(Path(run.report or "").with_name("wells.csv").read_text())

    assert rows["A01"]["device"].startswith("cpu:")
    assert rows["A01"]["condition device"] == "b1"


def test_a_changed_map_alone_makes_the_plate_stale(deployment: Deployment, staleness: StaleStatus) -> None:
    """Plan, records and report are stale until they are made again; no well is computed for it."""
    entry, _ = run_with_map(deployment)
    keys = PlateKeys(entry.id)
    (deployment.root / "map.csv").write_text(MAP.replace("Staurosporine", "Nocodazole"))
    graph = plate_graph(entry)
    defs = dg.Definitions(assets=graph.assets, resources=build_resources(deployment.settings))
    job = defs.resolve_implicit_global_asset_job_def()

    job.execute_in_process(instance=deployment.instance, asset_selection=[keys.index])
    after_index = staleness(keys.contexts)
    job.execute_in_process(instance=deployment.instance, asset_selection=[keys.contexts])

    assert after_index.startswith("STALE")
    assert staleness(keys.report).startswith("STALE")
    assert staleness(keys.wells, "B01").startswith("STALE")
    run = deployment.run(entry)
    assert {outcome.status.value for outcome in run.outcomes} == {"unchanged", "failed"}
    assert recorded(deployment, entry, "B01")["compound"] == "Nocodazole"
    assert staleness(keys.report) == "FRESH"


def test_a_changed_map_starts_the_plate_at_night(deployment: Deployment) -> None:
    """The wells are current, but what is told of them is not; once it is told, there is nothing to do."""
    entry, _ = run_with_map(deployment)
    shutil.copyfile(
        next((deployment.root / "raw" / "P001").rglob("*_A01_s1_w1*")),
        next((deployment.root / "raw" / "P001").rglob("*_A02_s1_w1*")),
    )
    deployment.run(entry)
    before = due_wells(entry)
    (deployment.root / "map.csv").write_text(MAP.replace("Staurosporine", "Nocodazole"))

    changed = due_wells(entry)
    deployment.run(entry)

    assert (before, changed, due_wells(entry)) == ([], list(entry.wells), [])


def test_without_a_map_nothing_speaks_of_contents(deployment: Deployment) -> None:
    """No empty panel, no empty column."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("plain"), options=RunOptions(runner="threads"))

    page = Path(deployment.run(entry).report or "").read_text()

    assert "Plate map" not in page
    assert "Contents" not in page


def test_the_published_assay_is_shown_as_its_table_says(deployment: Deployment, data_dir: Path) -> None:
    """The SBS plate: twelve controls and nine doses of the 21 wells that were copied."""
    (deployment.root / "map.json").write_text(
        f'{{"table": "{data_dir}/sbs_translocation/1049_Metadata.csv", "row": "Row", "column": "Column", '
        '"dose": "SBS_Doses", "role": "SBS_Controls", '
        '"roles": {"-1": "negative", "1": "positive", "0": "sample"}, "plate_wells": 96}'
    )
    entry = register(
        deployment.catalogue,
        data_dir / "sbs_translocation",
        pipeline=deployment.pipeline("sbs"),
        output=deployment.root / "results",
        search_path=[deployment.root / "lab"],
        options=RunOptions(runner="threads", workers=1),
        reading=ReadOptions(plate_map=str(deployment.root / "map.json")),
    )

    page = Path(deployment.run(entry, "A01", "A02", "A03", "A12").report or "").read_text()

    assert "negative (8)" in page
    assert "positive (4)" in page
    assert "sample, darker: higher dose (9)" in page
    assert "<b>2 of 8 current</b>" in page


def test_samples_darken_with_their_dose_and_controls_do_not() -> None:
    """By rank, so that doses over decades are told apart."""
    low, middle, high = (
        WellConditions(role=WellRole.SAMPLE, values={"dose": dose}) for dose in ("0.001", "0.1", "1000")
    )
    control = WellConditions(role=WellRole.POSITIVE, values={"dose": "5"})
    colours = RoleColours.of([high, low, middle, control])

    assert colours.colour(low) == PALEST
    assert colours.colour(high) == ROLE_COLOURS[WellRole.SAMPLE]
    assert colours.colour(control) == ROLE_COLOURS[WellRole.POSITIVE]
    assert low != middle
    assert PALEST > colours.colour(middle) > colours.colour(high)


@pytest.mark.parametrize("dose", ["nan", "n/a", "", "1e3"])
def test_a_dose_that_is_no_number_is_told_and_not_drawn(dose: str) -> None:
    """Text of the table stays text; only a finite number has a place in a scale."""
    well = WellConditions(role=WellRole.SAMPLE, values={"dose": dose})

    assert well.dose == (1000.0 if dose == "1e3" else None)


def test_wells_with_the_same_contents_are_one_group() -> None:
    """Controls first; a well's image number does not make it another condition."""
    sample = WellConditions(role=WellRole.SAMPLE, values={"compound": "W", "dose": "2", "ImageNumber": "1"})
    wells = {
        "A01": sample,
        "A02": replace(sample, values={**sample.values, "ImageNumber": "2"}),
        "A03": WellConditions(role=WellRole.NEGATIVE),
    }

    assert alike(wells) == {"negative": ["A03"], "sample, W, dose 2": ["A01", "A02"]}
