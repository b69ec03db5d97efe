"""Which process a run is in the hands of, as its tags say: the one that launches it, then the one that executes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import dagster as dg
import msgspec

from openhcs_engine.files.processes import Writer

PROCESS_TAG: Final = "openhcs/process"
"""The process that executes a run: a ``RunProcess`` as JSON; ``host:pid`` in runs of earlier versions."""
LAUNCHER_TAG: Final = "openhcs/launcher"
"""The process that launches a run, and waits until the run has a process of its own; a ``RunProcess`` as JSON."""

_MACHINE_ID: Final = Path("/etc/machine-id")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProcess:
    """The process that has a run in hand, distinct from every other one on every host."""

    writer: Writer
    machine: str
    """What the host is called from start to start; empty where it is not."""

    @classmethod
    def here(cls) -> Self:
        """This process."""
        return cls(writer=Writer.here(), machine=_machine())

    @classmethod
    def of(cls, run: dg.DagsterRun, tag: str = PROCESS_TAG) -> RunProcess | None:
        """The process that a run names in a tag; None if it names none, or did so in an earlier version."""
        try:
            return msgspec.json.decode(run.tags.get(tag, ""), type=RunProcess)
        except msgspec.MsgspecError:
            return None

    @property
    def has_ended(self) -> bool:
        """True if the process is known to have ended: on this host, or before this host started."""
        return self.writer.has_ended or self.is_of_an_earlier_start

    @property
    def is_of_an_earlier_start(self) -> bool:
        """True if this host was started again since, so that no process of that time lives."""
        here = Writer.here()
        same_host = self.machine != "" and (self.machine, self.writer.name) == (_machine(), here.name)
        # Both names hold "boot id/processes". Another container of the same start may share every other name.
        return same_host and self.writer.host.partition("/")[0] != here.host.partition("/")[0]

    @property
    def is_of_this_start(self) -> bool:
        """True if the process's number means the same here: on this host since its start, in the same container."""
        return self.writer.host == Writer.here().host


def process_tag(tag: str = PROCESS_TAG) -> dict[str, str]:
    """Tag of a run that this process has in hand."""
    return {tag: msgspec.json.encode(RunProcess.here()).decode()}


def _machine() -> str:
    try:
        return _MACHINE_ID.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
