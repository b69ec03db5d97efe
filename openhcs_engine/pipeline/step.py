"""One declared step of a pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from openhcs_engine.model.components import GroupBy, VariableComponents
from openhcs_engine.model.well_filter import WellFilter
from openhcs_engine.pipeline.materialize import Materialize
from openhcs_engine.pipeline.patterns import Pattern, first_function_name, own_pattern

Uncovered: TypeAlias = Literal["error", "pass", "drop"]


class InputSource(StrEnum):
    """Where a step reads from."""

    PREVIOUS_STEP = "previous"
    PIPELINE_START = "start"


@dataclass(frozen=True, init=False, repr=False)
class FunctionStep:
    """Functions applied to every stack of a well. Never changed by those who use it.

    A step takes whatever it is given: what has no meaning is refused when the pipeline is compiled, together with
    everything else that is wrong.

    Parameters
    ----------
    func
        One of the four patterns: ``f``; ``(f, {parameters})``; a list of those; a dict of any of them by ``group_by``.
        Each function takes a stack ``(plane, y, x)`` and returns one with as many planes, or with one.
    name
        Shown in plans, logs and outputs; default: the name of the first function.
    variable_components
        Axes along which a stack runs, the first slowest; all other coordinates are fixed within a stack. Default: the
        sites.
    group_by
        Coordinate whose value (a name or a number) picks the entry of a dict pattern; default: the channel.
    input_source
        The step before (default), or the plate as the microscope left it.
    uncovered
        What happens to stacks that a dict pattern has no entry for: ``error`` (refuse at compile, the default),
        ``pass`` (unchanged) or ``drop``.
    enabled
        False: the step is left out of the plan, which says so.
    wells
        Wells that the step applies to, as a well filter; all others pass it unchanged. Default: all wells.
    materialize
        Keeps the step's planes, too: True, the name of a sub-folder, or a :class:`Materialize`. Default: nothing.
    """

    func: Pattern
    name: str
    variable_components: tuple[VariableComponents, ...]
    group_by: GroupBy | None
    input_source: InputSource
    uncovered: Uncovered
    enabled: bool
    wells: WellFilter
    materialize: Materialize | None

    def __init__(
        self,
        func: Pattern,
        *,
        name: str | None = None,
        variable_components: Iterable[VariableComponents | str] | VariableComponents | str = (VariableComponents.SITE,),
        group_by: GroupBy | str | None = None,
        input_source: InputSource | str = InputSource.PREVIOUS_STEP,
        uncovered: Uncovered = "error",
        enabled: bool = True,
        wells: WellFilter = None,
        materialize: Materialize | str | bool | None = None,
    ) -> None:
        values = {
            "func": own_pattern(func),
            "name": name or first_function_name(func) or "step",
            "variable_components": _axes(variable_components),
            "group_by": None if group_by is None else _member(GroupBy, group_by),
            "input_source": _member(InputSource, input_source),
            "uncovered": uncovered,
            "enabled": enabled,
            "wells": wells if wells is None or isinstance(wells, int | str) else _as_tuple(wells),
            "materialize": Materialize.of(materialize),
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)

    def __hash__(self) -> int:
        # Patterns may be lists and dicts, which have no hash; equal steps have equal names.
        return hash(str(self.name))

    def __repr__(self) -> str:
        return f"FunctionStep({self.name!r})"


def _axes(declared: object) -> object:
    if isinstance(declared, str) or not isinstance(declared, Iterable):
        declared = (declared,)
    return tuple(_member(VariableComponents, axis) for axis in declared)


def _as_tuple(declared: object) -> object:
    """A list of patterns as a tuple, so that the caller's list can change and the step does not."""
    return tuple(declared) if isinstance(declared, Iterable) and not isinstance(declared, Mapping | bytes) else declared


def _member(kind: type[StrEnum], declared: Any) -> object:  # Any: whatever a user gave
    """The member that a text names; anything else as it is, for the compiler to refuse."""
    try:
        return kind(declared)
    except ValueError:
        return declared
