"""The passes in order: wells → steps → freeze; all violations at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from openhcs_engine.compiler.functions import FunctionTable, package_version
from openhcs_engine.compiler.steps import StepCompiler
from openhcs_engine.compiler.wells import select_wells
from openhcs_engine.context import OutputPlan, ProcessingContext, StepPlan, digest
from openhcs_engine.errors import CompilationError, PlateError, Violation
from openhcs_engine.model.image_index import ImageIndex, OnMissing, Projections
from openhcs_engine.model.plate import Plate
from openhcs_engine.pipeline.pipeline import Pipeline
from openhcs_engine.pipeline.step import FunctionStep

_PIXEL_PACKAGES = ("openhcs_engine", "numpy", "tifffile", "imagecodecs")
"""What every well's pixels pass through; the functions' own packages are in their calls."""


@dataclass(frozen=True, slots=True)
class Compilation:
    """Contexts, and the functions they name for runs inside this process."""

    contexts: dict[str, ProcessingContext]
    functions: FunctionTable


def compile_plate(
    plate: Plate,
    index: ImageIndex,
    pipeline: Pipeline | Sequence[FunctionStep],
    *,
    output: OutputPlan,
    well_filter: str | Iterable[str] | None = None,
    projections: Projections = Projections.FALLBACK,
    on_missing: OnMissing = OnMissing.ERROR,
) -> Compilation:
    """Decide completely what will happen to each well. Reads no pixel, changes neither pipeline nor plate.

    Parameters
    ----------
    plate, index
        What the microscope left.
    pipeline
        The steps.
    output
        Where results go.
    well_filter
        None (all wells), names separated by commas, or a list of names.
    projections
        Whether the instrument's own projections enter the pipeline.
    on_missing
        What happens to wells with declared planes that have no file.

    Raises
    ------
    PlateError
        If the folder holds metadata only, so that there is no image to process.
    CompilationError
        If anything can be known to be wrong; it lists every violation.
    """
    if len(index) and not len(index.present()):
        raise PlateError(
            f"Plate {plate.plate_id} has metadata for {len(index)} planes, but none of their image files is in "
            f"{plate.root}; copy the images there."
        )
    wells, violations = select_wells(plate, well_filter)
    table = FunctionTable()
    steps = compile_steps(plate, pipeline, table, violations)
    if violations:
        raise CompilationError.of(tuple(violations))
    versions = tuple(filter(None, (package_version(package) for package in _PIXEL_PACKAGES)))
    made_by = pipeline_digest_of(steps)
    entering = index.pipeline_input(projections)
    violations += [
        Violation(message=f"Well {well} has no images left with projections={projections.value}.", key=well)
        for well in wells
        if not entering.for_well(well).planes
    ]
    if violations:
        raise CompilationError.of(tuple(violations))
    contexts = {
        well: ProcessingContext(
            well=well,
            plate=plate,
            steps=steps,
            index=entering.for_well(well),
            output=output,
            versions=versions,
            pipeline_digest=made_by,
            on_missing=on_missing,
        )
        for well in wells
    }
    return Compilation(contexts, table)


def compile_steps(
    plate: Plate, pipeline: Sequence[FunctionStep], table: FunctionTable, violations: list[Violation]
) -> tuple[StepPlan, ...]:
    """Plans of all steps; what is wrong joins ``violations``."""
    if not isinstance(pipeline, Sequence) or isinstance(pipeline, str):
        violations.append(Violation(message=f"A pipeline is a list of steps, not {type(pipeline).__name__}."))
        return ()
    if not pipeline:
        violations.append(Violation(message="The pipeline has no steps; add at least one FunctionStep."))
        return ()
    compiler = StepCompiler(plate, table, violations)
    plans = []
    for number, step in enumerate(pipeline, start=1):
        if isinstance(step, FunctionStep):
            plans.append(compiler.compile(number, step, last=number == len(pipeline)))
        else:
            violations.append(
                Violation(message=f"Item {number} of the pipeline is a {type(step).__name__}, no FunctionStep.")
            )
    return tuple(plans)


def pipeline_digest(plate: Plate, pipeline: Sequence[FunctionStep]) -> str:
    """Digest of what a pipeline does on a plate; equal to that in the contexts it made."""
    violations: list[Violation] = []
    steps = compile_steps(plate, pipeline, FunctionTable(), violations)
    if violations:
        raise CompilationError.of(tuple(violations))
    return pipeline_digest_of(steps)


def pipeline_digest_of(steps: tuple[StepPlan, ...]) -> str:
    """Digest of frozen steps, places and devices left out."""
    return digest([replace(step, reads="", writes="") for step in steps])
