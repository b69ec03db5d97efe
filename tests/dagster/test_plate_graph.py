"""A plate's asset graph, run in this process."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from openhcs_dagster.automation.staleness import due_wells
from openhcs_dagster.definitions import build_definitions, build_resources
from openhcs_dagster.keys import PlateKeys, range_tags
from openhcs_dagster.plate.assets import plate_graph
from openhcs_dagster.storage.io_manager import VfsIOManager
from openhcs_engine.execution.results import WellStatus
from openhcs_engine.microscopes.plate_listing import PlateListing, read_listing
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.plan.run_options import RunOptions
from openhcs_engine.synthetic import SyntheticPlate, write_ome_zarr
from tests.dagster.deployments import PIPELINE, Deployment, StaleStatus, partition_states
from tests.engine.damaged_zarr import DAMAGES, Version

ALL = ("A01", "A02", "A03", "B01", "B02", "B03")


def recorded(deployment: Deployment, plate_id: str) -> dict[str, dg.AssetMaterialization]:
    """The latest materialization of each well."""
    key = PlateKeys(plate_id).wells
    records = deployment.instance.fetch_materializations(key, limit=1000, ascending=True).records
    return {record.partition_key or "": record.asset_materialization for record in records}  # type: ignore[misc]


def check_passed(deployment: Deployment, plate_id: str) -> tuple[bool, str]:
    """Whether the report's check passed last, and its sentence."""
    check = dg.AssetCheckKey(PlateKeys(plate_id).report, "wells_are_current")
    (record,) = deployment.instance.event_log_storage.get_asset_check_execution_history(check, limit=1)
    evaluation = record.event.dagster_event.asset_check_evaluation_data  # type: ignore[union-attr]
    return evaluation.passed, evaluation.description or ""


def statuses(run: object) -> dict[str, str]:
    return {outcome.well: outcome.status.value for outcome in run.outcomes}  # type: ignore[attr-defined]


def test_every_well_is_recorded_by_itself_with_what_a_person_asks_for(deployment: Deployment) -> None:
    """Each well gets a materialization with status, seconds, device, store, fingerprint, bytes and a small picture."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("recorded"))

    run = deployment.run(entry)

    assert run.refusal is None
    assert statuses(run) == dict.fromkeys(ALL, "done")
    events = recorded(deployment, "P001")
    assert sorted(events) == list(ALL)
    facts = events["B02"].metadata
    assert facts["status"].value == "done"
    assert Path(str(facts["store"].value)).exists()
    assert len(str(facts["fingerprint"].value)) == 64
    assert facts["scale"].value == "this well"
    assert {"seconds", "device", "steps", "bytes"} <= facts.keys()
    assert 100 < len(str(facts["preview"].value)) < 14_000


def test_a_bad_well_fails_alone(deployment: Deployment) -> None:
    """With one damaged image the other wells are materialized, the bad one is not, and the run says which and why."""
    entry = deployment.add(deployment.plate(truncated_wells=("A02",)), deployment.pipeline("bad_well"))

    run = deployment.run(entry)

    assert [outcome.well for outcome in run.failed] == ["A02"]
    assert "A02" in (run.failed[0].error or "")
    assert sorted(recorded(deployment, "P001")) == [well for well in ALL if well != "A02"]
    failed = deployment.instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    assert len(failed) == 1


@pytest.mark.parametrize(
    ("version", "what"), [("0.4", "the image's document is missing"), ("0.5", "a chunk is cut off")]
)
def test_a_damaged_well_of_an_ome_zarr_plate_is_a_failed_partition(
    deployment: Deployment, version: Version, what: str
) -> None:
    """The others are materialized, the UI shows it as failed, and the outcome says why."""
    spec = SyntheticPlate(name="P009", rows=1, columns=3, sites=1, z=1, shape=(32, 32))
    plate = write_ome_zarr(deployment.root / "P009", spec, version)
    next(damage for damage in DAMAGES if damage.what == what).harm(plate / "A" / "02", version)
    entry = deployment.add(plate, deployment.pipeline("damaged"))

    run = deployment.run(entry)

    states = partition_states(deployment, PlateKeys("P009").wells)
    assert (states["materialized"], states["failed"]) == (["A01", "A03"], ["A02"])
    assert [outcome.well for outcome in run.failed] == ["A02"] and "Well A02: " in (run.failed[0].error or "")


def test_a_failed_run_carries_the_table_of_its_wells(deployment: Deployment) -> None:
    """The step's failure has a row with well and reason, and asks for no retry."""
    entry = deployment.add(deployment.plate(truncated_wells=("A02",)), deployment.pipeline("table"))

    result = materialize(deployment, plate_graph(entry).assets, PlateKeys("P001").processing, range_tags(ALL))

    (event,) = result.filter_events(lambda event: event.is_step_failure)
    told = event.step_failure_data.user_failure_data
    assert told is not None
    assert "1 of 6 wells failed: A02" in (told.description or "")
    table = told.metadata["failed wells"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [row.data["well"] for row in table.records] == ["A02"]


def test_an_empty_range_is_a_failure(deployment: Deployment) -> None:
    """A reversed range holds no well; Dagster alone would call such a run a success."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("reversed"))

    result = materialize(
        deployment, plate_graph(entry).assets, PlateKeys("P001").processing, range_tags(("B03", "A01"))
    )

    assert not result.success
    (event,) = result.filter_events(lambda event: event.is_step_failure)
    assert "range is empty or reversed" in str(event.step_failure_data.user_failure_data)


def test_materialized_wells_are_fresh(deployment: Deployment, staleness: StaleStatus) -> None:
    """Hand-made materializations know what they were made from: the UI shows them fresh, not 'unsynced'."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("fresh"))

    deployment.run(entry)

    keys = PlateKeys("P001")
    assert staleness(keys.wells, "A01") == "FRESH"
    assert staleness(keys.contexts) == "FRESH"
    assert staleness(keys.report) == "FRESH"


def test_a_changed_parameter_makes_the_wells_stale_until_they_are_computed_again(
    deployment: Deployment, staleness: StaleStatus
) -> None:
    """After a new compilation with another parameter every well is stale; running them computes them all."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("before"))
    deployment.run(entry)
    changed = replace(entry, pipeline=deployment.pipeline("after", high=95.0))
    deployment.catalogue.replace(changed)
    keys = PlateKeys("P001")

    materialize(deployment, plate_graph(changed).assets, [keys.index, keys.contexts])

    assert staleness(keys.wells, "A01").startswith("STALE")
    run = deployment.run(changed)
    assert statuses(run) == dict.fromkeys(ALL, "done")
    assert staleness(keys.wells, "A01") == "FRESH"


def test_a_rerun_computes_nothing(deployment: Deployment, staleness: StaleStatus) -> None:
    """Materializing again records every well as unchanged and leaves its files alone."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("rerun"))
    deployment.run(entry)
    manifests = {path: path.read_bytes() for path in (entry.output_plan.folder / "wells").iterdir()}

    run = deployment.run(entry)

    assert statuses(run) == dict.fromkeys(ALL, "unchanged")
    assert {path: path.read_bytes() for path in manifests} == manifests
    assert recorded(deployment, "P001")["A01"].metadata["status"].value == "unchanged"
    assert recorded(deployment, "P001")["A01"].metadata["scale"].value == "plate"
    assert staleness(PlateKeys("P001").wells, "A01") == "FRESH"


def test_deleting_one_wells_output_computes_that_well_alone(deployment: Deployment) -> None:
    """What is gone is made again; the rest is recorded as unchanged."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("deleted"))
    store = Path(str(recorded_store(deployment, entry, "B02")))
    shutil.rmtree(store)

    run = deployment.run(entry)

    assert statuses(run) == {well: "done" if well == "B02" else "unchanged" for well in ALL}
    assert store.exists()


def test_a_mended_image_heals_its_well_alone(deployment: Deployment) -> None:
    """After the damaged file was copied again, only its well is computed, and the check passes."""
    plate = deployment.plate(truncated_wells=("A02",))
    entry = deployment.add(plate, deployment.pipeline("mended"))
    deployment.run(entry)
    assert check_passed(deployment, "P001") == (False, "Not current: A02 (failed).")
    good = deployment.plate("whole")
    for source in sorted(good.rglob("*_A02_*.TIF")) + sorted(good.rglob("*_A02_*.tif")):
        shutil.copyfile(source, plate / source.relative_to(good).parent / source.name.replace("whole", "P001"))

    run = deployment.run(entry)

    assert statuses(run)["A02"] == WellStatus.DONE
    assert {status for well, status in statuses(run).items() if well != "A02"} == {"unchanged"}
    assert check_passed(deployment, "P001")[0]


def test_only_the_wells_that_were_asked_for_run(deployment: Deployment) -> None:
    """Scattered wells are run; the report names the others as missing."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("some"))

    run = deployment.run(entry, "A01", "B02")

    assert statuses(run) == {"A01": "done", "B02": "done"}
    assert sorted(recorded(deployment, "P001")) == ["A01", "B02"]
    passed, sentence = check_passed(deployment, "P001")
    assert not passed
    assert sentence == "Not current: A02 (missing), A03 (missing), B01 (missing), B03 (missing)."


def test_two_plates_with_different_pipelines_live_side_by_side(deployment: Deployment) -> None:
    """Each plate is compiled with its own pipeline and recorded under its own keys."""
    one = deployment.add(deployment.plate("P001"), deployment.pipeline("lab_one"))
    two = deployment.add(deployment.plate("P-002", columns=2), deployment.pipeline("lab_two", high=90.0))

    deployment.run(one)
    deployment.run(two)

    assert len(recorded(deployment, "P001")) == 6
    assert len(recorded(deployment, "P-002")) == 4
    first, second = (recorded(deployment, plate)["A01"].metadata["fingerprint"].value for plate in ("P001", "P-002"))
    assert first != second
    defs = build_definitions(deployment.settings)
    defs.resolve_all_job_defs()
    assert len(list(defs.resolve_asset_graph().get_all_asset_keys())) == 8


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "No module 'absent'"),
        ("raise RuntimeError('the licence server is down')", "the licence server is down"),
        ("pipeline = 7", "has a int, no pipeline"),
    ],
    ids=["absent", "raises", "no pipeline"],
)
def test_a_pipeline_that_cannot_be_imported_fails_its_own_plate_with_a_sentence(
    deployment: Deployment, text: str | None, sentence: str
) -> None:
    """compiled_contexts fails with the reason; the plate's index is materialized and other plates run."""
    reference = deployment.pipeline(f"broken_{abs(hash(text))}", text=text) if text else "absent:pipeline"
    entry = deployment.add(deployment.plate("bad"), reference)
    good = deployment.add(deployment.plate("good"), deployment.pipeline("good_one"))

    run = deployment.run(entry)

    assert run.refusal is not None
    assert sentence in run.refusal
    assert "Traceback" not in run.refusal
    assert run.outcomes == ()
    assert deployment.instance.get_latest_materialization_event(PlateKeys("bad").index) is not None
    assert deployment.run(good).refusal is None


def test_a_refused_pipeline_lists_every_violation(deployment: Deployment) -> None:
    """All that is wrong with a pipeline on this plate is a row of the failure's table."""
    text = """
    from openhcs_engine import FunctionStep, GroupBy, Pipeline
    from openhcs_engine.functions import create_max_projection
    pipeline = Pipeline([
        FunctionStep(func={"Nonsense": create_max_projection, "GFP": create_max_projection}, name="One"),
        FunctionStep(func=(create_max_projection, {"typo": 1}), name="Two"),
    ])
    """
    entry = deployment.add(deployment.plate(), deployment.pipeline("refused", text=text))

    result = materialize(deployment, plate_graph(entry).assets, PlateKeys("P001").processing, range_tags(ALL))

    (event,) = result.filter_events(lambda event: event.is_step_failure)
    told = event.step_failure_data.user_failure_data
    assert told is not None
    table = told.metadata["violations"]
    assert isinstance(table, dg.TableMetadataValue)
    assert {row.data["step"] for row in table.records} == {"One", "Two"}


def test_a_folder_that_grew_is_registered_anew_and_its_known_wells_go_on(
    deployment: Deployment, staleness: StaleStatus
) -> None:
    """New wells change the entry and are told of; the run's own wells are published and fresh, not Failed."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("grown"))
    fewer = replace(entry, wells=entry.wells[:4])
    deployment.catalogue.replace(fewer)

    run = deployment.run(fewer)

    assert run.refusal is None
    assert [outcome.status for outcome in run.outcomes] == ["done"] * 4
    assert deployment.catalogue.read("P001").wells == entry.wells
    listed = deployment.instance.get_latest_materialization_event(PlateKeys("P001").index)
    assert listed is not None and listed.asset_materialization is not None
    said = str(listed.asset_materialization.metadata["new wells"].value)
    assert "the folder holds 6 wells, but 4 are registered. The catalogue now has the new list." in said
    assert "Reload" in said and "start the plate again for the new ones" in said
    assert staleness(PlateKeys("P001").wells, "A01") == "FRESH"
    assert due_wells(entry) == ["B02", "B03"]


def test_wells_that_left_the_folder_fail_the_run_with_their_names(deployment: Deployment) -> None:
    """Raw data that are gone must be noticed: nothing runs, what is published stays, the entry has the new list."""
    plate = deployment.plate()
    entry = deployment.add(plate, deployment.pipeline("shrunk"))
    deployment.run(entry)
    for file in (file for pattern in ("*_B02_*", "*_B03_*") for file in plate.rglob(pattern)):
        file.unlink()

    run = deployment.run(entry)

    assert run.refusal is not None
    assert "but 6 are registered; B02, B03 are no longer there" in run.refusal
    assert "what is published stays" in run.refusal
    assert (entry.output_plan.folder / "wells" / "B02.json").is_file()
    assert deployment.catalogue.read("P001").wells == entry.wells[:4]


@pytest.mark.parametrize(("number", "asked"), [(errno.ESTALE, 2), (errno.EACCES, 1)])
def test_a_drive_that_was_away_for_a_moment_is_asked_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, number: int, asked: int
) -> None:
    """At night nobody is there to start the plate once more; what will not pass fails at once."""
    entry = deployment.add(deployment.plate(), deployment.pipeline(f"away_{asked}"))
    asks: list[str] = []

    def listing(*about: Any) -> PlateListing:
        asks.append("asked")
        if len(asks) == 1:
            raise OSError(number, "away")
        return read_listing(*about)

    monkeypatch.setattr("openhcs_dagster.plate.assets.read_listing", listing)
    monkeypatch.setattr("openhcs_dagster.plate.assets.RETRY_AFTER_S", 0)

    run = deployment.run(entry)

    assert len(asks) == asked
    assert (run.refusal is None) == (asked == 2)


def test_the_name_of_the_pipeline_reaches_each_well(deployment: Deployment) -> None:
    """A manifest tells which pipeline made the well by the name that people know it by."""
    text = PIPELINE.format(high=99.0).replace("\n])", '\n], name="Nuclei, second try")')
    entry = deployment.add(deployment.plate(), deployment.pipeline("named", text=text))

    run = deployment.run(entry, "A01")

    assert run.report is not None
    manifest = PlateFolder(entry.output_plan.folder, "zarr").published("A01")
    assert manifest is not None and manifest.provenance["pipeline"] == "Nuclei, second try"
    assert "Nuclei, second try" in Path(run.report).read_text()


def test_fsync_reaches_every_well(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the option each well's folder is flushed before it is published; without it none is."""
    flushed: list[Path] = []
    monkeypatch.setattr("openhcs_engine.output.folder.output.flush_tree", flushed.append)
    plate, pipeline = deployment.plate(), deployment.pipeline("flushed")
    for fsync in (False, True):
        options = RunOptions(runner="threads", workers=1, fsync=fsync)
        entry = deployment.add(plate, pipeline, plate_id=f"fsync_{fsync}", options=options)
        assert deployment.run(entry, "A01", "A02").refusal is None
        assert len(flushed) == 2 * fsync


def test_a_folder_that_is_gone_fails_with_a_sentence(deployment: Deployment) -> None:
    """A plate whose disk is not mounted fails at its index, without a traceback."""
    plate = deployment.plate()
    entry = deployment.add(plate, deployment.pipeline("gone"))
    shutil.rmtree(plate)

    run = deployment.run(entry)

    assert run.refusal is not None
    assert str(plate) in run.refusal


def test_wells_run_by_the_stored_contexts_even_if_the_pipeline_changed(deployment: Deployment) -> None:
    """The wells' op takes the contexts that were compiled, not what the pipeline's file says now."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("stored"))
    keys = PlateKeys("P001")
    materialize(deployment, plate_graph(entry).assets, [keys.index, keys.contexts])
    plan = deployment.instance.get_latest_materialization_event(keys.contexts)
    unimportable = replace(entry, pipeline="absent:pipeline")

    result = materialize(deployment, plate_graph(unimportable).assets, [keys.wells], range_tags(["A01"]))

    assert result.success
    assert plan is not None
    assert list(recorded(deployment, "P001")) == ["A01"]


def test_a_users_own_asset_gets_lazy_wells(deployment: Deployment) -> None:
    """An asset that takes processed_wells as its input gets the published wells in plate order, and their arrays."""
    entry = deployment.add(deployment.plate(truncated_wells=("A02",)), deployment.pipeline("lazy"))
    deployment.run(entry)
    keys = PlateKeys("P001")
    seen = {}

    @dg.asset(ins={"wells": dg.AssetIn(key=keys.wells)})
    def brightness(wells):  # type: ignore[no-untyped-def]
        for well, fields in wells.items():
            (field,) = fields.values()
            seen[well] = field.array()[...].shape

    materialize(deployment, [*plate_graph(entry).assets, brightness], [brightness.key])

    assert list(seen) == ["A01", "A03", "B01", "B02", "B03"]
    assert set(seen.values()) == {(1, 2, 1, 64, 64)}


def test_the_raw_plate_is_left_as_it_was(deployment: Deployment) -> None:
    """A whole graph writes nothing into the plate's folder."""
    plate = deployment.plate()
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in plate.rglob("*")}

    deployment.run(deployment.add(plate, deployment.pipeline("raw")))

    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in plate.rglob("*")} == before


def test_worker_processes_find_the_plates_own_functions(deployment: Deployment) -> None:
    """A function that lives beside the pipeline runs in worker processes, found by the entry's search path."""
    from openhcs_engine.plan.run_options import RunOptions

    text = """
    import numpy as np
    from openhcs_engine import FunctionStep, Pipeline
    from openhcs_engine.memory import numpy

    @numpy
    def invert(stack):
        return np.iinfo(stack.dtype).max - stack

    pipeline = Pipeline([FunctionStep(func=invert)])
    """
    options = RunOptions(runner="processes", workers=1, backend="disk")
    entry = deployment.add(deployment.plate(), deployment.pipeline("own_functions", text=text), options=options)

    run = deployment.run(entry, "A01")

    assert statuses(run) == {"A01": "done"}
    assert recorded(deployment, "P001")["A01"].metadata["scale"].value == "this well"


def test_metaxpress_plate_goes_through_the_graph(deployment: Deployment, data_dir: Path) -> None:
    """A real ImageXpress export is processed to its report, and its promises that the copy lacks are warnings."""
    entry = deployment.add(data_dir / "metaxpress_3434_mixed", deployment.pipeline("real"), plate_id="real")

    run = deployment.run(entry)

    assert run.refusal is None
    assert not run.failed
    assert {outcome.well for outcome in run.outcomes} == set(entry.wells)
    index = deployment.instance.get_latest_materialization_event(PlateKeys("real").index)
    assert index is not None
    assert index.asset_materialization is not None
    assert "- " in str(index.asset_materialization.metadata["warnings"].value)


def recorded_store(deployment: Deployment, entry: object, well: str) -> object:
    deployment.run(entry)  # type: ignore[arg-type]
    return recorded(deployment, "P001")[well].metadata["store"].value


def materialize(
    deployment: Deployment,
    assets: Sequence[dg.AssetsDefinition],
    selection: list[dg.AssetKey],
    tags: dict[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    """Run some assets as one job, as a daemon would start it."""
    defs = dg.Definitions(
        assets=assets,
        resources=build_resources(deployment.settings),
        executor=dg.in_process_executor,
    )
    return defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=deployment.instance, asset_selection=selection, tags=tags, raise_on_error=False
    )


def test_an_asset_of_another_code_location_gets_the_wells(deployment: Deployment) -> None:
    """It knows ``processed_wells`` only by its key, and reads pixels through the same IO manager."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("elsewhere"))
    deployment.run(entry, "A01", "A02")
    key = PlateKeys("P001").wells
    known_by_name = dg.AssetSpec(key, partitions_def=dg.StaticPartitionsDefinition(entry.wells))

    @dg.asset(ins={"wells": dg.AssetIn(key=key)})
    def brightest(wells: Any) -> Any:
        return {well: int(next(iter(fields.values())).array()[0, 0, 0].max()) for well, fields in wells.items()}

    result = dg.materialize(
        [known_by_name, brightest],
        resources={"io_manager": VfsIOManager(root=str(deployment.settings.values))},
        instance=deployment.instance,
        selection=[brightest],
    )

    assert list(result.asset_value("brightest")) == ["A01", "A02"]


def test_a_failed_well_says_why_on_its_own_page(deployment: Deployment) -> None:
    """The UI shows a failed partition without a word; an observation of the well carries its reason."""
    entry = deployment.add(deployment.plate(truncated_wells=("A02",)), deployment.pipeline("why"))

    deployment.run(entry)

    observed = deployment.instance.fetch_observations(PlateKeys("P001").wells, limit=10).records
    assert [record.partition_key for record in observed] == ["A02"]
    observation = observed[0].event_log_entry.asset_observation
    assert observation is not None
    assert "is cut off" in str(observation.metadata["why"].value)


def test_outcomes_that_cannot_be_kept_do_not_hide_why_wells_failed(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk the run ends with its own sentence, not with that of its note-taking."""
    entry = deployment.add(deployment.plate(truncated_wells=("A02",)), deployment.pipeline("full"))

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("openhcs_dagster.report.outcomes.write_whole", no_space)
    run = deployment.run(entry)

    assert sorted(recorded(deployment, "P001")) == [well for well in ALL if well != "A02"]
    assert run.refusal is None
