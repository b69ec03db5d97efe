"""The passes in order: wells → steps → freeze; all violations at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from openhcs_engine.compiler.artifacts import (
    ArtifactLinks,
    sites_without_position,
    stage_positions,
    takes_stage_positions,
)
from openhcs_engine.compiler.contracts import check_pixel_types
from openhcs_engine.compiler.devices import assign_devices, offer_devices
from openhcs_engine.compiler.fits import choose_samples, compile_fits, notes_on_fits
from openhcs_engine.compiler.functions import FunctionTable
from openhcs_engine.compiler.materialized_planes import MaterializedPlanes, check_stored_pixels
from openhcs_engine.compiler.steps import StepCompiler
from openhcs_engine.compiler.wells import select_wells, wells_without_images, wells_without_steps
from openhcs_engine.errors import CompilationError, OptionError, PlateError, Violation
from openhcs_engine.laws import now
from openhcs_engine.memory.devices import Device, DevicePolicy, Inventory
from openhcs_engine.memory.packages import versions_of
from openhcs_engine.memory.types import MemoryType
from openhcs_engine.model.artifacts import PLATE_VALUES, PlateValue
from openhcs_engine.model.completeness import missing_planes
from openhcs_engine.model.image_index import ImageIndex, OnMissing, Projections
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.well_filter import WellFilter
from openhcs_engine.model.wording import listed_first
from openhcs_engine.pipeline.pipeline import Pipeline, PipelineStep
from openhcs_engine.pipeline.plate_step import PlateStep
from openhcs_engine.pipeline.step import FunctionStep
from openhcs_engine.plan.calls import calls_of
from openhcs_engine.plan.context import FunctionCall, OutputPlan, ProcessingContext, StepPlan, steps_digest
from openhcs_engine.plan.fit import FitPlan, FitStep
from openhcs_engine.plan.flow import StepStacks, flows_through, planes_that_enter
from openhcs_engine.raw.array_listing import ArrayListing
from openhcs_engine.raw.stamps import stamp
from openhcs_engine.uses.packages import package_version
from openhcs_engine.vfs.intermediates import MEMORY, ScratchPlan

_PIXEL_PACKAGES = ("openhcs_engine", "numpy", "tifffile", "imagecodecs")
"""What every well's pixels pass through; the functions' own packages are in their calls."""


@dataclass(frozen=True, slots=True)
class Compilation:
    """Contexts, and the functions they name for runs inside this process."""

    contexts: dict[str, ProcessingContext]
    functions: FunctionTable
    notes: tuple[str, ...] = ()
    """What a person should know of the plan: steps left out, functions without a decorator or that live only in this
    process, steps that stay on the CPU."""


def compile_plate(
    plate: Plate,
    index: ImageIndex,
    pipeline: Pipeline | Sequence[PipelineStep],
    *,
    output: OutputPlan,
    well_filter: WellFilter = None,
    projections: Projections = Projections.FALLBACK,
    on_missing: OnMissing = OnMissing.ERROR,
    devices: Sequence[Device] | Inventory | None = None,
    device_policy: DevicePolicy = DevicePolicy.AUTO,
    cpu_builds: Callable[[], Mapping[MemoryType, str]] = dict,
    plate_values: Mapping[str, PlateValue] = PLATE_VALUES,
    locate: Callable[[], ImageIndex] | None = None,
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
        None (all wells), names or patterns (``row:A``, ``col:01-06``, ``A01:B06``, ``not:A03``) in a list or separated
        by commas, or a number: the first so many wells.
    projections
        Whether the instrument's own projections enter the pipeline.
    on_missing
        What happens to wells with declared planes that have no file. Whole channels that no well has, and planes that
        only other wells let expect, are named in the results and stop no well.
    devices
        What steps may be planned for: devices, or an inventory, which is asked only if a function could use a GPU.
        None: this host's CPU.
    device_policy
        Which of them a run may use.
    cpu_builds
        Finds the libraries that cannot use a GPU as they are installed here, as ``memory.packages.cpu_builds`` does;
        asked only if there is a GPU. Default: none is known.
    plate_values
        What functions may be given of the plate, by the name of their special input.
    locate
        Gives the index with stage positions; asked only if a function takes them. Default: those of ``index``.

    Raises
    ------
    PlateError
        If the folder holds metadata only, so that there is no image to process, or if an image is gone since the plate
        was read.
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
    wrong_steps: list[Violation] = []
    fit_steps = compile_fits(plate, pipeline, table, plate_values, violations)
    steps = compile_steps(
        plate,
        pipeline,
        table,
        wrong_steps,
        backend=output.backend,
        intermediates=output.scratch.backend,
        plate_values=plate_values,
        fits=fit_steps,
    )
    violations += wrong_steps
    violations += check_scratch(output.scratch, plate)
    entering = index.pipeline_input(projections)
    samples = choose_samples(fit_steps, plate, entering, violations)
    by_well = {well: entering.for_well(well) for well in wells}
    violations += wells_without_images(by_well, projections)
    violations += wells_without_steps(wells, steps)
    sound = _sound(steps, wrong_steps)
    flows = flows_through(plate, sound, {well: planes_that_enter(by_well[well], on_missing) for well in by_well})
    seen = {id(flow): tuple(step.stacks for step in flow) for flow in flows.values()}
    stacks = {well: seen[id(flow)] for well, flow in flows.items()}
    violations += _impossible_pixels(sound, stacks)
    violations += check_stored_pixels(sound, stacks.values(), output.backend)
    positions = stage_positions(locate() if locate else index, wells) if takes_stage_positions(steps) else {}
    violations += sites_without_position(steps, by_well, positions)
    wrong_numbers = {violation.step_number for violation in wrong_steps}
    right = tuple(step for step in steps if step.number not in wrong_numbers)
    offer = offer_devices(right, devices, device_policy, cpu_builds)
    assignment = assign_devices(right, _stacks_of(right, stacks), offer)
    violations += assignment.violations
    if violations:
        raise CompilationError.of(tuple(violations))
    arrays = ArrayListing(plate.root)
    stamped = {well: stamp(by_well[well], plate.root, arrays) for well in wells}
    plate = replace(plate, warnings=(*plate.warnings, *arrays.unstored_parts()))
    versions = _versions(calls_of(steps))
    made_by = steps_digest(steps, fits=fit_steps)
    fits = tuple(
        FitPlan(step, stamp(sample, plate.root, arrays), now.without_product(_versions([step.call])))
        for step, sample in zip(fit_steps, samples, strict=True)
    )
    missing, waited_for = missing_planes(plate, index), index.without(index.plate_gaps()).missing()
    contexts = {
        well: ProcessingContext(
            well=well,
            plate=plate,
            steps=steps,
            index=stamped[well],
            output=output,
            versions=versions,
            pipeline_digest=made_by,
            on_missing=on_missing,
            stage_um=positions.get(well, ()),
            devices=assignment.devices[well],
            beyond_plan=len(missing.for_well(well)) - len(waited_for.for_well(well)),
            fits=fits,
        )
        for well in wells
    }
    notes = (
        *_disabled(pipeline),
        *notes_on_fits(fits, steps),
        *_undeclared(steps),
        *_only_here(steps),
        *_unfollowed(steps),
        *assignment.notes,
    )
    return Compilation(contexts, table, notes)


def _sound(steps: tuple[StepPlan, ...], wrong: Sequence[Violation]) -> tuple[StepPlan, ...]:
    """The steps before the first one that is refused: what enters those behind it is unknown."""
    first_wrong = min((violation.step_number or 0 for violation in wrong), default=len(steps) + 1)
    return tuple(step for step in steps if step.number < first_wrong)


def _stacks_of(
    steps: Sequence[StepPlan], stacks: Mapping[str, tuple[StepStacks, ...]]
) -> dict[str, tuple[StepStacks, ...]]:
    """The stacks of more steps: of those behind the first wrong one none is known, but whether they need a GPU is."""
    longer = {id(of_well): (*of_well, *({} for _ in steps[len(of_well) :])) for of_well in stacks.values()}
    return {well: longer[id(of_well)] for well, of_well in stacks.items()}


def _impossible_pixels(steps: tuple[StepPlan, ...], stacks: Mapping[str, tuple[StepStacks, ...]]) -> list[Violation]:
    different = {id(of_well): of_well for of_well in stacks.values()}.values()
    return list(dict.fromkeys(found for of_well in different for found in check_pixel_types(steps, of_well)))


def _versions(calls: Iterable[FunctionCall]) -> tuple[str, ...]:
    """Versions of the packages that make pixels: the engine's own, and the libraries that functions speak."""
    spoken = {MemoryType(name) for call in calls for name in (call.input_type, call.output_type)}
    own = filter(None, (package_version(package) for package in _PIXEL_PACKAGES))
    libraries = (version for spoke in sorted(spoken - {MemoryType.NUMPY}) for version in versions_of(spoke))
    return (*own, *libraries)


def _undeclared(steps: tuple[StepPlan, ...]) -> list[str]:
    """A sentence for each function without a decorator."""
    calls = (call for step in steps for route in step.routes for call in route.calls)
    plain = {call.reference: None for call in calls if not call.declared}  # twins promise what their function does
    return [
        f"{reference} has no decorator and counts as a NumPy function; put @numpy from openhcs_engine.memory on it."
        for reference in plain
    ]


def _only_here(steps: tuple[StepPlan, ...]) -> list[str]:
    """A sentence for each function that no other process can import."""
    calls = (call for step in steps for route in step.routes for call in route.calls)
    local = {call.reference: None for call in calls if not call.importable}
    return [
        f"{reference} can be found in this process only (it belongs to a notebook, to __main__ or to another "
        "function, or its module has something else by that name), so the wells run in threads: slower, and a crash "
        "ends all of them. Put it into a module."
        for reference in local
    ]


def _unfollowed(steps: tuple[StepPlan, ...]) -> Iterator[str]:
    """A sentence for each step with what its functions use and nobody can follow; each thing is named once."""
    named = set[str]()
    for step in steps:
        calls = (each for route in step.routes for call in route.calls for each in (call, call.cpu_twin))
        names = [name for call in calls if call is not None for name in call.unfollowed if name not in named]
        names = list(dict.fromkeys(names))
        named.update(names)
        if names:
            yield (
                f"Step {step.number} {step.name!r} uses what no fingerprint follows, so that a change there makes no "
                f"well stale: {listed_first(names)}. Give it as a parameter, or as a number, "
                "text, list, dict or array of a module."
            )


def _disabled(pipeline: Sequence[PipelineStep]) -> Iterator[str]:
    """A sentence for each step that was left out."""
    return (
        f"Step {step.name!r} (item {item} of the pipeline) is disabled and left out."
        for item, step in enumerate(pipeline, start=1)
        if isinstance(step, FunctionStep | PlateStep) and step.enabled is False
    )


def compile_steps(
    plate: Plate,
    pipeline: Sequence[PipelineStep],
    table: FunctionTable,
    violations: list[Violation],
    *,
    backend: str,
    intermediates: str = MEMORY,
    plate_values: Mapping[str, PlateValue] = PLATE_VALUES,
    fits: Sequence[FitStep] = (),
) -> tuple[StepPlan, ...]:
    """Plans of all steps that are enabled, counted from 1; what is wrong joins ``violations``."""
    steps = _steps_of(pipeline, violations)
    table.follow(steps)
    able = {fit.name: fit for fit in fits}
    artifacts = ArtifactLinks(plate, plate_values, able, _plate_step_names(pipeline) - able.keys())
    compiler = StepCompiler(plate, table, MaterializedPlanes(plate, backend), artifacts, violations, intermediates)
    compiled = tuple(
        compiler.compile(number, step, last=number == len(steps)) for number, step in enumerate(steps, start=1)
    )
    artifacts.finish(compiler.collapses)
    return compiled


def _plate_step_names(pipeline: object) -> frozenset[str]:
    steps = pipeline if isinstance(pipeline, Sequence) else ()
    return frozenset(str(step.name) for step in steps if isinstance(step, PlateStep) and step.enabled is not False)


def _steps_of(pipeline: object, violations: list[Violation]) -> list[FunctionStep]:
    """The steps of a pipeline that are enabled, or why it is none."""
    if not isinstance(pipeline, Sequence) or isinstance(pipeline, str):
        what = "None" if pipeline is None else f"a {type(pipeline).__name__}"
        message = f"A pipeline is a list of steps, but got {what}; give Pipeline([FunctionStep(…), …])."
        violations.append(Violation(message=message, key="pipeline"))
        return []
    for item, step in enumerate(pipeline, start=1):
        if not isinstance(step, FunctionStep | PlateStep):
            message = f"Item {item} of the pipeline is a {_kind(step)}, no FunctionStep; write FunctionStep(…)."
            violations.append(Violation(message=message, key=f"item {item}"))
    steps = [step for step in pipeline if isinstance(step, FunctionStep) and step.enabled is not False]
    if not pipeline:
        message = "The pipeline has no steps; add at least one FunctionStep."
        violations.append(Violation(message=message, key="pipeline"))
    elif not steps and any(isinstance(step, PlateStep) and step.enabled is not False for step in pipeline):
        message = "The pipeline has plate steps alone, which change no image; add at least one FunctionStep."
        violations.append(Violation(message=message, key="pipeline"))
    elif not steps and not violations:
        message = "Every step of the pipeline is disabled; enable at least one."
        violations.append(Violation(message=message, key="enabled"))
    return steps


def _kind(item: object) -> str:
    return f"class ({item.__name__})" if isinstance(item, type) else type(item).__name__


def pipeline_digest(
    plate: Plate,
    pipeline: Sequence[PipelineStep],
    *,
    backend: str = "zarr",
    plate_values: Mapping[str, PlateValue] = PLATE_VALUES,
    table: FunctionTable | None = None,
) -> str:
    """Digest of what a pipeline does on a plate, with results in a backend; equal to that in the contexts it made.

    A table, if one is given, gets the pipeline's functions.
    """
    violations: list[Violation] = []
    table = FunctionTable() if table is None else table
    fits = compile_fits(plate, pipeline, table, plate_values, violations)
    steps = compile_steps(plate, pipeline, table, violations, backend=backend, plate_values=plate_values, fits=fits)
    if violations:
        raise CompilationError.of(tuple(violations))
    return steps_digest(steps, fits=fits)


def check_scratch(plan: ScratchPlan, plate: Plate) -> list[Violation]:
    """Every reason why they cannot; the key is the option that is wrong."""
    return [
        Violation(message=str(fault), key=fault.option if isinstance(fault, OptionError) else "intermediates")
        for fault in plan.faults(plate.root)
    ]


__all__ = ["check_scratch"]
