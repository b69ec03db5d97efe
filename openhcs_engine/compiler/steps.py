"""From a declared step to a step plan, with everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from openhcs_engine.compiler.functions import FunctionTable, UnusableFunctionError, freeze_call
from openhcs_engine.context import FunctionCall, Route, StepPlan
from openhcs_engine.errors import PatternError, Violation
from openhcs_engine.model.components import Component, GroupBy
from openhcs_engine.model.plate import Plate
from openhcs_engine.pipeline.patterns import DeclaredCall, DeclaredRoute, normalise_pattern
from openhcs_engine.pipeline.step import FunctionStep, InputSource, Uncovered

_UNCOVERED: tuple[Uncovered, ...] = ("error", "pass", "drop")


@dataclass(slots=True)
class StepCompiler:
    """Compiles the steps of one pipeline in order; remembers which axes earlier steps collapsed."""

    plate: Plate
    table: FunctionTable
    violations: list[Violation] = field(default_factory=list)
    collapsed: dict[Component, str] = field(default_factory=dict)
    """Axis → name of the step that collapsed it."""

    def compile(self, number: int, step: FunctionStep, *, last: bool) -> StepPlan:
        """The plan of one step; what is wrong with it joins ``violations``."""
        complain = _Complaints(number, step, self.violations)
        from_start = step.input_source is InputSource.PIPELINE_START
        if from_start:
            self.collapsed = {}
        variable = tuple(Component(component) for component in step.variable_components)
        self._check_axes(variable, step, complain)
        declared = self._normalise(step, complain)
        group_by = self._group_by(step, declared, variable, complain)
        routes = self._routes(declared, group_by, complain)
        self._check_coverage(step, group_by, routes, complain)
        if routes and all(any(call.collapses for call in route.calls) for route in routes):
            self.collapsed.update(dict.fromkeys(variable, step.name))
        return StepPlan(
            number=number,
            name=step.name,
            variable_components=variable,
            group_by=group_by,
            routes=routes,
            uncovered=step.uncovered,
            from_start=from_start,
            reads="source" if number == 1 or from_start else "memory",
            writes="output" if last else "memory",
        )

    def _check_axes(self, variable: tuple[Component, ...], step: FunctionStep, complain: _Complaints) -> None:
        if len(set(variable)) != len(variable) or not variable:
            complain(f"variable_components must name one or more different axes, got {[str(c) for c in variable]}.")
        for component in variable:
            if component in self.collapsed:
                complain(
                    f"its stacks run along {component.value}, but step {self.collapsed[component]!r} before it left "
                    f"one plane for the whole {component.value} axis. Move this step before it, or read from the "
                    "pipeline's start.",
                    key=component.value,
                )
        if step.uncovered not in _UNCOVERED:
            complain(f"uncovered={step.uncovered!r} is unknown (choose from {', '.join(_UNCOVERED)}).", key="uncovered")

    def _normalise(self, step: FunctionStep, complain: _Complaints) -> tuple[DeclaredRoute, ...]:
        try:
            return normalise_pattern(step.func, step.name)
        except PatternError as error:
            complain(str(error))
            return ()

    def _group_by(
        self,
        step: FunctionStep,
        declared: Sequence[DeclaredRoute],
        variable: tuple[Component, ...],
        complain: _Complaints,
    ) -> Component | None:
        """The component that picks a dict pattern's entry; None where there is no dict."""
        if not any(route.key is not None for route in declared):
            return None
        if step.group_by is GroupBy.NONE:
            complain("func={…} is a dict, but group_by is NONE; name the component that its keys are values of.")
            return None
        component = Component(step.group_by or GroupBy.CHANNEL)
        if component in variable:
            complain(
                f"group_by={component.value} is also in variable_components; a stack that runs along {component.value} "
                "has no single value of it.",
                key=component.value,
            )
        elif component in self.collapsed:
            complain(
                f"func={{…}} is keyed by {component.value}, but step {self.collapsed[component]!r} before it left one "
                f"plane for the whole {component.value} axis.",
                key=component.value,
            )
        return component

    def _routes(
        self, declared: Sequence[DeclaredRoute], group_by: Component | None, complain: _Complaints
    ) -> tuple[Route, ...]:
        routes: dict[int | None, Route] = {}
        for route in declared:
            calls = tuple(call for item in route.calls if (call := self._call(item, complain)) is not None)
            key = None if route.key is None or group_by is None else self._value(route.key, group_by, complain)
            if key is None and route.key is not None:
                continue
            if key in routes:
                complain(
                    f"two keys of func={{…}} mean the same {group_by}: {route.key!r} and another.", key=str(route.key)
                )
            routes[key] = Route(key=key, calls=calls)
        return tuple(sorted(routes.values(), key=lambda route: -1 if route.key is None else route.key))

    def _call(self, declared: DeclaredCall, complain: _Complaints) -> FunctionCall | None:
        try:
            return freeze_call(declared, self.table)
        except UnusableFunctionError as error:
            complain(str(error), key=getattr(declared.function, "__name__", None))
            return None

    def _value(self, key: str | int, group_by: Component, complain: _Complaints) -> int | None:
        """The plate's value that a key of a dict pattern means: a channel's name, or a number in any spelling."""
        if group_by is Component.CHANNEL:
            named = [channel.index for channel in self.plate.channels if channel.name == key]
            if len(named) == 1:
                return named[0]
            if named:
                complain(f"{len(named)} channels are called {key!r}; use their numbers {named} as keys.", key=str(key))
                return None
        values = plate_values(self.plate, group_by)
        number = int(key) if isinstance(key, int) or (key.isascii() and key.isdigit()) else None
        if number in values:
            return number
        complain(
            f"{group_by.value} {key!r} is not on this plate (has: {self._known(group_by)}). Check the keys of "
            "func={…}.",
            key=str(key),
        )
        return None

    def _check_coverage(
        self, step: FunctionStep, group_by: Component | None, routes: tuple[Route, ...], complain: _Complaints
    ) -> None:
        if group_by is None or not routes or step.uncovered != "error":
            return
        left = [value for value in plate_values(self.plate, group_by) if all(route.key != value for route in routes)]
        if left:
            complain(
                f"func={{…}} has no entry for {group_by.value} {self._known(group_by, left)}. Add one, or say what "
                'happens to it with uncovered="pass" or uncovered="drop".',
                key=str(left[0]),
            )

    def _known(self, component: Component, values: Iterable[int] | None = None) -> str:
        shown = plate_values(self.plate, component) if values is None else values
        if component is Component.CHANNEL:
            return ", ".join(self.plate.channel(value).label for value in shown)
        return ", ".join(str(value) for value in shown)


@dataclass(frozen=True, slots=True)
class _Complaints:
    """Adds violations of one step to the list."""

    number: int
    step: FunctionStep
    violations: list[Violation]

    def __call__(self, message: str, key: str | None = None) -> None:
        self.violations.append(Violation(message=message, step=self.step.name, step_number=self.number, key=key))


def plate_values(plate: Plate, component: Component) -> tuple[int, ...]:
    """Values that a component has on the plate."""
    match component:
        case Component.CHANNEL:
            return tuple(channel.index for channel in plate.channels)
        case Component.SITE:
            return plate.sites
        case Component.Z_INDEX:
            return plate.z_indexes
        case _:
            return plate.timepoints
