"""What ``openhcs run`` prints: progress, a line a well, and the summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from time import perf_counter
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from openhcs_engine.cli.printing import well_span
from openhcs_engine.compiler import Compilation
from openhcs_engine.execution.results import StepResult, WellResult, WellStatus
from openhcs_engine.memory.conversion.cast_loss import CastResult
from openhcs_engine.model.wells import plate_order
from openhcs_engine.model.wording import counted
from openhcs_engine.output.current import RENEW_HINT

_MADE_EARLIER: Final = (WellStatus.UNCHANGED, WellStatus.MADE_BEFORE)
_CastKey = tuple[int, str, str, str, str]
"""Number and name of a step, function, dtype before and after."""


class RunScreen:
    """Progress of one run on the terminal, and its summary."""

    def __init__(self, compilation: Compilation) -> None:
        contexts = compilation.contexts
        self._first = next(iter(contexts.values()))
        self._by_well: dict[str, WellResult] = {}
        self._said: set[str] = set()
        self._warned: set[_CastKey] = set()
        self._console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        )
        self._task = self._progress.add_task("wells", total=len(contexts))
        self._started = perf_counter()
        for warning in self._first.plate.warnings:
            self._say(f"[yellow]warning:[/] {escape(warning)}")
        for note in compilation.notes:
            self._say(f"[yellow]note:[/] {escape(note)}")

    @property
    def _results(self) -> list[WellResult]:
        """The last result of each well: at its end a run may say that it lost one."""
        return list(self._by_well.values())

    @property
    def failed(self) -> list[WellResult]:
        """Wells that failed so far."""
        return [result for result in self._results if not result.success]

    def add(self, result: WellResult) -> None:
        """Count one well; report it at once if it failed."""
        if not self._by_well:
            for note in result.notes:
                self._say(f"[yellow]note:[/] {escape(note)}")
        for line in [f"step {step.number} {step.name}: {note}" for step in result.steps for note in step.notes]:
            if line not in self._said:  # once a run, not once a well
                self._said.add(line)
                self._say(f"[yellow]warning:[/] {escape(line)}")
        for step in result.steps:
            for cast in step.casts:
                key = _cast_key(step, cast)
                if cast.warns and key not in self._warned:  # at once for the first well; for all of them at the end
                    self._warned.add(key)
                    line = f"well {result.well}, step {step.number} {step.name}: {cast.told}"
                    self._say(f"[yellow]warning:[/] {escape(line)}")
        if result.well not in self._by_well:
            self._progress.advance(self._task)
        self._by_well[result.well] = result
        if result.error:
            self._say(f"[red]failed:[/] {escape(result.error)}")

    def note(self, sentence: str) -> None:
        """Say what a person should know while the run goes on."""
        self._say(f"[yellow]note:[/] {escape(sentence)}")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if self._by_well or error is None:
            self._summary()

    def _summary(self) -> None:
        counts = Counter(result.status for result in self._results)
        parts = [f"{counts[status]} {status}" for status in WellStatus if counts[status] or status is WellStatus.DONE]
        folder = self._first.output.address
        console = Console()
        for sentence, count in _of_wells(self._results).items():
            wells = f" ({count} wells)" if count > 1 else ""
            console.print(f"[yellow]warning:[/] {escape(sentence)}{wells}", soft_wrap=True, highlight=False)
        for kind, sentence in _lost(self._results):
            console.print(f"[yellow]{kind}:[/] {escape(sentence)}", soft_wrap=True, highlight=False)
        for sentence, count in _otherwise(self._results).items():
            wells = f" ({count} wells)" if count > 1 else ""
            console.print(f"[yellow]note:[/] {escape(sentence)}{wells}", soft_wrap=True, highlight=False)
        if with_gaps := [result for result in self._results if result.success and result.missing_planes]:
            console.print(f"[yellow]note:[/] {_with_gaps(with_gaps)}", soft_wrap=True, highlight=False)
        console.print(f"{', '.join(parts)} in {perf_counter() - self._started:.1f} s")
        if counts[WellStatus.MADE_BEFORE]:
            told = f"{counts[WellStatus.MADE_BEFORE]} {WellStatus.MADE_BEFORE}: {RENEW_HINT}"
            console.print(f"[yellow]note:[/] {escape(told)}", soft_wrap=True, highlight=False)
        for told in _beside_images(self._results):
            console.print(told, soft_wrap=True, highlight=False)
        console.print(f"output: {folder}", soft_wrap=True, highlight=False)

    def _say(self, text: str) -> None:
        self._progress.console.print(text, soft_wrap=True, highlight=False)


def _with_gaps(results: Sequence[WellResult]) -> str:
    """Which published wells lack planes: a result that looks whole is not."""
    lacking = sum(result.missing_planes for result in results)
    wells = tuple(sorted((result.well for result in results), key=plate_order))
    return (
        f"{len(wells)} {'well has' if len(wells) == 1 else 'wells have'} gaps: {lacking} "
        f"{'plane is' if lacking == 1 else 'planes are'} missing in {well_span(wells)}"
    )


def _otherwise(results: Iterable[WellResult]) -> Counter[str]:
    """What went otherwise than planned, with the wells it happened to: fallbacks, and memory that ran out."""
    return Counter(
        f'step {step.number} "{step.name}": {reason}'
        for result in results
        for step in result.steps
        for reason in (*filter(None, (step.fallback,)), *(f"out of memory, {rung.summary}" for rung in step.rungs))
    )


def _of_wells(results: Iterable[WellResult]) -> Counter[str]:
    """Warnings of wells that ran now which are of no step of theirs, as those of fits, with the wells they are for."""
    return Counter(
        warning
        for result in results
        if result.status not in _MADE_EARLIER
        for warning in result.warnings
        if not any(warning in step.warnings for step in result.steps)
    )


def _cast_key(step: StepResult, cast: CastResult) -> _CastKey:
    return step.number, step.name, cast.function, cast.source, cast.wanted


def _lost(results: Iterable[WellResult]) -> Iterator[tuple[str, str]]:
    """What casts lost in all wells, a sentence for each step, function and pair of dtypes; then wells made earlier."""
    joined, wells = dict[_CastKey, CastResult](), Counter[_CastKey]()
    warned, earlier = set[_CastKey](), list[str]()
    for result in results:
        for step in result.steps:
            for cast in step.lossy_casts:
                key = _cast_key(step, cast)
                joined[key] = joined[key].joined(cast) if key in joined else cast
                wells[key] += 1
                warned |= {key} if cast.warns else set()
        earlier += [result.well] if result.warnings and result.status in _MADE_EARLIER else []
    for key, cast in joined.items():
        count = counted(wells[key], "well")
        yield "warning" if key in warned else "note", f'step {key[0]} "{key[1]}", {count}: {cast.told}'
    if earlier:
        yield "warning", f"unchanged, and warned of when they were made: {well_span(tuple(earlier))}; see wells/*.json"


def _beside_images(results: Iterable[WellResult]) -> Iterator[str]:
    """What the wells that were computed hold beside their images: ``table cells: 1234 rows of 12 wells``."""
    counts, wells = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for result in results:
        made = [record for step in result.steps if result.success for record in step.side_outputs if record.is_stored]
        for record in made:
            counts[record.kind, record.name] += record.count
        wells.update({(record.kind, record.name) for record in made})
    for (kind, name), count in counts.items():
        what = "planes" if kind == "labels" else "rows"
        well = wells[kind, name]
        yield f"{kind} {name}: {count} {what} of {well} well{'s' if well != 1 else ''}"
