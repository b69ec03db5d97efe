"""What a runner is given and what it yields, and the wells that wait for a worker."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from openhcs_engine.execution.calls import FunctionSource
from openhcs_engine.execution.fits.fitting import FitResult, make_fit
from openhcs_engine.execution.fits.loaded import FitSource
from openhcs_engine.execution.placement import WorkerDevices
from openhcs_engine.execution.results import WellResult
from openhcs_engine.execution.runners.well_watch import Patience
from openhcs_engine.execution.well import RunInfo
from openhcs_engine.memory.devices import GPU
from openhcs_engine.plan.context import ProcessingContext

Finished = tuple[WellResult, str]
"""A well's result, and what its functions printed."""


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What a runner is asked to do."""

    contexts: Mapping[str, ProcessingContext]
    staging: Path
    """Folder of this run in which wells are written before they are published."""
    workers: Sequence[WorkerDevices]
    """What each worker holds; as many workers as entries."""
    functions: FunctionSource = field(default_factory=FunctionSource)
    plan: str = ""
    """Fingerprint of the whole plan."""
    patience: Patience = field(default_factory=Patience)
    """How long wells may take, and who hears of those that take long."""
    on_finished: Callable[[], object] = lambda: None
    """Called, from any thread, when a well has ended, however long its result then waits to be asked for."""

    fits: FitSource = field(default_factory=FitSource)
    """Where wells that run in this process read what was fitted for the plate."""

    def run_info(self, devices: WorkerDevices) -> RunInfo:
        """What a well that a worker runs needs to know."""
        return RunInfo(staging=self.staging, devices=devices, plan=self.plan, fits=self.fits)


class Runner(ABC):
    """Runs wells, each by itself; a failing or dying one never stops another."""

    name: ClassVar[str]
    can_end_a_well: ClassVar[bool] = True
    """False if a well that does not end by itself cannot be ended."""

    def fit(self, context: ProcessingContext, name: str, functions: FunctionSource) -> FitResult:
        """Fit one plate step of a plan, which raises nothing. Here and now, unless a runner knows a better place."""
        return make_fit(context, name, functions)

    @abstractmethod
    def run(self, order: RunOrder) -> Generator[Finished, None, None]:
        """Yield every well of the order once, as it finishes. Closing the iterator stops the work."""


class WellQueue:
    """Hands wells to workers: first those whose plan names the worker's GPU, then what would wait for others.

    Wells are handed out in the order in which they came; safe to use from several threads.
    """

    def __init__(self, contexts: Iterable[ProcessingContext]) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str | None, deque[ProcessingContext]] = {}
        for context in contexts:
            self._waiting.setdefault(planned_gpu(context), deque()).append(context)

    def take(self, gpu: str | None) -> ProcessingContext | None:
        """The next well for a worker that stands for a plan's logical GPU, or for none; None if no well is left."""
        with self._lock:
            own = self._waiting.get(gpu)
            queue = own or max(self._waiting.values(), key=len, default=None)
            return queue.popleft() if queue else None


def planned_gpu(context: ProcessingContext) -> str | None:
    """The first logical GPU that a well's plan names; None if it names none."""
    return next((device for device in context.devices if device.startswith(GPU)), None)
