"""Which plates have something to do: each is compared with the plan that its pipeline gives now, in another process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import msgspec

from openhcs_dagster.automation.listed_folders import PlateFolders
from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_engine.errors import ContextFileError
from openhcs_engine.memory.framework_environment import ONE_THREAD
from openhcs_engine.model.plate import Plate
from openhcs_engine.plan.context import ProcessingContext, plan_fingerprint
from openhcs_engine.raw.array_listing import FolderMemory

ONE_PLATE_S: Final = 30.0
"""Longest time one plate may take to compare, its pipeline's import included, seconds."""
IMPORT_S: Final = 20.0
"""Longest time the import of one pipeline may take, seconds."""
_GRACE_S: Final = 5.0
"""How much longer the process that is asked may take to say that the time is over, seconds."""
FORK: Final = "fork"
START: Final = "start"
WAY: Final = FORK if sys.platform == "linux" else START
"""How a process for a pipeline is made: with all of this product that comparing needs, or from nothing. Elsewhere than
on Linux the system's libraries begin threads when NumPy is imported, which no fork has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a plate should be started."""

    plate_id: str
    start: bool
    reason: str
    """A sentence."""

    def __str__(self) -> str:
        return f"Plate {self.plate_id}: {self.reason}"


class Question(msgspec.Struct):
    """Compare a plate with its plan."""

    entry: CatalogueEntry
    memory: str | None
    """File with what earlier nights know of the plate's folders of chunks."""
    night: date
    seconds: float
    """Time for it."""
    import_s: float
    """Time for its pipeline's import, within it."""


class Answer(msgspec.Struct):
    """What a comparison found, or why there was none."""

    due: list[str] = []
    error: str | None = None
    made_before: int = 0
    listed: str = ""
    """Whether its chunks were listed whole."""
    no_time: bool = False
    """It did not end in time."""
    hangs: bool = False
    """The pipeline's import did not: no other plate needs to try."""

    @property
    def is_current(self) -> bool:
        """Whether the plate was compared, and nothing is to do."""
        return not (self.due or self.no_time) and self.error is None


def compare_plates(
    entries: Sequence[CatalogueEntry],
    *,
    budget_s: float,
    at_once: int = 2,
    memory: Path | None = None,
    night: date | None = None,
    on_verdict: Callable[[Verdict], None] = lambda verdict: None,
) -> list[Verdict]:
    """Judge all plates; those for which the time does not suffice are started, since current wells cost nothing.

    Plates of one pipeline share its import. One that fails, exits, crashes or does not end is the reason given for its
    plates; the others go on.

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
    on_verdict
        Is called with each verdict when it is known, by the calling thread.
    """
    deadline = time.monotonic() + budget_s
    tonight = night or datetime.now(UTC).date()
    verdicts: dict[str, Verdict] = {}
    with ExitStack() as ends:
        pool = ends.enter_context(ThreadPoolExecutor(max_workers=at_once))
        crew = _Crew([ends.enter_context(closing(_ComparisonProcess())) for _ in range(at_once)])
        asked = [
            pool.submit(judge, entry, crew.ask, deadline, memory, tonight)
            for entry in sorted(entries, key=pipeline_key)
        ]
        for done in as_completed(asked):
            verdict = done.result()
            on_verdict(verdict)
            verdicts[verdict.plate_id] = verdict
    return [verdicts[entry.id] for entry in entries]


def pipeline_key(entry: CatalogueEntry) -> tuple[str, ...]:
    """What plates have in common whose pipelines one process may import: the module, and where it is searched for."""
    return (entry.pipeline.partition(":")[0], *entry.search_path)


def judge(
    entry: CatalogueEntry, ask: Callable[[Question], Answer], deadline: float, memory: Path | None, night: date
) -> Verdict:
    """Judge one plate: what needs no import first, then its plan."""
    if not entry.output_plan.folder.is_dir():
        return Verdict(plate_id=entry.id, start=True, reason="It is new.")
    left = min(ONE_PLATE_S, deadline - time.monotonic())
    listed_folders = None if memory is None else str(memory / f"{entry.id}.msgpack")
    answer = ask(Question(entry, listed_folders, night, left, IMPORT_S)) if left > 0 else Answer(no_time=True)
    if answer.no_time:
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


class _Crew:
    """Processes that are asked, one question at a time each."""

    def __init__(self, processes: Iterable[_ComparisonProcess]) -> None:
        self._idle: SimpleQueue[_ComparisonProcess] = SimpleQueue()
        for process in processes:
            self._idle.put(process)
        self._hanging: dict[tuple[str, ...], Answer] = {}

    def ask(self, question: Question) -> Answer:
        """The answer of a process that is idle."""
        key = pipeline_key(question.entry)
        if key in self._hanging:
            return self._hanging[key]
        process = self._idle.get()
        try:
            answer = process.ask(question)
        finally:
            self._idle.put(process)
        if answer.hangs:
            self._hanging[key] = answer
        return answer


class _ComparisonProcess:
    """See ``comparison_process``; started when it is first asked, and again after it ended."""

    def __init__(self) -> None:
        self._started: tuple[subprocess.Popen[bytes], Connection[bytes, bytes]] | None = None

    def ask(self, question: Question) -> Answer:
        """Its answer; if it ended without one, that."""
        _, pipe = self._started = self._started or _start()
        try:
            pipe.send_bytes(msgspec.msgpack.encode(question))
            if pipe.poll(question.seconds + _GRACE_S):
                return msgspec.msgpack.decode(pipe.recv_bytes(), type=Answer)
            answer = Answer(no_time=True)
        except (EOFError, OSError):
            answer = Answer(
                error="The process that compares plates was ended by another one (perhaps for the memory that it "
                "took), so that its plan was not made; the next night compares it again."
            )
        self.close()
        return answer

    def close(self) -> None:
        """End it, if it was started."""
        if self._started is None:
            return
        process, pipe = self._started
        self._started = None
        pipe.close()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start() -> tuple[subprocess.Popen[bytes], Connection[bytes, bytes]]:
    ours, its = Pipe()
    command = [sys.executable, "-m", "openhcs_dagster.automation.comparison_process", str(its.fileno()), WAY]
    nothing = subprocess.DEVNULL
    process = subprocess.Popen(
        command,
        stdin=nothing,
        stdout=nothing,
        pass_fds=[its.fileno()],
        env={**os.environ, **ONE_THREAD},  # it forks, so NumPy's BLAS must not have begun threads
        start_new_session=True,  # Ctrl-C is not for it
    )
    its.close()
    return process, ours


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
    from openhcs_dagster.plate.compilation import compile_entry
    from openhcs_engine.execution.fits.before_wells import wells_to_refit
    from openhcs_engine.microscopes.plate_listing import read_listing
    from openhcs_engine.output.current import current_wells
    from openhcs_engine.output.fits.stored import with_stored_fits
    from openhcs_engine.output.folder.output import PlateFolder

    contexts = compile_entry(entry, read_listing(entry.folder, entry.id, entry.reading, folders)).contexts
    folder = PlateFolder(entry.output_plan.folder, entry.options.backend)
    current = current_wells(folder, with_stored_fits(folder.fits, contexts))
    stay = {} if entry.options.renew else current.made_before
    again = frozenset(wells_to_refit(contexts, folder))
    due = [well for well in contexts if well in again or (well not in current.unchanged and well not in stay)]
    plans = {plan_fingerprint(contexts.values()), *(manifest.plan for manifest in stay.values() if manifest.plan)}
    if not due and _map_changed(entry, contexts, plans):
        due = list(contexts)
    return WellsNow(
        due=due or [well for well in contexts if well not in entry.wells], made_before=tuple(current.made_before)
    )


class _PlatePart(msgspec.Struct):
    plate: Plate


def _map_changed(entry: CatalogueEntry, contexts: Mapping[str, ProcessingContext], plans: Collection[str]) -> bool:
    """Whether the wells' records name another plate map than there is now; the last run stored the one it knew."""
    from openhcs_engine.output.plans import find_plan
    from openhcs_engine.plan.document import unpacked

    paths = [path for plan in plans if (path := find_plan(entry.output_plan.folder, plan)) is not None]
    try:
        newest = max(paths, key=lambda path: path.stat().st_mtime_ns)
        recorded = msgspec.json.decode(unpacked(newest.read_bytes()), type=_PlatePart).plate.plate_map
    except (ValueError, OSError, ContextFileError, msgspec.MsgspecError):
        return False
    return recorded != next(iter(contexts.values())).plate.plate_map


def compare(question: Question, on_imported: Callable[[], None] = lambda: None) -> Answer:
    """Answer a question in this process; ``on_imported`` is called when the plate's pipeline is imported.

    Raises
    ------
    OpenHCSError
        As ``wells_now`` does.
    """
    from openhcs_engine.pipeline.load import load_pipeline

    entry, memory = question.entry, None if question.memory is None else Path(question.memory)
    load_pipeline(entry.pipeline, entry.search_path, entry.options.set)
    on_imported()
    folders = PlateFolders.read(memory, str(entry.folder), question.night)
    wells = wells_now(entry, folders)
    if wells.due and folders.passed:  # a run that listed all may know chunks better than the memory
        folders = PlateFolders.whole(question.night)
        wells = wells_now(entry, folders)
    folders.write(memory, str(entry.folder))
    return Answer(due=wells.due, made_before=len(wells.made_before), listed=folders.summary())
