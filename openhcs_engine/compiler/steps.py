"""From a declared step to a step plan, with everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from openhcs_engine.compiler.arguments import StepArguments, plate_values, read_arguments
from openhcs_engine.compiler.artifacts import ArtifactLinks, StacksNow
from openhcs_engine.compiler.collapses import Collapses, Drops, Reach
from openhcs_engine.compiler.functions import FunctionTable, freeze_call
from openhcs_engine.compiler.materialized_planes import MaterializedPlanes
from openhcs_engine.compiler.parameters import refuse_values
from openhcs_engine.compiler.violations import Complaints
from openhcs_engine.errors import Violation
from openhcs_engine.model.components import Component
from openhcs_engine.model.plate import Plate
from openhcs_engine.pipeline.patterns import DeclaredCall, DeclaredRoute, normalise_pattern
from openhcs_engine.pipeline.step import FunctionStep
from openhcs_engine.plan.calls import function_name
from openhcs_engine.plan.context import FunctionCall, Route, StepPlan
from openhcs_engine.vfs.intermediates import MEMORY

_DIGITS: Final = 9
"""A longer number is no coordinate."""
_LONGEST: Final = 60
"""Letters of a key in a sentence."""


@dataclass(slots=True)
class StepCompiler:
    """Compiles the steps of one pipeline in order; remembers what earlier steps left for later ones."""

    plate: Plate
    table: FunctionTable
    materialized: MaterializedPlanes
    artifacts: ArtifactLinks
    violations: list[Violation] = field(default_factory=list)
    intermediates: str = MEMORY
    """Backend of the planes between steps."""
    collapses: Collapses = field(default_factory=Collapses)
    drops: Drops = field(default_factory=Drops)
    ran_along: set[Component] = field(default_factory=set)

    def compile(self, number: int, step: FunctionStep, *, last: bool) -> StepPlan:
        """The plan of one step; what is wrong with it joins ``violations``."""
        name = str(step.name).encode("utf-8", "backslashreplace").decode()  # a plan and a screen must hold it
        complain = Complaints(number, name, self.violations)
        declared = normalise_pattern(step.func, complain)
        arguments = read_arguments(step, self.plate, complain)
        wells = arguments.of_plate(self.plate)
        if arguments.from_start:
            self.collapses.start_again(wells)
            self.drops.start_again(wells)
        group_by = self._group_by(step, declared, arguments, complain)
        routes = self._routes(declared, group_by, wells, complain)
        self._check_coverage(arguments, group_by, routes, complain, whole=len(routes) == len(declared))
        self._follow_axes(complain, arguments, group_by, routes)
        stacks = StacksNow(arguments.variable, self.collapses, self.drops, frozenset(self.ran_along))
        routes = self.artifacts.link(routes, arguments, group_by, stacks, complain)
        for call in (call for route in routes for call in route.calls):
            refuse_values(self.table.functions[call.reference], call, complain)
        self.ran_along.update(arguments.variable)
        return StepPlan(
            number=number,
            name=complain.name,
            variable_components=arguments.variable,
            group_by=group_by,
            routes=routes,
            uncovered=arguments.uncovered,
            from_start=arguments.from_start,
            reads="source" if number == 1 or arguments.from_start else self.intermediates,
            writes="output" if last else self.intermediates,
            wells=arguments.wells,
            materialize=self.materialized.plan(step, wells, complain),
        )

    def _follow_axes(
        self, complain: Complaints, arguments: StepArguments, group_by: Component | None, routes: tuple[Route, ...]
    ) -> None:
        """Refuse to stack or group along an axis that is gone; note those that this step takes away."""
        wells = arguments.of_plate(self.plate)
        for axis in arguments.variable:
            if (by := self.collapses.by(axis, Reach.of(wells, group_by, routes))) is not None:
                complain(
                    f"its stacks run along {axis.value}, but step {by!r} before it left one plane for the whole "
                    f"{axis.value} axis. Move this step before it, let its stacks run along another axis, or read from "
                    "the pipeline's start.",
                    axis.value,
                )
        if group_by is not None and (by := self.collapses.by(group_by, Reach(wells=wells))) is not None:
            complain(
                f"func={{…}} is keyed by {group_by.value}, but step {by!r} before it left one plane for the whole "
                f"{group_by.value} axis. Move this step before it, or give one entry for all.",
                group_by.value,
            )
        collapsing = [route for route in routes if any(call.collapses for call in route.calls)]
        if collapsing:
            self.collapses.add(arguments.variable, complain.name, Reach.of(wells, group_by, collapsing))

    def _group_by(
        self, step: FunctionStep, declared: Sequence[DeclaredRoute], arguments: StepArguments, complain: Complaints
    ) -> Component | None:
        """The component that picks a dict pattern's entry; None where there is no dict."""
        component = arguments.group_by
        if not any(route.key is not None for route in declared):
            return None
        if component is None and not step.group_by:
            complain(
                "func={…} is a dict, but group_by is NONE; name the component that its keys are values of.", "group_by"
            )
        if component is not None and component in arguments.variable:
            complain(
                f"group_by={component.value} is also in variable_components; a stack that runs along {component.value} "
                "has no single value of it. Take it out of one of them.",
                component.value,
            )
        return component

    def _routes(
        self,
        declared: Sequence[DeclaredRoute],
        group_by: Component | None,
        wells: frozenset[str],
        complain: Complaints,
    ) -> tuple[Route, ...]:
        routes: dict[int | None, Route] = {}
        given: dict[int | None, str | int | None] = {}
        for route in declared:
            calls = tuple(call for item in route.calls if (call := self._call(item, complain)) is not None)
            _refuse_lazy_in_chains(calls, complain)
            key = None if route.key is None or group_by is None else self._value(route.key, group_by, complain)
            if key is None and route.key is not None:
                continue
            if key is not None and group_by is not None and (by := self.drops.by(group_by, key, wells)) is not None:
                complain(
                    f"func={{…}} has an entry for {group_by.value} {route.key!r}, but step {by!r} before it drops all "
                    'its stacks. Take the entry out, or give that step uncovered="pass".',
                    str(route.key),
                )
            if key in routes:
                complain(
                    f"two keys of func={{…}} mean the same {group_by}, {given[key]!r} and {route.key!r}; keep one of "
                    "them.",
                    str(route.key),
                )
            given[key] = route.key
            routes[key] = Route(key=key, calls=calls)
        return tuple(sorted(routes.values(), key=lambda route: -1 if route.key is None else route.key))

    def _call(self, declared: DeclaredCall, complain: Complaints) -> FunctionCall | None:
        return freeze_call(declared, self.table, complain)

    def _value(self, key: str | int, group_by: Component, complain: Complaints) -> int | None:
        """The plate's value that a key of a dict pattern means: a channel's name, or a number in any spelling."""
        if group_by is Component.CHANNEL:
            named = [channel.index for channel in self.plate.channels if channel.label == key]
            if len(named) == 1:
                return named[0]
            if named:
                complain(f"{len(named)} channels are called {key!r}; use their numbers {named} as keys.", str(key))
                return None
        values = plate_values(self.plate, group_by)
        number = _number(key)
        if number in values:
            return number
        complain(
            f"{group_by.value} {_shown(key)} is not on this plate (has: {self._known(group_by)}). Check the keys of "
            "func={…}, or the setting that gives them.",
            str(key),
        )
        return None

    def _check_coverage(
        self,
        arguments: StepArguments,
        group_by: Component | None,
        routes: tuple[Route, ...],
        complain: Complaints,
        *,
        whole: bool,
    ) -> None:
        """Refuse stacks that there is neither an entry nor a word for; remember those that are dropped."""
        if group_by is None or not routes or arguments.uncovered == "pass":
            return
        wells = arguments.of_plate(self.plate)
        covered = {route.key for route in routes}
        left = [value for value in plate_values(self.plate, group_by) if value not in covered]
        if arguments.uncovered == "drop":
            # Of a step with a wrong key nobody knows what it would have kept.
            self.drops.add(group_by, left if whole else (), complain.name, wells)
        elif left := [value for value in left if self.drops.by(group_by, value, wells) is None]:
            complain(
                f"func={{…}} has no entry for {group_by.value} {self._known(group_by, left)}. Add one, or say what "
                'happens to it with uncovered="pass" or uncovered="drop".',
                str(left[0]),
            )

    def _known(self, component: Component, values: Iterable[int] | None = None) -> str:
        shown = plate_values(self.plate, component) if values is None else values
        if component is Component.CHANNEL:
            return ", ".join(self.plate.channel(value).label for value in shown)
        return ", ".join(str(value) for value in shown) or "none"


def _refuse_lazy_in_chains(calls: Sequence[FunctionCall], complain: Complaints) -> None:
    """Refuse a lazy function beside one that takes an array: all planes would lie in memory before it is called."""
    lazy = [call for call in calls if call.lazy]
    others = [call for call in calls if not call.lazy]
    if lazy and others:
        name, other = function_name(lazy[0]), function_name(others[0])
        complain(
            f"{name} is declared lazy=True, so that the planes of a stack need not lie in memory together, but {other} "
            "of the same chain takes them as one array; give each a step of its own.",
            name,
        )


def _number(key: str | int) -> int | None:
    """The number that a key spells: ``1``, ``"1"`` and ``"01"`` are one."""
    if isinstance(key, int):
        return key
    return int(key) if key.isascii() and key.isdigit() and len(key) <= _DIGITS else None


def _shown(key: str | int) -> str:
    text = repr(key)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
