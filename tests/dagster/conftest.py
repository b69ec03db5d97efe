"""A deployment in a temporary folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.defs_state.base import set_defs_state_storage

from openhcs_dagster.automation import schedules
from openhcs_dagster.automation import staleness as comparison
from openhcs_dagster.settings import Settings
from tests.dagster.deployments import Deployment, StaleStatus, stale_status


@pytest.fixture(autouse=True)
def no_instance_of_before() -> Iterator[None]:
    """Two instances that ended in another order than they began leave one that is gone as the current one."""
    with set_defs_state_storage(None):
        yield


@pytest.fixture(autouse=True)
def time_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing plates with their plans never ends early because the machine is busy with other tests."""
    monkeypatch.setattr(comparison, "ONE_PLATE_S", 600.0)
    monkeypatch.setattr(comparison, "IMPORT_S", 600.0)
    monkeypatch.setattr(schedules, "COMPARISON_S", 600.0)


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """A deployment with an instance of its own; modules imported from its folder are forgotten, too."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    settings = Settings(home=tmp_path / "home", catalogue=tmp_path / "home" / "plates")
    settings.home.mkdir()
    with dg.DagsterInstance.local_temp(str(settings.home)) as instance:
        yield Deployment(tmp_path, settings, instance)
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def staleness(deployment: Deployment) -> StaleStatus:
    """Asks GraphQL, as the UI does, for the stale status of a well; the code location is loaded anew each time."""
    return lambda key, well=None: stale_status(deployment, key, well)
