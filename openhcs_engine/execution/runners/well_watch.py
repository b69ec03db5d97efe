"""Wells that take long: they are named again and again, and ended at a limit if there is one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Final

from openhcs_engine.model.quantities.durations import format_duration

REMIND_S: Final = 600.0
"""Seconds after which a well that still works is named; again after as many more."""

START_S: Final = 300.0
"""Seconds that a worker gets on top of the limit until it begins its well: it imports array libraries first."""

Notice = Callable[[str], None]
"""Called, from any thread, with a sentence to whoever watches the run."""


def silent(sentence: str) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long wells may take."""

    limit_s: float | None = None
    """Seconds after which a well is ended; None: never."""
    remind_s: float = REMIND_S
    """Seconds after which a well is named that still works."""
    notice: Notice = silent


@dataclass(slots=True, kw_only=True, eq=False)
class WatchedWell:
    """One well in work."""

    well: str
    device: str
    end: Callable[[], None] | None
    """Ends its worker; None where nobody can."""
    patience: Patience
    since: float
    ended: bool = False
    """True once it took longer than the limit."""
    ends_at: float = field(init=False, default=inf)
    remind_at: float = field(init=False, default=inf)

    def __post_init__(self) -> None:
        self.remind_at = self.since + self.patience.remind_s
        if self.patience.limit_s is not None and self.end is not None:
            self.ends_at = self.since + self.patience.limit_s + START_S

    def begin(self) -> None:
        """Its worker is ready: from now on the time is the well's own."""
        if self.ends_at != inf and self.patience.limit_s is not None:
            self.ends_at = time.monotonic() + self.patience.limit_s

    @property
    def due(self) -> float:
        """When there is something to do about it."""
        return min(self.ends_at, self.remind_at)


class WellWatch:
    """Looks after the wells in work; one thread a run."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._wells: set[WatchedWell] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, well: str, device: str, end: Callable[[], None] | None = None) -> Iterator[WatchedWell]:
        """Look after a well for the length of a ``with`` block; after it, ``end`` is never called."""
        watched = WatchedWell(well=well, device=device, end=end, patience=self.patience, since=time.monotonic())
        with self._changed:
            self._wells.add(watched)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, daemon=True)
                self._thread.start()
            self._changed.notify()
        try:
            yield watched
        finally:
            with self._changed:
                self._wells.discard(watched)

    def begin(self, watched: WatchedWell) -> None:
        """The worker of a well has begun it."""
        with self._changed:
            watched.begin()
            self._changed.notify()

    def close(self) -> None:
        """Look no more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                sentences = [sentence for watched in self._wells for sentence in _act(watched, now)]
                if not sentences:
                    if self._closed:
                        return
                    due = min((watched.due for watched in self._wells), default=inf)
                    self._changed.wait(None if due == inf else max(0.0, due - now))
            for sentence in sentences:  # who is told may take a while, and may ask for other wells
                self.patience.notice(sentence)


def _act(watched: WatchedWell, now: float) -> Iterator[str]:
    """End or name a well if it is time; yield what to say."""
    took = format_duration(now - watched.since)
    if now >= watched.ends_at:
        watched.ended, watched.ends_at, watched.remind_at = True, inf, inf
        if watched.end is not None:
            watched.end()
    elif now >= watched.remind_at:
        watched.remind_at = now + watched.patience.remind_s
        limit = "; --well-timeout ends wells that take too long" if watched.patience.limit_s is None else ""
        yield f"Well {watched.well} has been in work for {took} on {watched.device} and goes on{limit}."


__all__ = ["REMIND_S", "Notice", "Patience", "WatchedWell", "WellWatch", "silent"]
