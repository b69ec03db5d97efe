"""What an earlier version left is opened, listed, verified, reported on, and not computed again."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import dagster as dg
import pytest

from openhcs_dagster.automation.staleness import WellsNow, wells_now
from openhcs_dagster.catalogue.catalogue import Catalogue, CatalogueEntry
from openhcs_dagster.catalogue.inbox import InboxMemory, look_into
from openhcs_dagster.catalogue.inbox_file import Inbox
from openhcs_dagster.cli.commands import main
from openhcs_dagster.definitions import build_resources
from openhcs_dagster.keys import PlateKeys
from openhcs_dagster.plate.assets import plate_graph
from openhcs_dagster.plate.compilation import compile_entry
from openhcs_dagster.report.outcomes import OutcomeLog
from openhcs_dagster.report.summary import WellState, summarise
from openhcs_dagster.report.wells_table import wells_table
from openhcs_dagster.settings import Settings
from openhcs_dagster.storage.io_manager import VfsIOManager
from openhcs_engine.cli.commands import openhcs
from openhcs_engine.laws import now
from openhcs_engine.laws.now import LAW
from openhcs_engine.microscopes.plate_listing import read_listing
from openhcs_engine.output.manifest import read_manifest
from openhcs_engine.output.named_plan import read_given_plan
from openhcs_engine.output.reading.published_wells import PlateWells
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.uses.packages import package_version
from tests.archive.make_archive import PLATES
from tests.archive.unpacked import ARCHIVES, unpack
from tests.dagster.deployments import Deployment, stale_status

WELLS = ("A01", "A02")
MADE_BEFORE = "made before the update"
MODULES = ("archived_lab", "archived_helpers")


def forget_modules() -> None:
    """Another lab's modules of the same names are imported next."""
    for module in MODULES:
        sys.modules.pop(module, None)


@pytest.fixture(params=list(ARCHIVES))
def lab(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An archive, unpacked; the product is a later version, other packages have the versions that they had then."""
    folder = unpack(ARCHIVES[request.param], tmp_path / "lab")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "home"))
    monkeypatch.delenv("OPENHCS_CATALOGUE", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    told = json.loads((folder / "out" / "screen_zarr" / "wells" / "A01.json").read_text())["provenance"]["versions"]
    then = dict(version.split("==") for version in told) | {"openhcs-dagster": "99.0"}
    ask = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: then.get(name) or ask(name))
    package_version.cache_clear()
    forget_modules()
    yield folder
    forget_modules()
    package_version.cache_clear()


def run(*arguments: str) -> int:
    """A command of ``openhcs-dagster`` in this process."""
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def content_of(folder: Path) -> dict[str, bytes]:
    """The manifests of a plate's wells, and every file that they list; files of the plate itself are any version's."""
    manifests = sorted((folder / "wells").glob("*.json"))
    listed = [file["path"] for path in manifests for file in json.loads(path.read_bytes())["files"]]
    assert len(manifests) == len(WELLS) and listed
    return {str(path): path.read_bytes() for path in (*manifests, *(folder / file for file in listed))}


def test_the_plates_of_an_earlier_version_are_listed(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every entry of its catalogue is read, with its wells and options."""
    assert run("list") == 0

    told = capsys.readouterr()
    assert all(plate in told.out for plate in PLATES) and "left out" not in told.out + told.err
    assert {entry.id: entry.wells for entry in Catalogue(lab / "home" / "plates").list()} == dict.fromkeys(
        PLATES, WELLS
    )


def test_the_inbox_file_of_an_earlier_version_is_read_and_registers_plates(lab: Path) -> None:
    """With the options that it names."""
    inbox = Inbox.read(lab / "home" / "inbox.json")
    assert isinstance(inbox, Inbox), inbox
    catalogue = Catalogue(lab / "home" / "plates")

    look_into(inbox, catalogue, look_into(inbox, catalogue, InboxMemory()).memory)

    entry = catalogue.read("late_plate")
    assert (entry.options.backend, entry.options.workers, entry.wells) == ("disk", 1, WELLS)


@pytest.mark.parametrize("plate", PLATES)
def test_an_output_of_an_earlier_version_is_opened_and_verified(lab: Path, plate: str) -> None:
    """Its plan is read, its wells are whole, its pixels and tables are there."""
    folder = lab / "out" / plate
    found = verify(str(folder))
    assert found.ok and found.whole == WELLS and not found.foreign and not found.other_versions

    assert tuple(read_given_plan(str(folder)).contexts) == WELLS
    _, pipeline, backend = PLATES[plate]
    wells = PlateWells(folder, backend)
    assert {wells[well][1].array()[0, 0, 0].shape for well in WELLS} == {(32, 32)}
    assert wells.tables == (("bright",) if pipeline == "tables" else ())


def test_a_home_of_an_earlier_version_is_opened(lab: Path) -> None:
    """Its runs and events are there, and so are the values that it keeps."""
    keeps = VfsIOManager(root=str(Settings(home=lab / "home", catalogue=lab / "home" / "plates").values))
    with opened(lab) as instance:
        for plate in PLATES:
            keys = PlateKeys(plate)
            assert set(instance.get_materialized_partitions(keys.wells)) == set(WELLS)
            assert tuple(keeps.stored(keys.contexts)) == WELLS  # type: ignore[arg-type] # contexts by well
            assert keeps.stored(keys.index) is not None


@pytest.mark.parametrize("plate", PLATES)
def test_a_plate_of_an_earlier_version_is_run_again_and_nothing_is_computed(lab: Path, plate: str) -> None:
    """Every well is recorded as made before the update, the report is made anew, no file of a well is another one."""
    entry = entry_of(lab, plate)
    before = content_of(lab / "out" / plate)
    page = lab / "out" / plate / "report" / "index.html"
    page.unlink()

    assert wells_now(entry) == WellsNow(due=[], made_before=WELLS)
    assert run("materialize", plate) == 0

    assert statuses(lab, plate) == {MADE_BEFORE}
    assert content_of(lab / "out" / plate) == before
    assert MADE_BEFORE in page.read_text()
    assert verify(str(lab / "out" / plate)).ok


def test_an_update_shows_no_well_as_stale(lab: Path) -> None:
    """Neither where nothing ran since, nor where the plate was compiled anew; the plan tells of no change."""
    settings = Settings(home=lab / "home", catalogue=lab / "home" / "plates")
    keys = PlateKeys("screen_disk")
    with opened(lab) as instance:
        deployment = Deployment(lab, settings, instance)
        assert stale_status(deployment, keys.wells, "A01") == "FRESH"

        job = dg.Definitions(
            assets=plate_graph(entry_of(lab, "screen_disk")).assets, resources=build_resources(settings)
        ).resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=instance, asset_selection=[keys.index, keys.contexts]).success

        assert stale_status(deployment, keys.wells, "A01") == "FRESH"
        (record,) = instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=keys.contexts), limit=1).records
        assert record.asset_materialization is not None
        assert record.asset_materialization.metadata["changes"].value == "**The plans are equal.**"


def test_the_report_and_its_check_say_which_wells_were_made_before(lab: Path) -> None:
    """They are current, need no attention, and are counted by themselves."""
    entry = entry_of(lab, "screen_disk")
    contexts = compile_entry(entry, read_listing(entry.folder, entry.id, entry.reading)).contexts

    summary = summarise(entry, contexts, PlateWells(lab / "out" / "screen_disk", "disk"))

    assert summary.counts[WellState.MADE_BEFORE] == 2 and summary.not_current == ()
    assert f"A01,A,1,{MADE_BEFORE}," in wells_table(summary)


def test_renew_computes_wells_again_that_were_made_before(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On purpose, and once: then they are of the law of now."""
    entry = entry_of(lab, "screen_disk")
    assert wells_now(replace(entry, options=replace(entry.options, renew=True))).due == list(WELLS)

    assert run("materialize", "screen_disk", "--renew") == 0
    assert statuses(lab, "screen_disk") == {"done"}
    manifest = read_manifest(lab / "out" / "screen_disk" / "wells" / "A01.json")
    assert manifest is not None and manifest.law == LAW

    assert wells_now(replace(entry, options=replace(entry.options, renew=True))) == WellsNow(due=[], made_before=())


def test_the_command_line_of_the_engine_does_the_same(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``openhcs run`` says how many wells were made before, and how they are made again."""
    command = ["run", "raw/screen_zarr", "--pipeline", "archived_lab:images", "--output", "out", "--runner", "threads"]
    engine(command)
    told = " ".join(capsys.readouterr().out.split())
    assert f"0 done, 2 {MADE_BEFORE} in" in told and "--renew makes them again" in told

    engine([*command, "--renew"])

    assert "2 done in" in " ".join(capsys.readouterr().out.split())


def test_an_earlier_version_is_stale_where_something_else_changed(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A raw file, a source, a parameter, another package's version; each of them makes its own wells stale."""
    raw = next((lab / "raw" / "screen_disk").rglob("*A02*.tif"))
    os.utime(raw, (1, 1))
    assert wells_now(entry_of(lab, "screen_disk")) == WellsNow(due=["A02"], made_before=("A01",))

    module = lab / "archived_lab.py"
    text = module.read_text()
    for old, new in (
        ("OFFSET = 7", "OFFSET = 8"),
        ("threshold=700", "threshold=701"),
        ("return stack +", "return 1 +"),
    ):
        module.write_text(text.replace(old, new))
        forget_modules()
        assert wells_now(entry_of(lab, "screen_tables")).due == list(WELLS)
    module.write_text(text)
    forget_modules()
    assert wells_now(entry_of(lab, "screen_tables")).due == []

    ask = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.1" if name == "tifffile" else ask(name))
    package_version.cache_clear()
    assert wells_now(entry_of(lab, "screen_tables")).due == list(WELLS)


def test_only_wells_of_a_function_whose_results_changed_are_stale(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in the list of the law."""
    monkeypatch.setattr(now, "REVISIONS", {"openhcs_engine.functions.normalize:stack_percentile_normalize": 1})

    assert wells_now(entry_of(lab, "screen_zarr")).due == list(WELLS)
    assert wells_now(entry_of(lab, "screen_disk")).due == []


def entry_of(lab: Path, plate: str) -> CatalogueEntry:
    return Catalogue(lab / "home" / "plates").read(plate)


def statuses(lab: Path, plate: str) -> set[str]:
    return {str(outcome.status) for outcome in OutcomeLog(lab / "out" / plate).latest().values()}


def opened(lab: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_config(str(lab / "home"))


def engine(arguments: list[str]) -> None:
    """A command of ``openhcs`` in this process."""
    with pytest.raises(SystemExit) as exit_:
        openhcs(arguments)
    assert exit_.value.code == 0
