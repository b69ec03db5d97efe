"""What all tests share: the folder of real plates, an object store, and a log that survives TensorFlow."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.object_store import s3_bucket

_REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real plate exports; read only. Skips where they are absent."""
    folder = Path(os.environ.get("OPENHCS_TEST_DATA", _REPO.parent / "shared" / "data"))
    if not (folder / "facts.json").is_file():
        pytest.skip(f"no plate exports at {folder} (set OPENHCS_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """The URL of an empty bucket in an S3 server on this machine."""
    with s3_bucket("plates") as url:
        yield url


@pytest.fixture(autouse=True)
def absl_forgets_the_captured_stderr() -> Iterator[None]:
    """TensorFlow's and JAX's log handler keeps the ``sys.stderr`` of the test that imported it, which pytest owns.

    When Dagster sets up its logs in a later test, ``logging`` closes all handlers, and this one would close its stream.
    """
    yield
    if (absl := sys.modules.get("absl.logging")) is not None:
        absl.get_absl_handler().python_handler.stream = sys.__stderr__
