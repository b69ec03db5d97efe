"""What an earlier version left is opened, listed, verified, reported on, and not computed again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import dagster as dg
import pytest

from openhcs_dagster.catalogue import Catalogue
from openhcs_dagster.cli import main
from openhcs_dagster.inbox import InboxMemory, look_into
from openhcs_dagster.io_manager import VfsIOManager
from openhcs_dagster.keys import PlateKeys
from openhcs_dagster.outcomes import OutcomeLog
from openhcs_dagster.settings import Inbox, Settings
from openhcs_dagster.survey import due_wells
from openhcs_dagster.wells import PlateWells
from openhcs_engine.output.given_plan import read_given_plan
from openhcs_engine.output.verify import verify
from openhcs_engine.uses.packages import package_version
from tests.archive.make_archive import PLATES
from tests.archive.unpacked import ARCHIVES, unpack

WELLS = ("A01", "A02")
MODULES = ("archived_lab", "archived_helpers")


def forget_modules() -> None:
    """Another lab's modules of the same names are imported next."""
    for module in MODULES:
        sys.modules.pop(module, None)


@pytest.fixture(params=list(ARCHIVES))
def lab(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An archive, unpacked; the packages that make pixels have the versions that they had then."""
    folder = unpack(ARCHIVES[request.param], tmp_path / "lab")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "home"))
    monkeypatch.delenv("OPENHCS_CATALOGUE", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    told = json.loads((folder / "out" / "screen_zarr" / "wells" / "A01.json").read_text())["provenance"]["versions"]
    then = dict(version.split("==") for version in told if not version.startswith("openhcs"))
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
    """Every file of a plate's wells."""
    parts = (folder / part for part in ("wells", "images", "images.zarr", "tables"))
    return {str(path): path.read_bytes() for part in parts for path in part.rglob("*") if path.is_file()}


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
    with dg.DagsterInstance.from_ref(dg._core.instance.ref.InstanceRef.from_dir(str(lab / "home"))) as instance:
        for plate in PLATES:
            keys = PlateKeys(plate)
            assert set(instance.get_materialized_partitions(keys.wells)) == set(WELLS)
            assert tuple(keeps.stored(keys.contexts)) == WELLS  # type: ignore[arg-type] # contexts by well
            assert keeps.stored(keys.index) is not None


@pytest.mark.parametrize("plate", PLATES)
def test_a_plate_of_an_earlier_version_is_run_again_and_nothing_is_computed(lab: Path, plate: str) -> None:
    """Every well is recorded, the report is made anew, and no file of a well is another one."""
    entry = Catalogue(lab / "home" / "plates").read(plate)
    before = content_of(lab / "out" / plate)
    page = lab / "out" / plate / "report" / "index.html"
    page.unlink()

    assert due_wells(entry) == []
    assert run("materialize", plate) == 0

    assert {str(outcome.status) for outcome in OutcomeLog(lab / "out" / plate).latest().values()} == {
        "made before the update"
    }
    assert content_of(lab / "out" / plate) == before
    assert page.is_file()
    assert verify(str(lab / "out" / plate)).ok
