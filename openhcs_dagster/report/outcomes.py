"""How each well ended last: one small file a run, so that two runs never write the same one.

A published well's manifest proves that it is there; that a well failed, and why, is nowhere else on disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from openhcs_engine.execution.results import WellResult, WellStatus
from openhcs_engine.files.atomic import write_whole
from openhcs_engine.files.links import refuse_links_below
from openhcs_engine.files.present import find
from openhcs_engine.output.layout import REPORT


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of one well in one run."""

    well: str
    status: WellStatus
    error: str | None
    seconds: float
    """Wall time of the well; 0 for one that was not computed again."""
    device: str
    fingerprint: str
    missing_planes: int = 0
    """Planes that the well lacks, so that its result has gaps."""
    warnings: tuple[str, ...] = ()
    """What is probably wrong with its images."""
    run_id: str
    when: str
    """ISO time, UTC."""

    @classmethod
    def of(cls, result: WellResult, run_id: str) -> Outcome:
        """What a run's result leaves behind."""
        return cls(
            well=result.well,
            status=result.status,
            error=result.error,
            seconds=result.seconds,
            device=result.device,
            fingerprint=result.fingerprint,
            missing_planes=result.missing_planes if result.success else 0,
            warnings=result.warnings if result.success else (),
            run_id=run_id,
            when=datetime.now(UTC).isoformat(timespec="microseconds"),
        )


class OutcomeLog:
    """The outcomes beside a plate's report."""

    def __init__(self, plate_folder: Path) -> None:
        self._plate = plate_folder
        self.folder = plate_folder / REPORT / "outcomes"

    def record(self, run_id: str, outcomes: Iterable[Outcome]) -> None:
        """Keep a run's outcomes; files in which no well ended last any more go."""
        refuse_links_below(self._plate.parent, f"{self._plate.name}/{REPORT}")
        write_whole(self.folder / f"{run_id}.json", msgspec.json.encode(list(outcomes)))
        self._forget_overtaken()

    def latest(self) -> dict[str, Outcome]:
        """The last outcome of each well."""
        return _last_of_each_well(self._all())

    def last_computed(self) -> dict[str, Outcome]:
        """The last outcome of each well that really was a computation."""
        return _last_of_each_well(outcome for outcome in self._all() if outcome.status is WellStatus.DONE)

    def _all(self) -> list[Outcome]:
        return [outcome for path in self._files() for outcome in _read(path)]

    def _forget_overtaken(self) -> None:
        needed = {outcome.run_id for last in (self.latest(), self.last_computed()) for outcome in last.values()}
        for path in self._files():
            if path.stem not in needed:
                path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return find(self.folder, "[!.]*.json")


def _read(path: Path) -> list[Outcome]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Outcome])
    except FileNotFoundError:  # another run forgot it between listing and reading
        return []


def _last_of_each_well(outcomes: Iterable[Outcome]) -> dict[str, Outcome]:
    return {outcome.well: outcome for outcome in sorted(outcomes, key=lambda outcome: outcome.when)}
