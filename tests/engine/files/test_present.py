"""Folders that others change while they are listed: what vanishes holds nothing, what fails is no empty folder."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from openhcs_engine.errors import NotAnOutputError, OpenHCSError
from openhcs_engine.files.local_store import LocalStore
from openhcs_engine.files.present import find, modified_ns, walk
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.layout import paths_by_well
from openhcs_engine.output.named_plan import read_given_plan
from openhcs_engine.output.reading.published_wells import PlateWells
from openhcs_engine.output.reading.tiff_reader import open_tiff_well
from openhcs_engine.output.timings import read_measurements
from openhcs_engine.output.verification.verify import verify
from tests.engine.files.vanishing import fail_when_listed
from tests.engine.outputs import WELLS, open_folder, publish

PATTERNS = ["*", "*/*", "[!.]*.json", "*.zarr/.tmp-*", "a/*.json", "a/x.json", "*/b/*", "nothing/*", "*/nothing"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Folders three deep, with hidden names and a link."""
    for name in ("a/x.json", "a/y.json", "a/.z.json", "a/b/deep", "p.zarr/.tmp-1", "p.zarr/A/01", "x.json", ".y.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("a")
    return tmp_path


@pytest.mark.parametrize("pattern", PATTERNS)
def test_it_finds_what_a_glob_finds(tree: Path, pattern: str) -> None:
    """In order of the names; a folder that is missing holds nothing."""
    assert find(tree, pattern) == sorted(tree.glob(pattern))
    assert find(tree / "missing", pattern) == []


def test_links_are_found_whatever_they_lead_to(tree: Path) -> None:
    """Who refuses links must see them; patterns come one after the other."""
    (tree / "nowhere.json").symlink_to("missing")

    assert find(tree, "n*.json", "x.json") == [tree / "nowhere.json", tree / "x.json"]


@pytest.mark.parametrize("pattern", ["*/*", "a/*", "*/b/*"])
def test_a_folder_that_vanishes_holds_nothing(tree: Path, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    """The others are listed as ever."""
    vanished = fail_when_listed(monkeypatch, "a")

    assert not any("/a/" in str(path) for path in find(tree, pattern))
    assert (tree / "p.zarr" / "A" in find(tree, pattern)) is (pattern == "*/*")
    assert vanished


def test_a_file_that_vanishes_is_of_no_time(tree: Path) -> None:
    """It sorts before all others."""
    assert modified_ns(tree / "missing" / "x.json") == modified_ns(tree / "missing.json") == 0
    assert modified_ns(tree / "x.json") > 0


def test_a_walk_passes_over_what_vanishes(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies beside it is walked."""
    vanished = fail_when_listed(monkeypatch, "a")

    assert {name for _, _, names in walk(tree) for name in names} == {"x.json", ".y.json", ".tmp-1", "01"}
    assert vanished == [str(tree / "a")]


def test_a_folder_that_fails_is_no_empty_one(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes files for missing that a failing drive does not show."""
    fail_when_listed(monkeypatch, "a", errno.EIO)

    for look in (lambda: find(tree, "*/*"), lambda: list(walk(tree)), lambda: [*LocalStore(str(tree), None).walk("")]):
        with pytest.raises(OSError, match="Input/output error"):
            look()


LOOKS: list[tuple[str, Callable[[PlateFolder], object]]] = [
    ("sweep", lambda output: output.sweep()),
    ("wells", lambda output: output.wells()),
    ("list wells", lambda output: output.list_wells()),
    ("drop a well", lambda output: output.drop("H12")),
    ("make the tables", lambda output: output.make_tables()),
    ("verify", lambda output: verify(output.folder)),
    ("places", lambda output: paths_by_well(output.folder)),
    ("read the wells", lambda output: [well[1] for well in PlateWells(output.folder, output.backend).values()]),
    ("measurements", lambda output: read_measurements(output.folder)),
    ("the plan", lambda output: read_given_plan(str(output.folder))),
]
FOLDERS = ["wells", "contexts", "images.zarr", "images.zarr/A", "images.zarr/A/01", "images", "images/A01",
           "tables", "tables/nuclei", ".staging", ".replaced"]  # fmt: skip


@pytest.fixture(scope="module", params=["zarr", "disk"])
def output(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PlateFolder:
    """Three published wells; no look of those above changes their files."""
    made = open_folder(tmp_path_factory.mktemp("output"), request.param)
    for well in WELLS:
        publish(made, well)
    return made


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look[0])
@pytest.mark.parametrize("folder", FOLDERS)
def test_a_run_beside_makes_no_look_at_an_output_fail(
    output: PlateFolder,
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    look: tuple[str, Callable[[PlateFolder], object]],
) -> None:
    """Whichever folder another run replaces or sweeps while it is listed: a result, or a sentence of ours."""
    for name in ("tables/nuclei", ".staging", ".replaced"):
        (output.folder / name).mkdir(parents=True, exist_ok=True)
    fail_when_listed(monkeypatch, f"P1/{folder}")

    try:
        look[1](output)
    except OpenHCSError as error:
        assert "Errno" not in str(error)

    monkeypatch.undo()
    assert all(output.published(well) for well in WELLS)


def test_a_well_that_vanishes_while_it_is_opened_is_none(output: PlateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder of planes was replaced in that moment."""
    fail_when_listed(monkeypatch, "images/A01")

    with pytest.raises(NotAnOutputError, match="holds no planes"):
        open_tiff_well(output.folder / "images" / "A01")


def test_a_verification_tells_a_failing_drive_from_missing_files(
    output: PlateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that cannot be listed makes no well damaged, which a repair would drop."""
    well = "images.zarr/A/01" if output.backend == "zarr" else "images/A01"
    fail_when_listed(monkeypatch, well, errno.ESTALE)

    with pytest.raises(OSError, match=well):
        verify(output.folder)

    with pytest.raises(NotAnOutputError, match="The outputs in it are: P1"):
        verify(output.folder.parent)
