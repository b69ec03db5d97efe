"""Links in a home's own folders: refused before a plate is registered, a value is kept, or an entry goes."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from openhcs_dagster.automation.listed_folders import PlateFolders
from openhcs_dagster.cli.commands import main
from openhcs_dagster.home import prepare_home
from openhcs_dagster.report.outcomes import OutcomeLog
from openhcs_dagster.settings import Settings
from openhcs_dagster.storage.io_manager import VfsIOManager
from openhcs_engine.errors import UnsafePathError
from openhcs_engine.raw.array_listing import ListedFolder
from tests.dagster.deployments import Deployment


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Somebody's folder with a file."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "precious.json").write_text("{}")
    return folder


def is_untouched(folder: Path) -> bool:
    return {path.name: path.read_text() for path in folder.iterdir()} == {"precious.json": "{}"}


@pytest.mark.parametrize("name", ["plates", "plates/p.json", "values", "values/disk", "values/disk/P001/x", "nightly"])
def test_a_home_with_a_link_in_its_own_folders_is_not_used(tmp_path: Path, elsewhere: Path, name: str) -> None:
    """It is refused before its configuration is written; a home without one is made."""
    home = tmp_path / "home"
    (home / name).parent.mkdir(parents=True)
    (home / name).symlink_to(elsewhere)

    with pytest.raises(UnsafePathError, match=r"is a link to .*elsewhere"):
        prepare_home(home)

    assert not (home / "dagster.yaml").exists()
    assert is_untouched(elsewhere)
    (home / name).unlink()
    prepare_home(home)


@pytest.mark.parametrize("command", [["add", "raw", "--pipeline", "a:b"], ["materialize", "P001"], ["ui"], ["demo"]])
def test_commands_say_what_is_in_the_way(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:  # fmt: skip
    """Exit code 2 and a sentence, from every command that writes into the home."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "values").symlink_to(elsewhere)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))

    with pytest.raises(SystemExit) as exit_:
        main(command)

    assert exit_.value.code == 2
    assert f"{tmp_path / 'home' / 'values'} is a link to {elsewhere}" in capsys.readouterr().err
    assert is_untouched(elsewhere)


def test_the_home_itself_may_be_a_link_and_is_followed_once(tmp_path: Path) -> None:
    """Whatever becomes of the link, the settings name the folder that it led to."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    settings = Settings.of({"DAGSTER_HOME": str(tmp_path / "link"), "OPENHCS_CATALOGUE": str(tmp_path / "link" / "c")})
    prepare_home(settings.home)

    assert (settings.home, settings.catalogue) == (tmp_path / "real", tmp_path / "real" / "c")
    assert (tmp_path / "real" / "dagster.yaml").is_file()


def test_an_entry_that_is_a_link_is_neither_replaced_nor_removed(deployment: Deployment, elsewhere: Path) -> None:
    """A registered plate whose file somebody replaced by a link to another."""
    entry = deployment.add(deployment.plate(), "a:b")
    file = deployment.settings.catalogue / f"{entry.id}.json"
    file.rename(elsewhere / "moved.json")
    file.symlink_to(elsewhere / "moved.json")
    before = (elsewhere / "moved.json").read_bytes()

    for meeting in (lambda: deployment.catalogue.replace(entry), lambda: deployment.catalogue.remove(entry.id)):
        with pytest.raises(UnsafePathError, match=r"P001\.json is a link"):
            meeting()

    assert file.is_symlink() and (elsewhere / "moved.json").read_bytes() == before


def test_a_catalogue_that_became_a_link_loses_no_entry_there(
    deployment: Deployment, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither by the command, nor by a server that began before: where the link leads to, every file stays."""
    entry, folder = deployment.add(deployment.plate(), "a:b"), deployment.settings.catalogue
    folder.rename(elsewhere / "plates")
    folder.symlink_to(elsewhere / "plates")
    (file,) = (elsewhere / "plates").iterdir()
    before = file.read_bytes()
    monkeypatch.setenv("DAGSTER_HOME", str(deployment.settings.home))
    monkeypatch.delenv("OPENHCS_CATALOGUE", raising=False)

    with pytest.raises(SystemExit) as exit_:
        main(["remove", entry.id])
    with pytest.raises(UnsafePathError):
        deployment.catalogue.replace(entry)

    assert exit_.value.code == 2 and f"{folder} is a link to {elsewhere}" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_a_value_is_not_kept_through_a_link(tmp_path: Path, elsewhere: Path) -> None:
    """The IO manager looks at the way to each value, also when another process put the link there meanwhile."""
    (tmp_path / "values" / "disk").mkdir(parents=True)
    (tmp_path / "values" / "disk" / "P001").symlink_to(elsewhere)
    manager = VfsIOManager(root=str(tmp_path / "values"))

    with pytest.raises(UnsafePathError):
        manager.handle_output(dg.build_output_context(asset_key=["P001", "precious"]), {"a": 1})

    assert is_untouched(elsewhere)


def test_outcomes_and_memories_are_not_kept_through_links(tmp_path: Path, elsewhere: Path) -> None:
    """What a run writes beside the report, and what the nights remember of folders."""
    (tmp_path / "plate" / "report").mkdir(parents=True)
    (tmp_path / "plate" / "report" / "outcomes").symlink_to(elsewhere)
    (tmp_path / "nightly").symlink_to(elsewhere)
    folders = PlateFolders.whole(date(2026, 1, 1))
    folders.keep("a", ListedFolder(mtime_ns=1, digest="", chunks=0, folders=()))

    with pytest.raises(UnsafePathError):
        OutcomeLog(tmp_path / "plate").record("run", [])
    with pytest.raises(UnsafePathError):
        folders.write(tmp_path / "nightly" / "P001.msgpack", "root")

    assert is_untouched(elsewhere)


@pytest.mark.parametrize(
    "name",
    ["storage", "storage/run", "history", "history/runs", "history/runs/index.db", "schedules", "schedules/x.db"],
)
def test_a_link_among_dagsters_own_folders_is_refused(tmp_path: Path, elsewhere: Path, name: str) -> None:
    """Logs and events would be written to, and deleted from, what it leads to."""
    home = tmp_path / "home"
    (home / name).parent.mkdir(parents=True)
    (home / name).symlink_to(elsewhere)

    with pytest.raises(UnsafePathError, match=r"is a link to .*elsewhere"):
        prepare_home(home)

    assert is_untouched(elsewhere)


@pytest.mark.parametrize("link", ["values", "values/disk", "values/disk/P001"])
def test_a_link_on_the_way_to_values_is_refused_at_each_use(tmp_path: Path, link: str) -> None:
    """One manager that stored and loaded before: neither stores, loads nor finds what somebody else put there."""
    manager = VfsIOManager(root=str(tmp_path / "values"))
    store, load = (make(asset_key=["P001", "x"]) for make in (dg.build_output_context, dg.build_input_context))
    manager.handle_output(store, {"a": 1})
    assert manager.load_input(load) == {"a": 1}
    (tmp_path / link).rename(tmp_path / "theirs")
    (tmp_path / link).symlink_to(tmp_path / "theirs")
    before = {path: path.read_bytes() for path in (tmp_path / "theirs").rglob("*") if path.is_file()}

    for use in (
        lambda: manager.handle_output(store, {"a": 2}),
        lambda: manager.load_input(load),
        lambda: manager.stored(dg.AssetKey(["P001", "x"])),
    ):
        with pytest.raises(UnsafePathError, match="is a link to"):
            use()

    assert before and all(path.read_bytes() == content for path, content in before.items())


def test_partitions_are_not_loaded_through_a_link(tmp_path: Path, elsewhere: Path) -> None:
    """Where several are loaded lazily, the link is seen when they are listed."""
    manager = VfsIOManager(root=str(tmp_path / "values"))
    wells = dg.StaticPartitionsDefinition(["A01", "A02"])
    for well in ("A01", "A02"):
        context = dg.build_output_context(asset_key=["P1", "x"], partition_key=well, asset_partitions_def=wells)
        manager.handle_output(context, 1)
    (file,) = (tmp_path / "values" / "disk" / "P1" / "x").glob("A02*")
    file.unlink()
    file.symlink_to(elsewhere / "precious.json")

    with pytest.raises(UnsafePathError, match="A02"):
        manager.load_input(
            dg.build_input_context(
                asset_key=["P1", "x"],
                partition_key=None,
                asset_partitions_def=wells,
                asset_partition_key_range=dg.PartitionKeyRange("A01", "A02"),
            )
        )
