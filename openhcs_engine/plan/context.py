"""The frozen products of compilation: what will happen to each well, completely and unchangeably.

Values here are deeply immutable, hashable, picklable and JSON-able; ``plan_document`` writes and reads their JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeAlias, TypedDict

import msgspec

from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.files.address import is_remote
from openhcs_engine.laws import now, one
from openhcs_engine.model.components import Component
from openhcs_engine.model.digest import canonical_json, digest
from openhcs_engine.model.image_index import ImageIndex, ImagePlane, OnMissing, PlaneKind
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.wording import listed_first
from openhcs_engine.ngff.options import DEFAULT_OPTIONS, ImageOptions
from openhcs_engine.plan.fit import FitPlan, FitStep
from openhcs_engine.plan.function_call import FunctionCall, UsedFile, call_that_counts
from openhcs_engine.vfs.intermediates import ScratchPlan

COORDINATES: Final = "coordinates"
"""The parameter in which functions that declare it are given the coordinates of the planes of their stack."""

CPU: Final = "cpu"
"""The logical device that every host has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The calls for one value of ``group_by``."""

    key: int | None
    """Value of the grouping component; None: for every stack."""
    calls: tuple[FunctionCall, ...]
    """In order; each takes what the one before returned."""

    @property
    def is_lazy(self) -> bool:
        """True if its functions read the planes of a stack one by one."""
        return bool(self.calls) and all(call.lazy for call in self.calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaterializePlan:
    """What a step leaves, kept as an image set of its own."""

    sub_folder: str
    """``<sub_folder>.zarr/`` or ``<sub_folder>/`` in the plate's output folder."""
    backend: str
    """``zarr`` or ``disk``."""
    wells: tuple[str, ...] | None = None
    """None: all wells that the step applies to."""

    @property
    def place(self) -> str:
        """Name of its folder, relative to the plate's output folder."""
        return f"{self.sub_folder}.zarr" if self.backend == "zarr" else self.sub_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """One step, decided."""

    number: int
    """Position, counted from 1."""
    name: str
    variable_components: tuple[Component, ...]
    """Axes along which its stacks run, the first slowest."""
    group_by: Component | None
    """Component that picks the route; None: all stacks take the only route."""
    routes: tuple[Route, ...]
    uncovered: str = "error"
    """What happens to stacks without a route: ``error``, ``pass`` (unchanged) or ``drop``."""
    from_start: bool = False
    """True: reads the plate again instead of the step before."""
    reads: str = "memory"
    """Backend of its input: ``source`` (the raw plate) or the intermediates' backend."""
    writes: str = "memory"
    """Backend of its output: the intermediates' backend, or ``output`` (the plate store)."""
    wells: tuple[str, ...] | None = None
    """Wells that it applies to; the others pass it unchanged. None: all."""
    materialize: MaterializePlan | None = None
    """Where its planes are kept, too; None: nowhere."""

    def applies_to(self, well: str) -> bool:
        """False for a well that passes the step unchanged."""
        return self.wells is None or well in self.wells

    def materialized(self, well: str) -> MaterializePlan | None:
        """Where the step's planes of a well are kept; None: nowhere."""
        plan = self.materialize
        if plan is None or not self.applies_to(well):
            return None
        return plan if plan.wells is None or well in plan.wells else None

    def route(self, value: int | None) -> Route | None:
        """The route of a stack whose grouping component is ``value``; None if the pattern does not cover it."""
        return next((route for route in self.routes if route.key is None or route.key == value), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPlan:
    """Where results go. Not part of any fingerprint."""

    root: str
    """The output directory, absolute, or its URL; the plate gets ``root/plate_id``."""
    plate_id: str
    backend: str
    """``zarr`` or ``disk``."""
    fsync: bool = False
    """True: a well is on the disk, not only in the computer's memory, before it counts as published."""
    pipeline: str = ""
    """Name of the pipeline, for people."""
    images: ImageOptions = DEFAULT_OPTIONS
    """How OME-Zarr images are stored."""
    scratch: ScratchPlan = ScratchPlan()  # noqa: RUF009 # it is frozen
    """Where planes are kept between a well's steps."""

    @property
    def address(self) -> str:
        """The plate's own output: a folder, or a URL."""
        return f"{self.root.rstrip('/')}/{self.plate_id}" if is_remote(self.root) else str(self.folder)

    @property
    def folder(self) -> Path:
        """The plate's own output folder; OutputPlaceError if it is behind a URL, where only ``address`` leads."""
        if is_remote(self.root):
            raise OutputPlaceError(
                f"{self.address} is a URL, and what is asked for here needs a folder of this host or of a network "
                "drive; copy the plate, or choose such an output.",
                path=self.address,
            )
        return Path(self.root) / self.plate_id


StagePosition: TypeAlias = tuple[int, float, float]
"""A site, and y and x of its image's centre in µm, in the plate's stage frame."""

FileRow: TypeAlias = tuple[
    int | None, int | None, int | None, int | None, str | None, PlaneKind, bool, int, int, tuple[int, ...] | None
]

ArrayRow: TypeAlias = tuple[
    int | None, int | None, int | None, int | None, str | None, PlaneKind, bool, int, int, tuple[int, ...] | None, str
]


class _PlatePart(TypedDict):
    planes: Sequence[FileRow | ArrayRow]
    on_missing: OnMissing
    channels: list[tuple[int, str | None]]
    pixel_size_um: float | None


@dataclass(frozen=True, slots=True)
class ProcessingContext:
    """Everything that will happen to one well."""

    well: str
    plate: Plate
    steps: tuple[StepPlan, ...]
    index: ImageIndex
    """The well's planes as they enter step 1, those that are missing included; all of them stamped."""
    output: OutputPlan
    versions: tuple[str, ...]
    """``distribution==version`` of the packages that make pixels."""
    pipeline_digest: str
    """Digest of the pipeline that made it; executing with another pipeline is refused."""
    on_missing: OnMissing = OnMissing.ERROR
    """What happens if declared planes have no file."""
    stage_um: tuple[StagePosition, ...] = ()
    """Where the stage stood, of the well's sites; empty unless a function takes ``stage_positions``."""
    devices: tuple[str, ...] = ()
    """Logical device of each step (``cpu``, ``gpu:0``, ``gpu:1`` …); empty: all on the CPU. The pool maps them to real
    devices at run time."""
    law: int = now.LAW
    """Number of the law by which its fingerprint is made: that of the version which compiled it."""

    beyond_plan: int = 0
    """Planes that the well lacks and that ``index`` has no row for, so that ``on_missing`` does not concern them: of
    what no well of the plate has, and of what only other wells let expect. Results say that they are missing."""
    fits: tuple[FitPlan, ...] = ()
    """What is fitted once for the whole plate."""

    _fingerprint: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        assert all(plane.is_stamped for plane in self.index), f"well {self.well} has planes without size and time"

    @property
    def calls(self) -> tuple[FunctionCall, ...]:
        """All calls of the plan, CPU twins too; also those of steps that do not apply to this well."""
        calls = (call for step in self.steps for route in step.routes for call in route.calls)
        return tuple(each for call in calls for each in (call, call.cpu_twin) if each is not None)

    def device_of(self, step: StepPlan) -> str:
        """Logical device of a step."""
        return self.devices[step.number - 1] if self.devices else CPU

    @property
    def missing_planes(self) -> int:
        """Planes that the well lacks, all told; with any, its result has gaps."""
        return len(self.index.missing()) + self.beyond_plan

    @property
    def gaps(self) -> tuple[str, ...]:
        """What a result of the well lacks, as sentences; empty if nothing."""
        missing = self.index.missing().planes
        sentences = []
        if missing:
            shown = listed_first((plane.key.inside_well for plane in missing), 3, "; ")
            sentences.append(f"{len(missing)} of {len(self.index)} declared planes have no file ({shown})")
        if self.beyond_plan:
            count = f"{self.beyond_plan} {'plane' if self.beyond_plan == 1 else 'planes'}"
            sentences.append(
                f"{count} of the well {'is' if self.beyond_plan == 1 else 'are'} missing that no step waited for: no "
                "well has the channel or z, or only other wells do; the plate's warnings and notes say which"
            )
        return tuple(sentences)

    @property
    def own_steps(self) -> tuple[StepPlan, ...]:
        """The steps that apply to this well; the first of them reads the plate."""
        own = [step for step in self.steps if step.applies_to(self.well)]
        return tuple(replace(step, reads="source") if step is own[0] else step for step in own)

    @property
    def own_fits(self) -> tuple[FitPlan, ...]:
        """The fits that functions of this well's steps are given."""
        if not self.fits:
            return ()
        own = [step for step in self.steps if step.applies_to(self.well)]
        calls = [call for step in own for route in step.routes for call in route.calls]
        taken = {each.name for call in calls for each in call.side_inputs if not each.sources}
        return tuple(plan for plan in self.fits if plan.name in taken)

    @property
    def fingerprint(self) -> str:
        """sha256 of what determines the well's results: steps, parameters, sources, versions, and its plane table.

        So are the fits that its functions are given.

        Of a step for some wells only whether it applies to this one is in it. Devices, workers, runner, the output's
        backend and output, absolute paths, the pipeline's name and the version of this product are not in it.
        """
        if not self._fingerprint:
            self.settle(SharedSteps(self.steps, self.law))
        return self._fingerprint

    def settle(self, shared: SharedSteps) -> None:
        """Compute the fingerprint, once and never another; ``shared`` are its own steps, by its own law."""
        of_plate: _PlatePart = {
            # The first law knew of an array nothing but its metadata.
            "planes": [*map(_file_row if self.law == one.LAW else _row, self.index)],
            "on_missing": self.on_missing,
            "channels": [(channel.index, channel.name) for channel in self.plate.channels],
            "pixel_size_um": self.plate.pixel_size_um,
        }
        steps = shared.pixels_of(self.well)
        if self.law == one.LAW:
            found = one.fingerprint(steps=steps, versions=self.versions, stage_um=self.stage_um, **of_plate)
        else:
            more: dict[str, object] = {"stage_um": self.stage_um} if self.stage_um else {}
            if own_fits := self.own_fits:
                more["fits"] = {plan.name: plan.fingerprint for plan in own_fits}
            versions = now.without_product(self.versions)
            found = digest({"law": self.law, "steps": steps, "versions": versions, **of_plate, **more})
        object.__setattr__(self, "_fingerprint", found)

    def __hash__(self) -> int:
        return hash(self.fingerprint)


def plan_fingerprint(contexts: Iterable[ProcessingContext]) -> str:
    """Fingerprint of a whole plan: a hash over its wells'."""
    wells = tuple(contexts)
    shared: dict[tuple[int, int], SharedSteps] = {}
    for context in wells:
        if not context._fingerprint:
            same = id(context.steps), context.law
            if same not in shared:
                shared[same] = SharedSteps(context.steps, context.law)
            context.settle(shared[same])
    return digest({context.well: context.fingerprint for context in wells})


class SharedSteps:
    """What steps make of the wells of a plan, as JSON: written once for all wells that they treat alike."""

    def __init__(self, steps: tuple[StepPlan, ...], law: int) -> None:
        self.steps = steps
        self.law = law
        self.filters = [
            frozenset(wells)  # 1,536 wells are searched in a set and not in a tuple
            for step in steps
            for wells in (step.wells, step.materialize.wells if step.materialize else None)
            if wells is not None
        ]
        self.written: dict[tuple[bool, ...], msgspec.Raw] = {}

    def pixels_of(self, well: str) -> msgspec.Raw:
        """The JSON of ``pixels_of_steps``, as the law writes it."""
        alike = tuple([well in wells for wells in self.filters])
        if alike not in self.written:
            steps = pixels_of_steps(self.steps, well)
            self.written[alike] = one.steps_json(steps) if self.law == one.LAW else _steps_json(steps)
        return self.written[alike]


def _steps_json(steps: Iterable[StepPlan]) -> msgspec.Raw:
    return msgspec.Raw(canonical_json(now.worded([with_calls(step, call_that_counts) for step in steps])))


def with_calls(step: StepPlan, change: Callable[[FunctionCall], FunctionCall]) -> StepPlan:
    """The step with each of its calls, CPU twins too, changed."""

    def changed(call: FunctionCall) -> FunctionCall:
        return change(replace(call, cpu_twin=call.cpu_twin and change(call.cpu_twin)))

    routes = tuple(replace(route, calls=tuple(map(changed, route.calls))) for route in step.routes)
    return replace(step, routes=routes)


def steps_digest(steps: tuple[StepPlan, ...], law: int = now.LAW, fits: Iterable[FitStep] = ()) -> str:
    """Digest of what a pipeline does, as a law writes it; backends left out."""
    done = [
        replace(step, reads="", writes="", materialize=step.materialize and replace(step.materialize, backend=""))
        for step in steps
    ]
    if fitted := list(fits):
        return digest({"steps": now.worded(done), "fits": now.worded(fitted)})
    return one.steps_digest(done) if law == one.LAW else digest(now.worded(done))


def pixels_of_steps(steps: tuple[StepPlan, ...], well: str) -> list[StepPlan]:
    """What the steps that apply to a well make of it.

    They are counted anew, so that a step for other wells changes nothing.
    """
    own = [step for step in steps if step.applies_to(well)]
    counted = {step.number: position for position, step in enumerate(own, 1)}
    return [_counted_anew(pixels_of(step, well), counted) for step in own]


def _counted_anew(step: StepPlan, counted: Mapping[int, int]) -> StepPlan:
    if all(number == position for number, position in counted.items()):
        return step
    return replace(with_calls(step, lambda call: _call_anew(call, counted)), number=counted[step.number])


def _call_anew(call: FunctionCall, counted: Mapping[int, int]) -> FunctionCall:
    """The call with the steps counted anew that make what it is given; those for other wells never made it any."""
    inputs = tuple(
        replace(
            wanted,
            sources=tuple(replace(made, step=counted[made.step]) for made in wanted.sources if made.step in counted),
        )
        for wanted in call.side_inputs
    )
    return replace(call, side_inputs=inputs)


def pixels_of(step: StepPlan, well: str) -> StepPlan:
    """What a step makes of a well. An image set of its own is part of it, too: only a run can fill it.

    Its name is part of it where the output shows it: the one plane of all channels is called as the step that made it.
    """
    materialized = step.materialized(well)
    name = step.name if Component.CHANNEL in step.variable_components else ""
    return replace(
        step, name=name, reads="", writes="", wells=None, materialize=materialized and replace(materialized, wells=None)
    )


def _row(plane: ImagePlane) -> FileRow | ArrayRow:
    """What a fingerprint covers of a plane; ``chunks`` stands in those of arrays alone, so that files keep theirs."""
    row = _file_row(plane)
    return (*row, plane.chunks) if plane.chunks else row


def _file_row(plane: ImagePlane) -> FileRow:
    key = plane.key
    return (
        key.site, key.channel, key.z_index, key.timepoint,
        plane.path, plane.kind, plane.present, *plane.stamp, plane.array_index,
    )  # fmt: skip


__all__ = [
    "FitPlan",
    "FitStep",
    "FunctionCall",
    "MaterializePlan",
    "OutputPlan",
    "ProcessingContext",
    "Route",
    "StepPlan",
    "UsedFile",
    "pixels_of",
    "plan_fingerprint",
    "steps_digest",
]
