"""A step's arguments, each of its own type, or what is wrong with them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from openhcs_engine.compiler.violations import Complaints
from openhcs_engine.compiler.wells import wells_of_step
from openhcs_engine.model.components import Component, GroupBy, VariableComponents
from openhcs_engine.model.plate import Plate
from openhcs_engine.pipeline.step import FunctionStep, InputSource

AXES: Final = (Component.SITE, Component.CHANNEL, Component.Z_INDEX, Component.TIMEPOINT)
"""What stacks may run along, and what dict patterns may be keyed by."""
UNCOVERED: Final = ("error", "pass", "drop")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepArguments:
    """What a step was declared with, its functions left out."""

    variable: tuple[Component, ...]
    group_by: Component | None
    """What the keys of a dict pattern are values of; None: a dict pattern makes no sense here."""
    from_start: bool
    uncovered: str
    wells: tuple[str, ...] | None
    """None: all."""

    def of_plate(self, plate: Plate) -> frozenset[str]:
        """Wells of the plate that the step applies to."""
        return frozenset(plate.wells if self.wells is None else self.wells)


def read_arguments(step: FunctionStep, plate: Plate, complain: Complaints) -> StepArguments:
    """Arguments that have a meaning; the others are complained of, and their defaults stand in."""
    if not isinstance(step.name, str):
        complain(f"name={step.name!r} is no text; give the step's name as text.", "name")
    elif not _is_unicode(step.name):
        complain(f"name={step.name!r} is no Unicode; write it anew.", "name")
    if not isinstance(step.enabled, bool):
        complain(f"enabled={step.enabled!r} is neither True nor False; give one of them.", "enabled")
    return StepArguments(
        variable=_variable(step, complain),
        group_by=_group_by(step, complain),
        from_start=_one_of("input_source", step.input_source, InputSource, complain) is InputSource.PIPELINE_START,
        uncovered=str(_one_of("uncovered", step.uncovered, UNCOVERED, complain) or "error"),
        wells=wells_of_step(plate, step.wells, complain),
    )


def _is_unicode(text: str) -> bool:
    """False for halves of surrogate pairs, which no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _variable(step: FunctionStep, complain: Complaints) -> tuple[Component, ...]:
    declared: tuple[object, ...] = step.variable_components
    for axis in (axis for axis in declared if not isinstance(axis, VariableComponents)):
        complain(f"variable_components holds {axis!r}, which is no axis of a stack ({_choose(AXES)}).", str(axis))
    if VariableComponents.WELL in declared:
        complain(
            "variable_components holds well, but each well is processed by itself and never shares a stack with "
            f"another ({_choose(AXES)}).",
            "well",
        )
    known = [Component(axis) for axis in declared if isinstance(axis, VariableComponents)]
    if len(set(known)) != len(known) or not declared:
        complain(
            f"variable_components must name one or more different axes, got {[str(axis) for axis in declared]} "
            f"({_choose(AXES)}).",
            "variable_components",
        )
    return tuple(axis for axis in dict.fromkeys(known) if axis is not Component.WELL)


def _group_by(step: FunctionStep, complain: Complaints) -> Component | None:
    declared: object = step.group_by
    if declared is GroupBy.NONE:
        return None
    if declared is GroupBy.WELL:
        complain(
            "group_by is well, but each well is processed by itself; give steps for some wells their own wells=… "
            f"instead, or group by a coordinate inside the well ({_choose(AXES)}).",
            "group_by",
        )
        return None
    if declared is not None and not isinstance(declared, GroupBy):
        complain(f"group_by={declared!r} is unknown ({_choose(AXES)}).", "group_by")
        return None
    return Component(declared or GroupBy.CHANNEL)


def _one_of(name: str, value: object, allowed: Iterable[str], complain: Complaints) -> str | None:
    names = list(allowed)
    for known in names:
        if isinstance(value, str) and value == known:
            return known
    complain(f"{name}={value!r} is unknown ({_choose(names)}).", name)
    return None


def _choose(names: Collection[str]) -> str:
    return f"choose from {', '.join(str(name) for name in names)}"


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
