"""The calls of a step: their names, the conversions between them, and the pixel type at entry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from openhcs_engine.memory.conversion.entry_dtype import entry_dtype
from openhcs_engine.memory.conversion.routes import ROUTES
from openhcs_engine.memory.conversion.routes import Route as Way
from openhcs_engine.memory.libraries import library
from openhcs_engine.memory.types import MemoryType
from openhcs_engine.plan.context import FunctionCall, Route, StepPlan


def dtype_at_entry(call: FunctionCall, dtype: str | None) -> str | None:
    """Pixel type in which a stack is given to a function; None where only a run can tell."""
    return None if dtype is None else entry_dtype(library(call.input_type), call.dtype, dtype)


def conversions(route: Route, *, on_gpu: bool) -> tuple[str, ...]:
    """Where a stack changes its library on its way from the host's memory through a step and back, in order.

    Each with the way that is tried first, e.g. ``numpy -> torch: DLPack``.
    """
    held = ["numpy", *(name for call in route.calls for name in (call.input_type, call.output_type)), "numpy"]
    # A function changes the library itself between its input and its output: those are the odd pairs.
    handed = list(pairwise(held))[::2]
    return tuple(
        f"{source} -> {target}: {_way(MemoryType(source), MemoryType(target), on_gpu)}"
        for source, target in handed
        if source != target
    )


def calls_of(steps: Iterable[StepPlan]) -> Iterator[FunctionCall]:
    """All calls of a plan, and the twins that may stand in for them."""
    return (each for step in steps for route in step.routes for call in route.calls for each in with_twin(call))


def with_twin(call: FunctionCall) -> tuple[FunctionCall, ...]:
    """A call, and the one that may stand in for it if there is one."""
    return (call,) if call.cpu_twin is None else (call, call.cpu_twin)


def function_name(call: FunctionCall) -> str:
    """The function's own name."""
    return call.reference.rpartition(":")[2].partition("#")[0]


def _way(source: MemoryType, target: MemoryType, on_gpu: bool) -> str:
    crosses = on_gpu and MemoryType.NUMPY in (source, target)  # between the host's memory and the GPU's
    return Way.HOST if crosses else ROUTES[source][target][0]


__all__ = ["calls_of", "conversions", "dtype_at_entry", "function_name", "with_twin"]
