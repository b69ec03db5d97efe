"""What ``openhcs-dagster`` prints: the catalogue, a run's progress, and what became of a plate."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from openhcs_dagster.catalogue.catalogue import CatalogueEntry, Contents

if TYPE_CHECKING:
    from openhcs_dagster.cli.in_process import PlateRun

_COLOURS = {"done": "green", "unchanged": "green", "failed": "red"}
_NO_WIDTH = 10_000
FAILED_SHOWN = 20
"""Failed wells that are listed; the report has them all."""


def print_catalogue(contents: Contents) -> None:
    """All plates as a table; broken files below it."""
    # A pipe has no width: there each plate is one line, for the program that reads it.
    console = Console(width=None if sys.stdout.isatty() else _NO_WIDTH)
    if contents.entries:
        table = Table(title_justify="left")
        for column in ("plate", "wells", "microscope", "pipeline", "folder", "results"):
            table.add_column(column, overflow="fold")
        for entry in contents:
            texts = (entry.id, str(len(entry.wells)), entry.microscope, entry.pipeline, entry.folder)
            table.add_row(*map(escape, texts), escape(str(entry.output_plan.folder)))
        console.print(table)
    else:
        console.print("No plate is registered; register one with `openhcs-dagster add`.")
    for broken in contents.broken:
        console.print(escape(str(broken)), style="red", soft_wrap=True)


class PlateScreen:
    """Progress while a plate runs, a table at its end."""

    def __init__(self, entry: CatalogueEntry, wells: int) -> None:
        self.entry = entry
        self.console = Console()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[last]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )
        self._task = self._progress.add_task(f"Plate {escape(entry.id)}", total=wells, last="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, well: str, status: str) -> None:
        """Count a finished well."""
        self._progress.update(self._task, advance=1, last=f"{well} {status}")

    def finish(self, run: PlateRun) -> None:
        """Print what became of the plate; nothing if it was refused."""
        self._progress.stop()
        if run.refusal is not None:
            return
        table = Table(show_header=False, title=f"Plate {escape(self.entry.id)}", title_justify="left")
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, text, style in self._rows(run):
            table.add_row(name, escape(text), style=style)
        self.console.print(table)

    def _rows(self, run: PlateRun) -> list[tuple[str, str, str]]:
        counts: dict[str, int] = {}
        for outcome in run.outcomes:
            counts[outcome.status.value] = counts.get(outcome.status.value, 0) + 1
        rows = [
            ("wells", f"{len(run.outcomes)} of {len(self.entry.wells)}", ""),
            *(
                (status, str(count), "red" if status == "failed" else "green")
                for status, count in sorted(counts.items())
            ),
            *((outcome.well, outcome.error or "", "red") for outcome in run.failed[:FAILED_SHOWN]),
        ]
        if with_gaps := [outcome for outcome in run.outcomes if outcome.missing_planes]:
            lacking = sum(outcome.missing_planes for outcome in with_gaps)
            rows.append(("with gaps", f"{len(with_gaps)}; {lacking} planes are missing, see the report", "yellow"))
        if warned := [outcome for outcome in run.outcomes if outcome.warnings]:
            first = warned[0]
            rows.append(("with warnings", f"{len(warned)}; {first.well}, {first.warnings[0]}", "yellow"))
        if len(run.failed) > FAILED_SHOWN:
            rows.append(("", f"and {len(run.failed) - FAILED_SHOWN} more, see the report", "red"))
        store = self.entry.output_plan.folder / ("images.zarr" if self.entry.options.backend == "zarr" else "images")
        return [*rows, ("store", str(store), ""), ("report", run.report or "not made; see the run in the UI", "")]
