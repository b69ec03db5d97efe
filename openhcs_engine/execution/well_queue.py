"""Wells that wait for a worker."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from openhcs_engine.context import ProcessingContext
from openhcs_engine.memory.devices import GPU


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
