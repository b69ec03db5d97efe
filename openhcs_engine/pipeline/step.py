"""One declared step of a pipeline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

from openhcs_engine.model.components import GroupBy, VariableComponents
from openhcs_engine.pipeline.patterns import Pattern, first_function_name

Uncovered: TypeAlias = Literal["error", "pass", "drop"]


class InputSource(StrEnum):
    """Where a step reads from."""

    PREVIOUS_STEP = "previous"
    PIPELINE_START = "start"


@dataclass(frozen=True, init=False, repr=False)
class FunctionStep:
    """Functions applied to every stack of a well. Never changed by those who use it.

    Parameters
    ----------
    func
        One of the four patterns: ``f``; ``(f, {parameters})``; a list of those; a dict of any of them by ``group_by``.
        Each function takes a stack ``(plane, y, x)`` and returns one with as many planes, or with one.
    name
        Shown in plans, logs and outputs; default: the name of the first function.
    variable_components
        Axes along which a stack runs; all other coordinates are fixed within a stack. Default: the sites.
    group_by
        Coordinate whose value (a name or a number) picks the entry of a dict pattern; default: the channel.
    input_source
        The step before (default), or the plate as the microscope left it.
    uncovered
        What happens to stacks that a dict pattern has no entry for: ``error`` (refuse at compile, the default),
        ``pass`` (unchanged) or ``drop``.
    """

    func: Pattern
    name: str
    variable_components: tuple[VariableComponents, ...]
    group_by: GroupBy | None
    input_source: InputSource
    uncovered: Uncovered

    def __init__(
        self,
        func: Pattern,
        *,
        name: str | None = None,
        variable_components: Iterable[VariableComponents | str] | VariableComponents | str = (VariableComponents.SITE,),
        group_by: GroupBy | str | None = None,
        input_source: InputSource | str = InputSource.PREVIOUS_STEP,
        uncovered: Uncovered = "error",
    ) -> None:
        if isinstance(variable_components, str):
            variable_components = (variable_components,)
        values = {
            "func": func,
            "name": name or first_function_name(func) or "step",
            "variable_components": tuple(VariableComponents(component) for component in variable_components),
            "group_by": None if group_by is None else GroupBy(group_by),
            "input_source": InputSource(input_source),
            "uncovered": uncovered,
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)

    def __repr__(self) -> str:
        return f"FunctionStep({self.name!r})"
