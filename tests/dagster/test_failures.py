"""What drives and databases say in an asset or a command is a sentence with a remedy, never a traceback."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy.exc

from openhcs_dagster.failures import HomeError, as_failure, home_errors, innermost, may_pass
from openhcs_dagster.plate import assets as graph
from openhcs_engine.errors import OutputPlaceError, PlaneReadError
from openhcs_engine.model.system_errors import REMEDIES
from openhcs_engine.vfs import file_backend
from tests.dagster.deployments import Deployment


def failing(number: int, file: str = "/data/x") -> Any:
    def fail(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number), file)

    return fail


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.EMFILE, errno.ENAMETOOLONG])
def test_an_asset_that_meets_one_fails_with_a_sentence(number: int) -> None:
    """File, work, what the system said, what to do; no second try where none helps."""
    with pytest.raises(dg.Failure) as caught, as_failure("reading plate P1", retries=True):
        failing(number)()

    told = caught.value.description
    assert told == f"/data/x, while reading plate P1: {os.strerror(number)}; {REMEDIES[number]}."
    assert caught.value.allow_retries is False


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ECONNRESET])
def test_a_network_drive_that_was_away_is_tried_again(number: int) -> None:
    """Also behind an error of ours; but not a full drive, nor rights."""
    error = PlaneReadError("It cannot be read.", path="x")
    error.__cause__ = OSError(number, os.strerror(number))

    assert may_pass(OSError(number, "x")) and may_pass(error)
    with pytest.raises(dg.Failure) as caught, as_failure("reading", retries=True):
        raise error
    assert caught.value.allow_retries is True


@pytest.mark.parametrize(
    ("step", "doing"),
    [
        ("compile_entry", "compiling plate P001"),
        ("report.summarise", "making the report of plate P001"),
        ("read_listing", "reading plate P001"),
    ],
)
def test_a_plate_whose_step_meets_one_says_so_in_a_sentence(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, step: str, doing: str
) -> None:
    """Whichever asset of the plate it is: the failure is its sentence, in the UI and on the terminal."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("lab"))
    monkeypatch.setattr(f"{graph.__name__}.{step}", failing(errno.EACCES))

    run = deployment.run(entry, entry.wells[0])

    sentence = f"/data/x, while {doing}: Permission denied; {REMEDIES[errno.EACCES]}."
    if step == "report.summarise":
        assert run.report is None and run.refusal is None
    else:
        assert run.refusal == sentence
    failures = [
        event.dagster_event.step_failure_data.user_failure_data
        for record in deployment.instance.get_runs()
        for event in deployment.instance.all_logs(record.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        if event.dagster_event
    ]
    assert [failure.description for failure in failures if failure] == [sentence]


def test_a_home_that_is_full_is_a_sentence_of_the_step_that_stores(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Dagster wraps round the error of an IO manager is taken off."""
    monkeypatch.setattr(graph, "RETRY_AFTER_S", 0.01)
    entry = deployment.add(deployment.plate(), deployment.pipeline("lab"))
    monkeypatch.setattr(file_backend.FileBackend, "_writing", lambda *_: failing(errno.ENOSPC)())

    run = deployment.run(entry, entry.wells[0])

    sentence = "/data/x, while storing what an asset returned: No space left on device"
    assert run.refusal == f"{sentence}; {REMEDIES[errno.ENOSPC]}."


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("database or disk is full", REMEDIES[errno.ENOSPC]),
        ("attempt to write a readonly database", REMEDIES[errno.EACCES]),
        ("unable to open database file", REMEDIES[errno.EACCES]),
        ("disk I/O error", REMEDIES[errno.EIO]),
        ("database is locked", REMEDIES[errno.EBUSY]),
        ("database disk image is malformed", "results of plates are not in it"),
    ],
)
def test_what_dagsters_database_says_has_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, remedy: str
) -> None:
    """By SQLite itself or through SQLAlchemy; the home is named."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    plain = sqlite3.OperationalError(said)
    for error in (plain, sqlalchemy.exc.OperationalError("SELECT 1", {}, plain)):
        with pytest.raises(HomeError) as caught, home_errors():
            raise error
        told = str(caught.value)
        assert str(tmp_path) in told and said in told and remedy in told and "SELECT" not in told


def test_the_error_that_began_it_is_what_a_person_reads() -> None:
    """Without names of classes, and without a traceback."""
    from dagster._utils.error import serializable_error_info_from_exc_info

    def info(error: BaseException) -> Any:
        try:
            try:
                raise error
            except type(error) as inner:
                raise RuntimeError("Error occurred while handling output") from inner
        except RuntimeError as outer:
            return serializable_error_info_from_exc_info((type(outer), outer, outer.__traceback__))

    assert innermost(info(OutputPlaceError("It is full: free some.", path="x"))) == "It is full: free some."
    raw = innermost(info(OSError(errno.ESTALE, "Stale file handle", "/n/x")))
    assert raw == f"Stale file handle: '/n/x'; {REMEDIES[errno.ESTALE]}."
    assert innermost(None) == "The run failed; see it in the UI."
