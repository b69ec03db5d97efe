"""Dagster's databases of a home, made by one process alone.

Two that open a new home at once both make its tables, and Dagster may write two revisions into a database, its newest
and an older one, since it asks which tables there are before it writes the first. No process can open that home again.

*Source*: ``SqliteRunStorage.from_local`` and ``SqliteScheduleStorage.from_local`` of Dagster 1.13.28.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from openhcs_engine.files.locks import locked

DATABASES: Final = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
"""What a home has whose ``dagster.yaml`` names no other folder, in the order in which Dagster makes it."""
STORAGES: Final = ("storage", "run_storage", "schedule_storage", "event_log_storage")
"""Keys of a ``dagster.yaml`` that name other folders."""


def prepare_databases(home: Path, *, ours: Mapping[str, object], present: Mapping[str, object]) -> None:
    """Make the databases that are missing, and repair what two processes did to one; others wait meanwhile.

    Parameters
    ----------
    home
        Its folder, which exists.
    ours
        The configuration of a new home.
    found
        That of this home. If it keeps its events, runs or schedules elsewhere, nothing is done.
    """
    if any(key in present and present[key] != ours.get(key) for key in STORAGES):
        return
    with locked(home):
        revisions = {name: _revisions(home / name) for name in DATABASES}
        if not all(revisions.values()):
            _make(home)
        for name, held in revisions.items():
            if len(held) > 1:
                _repair(home / name, held)


def _revisions(database: Path) -> frozenset[str]:
    """Those that a database says it has; none if it is not wholly made. Of a damaged one Dagster says what is wrong."""
    if not database.exists():
        return frozenset()
    try:
        with closing(sqlite3.connect(database)) as connection:
            return frozenset(revision for (revision,) in connection.execute("SELECT version_num FROM alembic_version"))
    except sqlite3.OperationalError as error:
        return frozenset() if "no such table" in str(error) else frozenset({str(error)})
    except sqlite3.DatabaseError as error:
        return frozenset({str(error)})


def _make(home: Path) -> None:
    from openhcs_dagster.internals import SqliteRunStorage, SqliteScheduleStorage
    from openhcs_dagster.storage.event_log import KeptSqliteEventLogStorage

    runs, index, schedules = (home / name for name in DATABASES)
    SqliteRunStorage.from_local(str(runs.parent))
    KeptSqliteEventLogStorage(str(index.parent)).dispose()
    SqliteScheduleStorage.from_local(str(schedules.parent))


def _repair(database: Path, held: frozenset[str]) -> None:
    """Take back the older revision, if that is what two processes left: the tables are those of the newest."""
    from openhcs_dagster.internals import LAST_KNOWN_STAMPED_SQLITE_ALEMBIC_REVISION as OLDER

    if OLDER not in held:
        return
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM alembic_version WHERE version_num = ?", (OLDER,))
