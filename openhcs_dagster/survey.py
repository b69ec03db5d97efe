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
from typing import Final

import msgspec

from openhcs_dagster.catalogue import CatalogueEntry
from openhcs_engine.context import ProcessingContext, plan_fingerprint
from openhcs_engine.errors import OpenHCSError
from openhcs_engine.model.plate import Plate

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


class _Answer(msgspec.Struct):
    due: list[str]
    error: str | None = None
    made_before: int = 0


def survey(entries: Sequence[CatalogueEntry], *, budget_s: float, at_once: int = 2) -> list[Verdict]:
    """Judge all plates; those for which the time does not suffice are started, since current wells cost nothing."""
    deadline = time.monotonic() + budget_s
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        return list(pool.map(lambda entry: judge(entry, deadline), entries))


def judge(entry: CatalogueEntry, deadline: float) -> Verdict:
    """Judge one plate: what needs no import first, then its plan."""
    if not entry.output_plan.folder.is_dir():
        return Verdict(plate_id=entry.id, start=True, reason="It is new.")
    left = min(ONE_PLATE_S, deadline - time.monotonic())
    answer = _ask(entry, left) if left > 0 else None
    if answer is None:
        return Verdict(plate_id=entry.id, start=True, reason="There was no time to compare it with its plan.")
    if answer.error is not None:
        return Verdict(plate_id=entry.id, start=False, reason=answer.error)
    if answer.due:
        return Verdict(plate_id=entry.id, start=True, reason=f"{len(answer.due)} wells are missing, failed or stale.")
    reason = "All its wells are current."
    if answer.made_before:
        reason = f"All its wells are current, {answer.made_before} of them made before the update (--renew)."
    return Verdict(plate_id=entry.id, start=False, reason=reason)


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


def wells_now(entry: CatalogueEntry) -> WellsNow:
    """Compare a plate with what is published of it. Compiles the plate in this process.

    Raises
    ------
    OpenHCSError
        If the plate cannot be read, or its pipeline cannot be imported or is refused.
    """
    from openhcs_dagster.compilation import compile_entry
    from openhcs_dagster.listing import read_listing
    from openhcs_engine.output.current import current_wells
    from openhcs_engine.output.plate_folder import PlateFolder

    contexts = compile_entry(entry, read_listing(entry.folder, entry.id, entry.reading)).contexts
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


def _ask(entry: CatalogueEntry, timeout_s: float) -> _Answer | None:
    command = [sys.executable, "-m", "openhcs_dagster.survey"]
    try:
        done = subprocess.run(
            command, input=msgspec.json.encode(entry), capture_output=True, timeout=timeout_s, check=False
        )
        return msgspec.json.decode(done.stdout.splitlines()[-1], type=_Answer)
    except subprocess.TimeoutExpired:
        return None
    except (IndexError, msgspec.MsgspecError):
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return _Answer(
            due=[], error=f"Its plan could not be made: {' '.join(last) or 'the process ended without a word'}."
        )


def main() -> None:
    """Read an entry from standard input, answer with one line of JSON."""
    entry = msgspec.json.decode(sys.stdin.buffer.read(), type=CatalogueEntry)
    try:
        wells = wells_now(entry)
        answer = _Answer(due=wells.due, made_before=len(wells.made_before))
    except OpenHCSError as error:
        answer = _Answer(due=[], error=str(error))
    # A pipeline may print while it is imported: the answer is the last line.
    sys.stdout.buffer.write(b"\n" + msgspec.json.encode(answer) + b"\n")


if __name__ == "__main__":
    main()
