"""The functions of a plan, found again and called under its laws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openhcs_engine.context import FunctionCall
from openhcs_engine.errors import ExecutionError, StackShapeError
from openhcs_engine.function_reference import resolve, source_sha256
from openhcs_engine.memory.dtype import restore_dtype
from openhcs_engine.memory.stack import Array


@dataclass(frozen=True, slots=True)
class FunctionSource:
    """Gives the function of a call: from a table where it lives only in this process, else by import, once."""

    local: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    imported: dict[str, Callable[..., Any]] = field(default_factory=dict)

    def get(self, call: FunctionCall) -> Callable[..., Any]:
        """The function; refused if its source is not the one that was compiled."""
        if call.reference in self.local:
            return self.local[call.reference]
        if call.reference not in self.imported:
            self.imported[call.reference] = _import(call)
        return self.imported[call.reference]


def _import(call: FunctionCall) -> Callable[..., Any]:
    if not call.importable:
        raise ExecutionError(
            f"Function {call.reference} lives only in the process that compiled it; run it there with "
            'runner="threads", or move it to a module.'
        )
    try:
        function = resolve(call.reference)
    except (ImportError, AttributeError) as error:
        raise ExecutionError(f"Function {call.reference} cannot be imported here: {error}.") from error
    if source_sha256(function) != call.source_sha256:
        raise ExecutionError(
            f"Function {call.reference} is not the one that was compiled (its source changed); compile the plate again."
        )
    return function


def apply_call(call: FunctionCall, function: Callable[..., Any], stack: Array) -> Array:
    """Call one function on a stack ``(plane, y, x)`` and hold its result to the laws of shape and dtype.

    Raises
    ------
    StackShapeError
        If the result is no stack with as many planes as it got, or with one.
    """
    result = function(stack, **call.kwargs.thaw())
    if not isinstance(result, np.ndarray) or result.ndim != 3:
        got = f"an array of shape {result.shape}" if isinstance(result, np.ndarray) else f"a {type(result).__name__}"
        raise StackShapeError(
            f"{call.reference} returned {got}; it got a stack (plane, y, x) = {stack.shape} and must return one, "
            f"with {len(stack)} planes or with 1.",
            function=call.reference,
        )
    allowed = {1} if call.collapses else {1, len(stack)}
    if len(result) not in allowed:
        raise StackShapeError(
            f"{call.reference} got {len(stack)} planes and returned {len(result)}; it must return "
            f"{' or '.join(str(count) for count in sorted(allowed))}.",
            function=call.reference,
        )
    if call.dtype == "native":
        return result
    return restore_dtype(result, stack.dtype if call.dtype == "preserve" else np.dtype(call.dtype))
