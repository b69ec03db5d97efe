"""What the command line prints: the JSON forms, which are a contract, and tables for people."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from openhcs_engine.compiler import Compilation
from openhcs_engine.execution.results import CastResult, StepResult, WellResult, WellStatus
from openhcs_engine.model.completeness import describe_missing, missing_planes
from openhcs_engine.model.image_index import ImageIndex, ImagePlane, PlaneKind
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.wells import plate_order
from openhcs_engine.output.current import RENEW_HINT
from openhcs_engine.output.overview import Overview
from openhcs_engine.output.repair import Repair
from openhcs_engine.output.verify import PLATE, VerifyReport

JsonRow = dict[str, Any]  # Any: what JSON may hold
_CastKey = tuple[int, str, str, str, str]
"""Number and name of a step, function, dtype before and after."""


def print_json(value: object) -> None:
    """Indented JSON on standard output."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n")


def plane_rows(index: Iterable[ImagePlane]) -> list[JsonRow]:
    """Planes as ``openhcs planes --json`` prints them."""
    return [
        {
            "well": plane.key.well,
            "site": plane.key.site,
            "channel": plane.key.channel,
            "z_index": plane.key.z_index,
            "timepoint": plane.key.timepoint,
            "path": plane.path,
            "kind": plane.kind.value,
            "present": plane.present,
            "x_um": plane.x_um,
            "y_um": plane.y_um,
            "z_um": plane.z_um,
        }
        for plane in index
    ]


def inspection(plate: Plate, index: ImageIndex) -> JsonRow:
    """A plate as ``openhcs inspect --json`` prints it."""
    return {
        "plate_id": plate.plate_id,
        "name": plate.name,
        "microscope": plate.microscope,
        "wells": plate.wells,
        "absent_wells": plate.absent_wells,
        "sites": plate.sites,
        "channels": [
            {"index": channel.index, "name": channel.name, "wavelength_nm": channel.wavelength_nm}
            for channel in plate.channels
        ],
        "z_indexes": plate.z_indexes,
        "timepoints": plate.timepoints,
        "pixel_size_um": plate.pixel_size_um,
        "z_step_um": plate.z_step_um,
        "grid": plate.grid,
        "stage_frame": plate.stage_frame,
        "positions": index.site_positions(),
        "shape": plate.shape,
        "dtype": plate.dtype,
        "plate_map": _plate_map(plate),
        "missing": plane_rows(missing_planes(plate, index)),
        "errors": plate.errors,
        "warnings": plate.warnings,
        "notes": plate.notes,
    }


def _plate_map(plate: Plate) -> JsonRow | None:
    """Conditions and role of each well; None where no map was given."""
    plate_map = plate.plate_map
    if plate_map is None:
        return None
    return {well: {**plate_map.of_well(well), "role": plate_map.role(well)} for well in plate_map.wells}


def print_inspection(plate: Plate, index: ImageIndex) -> None:
    """A plate as a person reads it."""
    present = Counter(plane.kind for plane in index.present())
    table = Table(title=f"{escape(plate.name)} ({plate.microscope})", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    rows = {
        "plate id": plate.plate_id,
        "wells": f"{len(plate.wells)}: {well_span(plate.wells)}",
        "sites": _numbers(plate.sites),
        "channels": ", ".join(f"{channel.index} {channel.label}" for channel in plate.channels),
        "z planes": _numbers(plate.z_indexes) + (f", {plate.z_step_um:g} µm apart" if plate.z_step_um else ""),
        "time points": _numbers(plate.timepoints),
        "image": _image(plate),
        "grid": f"{plate.grid.rows} x {plate.grid.columns} sites (rows x columns)" if plate.grid else "unknown",
        "planes": f"{present[PlaneKind.PLANE]} planes, {present[PlaneKind.PROJECTION]} projections",
        "missing": describe_missing(plate, index),
    }
    for name, value in rows.items():
        table.add_row(name, escape(value))
    console = Console()
    console.print(table)
    for kind, sentences in (("error", plate.errors), ("warning", plate.warnings), ("note", plate.notes)):
        for sentence in sentences:
            console.print(f"[yellow]{kind}:[/] {escape(sentence)}", soft_wrap=True)


def print_planes(index: ImageIndex) -> None:
    """One line a plane."""
    table = Table("well", "site", "channel", "z", "time", "kind", "file")
    for plane in index:
        numbers = (plane.key.site, plane.key.channel, plane.key.z_index, plane.key.timepoint)
        path = escape(plane.path or "") if plane.present else "[red]missing[/] " + escape(plane.path or "")
        table.add_row(plane.key.well, *("" if n is None else str(n) for n in numbers), plane.kind.value, path)
    Console().print(table)


class RunScreen:
    """Progress of one run on the terminal, and its summary."""

    def __init__(self, compilation: Compilation) -> None:
        contexts = compilation.contexts
        self._first = next(iter(contexts.values()))
        self._by_well: dict[str, WellResult] = {}
        self._told: set[str] = set()
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
        """Count one well; tell about it at once if it failed."""
        if not self._by_well:
            for note in result.notes:
                self._say(f"[yellow]note:[/] {escape(note)}")
        for told in [f"step {step.number} {step.name}: {note}" for step in result.steps for note in step.notes]:
            if told not in self._told:  # once a run, not once a well
                self._told.add(told)
                self._say(f"[yellow]warning:[/] {escape(told)}")
        for step in result.steps:
            for cast in step.casts:
                key = _cast_key(step, cast)
                if cast.warns and key not in self._warned:  # at once for the first well; for all of them at the end
                    self._warned.add(key)
                    told = f"well {result.well}, step {step.number} {step.name}: {cast.told}"
                    self._say(f"[yellow]warning:[/] {escape(told)}")
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
        f'step {step.number} "{step.name}": {told}'
        for result in results
        for step in result.steps
        for told in (*filter(None, (step.fallback,)), *(f"out of memory, {rung.told}" for rung in step.rungs))
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
        earlier += [result.well] if result.warnings and not result.steps else []
    for key, cast in joined.items():
        count = f"{wells[key]} well{'s' if wells[key] > 1 else ''}"
        yield "warning" if key in warned else "note", f'step {key[0]} "{key[1]}", {count}: {cast.told}'
    if earlier:
        yield "warning", f"unchanged, and warned of when they were made: {well_span(tuple(earlier))}; see wells/*.json"


def _beside_images(results: Iterable[WellResult]) -> Iterator[str]:
    """What the wells that were computed hold beside their images: ``table cells: 1234 rows of 12 wells``."""
    counts, wells = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for result in results:
        made = [record for step in result.steps if result.success for record in step.side_outputs if record.is_kept]
        for record in made:
            counts[record.kind, record.name] += record.count
        wells.update({(record.kind, record.name) for record in made})
    for (kind, name), count in counts.items():
        what = "planes" if kind == "labels" else "rows"
        well = wells[kind, name]
        yield f"{kind} {name}: {count} {what} of {well} well{'s' if well != 1 else ''}"


def print_verification(report: VerifyReport) -> None:
    """What was found, well by well where something is wrong."""
    console = Console()
    for well in report.missing:
        console.print(f"[red]missing:[/] well {well} was asked for and is not there", soft_wrap=True)
    for damage in report.damaged:
        for reason in damage.reasons:
            what = "the plate" if damage.well == PLATE else f"well {damage.well}"
            console.print(f"[red]damaged:[/] {what}: {escape(reason)}", soft_wrap=True)
    for path in report.foreign:
        console.print(f"[yellow]foreign:[/] {escape(path)} belongs to no well", soft_wrap=True)
    for path in report.other_versions:
        console.print(
            f"[yellow]note:[/] {escape(path)} was written by another version; wells that only it asks for are not "
            "looked for",
            soft_wrap=True,
        )
    if len(report.plans) > 1:
        console.print(f"[yellow]note:[/] wells were made by {len(report.plans)} different plans", soft_wrap=True)
    bad = len(report.missing) + len(report.damaged)
    console.print(f"{len(report.whole)} of {len(report.expected)} wells whole, {bad} missing or damaged")


def print_overview(overview: Overview) -> None:
    """Where the picture is, and what it shows."""
    dark, bright = overview.window
    print(f"{overview.folder}: {overview.channel}, {len(overview.tiles)} wells; black is {dark:g}, white is {bright:g}")


def overview_document(overview: Overview) -> JsonRow:
    """The same as ``openhcs overview --json`` prints it."""
    return {
        "folder": str(overview.folder),
        "channel": overview.channel,
        "wells": list(overview.tiles),
        "window": overview.window,
    }


def print_repair(repair: Repair | None) -> None:
    """Which wells are gone; nothing where none was asked to go."""
    if repair is None:
        return
    console = Console()
    for well in repair.dropped:
        console.print(f"[yellow]dropped:[/] well {well}; the next run makes it again")
    if not repair.dropped:
        console.print("no well was dropped")


def verification(report: VerifyReport, repair: Repair | None) -> JsonRow:
    """An output folder as ``openhcs verify --json`` prints it; ``damaged`` is what was found before the repair."""
    left = report if repair is None else repair.report
    return {
        "ok": left.ok,
        "expected": left.expected,
        "whole": left.whole,
        "missing": left.missing,
        "damaged": [{"well": damage.well, "reasons": damage.reasons} for damage in report.damaged],
        "foreign": left.foreign,
        "plans": left.plans,
        "other_versions": left.other_versions,
        "dropped": None if repair is None else repair.dropped,
    }


def well_span(wells: tuple[str, ...]) -> str:
    """All wells of a few, the first and the last of many."""
    return ", ".join(wells) if len(wells) <= 6 else f"{wells[0]} to {wells[-1]}"


def _numbers(values: tuple[int, ...]) -> str:
    if not values:
        return "none"
    if len(values) > 2 and values == tuple(range(values[0], values[-1] + 1)):
        return f"{len(values)}: {values[0]} to {values[-1]}"
    return f"{len(values)}: {', '.join(map(str, values))}"


def _image(plate: Plate) -> str:
    size = f"{plate.shape[1]} x {plate.shape[0]} px" if plate.shape else "size unknown"
    pixel = f"{plate.pixel_size_um:g} µm a pixel" if plate.pixel_size_um else "pixel size unknown"
    return f"{size}, {plate.dtype or 'type unknown'}, {pixel}"
