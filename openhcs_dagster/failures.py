"""What goes wrong in what Dagster calls, or with its own files, as a sentence; the traceback stays in the log.

Every asset, check, sensor and schedule of ours stands in ``as_failure`` with its whole body.
"""

import errno
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import dagster as dg
import sqlalchemy.exc
from dagster_shared.error import SerializableErrorInfo

from openhcs_engine.errors import OpenHCSError
from openhcs_engine.model.system_errors import REMEDIES, TRANSIENT, explained_with_file, named_file

_DATABASE: Final = {
    "full": REMEDIES[errno.ENOSPC],
    "readonly": REMEDIES[errno.EACCES],
    "unable to open": REMEDIES[errno.EACCES],
    "disk i/o": REMEDIES[errno.EIO],
    "locked": REMEDIES[errno.EBUSY],
    **dict.fromkeys(
        ("malformed", "not a database"),
        "it is damaged: put back a copy of it, or begin with another home; results of plates are not in it",
    ),
}
"""What to do about what a database says, by a part of it."""


class HomeError(OpenHCSError, OSError):
    """What a home keeps, such as Dagster's records of runs, cannot be read or written."""

    path: str


def sentence_of(error: OpenHCSError | OSError, doing: str) -> str:
    """What a person reads of an error; those of the system name their file, what was done, and the remedy."""
    return str(error) if isinstance(error, OpenHCSError) else f"{explained_with_file(error, doing)}."


@contextmanager
def as_failure(doing: str, *, retries: bool = False) -> Iterator[None]:
    """Turn errors of ours and of the system into a ``dagster.Failure`` with their sentence.

    ``retries`` allows another try for what may pass by itself, such as a network drive that is away.
    """
    try:
        yield
    except (OpenHCSError, OSError) as error:
        raise dg.Failure(sentence_of(error, doing), allow_retries=retries and may_pass(error)) from error


@contextmanager
def as_sentence(doing: str) -> Iterator[None]:
    """Turn errors of the system into a HomeError with their sentence; errors of ours have one."""
    try:
        yield
    except OpenHCSError:
        raise
    except OSError as error:
        raise HomeError(sentence_of(error, doing), path=named_file(error)) from error


def may_pass(error: BaseException) -> bool:
    """True for what a network drive says when it was away for a moment."""
    errors = (error, error.__cause__, error.__context__)
    return any(isinstance(each, OSError) and each.errno in TRANSIENT for each in errors)


@contextmanager
def home_errors() -> Iterator[None]:
    """Turn what databases say about Dagster's files into a HomeError with a remedy."""
    try:
        yield
    except (sqlalchemy.exc.DBAPIError, sqlite3.Error) as error:
        said = str(getattr(error, "orig", error))
        remedy = next((remedy for part, remedy in _DATABASE.items() if part in said.lower()), "see Dagster's log")
        home = os.environ.get("DAGSTER_HOME", "")
        raise HomeError(f"Dagster's records in {home} cannot be used: {said}; {remedy}.", path=home) from error


def innermost(error: SerializableErrorInfo | None) -> str:
    """The sentence of the error that began it all, or of ours that explains it; without classes and traceback."""
    if error is None:
        return "The run failed; see it in the UI."
    chain = [error]
    while (cause := chain[-1].cause) is not None:
        chain.append(cause)
    for said in (each.message.strip() for each in reversed(chain)):
        if said.startswith(("openhcs_engine.", "openhcs_dagster.")):  # the full name of a class, as in tracebacks
            return said.partition(": ")[2]
    said = chain[-1].message.strip()
    if (found := re.search(r"\[Errno (\d+)\] (.+)", said)) is not None:
        return f"{found[2]}; {REMEDIES.get(int(found[1]), 'see whether the drive works, and run again')}."
    return said


__all__ = ["HomeError", "as_failure", "as_sentence", "home_errors", "innermost", "may_pass", "sentence_of"]
