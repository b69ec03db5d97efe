"""What all tests share: the folder of real plates, an object store, and a log that survives TensorFlow."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.object_store import s3_bucket

# A shell's background jobs ignore Ctrl-C, and so would every program that the tests start there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_REPO = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests go first: begun at the end, one worker would run them while the others wait."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


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
