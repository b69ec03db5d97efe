"""Dagster's own event log, in its own files, at a third of the price.

A plate writes two events a well, and Dagster's SQLite storage makes a new engine for each of their five statements:
connections opened and closed, statements compiled, tables inspected again. Here they are kept.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import dagster as dg
import sqlalchemy as db
from sqlalchemy.pool import StaticPool
from watchdog.events import FileSystemEvent
from watchdog.observers import Observer

from openhcs_dagster.internals import (
    SQLITE_BUSY_TIMEOUT_SECONDS,
    ConfigurableClassData,
    SqliteEventLogStorage,
    SqliteEventLogStorageWatchdog,
    create_engine,
)

KEPT: Final = 8
"""Files that stay open: the index, the runs that go on, and those that a person looks at."""


class KeptSqliteEventLogStorage(SqliteEventLogStorage):
    """``SqliteEventLogStorage`` with connections that stay open; reads and writes the same files.

    A commit waits for the disk only when SQLite moves its journal into the file: a power cut may take the events of the
    last moments, never the file's order. The wells they spoke of are published, and recorded again by the next run.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, db.engine.Engine] = OrderedDict()
        self._tables: set[str] = set()
        self._columns: set[str] = set()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> Any:  # Any: Dagster's union of what may describe a configuration
        """``base_dir``, where it is not Dagster's own choice: a home that is moved must not remember its old path."""
        return {"base_dir": dg.Field(dg.StringSource, is_required=False)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "KeptSqliteEventLogStorage":
        """As dagster.yaml says it."""
        home = Path(os.environ.get("DAGSTER_HOME", "."))
        return cls(config_value.get("base_dir") or str(home / "history" / "runs"), inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[db.engine.Connection]:
        with self._db_lock:  # held until the connection is free again: no two threads ever use it at once
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _engine(self, shard: str) -> db.engine.Engine:
        engine = self._engines.pop(shard, None)
        if engine is not None and not os.path.exists(self.path_for_shard(shard)):  # noqa: PTH110 # for each event
            engine.dispose()  # another process removed the run
            self._initialized_dbs.discard(shard)
            engine = None
        self._engines[shard] = engine or self._open(shard)
        while len(self._engines) > KEPT:
            self._engines.popitem(last=False)[1].dispose()
        return self._engines[shard]

    def _open(self, shard: str) -> db.engine.Engine:
        engine = create_engine(
            self.conn_string_for_shard(shard),
            poolclass=StaticPool,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        )
        db.event.listen(engine, "connect", _trust_the_journal)
        return engine

    def has_table(self, table_name: str) -> bool:
        """True if the index has the table; one that was there once is not asked for again."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def _has_asset_key_col_on_connection(self, conn: Any, column_name: str) -> bool:
        if column_name not in self._columns and super()._has_asset_key_col_on_connection(conn, column_name):
            self._columns.add(column_name)
        return column_name in self._columns

    def watch(self, run_id: str, cursor: str | None, callback: Callable[[dg.EventLogEntry, str], None]) -> None:
        """Call back for each event that any process adds to a run; the live log of the UI asks for it."""
        observer: Any = self._obs or Observer()  # Any: Dagster declares it as None
        if self._obs is None:
            self._obs = observer
            observer.start()
        watchdog = _JournalWatchdog(self, run_id, callback, cursor)
        self._watchers[run_id][callback] = watchdog, observer.schedule(watchdog, self._base_dir, recursive=True)

    def wipe(self) -> None:
        """Forget everything; the files of runs are removed."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Close the files."""
        self._close()
        super().dispose()

    def _close(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()


class _JournalWatchdog(SqliteEventLogStorageWatchdog):
    """Dagster's looks at the run's file alone, into which SQLite moves its journal when the last connection closes."""

    @property
    def patterns(self) -> list[str]:
        return [self._log_path, f"{self._log_path}-wal"]

    def on_modified(self, event: FileSystemEvent) -> None:
        self._process_log()


def _trust_the_journal(connection: Any, _: object) -> None:  # Any: the driver's connection
    connection.execute("PRAGMA synchronous=NORMAL")
