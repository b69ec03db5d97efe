"""The plate's groups list wells soon after they are published; done by the run's process alone, not by its workers."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from time import perf_counter
from types import TracebackType
from typing import Final, Self

from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.ngff.plate_group import PlateGroup
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.image_sets import KnownManifests, KnownWell, PresentWell

_PAUSE_S: Final = 1.0
"""Between two lists at least: many wells that end together are listed at once."""
_SHARE: Final = 20
"""A plate whose list takes long rests so many times as long, up to ``_LONGEST_PAUSE_S``."""
_LONGEST_PAUSE_S: Final = 3.0


class WellLister:
    """Lists published wells while it is entered, soon after each ``wake``, and all of them at its end."""

    def __init__(self, output: PlateOutput, group: PlateGroup, image_sets: Collection[str]) -> None:
        self._output = output
        self._group = group
        self._image_sets = image_sets
        self._known = KnownManifests()
        self._published = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="list published wells", daemon=True)

    def list(self) -> None:
        """List the wells that are published now; OutputPlaceError if the output refuses."""
        self._output.list_wells(self._group, self._image_sets, self._known)

    def listed(self) -> dict[str, KnownWell | None]:
        """What the manifests said when the wells were listed last; None: one is damaged."""
        return self._known.by_well()

    def present(self) -> Mapping[str, PresentWell]:
        """The wells that are published now, with the files that they lack; not while wells are being listed."""
        return self._output.present(self._known)

    def wake(self) -> None:
        """A well was published, or may have been."""
        self._published.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._published.set()
        self._thread.join()
        if error is None:
            self.list()
            return
        with suppress(OutputPlaceError):  # the error that is on its way says what happened
            self.list()

    def _follow(self) -> None:
        while self._published.wait() and not self._ended.is_set():
            self._published.clear()
            started = perf_counter()
            with suppress(OutputPlaceError):  # the next time; what is still wrong at the end is an error
                self.list()
            self._ended.wait(min(max(_PAUSE_S, _SHARE * (perf_counter() - started)), _LONGEST_PAUSE_S))


__all__ = ["WellLister"]
