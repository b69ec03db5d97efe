"""A home's databases: made once however many processes start there, and repaired where they were not."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from openhcs_dagster.cli.commands import main
from openhcs_dagster.home import prepare_home
from openhcs_dagster.internals import LAST_KNOWN_STAMPED_SQLITE_ALEMBIC_REVISION as OLDER
from openhcs_dagster.storage.databases import DATABASES
from openhcs_engine.files.locks import locked

PREPARE = """
import sys
from pathlib import Path
from openhcs_dagster.home import prepare_home
prepare_home(Path(sys.argv[1]))
"""
PATIENCE_S = 60.0


def revisions(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        return [revision for (revision,) in connection.execute("SELECT version_num FROM alembic_version")]


def write_revision(database: Path, revision: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))


def is_readable(home: Path) -> bool:
    """Dagster opens it, runs, events and schedules."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return instance.get_runs_count() == 0 and not instance.all_instigator_state()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    return folder


def test_a_new_home_has_its_databases(home: Path) -> None:
    """Where Dagster looks for them: it makes no other."""
    prepare_home(home)
    made = {name: revisions(home / name) for name in DATABASES}

    assert is_readable(home)
    assert {path.relative_to(home).as_posix() for path in home.rglob("*.db")} == set(DATABASES)
    assert {name: revisions(home / name) for name in DATABASES} == made
    assert all(len(held) == 1 and held != [OLDER] for held in made.values())


def test_processes_that_start_together_make_them_once(home: Path) -> None:
    """They wait for whoever came first; the home was unreadable for ever."""
    home.mkdir()
    with locked(home):
        started = [subprocess.Popen([sys.executable, "-c", PREPARE, str(home)]) for _ in range(3)]
        with pytest.raises(subprocess.TimeoutExpired):
            started[0].wait(3.0)
        assert not list(home.rglob("*.db"))
    assert [process.wait(PATIENCE_S) for process in started] == [0, 0, 0]

    assert [len(revisions(home / name)) for name in DATABASES] == [1, 1, 1]
    assert is_readable(home)


@pytest.mark.parametrize("name", [DATABASES[0], DATABASES[2]])
def test_a_home_that_two_processes_made_is_repaired(home: Path, name: str) -> None:
    """Dagster's older revision beside its newest one: the newest stays, and the home can be opened."""
    prepare_home(home)
    newest = revisions(home / name)
    write_revision(home / name, OLDER)
    with pytest.raises(Exception, match="more than one head"):
        is_readable(home)

    prepare_home(home)

    assert revisions(home / name) == newest
    assert is_readable(home)


@pytest.mark.parametrize("command", ["list", "materialize P1"])
def test_a_command_repairs_its_home(home: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback, whichever comes first; that there is no such plate is another matter."""
    prepare_home(home)
    write_revision(home / DATABASES[0], OLDER)

    with pytest.raises(SystemExit):
        main(command.split())

    assert len(revisions(home / DATABASES[0])) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_disk_that_refuses_is_a_sentence(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder of a database is a file."""
    prepare_home(home)
    (home / "schedules").rename(home / "schedules.before")
    (home / "schedules").write_text("in the way")

    with pytest.raises(SystemExit) as end:
        main(["list"])

    assert end.value.code == 2
    assert f"{home}" in (said := capsys.readouterr().err) and "Traceback" not in said


def test_revisions_that_nobody_explains_stay(home: Path) -> None:
    """Two that are not Dagster's newest and its older one are no work of ours."""
    prepare_home(home)
    write_revision(home / DATABASES[0], "0123456789ab")
    before = revisions(home / DATABASES[0])

    prepare_home(home)

    assert revisions(home / DATABASES[0]) == before


def test_a_database_whose_making_was_cut_short_is_made(home: Path) -> None:
    """A process that was killed there leaves tables without a revision."""
    prepare_home(home)
    with closing(sqlite3.connect(home / DATABASES[2])) as connection, connection:
        connection.execute("DROP TABLE alembic_version")

    prepare_home(home)

    assert len(revisions(home / DATABASES[2])) == 1
    assert is_readable(home)


def test_a_damaged_database_is_left_to_dagster(home: Path) -> None:
    """It stays, byte for byte, and the command that needs it says what is wrong."""
    prepare_home(home)
    (home / DATABASES[0]).write_bytes(b"no database at all, but some text that is long enough" * 100)

    prepare_home(home)

    assert (home / DATABASES[0]).read_bytes().startswith(b"no database")


@pytest.mark.parametrize(
    "elsewhere",
    [
        "storage: {sqlite: {base_dir: elsewhere}}",
        "run_storage: {module: dagster, class: InMemoryRunStorage, config: {}}",
        "event_log_storage: {module: dagster._core.storage.event_log, class: SqliteEventLogStorage, config: {}}",
    ],
)
def test_a_home_that_keeps_them_elsewhere_gets_none(home: Path, elsewhere: str) -> None:
    """Its ``dagster.yaml`` says where; nothing is made that nobody reads."""
    home.mkdir()
    (home / "dagster.yaml").write_text(elsewhere)

    prepare_home(home)

    assert not list(home.rglob("*.db"))
