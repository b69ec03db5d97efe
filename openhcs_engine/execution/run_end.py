"""The end of a run: is what it published still there? Somebody may have removed or replaced the output meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.execution.results import WellResult, WellStatus
from openhcs_engine.model.well_spans import format_spans
from openhcs_engine.output.image_sets import KnownWell, PresentWell
from openhcs_engine.output.layout import manifest_name, published_path
from openhcs_engine.output.manifest import REMOVED_MEANWHILE

Present = Mapping[str, PresentWell]


@dataclass(slots=True)
class RunClaims:
    """The wells that a run says are published, each as it was reported last."""

    address: str
    """Folder or URL of the output."""
    backend: str
    """``zarr`` or ``disk``: what the run writes."""
    before: Mapping[str, KnownWell | None]
    """What the manifests said when the run began."""
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    results: dict[str, WellResult] = field(default_factory=dict)

    def add(self, result: WellResult) -> None:
        """A well that is done, unchanged, or failed."""
        self.results[result.well] = replace(result, steps=(), traceback=None)

    def lost(self, present: Present) -> Iterator[WellResult]:
        """Failed results of the wells that are not there any more; ``present`` are the published wells of now."""
        for result in [result for result in self.results.values() if result.success]:
            reason = self._reason(result, present.get(result.well))
            if reason is not None:
                lost = _as_lost(result, f"Well {result.well}: {self._claim(result)}, but {reason}")
                self.add(lost)
                yield lost

    def replaced(self, present: Present) -> Iterator[str]:
        """Sentences on wells of which another run published its own version since; ask for the lost ones first."""
        wells: dict[str, list[str]] = {}
        for result in self.results.values():
            known = present[result.well].known if result.well in present else None
            if result.success and known is not None and not self._is_wanted(known, result):
                wells.setdefault(known.run, []).append(result.well)
        for run, named in wells.items():
            who = f"run {run}" if run else "another run"
            yield (
                f"{who} published {format_spans(named)} again after this run did, by another plan or in another form; "
                f"its results stand in {self.address}"
            )

    def count(self) -> dict[WellStatus, int]:
        """How many wells ended how."""
        ends = [result.status for result in self.results.values()]
        return {status: ends.count(status) for status in WellStatus}

    def _reason(self, result: WellResult, present: PresentWell | None) -> str | None:
        """Why a well counts as lost, as the end of its sentence; None: it does not."""
        manifest = f"{manifest_name(result.well)} in {self.address}"
        if present is None:
            return f"{manifest} is missing now: {REMOVED_MEANWHILE}"
        if present.known is None:
            return f"{manifest} cannot be read now: {REMOVED_MEANWHILE}"
        if not self._is_wanted(present.known, result) and self._is_older(present.known, result.well):
            run = f" of run {present.known.run}" if present.known.run else ""
            return f"{manifest} is now an older one{run}, finished {present.known.finished}: {REMOVED_MEANWHILE}"
        if present.lacking:
            return f"{_describe_lacking(present.lacking, present.known)} in {self.address} now: {REMOVED_MEANWHILE}"
        return None

    def _claim(self, result: WellResult) -> str:
        if result.status is WellStatus.DONE:
            return "this run published it"
        return "it was published when this run began"

    def _is_wanted(self, known: KnownWell, result: WellResult) -> bool:
        """Whether a version is the run's own, or another run's by the same plan, which has the same pixels."""
        return (known.fingerprint, known.backend) == (result.fingerprint, self.backend)

    def _is_older(self, known: KnownWell, well: str) -> bool:
        """Whether a version was made before this run began; the clocks of hosts that share an output are compared."""
        if known == self.before.get(well):
            return True
        try:
            finished = datetime.fromisoformat(known.finished)
        except ValueError:  # no time that we write
            return True
        # Earlier versions of this software say whole seconds.
        began = self.began if finished.microsecond else self.began.replace(microsecond=0)
        return finished.replace(tzinfo=finished.tzinfo or UTC) < began


def _as_lost(result: WellResult, sentence: str) -> WellResult:
    return replace(
        result,
        status=WellStatus.FAILED,
        error=sentence,
        error_type=OutputPlaceError.__name__,
        store_path=None,
        bytes_written=0,
        files=0,
        missing_planes=0,
        notes=(),
        warnings=(),
    )


def _describe_lacking(lacking: Iterable[str], known: KnownWell) -> str:
    """``images.zarr/B/03 is missing``; of a folder that is there in part, the first file and how many more."""
    first, *others = lacking
    path = published_path(first)
    of_path = {file.path for file in known.files if published_path(file.path) == path}
    if of_path <= {first, *others}:
        return f"{path} is missing"
    more = f" and {len(others)} more of its files are" if others else " is"
    return f"{first}{more} missing or damaged"


__all__ = ["RunClaims"]
