"""Which plates have something to do. ``python -m openhcs_dagster.survey`` is asked about one, in its own process.

Pipelines of several labs would clash in one process (two modules called ``pipelines``), and a broken one may do
anything when it is imported; so every plate is compiled in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import msgspec

from openhcs_dagster.catalogue import CatalogueEntry
from openhcs_dagster.folder_memory import PlateFolders
from openhcs_engine.context import ProcessingContext, plan_fingerprint
from openhcs_engine.errors import OpenHCSError
from openhcs_engine.model.plate import Plate
from openhcs_engine.vfs.array_listing import FolderMemory

ONE_PLATE_S: Final = 120.0
"""Longest time one plate may take to compile, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a plate should be started."""

    plate_id: str
    start: bool
    reason: str
    """A sentence."""

    def __str__(self) -> str:
        return f"Plate {self.plate_id}: {self.reason}"


class _Question(msgspec.Struct):
    entry: CatalogueEntry
    memory: str | None
    """File with what earlier nights know of the plate's folders of chunks."""
    night: date


class _Answer(msgspec.Struct):
    due: list[str]
    error: str | None = None
    made_before: int = 0
    listed: str = ""
    """Whether its chunks were listed whole."""


def survey(
    entries: Sequence[CatalogueEntry],
    *,
    budget_s: float,
    at_once: int = 2,
    memory: Path | None = None,
    night: date | None = None,
) -> list[Verdict]:
    """Judge all plates; those for which the time does not suffice are started, since current wells cost nothing.

    Parameters
    ----------
    entries
        The plates.
    budget_s
        Seconds for all of them.
    at_once
        Plates that are compared at the same time.
    memory
        Folder for what a night remembers of the folders of chunks, so that the next one may pass over those whose own
        time did not change; each plate is listed whole at least once in seven nights, and its verdict says which it
        was. None: all are listed.
    night
        The date; default: today's.
    """
    deadline = time.monotonic() + budget_s
    tonight = night or datetime.now(UTC).date()
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        return list(pool.map(lambda entry: judge(entry, deadline, memory, tonight), entries))


def judge(entry: CatalogueEntry, deadline: float, memory: Path | None, night: date) -> Verdict:
    """Judge one plate: what needs no import first, then its plan."""
    if not entry.output_plan.folder.is_dir():
        return Verdict(plate_id=entry.id, start=True, reason="It is new.")
    left = min(ONE_PLATE_S, deadline - time.monotonic())
    kept = None if memory is None else str(memory / f"{entry.id}.msgpack")
    answer = _ask(_Question(entry, kept, night), left) if left > 0 else None
    if answer is None:
        return Verdict(plate_id=entry.id, start=True, reason="There was no time to compare it with its plan.")
    if answer.error is not None:
        return Verdict(plate_id=entry.id, start=False, reason=answer.error)
    listed = answer.listed and f" {answer.listed}"
    if answer.due:
        reason = f"{len(answer.due)} wells are missing, failed or stale.{listed}"
        return Verdict(plate_id=entry.id, start=True, reason=reason)
    reason = "All its wells are current."
    if answer.made_before:
        reason = f"All its wells are current, {answer.made_before} of them made before the update (--renew)."
    return Verdict(plate_id=entry.id, start=False, reason=f"{reason}{listed}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WellsNow:
    """What the wells of a plate are by the plan that its pipeline gives now."""

    due: list[str]
    """Without a published result of the plan; all wells, if the plate map is another one."""
    made_before: tuple[str, ...]
    """Published before an update of this program, and the same by the law of then; due only if the entry says renew."""


def due_wells(entry: CatalogueEntry) -> list[str]:
    """The wells of ``wells_now`` that are due."""
    return wells_now(entry).due


def wells_now(entry: CatalogueEntry, folders: FolderMemory | None = None) -> WellsNow:
    """Compare a plate with what is published of it. Compiles the plate in this process.

    With ``folders``, those are passed over whose own time is the one that it knows.

    Raises
    ------
    OpenHCSError
        If the plate cannot be read, or its pipeline cannot be imported or is refused.
    """
    from openhcs_dagster.compilation import compile_entry
    from openhcs_dagster.listing import read_listing
    from openhcs_engine.output.current import current_wells
    from openhcs_engine.output.plate_folder import PlateFolder

    contexts = compile_entry(entry, read_listing(entry.folder, entry.id, entry.reading, folders)).contexts
    folder = PlateFolder(entry.output_plan.folder, entry.options.backend)
    current = current_wells(folder, contexts)
    stay = {} if entry.options.renew else current.made_before
    due = [well for well in contexts if well not in current.unchanged and well not in stay]
    plans = {plan_fingerprint(contexts.values()), *(manifest.plan for manifest in stay.values() if manifest.plan)}
    if not due and _map_changed(entry, contexts, plans):
        due = list(contexts)
    return WellsNow(
        due=due or [well for well in contexts if well not in entry.wells], made_before=tuple(current.made_before)
    )


class _PlatePart(msgspec.Struct):
    plate: Plate


def _map_changed(entry: CatalogueEntry, contexts: Mapping[str, ProcessingContext], plans: Collection[str]) -> bool:
    """Whether the wells' records tell of another plate map than there is now; the last run kept the one it knew."""
    kept = [entry.output_plan.folder / "contexts" / f"{plan}.json" for plan in plans]
    found = sorted((path for path in kept if path.is_file()), key=lambda path: path.stat().st_mtime_ns)
    try:
        told = msgspec.json.decode(found[-1].read_bytes(), type=_PlatePart).plate.plate_map
    except (IndexError, OSError, msgspec.MsgspecError):
        return False
    return told != next(iter(contexts.values())).plate.plate_map


def _ask(question: _Question, timeout_s: float) -> _Answer | None:
    command = [sys.executable, "-m", "openhcs_dagster.survey"]
    try:
        done = subprocess.run(
            command, input=msgspec.json.encode(question), capture_output=True, timeout=timeout_s, check=False
        )
        return msgspec.json.decode(done.stdout.splitlines()[-1], type=_Answer)
    except subprocess.TimeoutExpired:
        return None
    except (IndexError, msgspec.MsgspecError):
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return _Answer(
            due=[], error=f"Its plan could not be made: {' '.join(last) or 'the process ended without a word'}."
        )


def _answer(question: _Question) -> _Answer:
    entry, memory = question.entry, None if question.memory is None else Path(question.memory)
    folders = PlateFolders.read(memory, str(entry.folder), question.night)
    wells = wells_now(entry, folders)
    if wells.due and folders.passed:  # a run that listed all may know chunks better than the memory
        folders = PlateFolders.whole(question.night)
        wells = wells_now(entry, folders)
    folders.write(memory, str(entry.folder))
    return _Answer(due=wells.due, made_before=len(wells.made_before), listed=folders.summary())


def main() -> None:
    """Read a question from standard input, answer with one line of JSON."""
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=_Question)
    try:
        answer = _answer(question)
    except OpenHCSError as error:
        answer = _Answer(due=[], error=str(error))
    # A pipeline may print while it is imported: the answer is the last line.
    sys.stdout.buffer.write(b"\n" + msgspec.json.encode(answer) + b"\n")


if __name__ == "__main__":
    main()
