"""The log of one run: a header, then a section a well."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from openhcs_engine.execution.results import StepResult, WellResult
from openhcs_engine.output.preflight import output_errors
from openhcs_engine.plan.context import ProcessingContext, plan_fingerprint


class RunLog:
    """Appends to ``logs/<run id>.log``; every line that is written is on disk."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self.path = folder / f"{run_id}.log"

    def start(self, contexts: Mapping[str, ProcessingContext], runner: str, devices: tuple[str, ...]) -> None:
        """Write what this run is asked to do; OutputPlaceError if the output takes no log."""
        first = next(iter(contexts.values()))
        steps = "".join(f"  {step.number}. {step.name}\n" for step in first.steps)
        warnings = "".join(f"warning: {warning}\n" for warning in first.plate.warnings)
        with output_errors(self.path.parent, "starting the run's log"):
            self._append(
                f"run {self.path.stem} at {_now()}\nplate {first.plate.plate_id} from {first.plate.root}\n"
                f"plan {plan_fingerprint(contexts.values())}, {len(contexts)} wells, {runner} on {', '.join(devices)}\n"
                f"versions {', '.join(first.versions)}\n{steps}{warnings}"
            )

    def well(self, result: WellResult, printed: str = "") -> None:
        """Write one well's section."""
        lines = [f"\n== {result.well}: {result.status} at {_now()}, {result.seconds:.2f} s on {result.device}"]
        lines += [line for step in result.steps for line in _step_lines(step)]
        lines += [f"  warning: {warning}" for warning in result.warnings]
        lines += [f"  note: {note}" for step in result.steps for note in step.notes]
        lines += [f"  note: {note}" for note in result.notes]
        if result.error:
            lines.append(f"  error: {result.error}")
        for title, text in (("traceback", result.traceback), ("printed", printed)):
            if text and text.strip():
                lines += [f"  {title}:", *(f"    {line}" for line in text.rstrip().splitlines())]
        self._write("\n".join(lines) + "\n")

    def note(self, sentence: str) -> None:
        """Write what a person should know of the whole run."""
        self._write(f"\nnote: {sentence}\n")

    def end(self, sentence: str) -> None:
        """Write how the run ended."""
        self._write(f"\n{sentence} at {_now()}\n")

    def _write(self, text: str) -> None:
        with suppress(OSError):  # a disk that is full meanwhile: every result says so itself
            self._append(text)

    def _append(self, text: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)  # again where somebody removed the output meanwhile
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)


def _step_lines(step: StepResult) -> list[str]:
    """What the step did, then how its stacks travelled and what went otherwise than planned."""
    return [
        f"  step {step.number} {step.name}: {step.stacks} stacks, {step.planes_read} -> {step.planes_written} planes, "
        f"{step.bytes_read / 1e6:.1f} MB, {step.seconds:.2f} s on {step.device}",
        *(f"    {route}" for route in step.routes),
        *(f"    out of memory: {rung.summary}" for rung in step.rungs),
        *(f"    lost: {cast.told}" for cast in step.lossy_casts if not cast.warns),
        *(f"    made {record.summary}" for record in step.side_outputs),
        *([f"    fallback: {step.fallback}"] if step.fallback else []),
    ]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
