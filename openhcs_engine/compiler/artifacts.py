"""Who makes the artifacts that each function takes: an earlier function, the plate, or the planes of its stack."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from openhcs_engine.compiler.arguments import StepArguments, plate_values
from openhcs_engine.compiler.collapses import Collapses, Drops, Reach
from openhcs_engine.compiler.violations import Complaints
from openhcs_engine.errors import Violation
from openhcs_engine.model.artifacts import (
    STACK_VALUES,
    STAGE_POSITIONS,
    WELLS_TABLE,
    ArtifactKind,
    ArtifactSource,
    PlateValue,
    SideInput,
    SideOutput,
)
from openhcs_engine.model.components import Component
from openhcs_engine.model.frozen import FrozenMap
from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.model.plate import Plate
from openhcs_engine.plan.calls import function_name
from openhcs_engine.plan.context import COORDINATES, FunctionCall, Route, StagePosition, StepPlan
from openhcs_engine.plan.fit import FitStep

_STORED_AS: Final = {
    ArtifactKind.TABLE: "table",
    ArtifactKind.MEASUREMENTS: "table",
    ArtifactKind.POSITIONS: "table",
    ArtifactKind.LABELS: "labels",
}
"""What the kinds are stored as; objects are not stored."""
_OF_OBJECTS: Final = frozenset({ArtifactKind.LABELS, ArtifactKind.MEASUREMENTS})
"""Kinds of which two may have one name, that of the objects; who takes it is given the labels."""
_PER_PLANE: Final = frozenset({ArtifactKind.POSITIONS, ArtifactKind.LABELS})
"""Kinds that hold something for each plane of a stack."""


@dataclass(frozen=True, slots=True)
class _Maker:
    """A call that makes an artifact, and for which planes."""

    output: SideOutput
    source: ArtifactSource
    reach: Reach
    step: str
    function: str


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An artifact that a call takes and nothing before its step provides."""

    call: FunctionCall
    name: str
    complain: Complaints


@dataclass(frozen=True, slots=True)
class _SiteLabels:
    """Labels that lie on the image of one site."""

    name: str
    function: str
    wells: frozenset[str]
    complain: Complaints


@dataclass(frozen=True, slots=True)
class StacksNow:
    """What the stacks of a step are, after all steps before it."""

    variable: tuple[Component, ...]
    """Axes along which they run."""
    collapses: Collapses
    drops: Drops
    ran_along: frozenset[Component]
    """Axes of which functions before may have left one plane without saying so."""


@dataclass(slots=True)
class ArtifactLinks:
    """Grows while the steps of one pipeline are compiled in order."""

    plate: Plate
    values: Mapping[str, PlateValue]
    """What functions may be given of the plate."""
    fits: Mapping[str, FitStep] = field(default_factory=dict)
    """What is fitted before its wells are run."""
    refused_fits: frozenset[str] = frozenset()
    """Names of plate steps that were refused themselves, so that who takes them is not refused, too."""
    makers: list[_Maker] = field(default_factory=list)
    wanted: list[_Wanted] = field(default_factory=list)
    labels: list[_SiteLabels] = field(default_factory=list)

    def link(
        self,
        routes: tuple[Route, ...],
        arguments: StepArguments,
        group_by: Component | None,
        stacks: StacksNow,
        complain: Complaints,
    ) -> tuple[Route, ...]:
        """The routes of a step with all artifacts that they take filled or linked; remembers what the step makes."""
        wells = arguments.of_plate(self.plate)
        linked = [self._route(route, Reach.of(wells, group_by, [route]), stacks, complain) for route in routes]
        made = [maker for _, made in linked for maker in made]
        self.makers += made
        if Component.SITE not in arguments.variable:
            self.labels += [
                _SiteLabels(maker.output.name, maker.function, maker.reach.wells, complain)
                for maker in made
                if maker.output.kind is ArtifactKind.LABELS and not stacks.collapses.by(Component.SITE, maker.reach)
            ]
        return tuple(route for route, _ in linked)

    def finish(self, collapses: Collapses) -> None:
        """Now that all steps are known, complain of inputs that nothing provides, and of labels without an image."""
        for each in self.wanted:
            each.complain(self._nothing_makes(each), each.name)
        for labels in self.labels:
            for axis, step, reach in collapses.known:
                if axis is Component.SITE and reach.keys is None and labels.wells <= reach.wells:
                    labels.complain(
                        f"{labels.function} makes the labels {labels.name!r} of single sites, but step {step!r} leaves "
                        "one image for all sites, so that they would lie on no image. Find the objects behind that "
                        "step, or end the pipeline before it.",
                        labels.name,
                    )
                    break

    def _route(self, route: Route, reach: Reach, stacks: StacksNow, complain: Complaints) -> tuple[Route, list[_Maker]]:
        made: list[_Maker] = []
        calls = []
        for position, call in enumerate(route.calls):
            calls.append(self._call(call, [*self.makers, *made], reach, stacks, complain))
            source = ArtifactSource(step=complain.number, route=route.key, call=position)
            for output in call.side_outputs:
                if output.kind is ArtifactKind.MEASUREMENTS and output.name.lower() == WELLS_TABLE:
                    complain(
                        f"{function_name(call)} makes the measurements {output.name!r}, but the table {WELLS_TABLE!r} "
                        "summarises all measurements; give them another name.",
                        output.name,
                    )
                self._refuse_second(output, reach, function_name(call), [*self.makers, *made], complain)
                made.append(_Maker(output, source, reach, complain.name, function_name(call)))
        return replace(route, calls=tuple(calls)), made

    def _refuse_second(
        self, output: SideOutput, reach: Reach, function: str, makers: Iterable[_Maker], complain: Complaints
    ) -> None:
        if output.name in self.fits:
            complain(
                f"{function} makes {output.name!r}, which is fitted once a plate, too; give one of them another name.",
                output.name,
            )
        for maker in makers:
            kinds = {maker.output.kind, output.kind}
            if kinds == _OF_OBJECTS:
                continue
            if ArtifactKind.MEASUREMENTS in kinds and (wells := _wells_table(maker.output, output)) is not None:
                complain(
                    f"{function} makes {output.name!r}, {_call_of(maker)} makes {maker.output.name!r}, and the table "
                    f"{WELLS_TABLE!r} summarises all measurements; give {wells!r} another name.",
                    wells,
                )
                return
            if maker.output.name != output.name:
                if _are_stored_as_one(maker.output, output):
                    complain(
                        f"{function} makes {output.name!r}, which differs from {maker.output.name!r} of "
                        f"{_call_of(maker)} in upper and lower case only; many file systems see one name, so give one "
                        "of them another.",
                        output.name,
                    )
                    return
                continue
            if maker.output.kind is not output.kind:
                complain(
                    f"{function} makes {output.name!r} as {output.kind}, but {_call_of(maker)} makes it as "
                    f"{maker.output.kind}; give one of them another name.",
                    output.name,
                )
                return
            if maker.reach.meets(reach):
                complain(
                    f"{function} makes {output.name!r}, which {_call_of(maker)} makes of the same planes, too; "
                    "give one of them another name, or let them work on different channels or wells.",
                    output.name,
                )
                return

    def _call(
        self, call: FunctionCall, makers: Sequence[_Maker], reach: Reach, stacks: StacksNow, complain: Complaints
    ) -> FunctionCall:
        values, inputs = call.kwargs.thaw(), list[SideInput]()
        for wanted in call.side_inputs:
            able = _able(makers, wanted.name, reach)
            if able:
                self._check_link(call, wanted.name, able, reach, stacks, complain)
                inputs.append(replace(wanted, sources=tuple(maker.source for maker in able), optional=False))
            elif wanted.name in self.fits:
                self._check_fit(call, self.fits[wanted.name], reach, stacks, complain)
                inputs.append(replace(wanted, optional=False))
            elif wanted.name in self.refused_fits:
                inputs.append(replace(wanted, optional=False))
            elif wanted.name in STACK_VALUES:
                self._refuse_batches(call, wanted.name, complain)
                inputs.append(replace(wanted, optional=False))
            elif wanted.name in self.values:
                values |= self._of_plate(call, wanted, complain)
            elif wanted.name == COORDINATES:
                complain(
                    f"{function_name(call)} takes coordinates as a special input; declare coordinates=True in its "
                    "memory decorator instead, as in @numpy(coordinates=True).",
                    wanted.name,
                )
            elif not wanted.optional:
                self.wanted.append(_Wanted(call, wanted.name, complain))
        return with_inputs(call, FrozenMap.of(values), tuple(inputs))

    def _check_link(
        self,
        call: FunctionCall,
        name: str,
        makers: Sequence[_Maker],
        reach: Reach,
        stacks: StacksNow,
        complain: Complaints,
    ) -> None:
        if any(maker.output.kind in _PER_PLANE for maker in makers):
            self._refuse_batches(call, name, complain)
        left = reach.wells.difference(*(maker.reach.wells for maker in makers))
        if left:
            shown = next(well for well in self.plate.wells if well in left)
            complain(
                f"{function_name(call)} takes {name!r}, which {_call_of(makers[0])} makes, but not for well "
                f"{shown}; let both steps apply to the same wells.",
                name,
            )
        elif (missing := self._missing_value(makers, reach, stacks)) is not None:
            complain(
                f"{function_name(call)} takes {name!r}, which {_call_of(makers[0])} makes, but not for {missing}; let "
                "it be made of all, or take it for the same keys of func={…} only.",
                name,
            )

    def _missing_value(self, makers: Sequence[_Maker], reach: Reach, stacks: StacksNow) -> str | None:
        """A value of the makers' ``group_by`` that they leave out, and of which the taker has stacks of its own.

        Positions and labels lie on the field: those of one channel serve the others.
        """
        component = makers[0].reach.group_by
        if component is None or any(
            maker.reach.keys is None or maker.reach.group_by is not component or maker.output.kind in _PER_PLANE
            for maker in makers
        ):
            return None
        one_plane = component in stacks.ran_along or stacks.collapses.by(component, reach) is not None
        if component in stacks.variable or one_plane:
            return None  # a stack that runs along it agrees with all
        made = frozenset[int]().union(*(maker.reach.keys or () for maker in makers))
        taken = reach.keys if reach.group_by is component and reach.keys is not None else None
        values = plate_values(self.plate, component) if taken is None else sorted(taken)
        left = [
            value for value in values if value not in made and stacks.drops.by(component, value, reach.wells) is None
        ]
        if not left:
            return None
        label = self.plate.channel(left[0]).label if component is Component.CHANNEL else left[0]
        return f"{component.value} {label}"

    def _check_fit(
        self, call: FunctionCall, fit: FitStep, reach: Reach, stacks: StacksNow, complain: Complaints
    ) -> None:
        """Refuse stacks that are of no single channel that was fitted."""
        if not fit.per_channel:
            return
        channel = Component.CHANNEL
        if channel in stacks.variable or stacks.collapses.by(channel, reach) is not None:
            complain(
                f"{function_name(call)} takes {fit.name!r}, which is fitted for each channel, but its stacks are of "
                "several channels; take the channels out of variable_components, or fit all of them together with "
                "Sample(per_channel=False).",
                fit.name,
            )
            return
        taken = reach.keys if reach.group_by is channel and reach.keys is not None else None
        values = plate_values(self.plate, channel) if taken is None else sorted(taken)
        left = [
            value
            for value in values
            if value not in fit.channels and stacks.drops.by(channel, value, reach.wells) is None
        ]
        if left:
            label = self.plate.channel(left[0]).label
            complain(
                f"{function_name(call)} takes {fit.name!r}, which is not fitted for channel {label}; give the sample "
                "that channel, too, or take it for the same keys of func={…} only.",
                fit.name,
            )

    @staticmethod
    def _refuse_batches(call: FunctionCall, name: str, complain: Complaints) -> None:
        if call.slice_by_slice:
            complain(
                f"{function_name(call)} is declared slice_by_slice=True, so that it may be called with a part of a "
                f"stack, but takes {name!r}, which is for all planes of the stack; leave slice_by_slice out.",
                name,
            )

    def _of_plate(self, call: FunctionCall, wanted: SideInput, complain: Complaints) -> dict[str, object]:
        """The plate's value as a parameter; nothing, and a complaint unless it is optional, if there is none."""
        name = wanted.name
        instead = f'give it in the step instead, as in (function, {{"{wanted.target}": …}})'
        try:
            value = self.values[name](self.plate)
            if value is not None:
                return dict(FrozenMap.of({wanted.target: value}))
        except Exception as error:  # a resolver of a user's own may raise anything; all violations come at once
            complain(
                f"{function_name(call)} takes {name!r}, but asking the plate for it raised {type(error).__name__}: "
                f"{error}; {instead}.",
                name,
            )
            return {}
        if wanted.optional:
            return {}
        complain(
            f"{function_name(call)} takes {name!r}, but the metadata of plate {self.plate.plate_id} do not say it; "
            f"{instead}.",
            name,
        )
        return {}

    def _nothing_makes(self, wanted: _Wanted) -> str:
        function = function_name(wanted.call)
        makers = [
            maker
            for maker in self.makers
            if maker.output.name == wanted.name
            and not (maker.source.step == wanted.complain.number and maker.output in wanted.call.side_outputs)
        ]
        if makers:
            maker = makers[0]
            if maker.source.step < wanted.complain.number:
                return (
                    f"{function} takes {wanted.name!r}, which {_call_of(maker)} makes, but of other planes; let "
                    "both work on the same wells and keys of func={…}."
                )
            return (
                f"{function} takes {wanted.name!r}, but {_call_of(maker)}, which makes it, does not run before "
                "it; put that one first."
            )
        earlier = {maker.output.name for maker in self.makers if maker.source.step < wanted.complain.number}
        made = sorted(earlier | self.fits.keys())
        return (
            f"{function} takes {wanted.name!r}, which no step before it makes and the plate does not give. Earlier "
            f"steps make: {', '.join(made) or 'nothing'}; known of every plate: "
            f"{', '.join(sorted((*self.values, *STACK_VALUES)))}."
        )


def _able(makers: Sequence[_Maker], name: str, reach: Reach) -> list[_Maker]:
    """Who makes a side input for some of the planes that a route reaches.

    Labels and positions lie on the field: what one channel alone made serves the others.
    """
    named = [maker for maker in makers if maker.output.name == name]
    named = [maker for maker in named if maker.output.kind is ArtifactKind.LABELS] or named  # not their measurements
    meeting = [maker for maker in named if maker.reach.meets(reach)]
    if meeting or not all(maker.output.kind in _PER_PLANE for maker in named):
        return meeting
    of_channels = [
        maker for maker in named if maker.reach.group_by is Component.CHANNEL and maker.reach.wells & reach.wells
    ]
    channels = frozenset[int]().union(*(maker.reach.keys or () for maker in of_channels))
    return of_channels if len(channels) == 1 else []


def with_inputs(call: FunctionCall, kwargs: FrozenMap, inputs: tuple[SideInput, ...]) -> FunctionCall:
    """A call, and the one that may stand in for it, with other parameters and artifacts that it takes."""
    twin = call.cpu_twin and with_inputs(call.cpu_twin, kwargs, inputs)
    return replace(call, kwargs=kwargs, side_inputs=inputs, cpu_twin=twin)


def takes_stage_positions(steps: Iterable[StepPlan]) -> bool:
    """True if a function takes the positions of the stage."""
    return any(True for _ in _stage_users(steps))


def stage_positions(index: ImageIndex, wells: Iterable[str]) -> dict[str, tuple[StagePosition, ...]]:
    """Where the stage stood, by well; empty for wells without positions."""
    found: dict[str, list[StagePosition]] = {well: [] for well in wells}
    for position in index.site_positions():
        if position.well in found:
            found[position.well].append((position.site, position.y_um, position.x_um))
    return {well: tuple(sorted(positions)) for well, positions in found.items()}


def sites_without_position(
    steps: Iterable[StepPlan], by_well: Mapping[str, ImageIndex], positions: Mapping[str, tuple[StagePosition, ...]]
) -> list[Violation]:
    """What is wrong where a function takes stage positions and the plate does not have them all."""
    for well, index in by_well.items():
        known = {site for site, _, _ in positions.get(well, ())}
        for plane in index.present():
            if plane.key.site is not None and plane.key.site not in known:
                return [
                    Violation(
                        message=f"{function_name(call)} takes {STAGE_POSITIONS!r}, but the plate does not say where "
                        f"site {plane.key.site} of well {well} was acquired; use 'grid_dimensions', or give the "
                        "positions in the step.",
                        step=step.name,
                        step_number=step.number,
                        key=STAGE_POSITIONS,
                    )
                    for step, call in _stage_users(steps)
                ]
    return []


def _stage_users(steps: Iterable[StepPlan]) -> Iterator[tuple[StepPlan, FunctionCall]]:
    for step in steps:
        for route in step.routes:
            for call in route.calls:
                if any(each.name == STAGE_POSITIONS and not each.sources for each in call.side_inputs):
                    yield step, call


def _are_stored_as_one(one: SideOutput, other: SideOutput) -> bool:
    """Two names that a file system without upper case takes for one."""
    stored = _STORED_AS.get(one.kind)
    return stored is not None and stored == _STORED_AS.get(other.kind) and one.name.lower() == other.name.lower()


def _wells_table(one: SideOutput, other: SideOutput) -> str | None:
    """The name of the one that would lie where measurements are summarised."""
    for output in (one, other):
        if _STORED_AS.get(output.kind) == "table" and output.name.lower() == WELLS_TABLE:
            return output.name
    return None


def _call_of(maker: _Maker) -> str:
    return f'{maker.function} of step {maker.source.step} "{maker.step}"'


__all__ = [
    "ArtifactLinks",
    "StacksNow",
    "sites_without_position",
    "stage_positions",
    "takes_stage_positions",
    "with_inputs",
]
