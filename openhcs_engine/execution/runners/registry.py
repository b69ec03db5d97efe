"""Who runs the wells: threads of this process, or worker processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from openhcs_engine.execution.runners.contract import Runner
from openhcs_engine.execution.runners.processes import ProcessRunner
from openhcs_engine.execution.runners.threads import ThreadRunner

RUNNERS: Final[Mapping[str, type[Runner]]] = {runner.name: runner for runner in (ProcessRunner, ThreadRunner)}
