"""The event log that keeps its files open: the same events in the same files as Dagster's own."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from openhcs_dagster.home import prepare_home
from openhcs_dagster.storage.event_log import KEPT, KeptSqliteEventLogStorage

NUMBERS = dg.StaticPartitionsDefinition(["1", "2", "3"])


@dg.asset(partitions_def=NUMBERS, backfill_policy=dg.BackfillPolicy.single_run(), output_required=False)
def numbers(context: dg.AssetExecutionContext) -> Iterator[dg.AssetMaterialization]:
    for key in context.partition_keys:
        yield dg.AssetMaterialization(context.asset_key, partition=key, metadata={"number": int(key)}, tags={"a": key})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home as every command makes it."""
    prepare_home(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


def run_numbers(instance: dg.DagsterInstance) -> str:
    """One run over all partitions; its id."""
    tags = {"dagster/asset_partition_range_start": "1", "dagster/asset_partition_range_end": "3"}
    defs = dg.Definitions(assets=[numbers])
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance, tags=tags)
    assert result.success
    return result.run_id


def kept(instance: dg.DagsterInstance) -> KeptSqliteEventLogStorage:
    """The log below the composite that Dagster makes of three storages."""
    storage = instance.event_log_storage
    storage = getattr(storage, "_storage", storage)
    storage = getattr(storage, "event_log_storage", storage)
    assert isinstance(storage, KeptSqliteEventLogStorage)
    return storage


def test_a_home_keeps_its_events_where_dagster_would(home: Path) -> None:
    """A new home has this log; Dagster's own reads every event, partition and tag from its files."""
    with dg.DagsterInstance.get() as instance:
        run_id = run_numbers(instance)
        assert kept(instance).path_for_shard(run_id) == str(home / "history" / "runs" / f"{run_id}.db")
        written = [record.event_log_entry for record in instance.get_records_for_run(run_id).records]

    plain = SqliteEventLogStorage(str(home / "history" / "runs"))

    assert [record.event_log_entry for record in plain.get_records_for_run(run_id).records] == written
    assert plain.get_materialized_partitions(dg.AssetKey("numbers")) == {"1", "2", "3"}
    tags = plain.get_event_tags_for_asset(dg.AssetKey("numbers"), filter_tags=None)
    assert {tag["a"] for tag in tags if "a" in tag} <= {"1", "2", "3"}


def test_an_event_is_there_for_other_processes_at_once(home: Path) -> None:
    """Connections stay open, transactions do not: another reader sees what is written, and may write."""
    with dg.DagsterInstance.get() as instance:
        run_id = run_numbers(instance)
        file = home / "history" / "runs" / f"{run_id}.db"
        with sqlite3.connect(file, timeout=0.1) as other:
            count = other.execute("select count(*) from event_logs").fetchone()[0]
            other.execute("delete from event_logs where id = 1")

        assert len(instance.get_records_for_run(run_id).records) == count - 1


def test_few_files_stay_open(home: Path) -> None:
    """A server that shows many runs does not hold all their files."""
    with dg.DagsterInstance.get() as instance:
        log = kept(instance)
        for number in range(KEPT + 5):
            log.get_records_for_run(f"run-{number}")

        opened = {link.readlink() for link in Path("/proc/self/fd").iterdir() if link.exists()}
        assert 1 < len({file for file in opened if file.is_relative_to(home) and file.suffix == ".db"}) <= KEPT


def test_a_run_that_another_process_removed_is_not_read_from_its_ghost(home: Path) -> None:
    """An open file lives on after it was removed; the log notices."""
    with dg.DagsterInstance.get() as instance:
        run_id = run_numbers(instance)
        for file in (home / "history" / "runs").glob(f"{run_id}.db*"):
            file.unlink()

        assert not instance.get_records_for_run(run_id).records


def test_wiping_leaves_nothing_and_the_log_works_on(home: Path) -> None:
    """The files of runs are gone, and the next run is written."""
    with dg.DagsterInstance.get() as instance:
        first = run_numbers(instance)
        kept(instance).wipe()
        assert not (home / "history" / "runs" / f"{first}.db").exists()

        second = run_numbers(instance)

        assert instance.get_records_for_run(second).records


def test_threads_may_use_it_together(home: Path) -> None:
    """As the web server's threads do."""
    with dg.DagsterInstance.get() as instance:
        runs = [run_numbers(instance) for _ in range(3)]
        with ThreadPoolExecutor(6) as pool:
            counts = list(pool.map(lambda run: len(instance.get_records_for_run(run).records), runs * 8))

    assert len(set(counts)) == 1


def test_a_watched_run_tells_of_its_events_while_its_file_is_still_open(home: Path) -> None:
    """The UI's live log hears of what another storage writes, though SQLite has it in the journal alone by then."""
    heard = list[str]()
    came = threading.Event()

    def listen(entry: dg.EventLogEntry, cursor: str) -> None:
        heard.append(entry.user_message)
        if entry.user_message == "last":
            came.set()

    folder = str(home / "history" / "runs")
    writer, watcher = KeptSqliteEventLogStorage(folder), KeptSqliteEventLogStorage(folder)
    writer.store_event(event("first"))
    before = Path(writer.path_for_shard(RUN)).stat().st_mtime_ns
    watcher.watch(RUN, None, listen)
    for message in ("second", "third", "last"):
        writer.store_event(event(message))

    assert came.wait(60)
    watcher.end_watch(RUN, listen)

    assert heard == ["first", "second", "third", "last"]
    assert Path(writer.path_for_shard(RUN)).stat().st_mtime_ns == before
    for storage in (writer, watcher):
        storage.dispose()


RUN = "11111111-2222-3333-4444-555555555555"


def event(message: str) -> dg.EventLogEntry:
    return dg.EventLogEntry(error_info=None, level=20, user_message=message, run_id=RUN, timestamp=time.time())
