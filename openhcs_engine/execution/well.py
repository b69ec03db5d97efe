"""One well from its context to its published images. The only place where every exception is caught."""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Final

from openhcs_engine.errors import OpenHCSError, PlateError
from openhcs_engine.execution.artifacts.tables import join_rows
from openhcs_engine.execution.calls import FunctionSource
from openhcs_engine.execution.fits.loaded import FitSource, LoadedFit
from openhcs_engine.execution.placement import WorkerDevices
from openhcs_engine.execution.results import StepResult, WellResult, WellStatus
from openhcs_engine.execution.stacks.loading import drop_planes, take_planes
from openhcs_engine.execution.steps import SOURCE, WellResources, run_step
from openhcs_engine.files.address import is_remote
from openhcs_engine.memory.conversion.cast_loss import CastResult
from openhcs_engine.memory.stack import Array
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane, OnMissing
from openhcs_engine.model.system_errors import explained_with_file, is_system_error
from openhcs_engine.output.manifest import StagedWell, WellManifest
from openhcs_engine.output.opening import open_output
from openhcs_engine.output.tables.well import with_tables
from openhcs_engine.output.writing.well_writer import stage_well
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.raw.array_listing import ArrayListing
from openhcs_engine.vfs.backend import StorageBackend
from openhcs_engine.vfs.intermediates import open_scratch

_LONGEST: Final = 2000
"""Letters of an error's sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What a well needs to know of the run it belongs to."""

    staging: Path
    """The run's folder for unfinished wells, on the file system of the output if that has one."""
    devices: WorkerDevices
    """What its worker holds."""
    plan: str = ""
    """Fingerprint of the whole plan."""
    fits: FitSource = field(default_factory=FitSource)
    """Where what was fitted for the plate is read."""

    @property
    def run_id(self) -> str:
        """The run's name, which its staging folder has."""
        return self.staging.name


def run_well(context: ProcessingContext, functions: FunctionSource, run: RunInfo) -> WellResult:
    """Run all steps of one well and publish what the last one made; a failure publishes nothing and raises nothing."""
    started = perf_counter()
    done: list[StepResult] = []
    fits: Mapping[str, LoadedFit] = {}
    try:
        refuse_damaged_well(context)
        raw, notes = ArrayListing(context.plate.root), tuple[str, ...]()
        if not is_remote(raw.root):  # there each file would be a request, and the run's listing is young
            context, notes = with_files_of_now(context, raw)
        unstored = raw.unstored_parts()
        notes += (*note_passed_steps(context), *note_missing_planes(context), *unstored)
        functions.verify(context.calls)
        fits = run.fits.of(context)
        staged = _run_steps(context, functions, run, fits, done)
        manifest = WellManifest.of(
            context,
            staged,
            seconds=perf_counter() - started,
            device=_ran_on(done, run.devices),
            plan=run.plan,
            recorded={
                "run": run.run_id,
                "intermediates": context.output.scratch.summary,
                **({"unstored": unstored} if unstored else {}),
                "steps": [record_of(step) for step in done],
                **({"warnings": warnings} if (warnings := _warnings(done, fits)) else {}),
                **({"fits": {name: fit.record.fingerprint for name, fit in fits.items()}} if fits else {}),
            },
        )
        folder = open_output(context.output.address, context.output.backend, context.output.fsync)
        folder.publish(staged, manifest)
    except Exception as error:  # whatever a user's function raises must not reach the other wells
        return WellResult(
            well=context.well,
            status=WellStatus.FAILED,
            fingerprint=context.fingerprint,
            error=_sentence(context.well, error),
            error_type=type(error.__cause__ or error).__name__,
            traceback=_encodable("".join(traceback.format_exception(error))),
            seconds=perf_counter() - started,
            device=_ran_on(done, run.devices),
            steps=tuple(done),
            warnings=_warnings(done, fits),
        )
    return WellResult(
        well=context.well,
        status=WellStatus.DONE,
        fingerprint=context.fingerprint,
        seconds=perf_counter() - started,
        device=_ran_on(done, run.devices),
        store_path=folder.store_path(context.well),
        bytes_written=manifest.nbytes,
        files=len(manifest.files),
        steps=tuple(done),
        notes=notes,
        warnings=_warnings(done, fits),
        missing_planes=context.missing_planes,
    )


def _run_steps(
    context: ProcessingContext,
    functions: FunctionSource,
    run: RunInfo,
    fits: Mapping[str, LoadedFit],
    done: list[StepResult],
) -> StagedWell:
    """Run the steps one after another; write what the last one left, and what others shall keep."""
    start = context.index if context.on_missing is OnMissing.BLANK else context.index.present()
    index, labels = start, dict[int | None, str]()
    with (
        stage_well(run.staging, context) as stage,
        open_scratch(context.output.scratch, run.staging, context.well) as intermediates,
    ):
        resources = WellResources(context, intermediates, functions, run.devices, fits)
        for plan in context.own_steps:
            if plan.reads == SOURCE and index is not start:
                drop_planes(intermediates, index)
                labels = {}  # the planes that were called so are gone
            index, result = run_step(plan, start if plan.from_start else index, resources)
            done.append(result)
            if None not in labels and any(plane.key.channel is None for plane in index):
                labels[None] = plan.name  # a composite is called as the step that made it
            if (kept := plan.materialized(context.well)) is not None:
                stage.keep(kept, _look_at_images(index, intermediates), labels)
        images = _take_images(index, intermediates)
        objects = resources.artifacts.label_planes(context)
        staged = stage.write_results(images, labels, objects=objects, keys=[plane.key for plane in index])
        tables = {name: join_rows(name, rows) for name, rows in resources.artifacts.tables().items()}
        return with_tables(staged, tables)


def record_of(step: StepResult) -> dict[str, object]:
    """What the manifest keeps of a step: where it ran, how its stacks travelled, what went otherwise than planned."""
    record = {
        "number": step.number,
        "name": step.name,
        "seconds": round(step.seconds, 6),
        "device": step.device,
        "routes": step.routes,
        "fallback": step.fallback,
        "out_of_memory": tuple(rung.summary for rung in step.rungs),
        "lossy_casts": tuple(_record_of_cast(cast) for cast in step.lossy_casts),
        "side_outputs": tuple(record.summary for record in step.side_outputs),
        "notes": step.notes,
    }
    return {name: value for name, value in record.items() if value is not None and value != ()}


def _record_of_cast(cast: CastResult) -> dict[str, object]:
    """As JSON, which has no infinity: an infinite end of the range is the text ``inf`` or ``-inf``."""
    ends = {name: end if math.isfinite(end) else str(end) for name, end in (("low", cast.low), ("high", cast.high))}
    return {**asdict(cast), **ends, "warns": cast.warns, "told": cast.told}


def _warnings(steps: Sequence[StepResult], fits: Mapping[str, LoadedFit]) -> tuple[str, ...]:
    of_fits = (sentence for fit in fits.values() for sentence in fit.record.remarks)
    return (*of_fits, *(warning for step in steps for warning in step.warnings))


def _ran_on(steps: Sequence[StepResult], devices: WorkerDevices) -> str:
    """Where the well's functions ran; several devices are joined by commas."""
    return ", ".join(dict.fromkeys(name for step in steps for name in step.device.split(", "))) or devices.label


def _sentence(well: str, error: Exception) -> str:
    """What a person reads; every sentence names the well."""
    if isinstance(error, OSError) and is_system_error(error) and not isinstance(error, OpenHCSError):
        text = _encodable(f"{explained_with_file(error)}.")
    else:
        text = _encodable(str(error) if isinstance(error, OpenHCSError) else f"{type(error).__name__}: {error}")
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … ({len(text)} letters; see the log)"
    return shown if shown.startswith(f"Well {well}") else f"Well {well}: {shown}"


def _encodable(text: str) -> str:
    """The text without lone surrogates, which a user's message may hold and neither file nor pipe takes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def with_files_of_now(context: ProcessingContext, raw: ArrayListing) -> tuple[ProcessingContext, tuple[str, ...]]:
    """The context with the sizes and times that its raw files and chunks have now, and a note if they changed.

    A mended file may be run again without a new plan; the well must then carry the fingerprint of what was read.
    """
    planes = tuple(as_it_is_now(plane, raw) for plane in context.index)
    changed = sum(1 for now, planned in zip(planes, context.index, strict=True) if now is not planned)
    if not changed:
        return context, ()
    note = f"{changed} raw files changed after the plate was read; the fingerprint is that of what was read now"
    return replace(context, index=ImageIndex(planes)), (note,)


def as_it_is_now(plane: ImagePlane, raw: ArrayListing) -> ImagePlane:
    """The plane with the size and time that its file, and the chunks of its array, have now."""
    if not plane.present or plane.path is None:
        return plane
    try:
        if plane.array_index is None:
            size, mtime_ns = raw.stamp_of(plane.path)
            chunks = plane.chunks
        else:
            array = raw.of(plane.path)
            size, mtime_ns = array.metadata or plane.stamp
            chunks = array.digest if plane.chunks else plane.chunks  # a plan of the first law followed none
    except OSError:
        return plane  # reading it will say why
    if (size, mtime_ns, chunks) == (*plane.stamp, plane.chunks):
        return plane
    return plane.replace(size=size, mtime_ns=mtime_ns, chunks=chunks)


def refuse_damaged_well(context: ProcessingContext) -> None:
    """PlateError if the plate's metadata of the well cannot be used."""
    for well, reason in context.plate.damaged_wells:
        if well == context.well:
            raise PlateError(f"Well {well}: {reason} Copy the well again, then compile the plate again.")


def note_passed_steps(context: ProcessingContext) -> tuple[str, ...]:
    """Steps that do not apply to the well, as notes of the result."""
    passed = [step for step in context.steps if not step.applies_to(context.well)]
    return tuple(
        f'step {step.number} "{step.name}" is for other wells and passed its planes unchanged' for step in passed
    )


def note_missing_planes(context: ProcessingContext) -> tuple[str, ...]:
    """What is done about planes that the well lacks, as notes of the result.

    Raises
    ------
    PlateError
        If nothing shall be done about declared ones: a shorter stack would be another result, so the well fails.
    """
    if not len(context.index.missing()):
        return context.gaps
    declared, *others = context.gaps
    if context.on_missing is OnMissing.ERROR:
        raise PlateError(
            f"Well {context.well}: {declared}. Copy them, or run with --on-missing skip (shorter stacks) or blank "
            "(zeros)."
        )
    done = "they were left out" if context.on_missing is OnMissing.SKIP else "zeros stand in for them"
    return (f"{declared}; {done}", *others)


def _look_at_images(index: ImageIndex, intermediates: StorageBackend) -> Iterator[tuple[ImageKey, Array]]:
    """Planes of a step that the next one needs, too."""
    for plane in index:
        yield plane.key, intermediates.load(str(plane.path))


def _take_images(index: ImageIndex, intermediates: StorageBackend) -> Iterator[tuple[ImageKey, Array]]:
    """Planes of the last step, one after another, each leaving its backend as it is handed over."""
    for plane in index:
        (array,) = take_planes(intermediates, [plane])
        yield plane.key, array


__all__ = [
    "RunInfo",
    "as_it_is_now",
    "note_missing_planes",
    "note_passed_steps",
    "refuse_damaged_well",
    "run_well",
    "with_files_of_now",
]
