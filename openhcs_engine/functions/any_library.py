"""Built-ins called directly: they take a stack of any array library, and return one of the same library."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

import numpy as np

from openhcs_engine.functions.stack import Pixels
from openhcs_engine.memory.conversion.convert import convert
from openhcs_engine.memory.libraries import library_of
from openhcs_engine.memory.types import MemoryType

P = ParamSpec("P")
Stack = TypeVar("Stack")


class StackFunction(Protocol[P]):
    """A function on a stack ``(plane, y, x)`` of any library, which gives the library back that it got."""

    __name__: str

    def __call__(self, stack: Stack, *args: P.args, **kwargs: P.kwargs) -> Stack:
        """Call it; the other parameters are those of the function itself."""
        ...


class StackAndSidesFunction(Protocol[P]):
    """The same, with side results behind the stack."""

    __name__: str

    def __call__(self, stack: Stack, *args: P.args, **kwargs: P.kwargs) -> tuple[Stack, *tuple[Any, ...]]:
        """Call it; the other parameters are those of the function itself."""
        ...


@overload
def any_library(function: Callable[Concatenate[Pixels, P], Pixels]) -> StackFunction[P]: ...


@overload
def any_library(
    function: Callable[Concatenate[Pixels, P], tuple[Pixels, *tuple[Any, ...]]],
) -> StackAndSidesFunction[P]: ...


def any_library(function: Callable[Concatenate[Pixels, P], Any]) -> Any:  # the overloads say what
    """Let a NumPy function take stacks of all array libraries.

    NumPy arrays go to the function as they are. Other arrays become NumPy arrays, without a copy where they lie in the
    host's memory, and the result becomes an array of the same library on the same device, of the dtype that the
    function gave it. From a GPU this is a download and an upload: a convenience for functions of one's own, where a
    pipeline's step would do better with the function itself, which the engine gives a NumPy stack.

    Parameters
    ----------
    function
        Takes a NumPy stack first, never writes to it, and returns a stack, or a tuple of a stack and side results,
        which stay as they are. Where it returns the very stack that it got, the caller gets the very array it gave.

    Returns
    -------
    callable
        With the function's own name, signature, docstring and source.

    Raises
    ------
    MemoryConversionError
        When called, if the stack is no array of a known library, or one that NumPy cannot hold.
    """

    @wraps(function)
    def in_any_library(stack: Any, *args: P.args, **kwargs: P.kwargs) -> Any:
        if isinstance(stack, np.ndarray):
            return function(stack, *args, **kwargs)
        host = convert(stack, MemoryType.NUMPY).array
        result: object = function(host, *args, **kwargs)
        if isinstance(result, tuple):
            return _back_home(result[0], host, stack), *result[1:]
        return _back_home(result, host, stack)

    return in_any_library


def _back_home(result: Any, host: Pixels, stack: Any) -> Any:
    """The result as an array of the library and on the device of ``stack``."""
    if result is host:
        return stack
    home = library_of(stack)
    assert home is not None  # or it would not have become a NumPy array
    return convert(result, home.memory_type, device=home.facts(stack).device, give=True).array


__all__ = ["StackAndSidesFunction", "StackFunction", "any_library"]
