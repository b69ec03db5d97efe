"""Plate steps in Dagster: an asset between the plan and the wells, known from the catalogue's entry alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import msgspec
import pytest

from openhcs_dagster.automation.jobs import processing_request
from openhcs_dagster.automation.staleness import due_wells
from openhcs_dagster.catalogue.catalogue import CatalogueEntry, CatalogueError
from openhcs_dagster.cli import main
from openhcs_dagster.definitions import build_definitions, build_resources
from openhcs_dagster.keys import PlateKeys
from openhcs_dagster.plate.assets import plate_graph
from tests.dagster.deployments import Deployment, StaleStatus, partition_states

FITTED = """
import os
from openhcs_engine import FunctionStep, Pipeline, PlateStep, Sample
from openhcs_engine.memory import numpy, special_inputs

@numpy
def mean(images):
    if os.environ.get("FIT_FAILS"):
        raise ValueError("no light")
    return sum(image.astype("float32") for image in images) / len(images)

@numpy
@special_inputs("field")
def less(stack, field):
    return stack - (field > 1e9)

@numpy
def same(stack):
    return stack

pipeline = Pipeline([PlateStep(mean, name="field", sample=Sample(images=6, minimum=2)), FunctionStep(less)])
"""
FIELD = dg.AssetKey(["P001", "field"])


def fitted(deployment: Deployment, name: str, text: str = FITTED, **spec: object) -> CatalogueEntry:
    """A plate whose entry knows its fit."""
    entry = deployment.add(deployment.plate(z=1, **spec), deployment.pipeline(name, text=text))
    entry = replace(entry, fits=("field",))
    deployment.catalogue.replace(entry)
    return entry


def damage(entry: CatalogueEntry, well: str) -> Callable[[], object]:
    """Make an image of a well unreadable, with size and time as they were; what is returned mends it."""
    image = next(path for path in sorted(Path(entry.folder).rglob("*.tif")) if f"_{well}_" in path.name)
    whole, time_ns = image.read_bytes(), image.stat().st_mtime_ns

    def write(content: bytes) -> None:
        image.write_bytes(content)
        os.utime(image, ns=(time_ns, time_ns))

    write(bytes(len(whole)))
    return lambda: write(whole)


def asset_check(deployment: Deployment, key: dg.AssetCheckKey) -> dg.AssetCheckEvaluation:
    """The newest result of a check."""
    (record,) = deployment.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    return record.event.dagster_event.asset_check_evaluation_data  # type: ignore[union-attr]


def check_of(deployment: Deployment) -> tuple[bool, dg.AssetCheckSeverity, str]:
    result = asset_check(deployment, dg.AssetCheckKey(FIELD, "fitted_on_all_images"))
    return result.passed, result.severity, result.description or ""


def test_a_fit_is_an_asset_between_the_plan_and_the_wells(deployment: Deployment) -> None:
    """Its materialization has the images, the function and a picture; its version is the fit's fingerprint."""
    entry = fitted(deployment, "lab_fit_asset")
    wells = next(asset for asset in plate_graph(entry).assets if asset.key == PlateKeys("P001").wells)
    assert wells.asset_deps[PlateKeys("P001").wells] >= {FIELD, PlateKeys("P001").contexts}
    run = deployment.run(entry)
    assert run.refusal is None and {outcome.status.value for outcome in run.outcomes} == {"done"}
    (record,) = deployment.instance.fetch_materializations(FIELD, limit=10).records
    assert record.asset_materialization is not None
    facts = record.asset_materialization.metadata
    (folder,) = (deployment.root / "out" / "P001" / "fits" / "field").iterdir()
    assert facts["fingerprint"].value == folder.name and facts["path"].value == str(folder)
    assert facts["images used"].value == 12 and str(facts["function"].value) == "lab_fit_asset:mean"
    assert "data:image/png" in str(facts["picture"].value)
    assert (
        record.asset_materialization.tags and record.asset_materialization.tags["dagster/data_version"] == folder.name
    )
    assert check_of(deployment) == (True, dg.AssetCheckSeverity.WARN, check_of(deployment)[2])
    assert "All 6 images that were asked for were read" in check_of(deployment)[2]


def test_a_partial_fit_is_amber_and_each_of_its_wells_says_so(deployment: Deployment) -> None:
    """The well whose image cannot be read fails; the others carry the warning."""
    entry = fitted(deployment, "lab_fit_partial", truncated_wells=("A02",))
    run = deployment.run(entry)
    assert [outcome.well for outcome in run.failed] == ["A02"]
    passed, severity, told = check_of(deployment)
    assert not passed and severity is dg.AssetCheckSeverity.WARN and "5 of the 6 images" in told
    assert all("5 of the 6 images" in outcome.warnings[0] for outcome in run.outcomes if not outcome.error)


def test_wells_of_a_partial_fit_are_current_until_a_missing_image_can_be_read(deployment: Deployment) -> None:
    """For the report and the night; only reading tells that a share answers again: then the plate is fitted anew."""
    entry = fitted(deployment, "lab_fit_night")
    mend = damage(entry, "A02")
    run = deployment.run(entry)
    assert [outcome.well for outcome in run.failed] == ["A02"] == due_wells(entry)
    wells = asset_check(deployment, dg.AssetCheckKey(PlateKeys("P001").report, "wells_are_current"))
    assert wells.description == "Not current: A02 (failed)."

    mend()
    assert due_wells(entry) == list(entry.wells)
    run = deployment.run(entry)
    assert {outcome.status.value for outcome in run.outcomes} == {"done"} and due_wells(entry) == []
    assert not any(outcome.warnings for outcome in run.outcomes)


def test_a_fit_that_fails_fails_each_well_that_uses_it_and_a_later_run_goes_on(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does in a run without Dagster: with the fit's reason; wells that are published stay what they are."""
    entry = fitted(deployment, "lab_fit_fails")
    assert {outcome.status.value for outcome in deployment.run(entry, "A01", "A02").outcomes} == {"done"}
    shutil.rmtree(deployment.root / "out" / "P001" / "fits")
    monkeypatch.setenv("FIT_FAILS", "1")
    run = deployment.run(entry)
    assert run.refusal is None and run.report is not None
    assert {outcome.well: outcome.error for outcome in run.outcomes} == {
        "A01": None,
        "A02": None,
        **{
            well: f"Well {well}: plate step 'field', channel DAPI: lab_fit_fails:mean raised ValueError: no light"
            for well in ("A03", "B01", "B02", "B03")
        },
    }
    states = partition_states(deployment, PlateKeys("P001").wells)
    assert (states["materialized"], states["failed"]) == (["A01", "A02"], ["A03", "B01", "B02", "B03"])
    (failed, *_) = deployment.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    assert failed.asset_selection and FIELD in failed.asset_selection  # the run is red, for the fit that failed
    assert len(deployment.instance.fetch_materializations(FIELD, 9).records) == 1

    monkeypatch.delenv("FIT_FAILS")
    run = deployment.run(entry)
    assert run.refusal is None and {outcome.status.value for outcome in run.outcomes} == {"done", "unchanged"}


def test_wells_that_do_not_use_a_fit_that_fails_are_done(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that use it carry its reason on their own page in the UI."""
    row_a = FITTED.replace("FunctionStep(less)", 'FunctionStep(less, wells="row:A"), FunctionStep(same)')
    entry = fitted(deployment, "lab_fit_row", row_a)
    monkeypatch.setenv("FIT_FAILS", "1")
    run = deployment.run(entry)
    assert run.refusal is None
    assert [outcome.well for outcome in run.failed] == ["A01", "A02", "A03"]
    states = partition_states(deployment, PlateKeys("P001").wells)
    assert (states["materialized"], states["failed"]) == (["B01", "B02", "B03"], ["A01", "A02", "A03"])
    observed = deployment.instance.fetch_observations(PlateKeys("P001").wells, limit=10).records
    why = {
        record.partition_key: str(record.asset_observation.metadata["why"].value)
        for record in observed
        if record.asset_observation is not None
    }
    assert set(why) == {"A01", "A02", "A03"}
    assert all("plate step 'field', channel DAPI" in reason and "no light" in reason for reason in why.values())


def test_a_well_knows_the_fit_that_it_was_made_with(deployment: Deployment, staleness: StaleStatus) -> None:
    """Dagster calls it fresh, and stale once the plate is fitted anew by itself."""
    entry = fitted(deployment, "lab_fit_lineage")
    mend = damage(entry, "A02")
    deployment.run(entry)
    assert staleness(PlateKeys("P001").wells, "A01") == "FRESH"

    mend()
    resources = build_resources(deployment.settings)
    dg.materialize(plate_graph(entry).assets, selection=[FIELD], resources=resources, instance=deployment.instance)
    assert staleness(PlateKeys("P001").wells, "A01") == "STALE has a new data version"
    deployment.run(entry)
    assert staleness(PlateKeys("P001").wells, "A01") == "FRESH"


def test_names_that_the_entry_lacks_are_written_when_the_plate_is_compiled(deployment: Deployment) -> None:
    """The run that finds them makes the fit with the wells; names that went are taken out."""
    entry = deployment.add(deployment.plate(z=1), deployment.pipeline("lab_fit_new", text=FITTED))
    assert entry.fits == ()
    run = deployment.run(entry)
    assert {outcome.status.value for outcome in run.outcomes} == {"done"}
    assert deployment.catalogue.read("P001").fits == ("field",)
    keys = {key for asset in build_definitions(deployment.settings).assets or () for key in asset.keys}  # type: ignore[union-attr]
    assert FIELD in keys
    old = replace(deployment.catalogue.read("P001"), fits=("other",))
    deployment.catalogue.replace(old)
    assert {outcome.status.value for outcome in deployment.run(old).outcomes} == {"unchanged"}
    assert deployment.catalogue.read("P001").fits == ("field",)


def test_add_writes_the_names_and_definitions_load_without_the_pipeline(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries of earlier versions have none."""
    monkeypatch.chdir(deployment.root)
    monkeypatch.setenv("DAGSTER_HOME", str(deployment.settings.home))
    monkeypatch.setenv("OPENHCS_CATALOGUE", str(deployment.settings.catalogue))
    Path("lab_fit_add.py").write_text(FITTED)
    plate = deployment.plate(z=1)
    arguments = ["add", str(plate), "--pipeline", "lab_fit_add:pipeline", "--output", str(deployment.root / "out")]
    with pytest.raises(SystemExit, match=r"^0$"):
        main(arguments)
    entry = deployment.catalogue.read("P001")
    assert entry.fits == ("field",)
    Path("lab_fit_add.py").write_text("1/0")
    assert FIELD in processing_request(entry, "key").asset_selection  # type: ignore[operator]
    assert any(FIELD in asset.keys for asset in plate_graph(entry).assets)
    stored = msgspec.json.decode(msgspec.json.encode(entry))
    del stored["fits"]
    assert msgspec.convert(stored, CatalogueEntry).fits == ()


@pytest.mark.parametrize("name", ["plate_report", "processed_wells", "verdict", "measurements", "my field"])
def test_an_entry_with_a_name_that_the_plate_has_is_refused(deployment: Deployment, name: str) -> None:
    """As it is at compile."""
    entry = deployment.add(deployment.plate(), "a:b")
    with pytest.raises(CatalogueError):
        deployment.catalogue.replace(replace(entry, fits=(name,)))
