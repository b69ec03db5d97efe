"""Whether the stacks that will come can be arrays of the libraries that the functions speak."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from openhcs_engine.errors import Violation
from openhcs_engine.memory.decorators import NATIVE, PIXEL_DTYPES, PRESERVE
from openhcs_engine.memory.libraries import library
from openhcs_engine.memory.libraries.contract import ArrayLibrary
from openhcs_engine.plan.calls import dtype_at_entry, function_name, with_twin
from openhcs_engine.plan.context import FunctionCall, StepPlan
from openhcs_engine.plan.flow import StackFacts, StepStacks

_STACK_DIMENSIONS = 3


def check_pixel_types(steps: Sequence[StepPlan], stacks: Sequence[StepStacks]) -> list[Violation]:
    """Every pixel type, known before the run, that a function's library does not have; each once."""
    found: dict[Violation, None] = {}
    for step, facts in zip(steps, stacks, strict=True):
        for number, message, function in _impossible(facts):
            place = "" if number == 0 else f" after {number} of its functions"
            found[
                Violation(message=message.format(place=place), step=step.name, step_number=step.number, key=function)
            ] = None
    return list(found)


def _impossible(stacks: Iterable[StackFacts]) -> Iterator[tuple[int, str, str]]:
    """Position in the chain, sentence (with ``{place}``) and function of each call that cannot be."""
    for facts in stacks:
        for position, (declared, dtype) in enumerate(zip(facts.route.calls, facts.dtypes, strict=False)):
            for call in with_twin(declared):
                if (reason := _why_not(call, dtype)) is not None:
                    yield position, reason, function_name(call)


def _why_not(call: FunctionCall, dtype: str | None) -> str | None:
    name = function_name(call)
    takes, returns = library(call.input_type), library(call.output_type)
    entering = dtype_at_entry(call, dtype)
    if entering is not None and not _holds(takes, entering):
        return (
            f"{name} takes {takes.memory_type} arrays, but its stacks are {entering}{{place}}, which "
            f"{takes.memory_type} does not have (it has {_dtypes(takes)}). Let the function before it promise one of "
            'these, for example with dtype="float32", or use a function of another library.'
        )
    if call.dtype not in (PRESERVE, NATIVE) and not _holds(returns, call.dtype):
        return (
            f"{name} promises {call.dtype} in {returns.memory_type} arrays, which {returns.memory_type} does not have "
            f"(it has {_dtypes(returns)}); declare one of these as its dtype."
        )
    return None


def _holds(adapter: ArrayLibrary, dtype: str) -> bool:
    most = adapter.most_dimensions
    return dtype in adapter.dtypes and (most is None or most >= _STACK_DIMENSIONS)


def _dtypes(adapter: ArrayLibrary) -> str:
    return ", ".join(dtype for dtype in PIXEL_DTYPES if dtype in adapter.dtypes)


__all__ = ["check_pixel_types"]
