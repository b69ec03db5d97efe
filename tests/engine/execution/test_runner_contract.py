"""The runners, each held to the one contract."""

from __future__ import annotations

import pytest

from openhcs_engine.execution.runners.contract import Runner
from openhcs_engine.execution.runners.processes import ProcessRunner
from openhcs_engine.execution.runners.registry import RUNNERS
from openhcs_engine.execution.runners.threads import ThreadRunner
from openhcs_engine.testing import RunnerContract


class TestThreads(RunnerContract):
    @pytest.fixture
    def runner(self) -> Runner:
        return ThreadRunner()


class TestProcesses(RunnerContract):
    @pytest.fixture
    def runner(self) -> Runner:
        return ProcessRunner()


def test_every_runner_is_held_to_the_contract() -> None:
    """A new one gets a class here."""
    assert set(RUNNERS.values()) == {ThreadRunner, ProcessRunner}
