"""What all tests share: the folder of real plates, an object store, and a log that survives TensorFlow."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from openhcs_engine.memory import devices
from openhcs_engine.memory.loading import load_opencl_drivers
from tests.object_store import s3_bucket

# A shell's background jobs ignore Ctrl-C, and so would every program that the tests start there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something about the machine, and nothing about the law that it tests.
settings.register_profile("clockless", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("clockless")

_REPO = Path(__file__).resolve().parent.parent
_left_out = Path(sys.prefix) / "left-out.json"
_LEFT_OUT: dict[str, str] = json.loads(_left_out.read_text()) if _left_out.is_file() else {}
"""What the installation left out, and why."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests go first: begun at the end, one worker would run them while the others wait."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that lacks a library which the installation left out is skipped, and says why it was left out."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple):
        path, line, reason = report.longrepr
        absent = next((name for name in _LEFT_OUT if re.search(rf"\b{_module(name)}\b", reason)), None)
        if absent is not None:
            report.longrepr = (path, line, f"{reason} ({absent}: {_LEFT_OUT[absent]})")
    elif report.failed and (absent := _lacking(report.longreprtext)) is not None:
        path, line, _ = item.location
        report.outcome = "skipped"
        report.longrepr = (path, (line or 0) + 1, f"Skipped: {absent} was left out: {_LEFT_OUT[absent]}")
    return report


def _module(package: str) -> str:
    return package.partition("-")[0]


def _lacking(failure: str) -> str | None:
    """The library that was left out and that a failure names as its reason; None where nothing was left out."""
    for name in _LEFT_OUT:
        if f"No module named '{_module(name)}'" in failure or f"{_module(name)} is not installed" in failure:
            return name
    return None


@pytest.fixture(scope="session", autouse=True)
def _leases_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests in other processes, and runs of the person who tests, lease other devices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "_SHARED", tmp_path_factory.mktemp("leases"))
        yield


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


@pytest.fixture(scope="session", autouse=True)
def opencl_before_the_others() -> None:
    """Whichever test comes first: TensorFlow is not loaded before the OpenCL drivers."""
    load_opencl_drivers()


@pytest.fixture(autouse=True)
def absl_forgets_the_captured_stderr() -> Iterator[None]:
    """TensorFlow's and JAX's log handler keeps the ``sys.stderr`` of the test that imported it, which pytest owns.

    When Dagster sets up its logs in a later test, ``logging`` closes all handlers, and this one would close its stream.
    """
    yield
    if (absl := sys.modules.get("absl.logging")) is not None:
        absl.get_absl_handler().python_handler.stream = sys.__stderr__
