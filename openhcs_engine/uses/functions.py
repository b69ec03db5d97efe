"""Functions taken apart: their wrappers, code and variables, and the names by which modules have them."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

_UNCHANGING: Final = (bool, int, float, complex, str, bytes, tuple, frozenset)
"""What a function can only rebind: to write ``n += 1`` changes no default."""


def layers(function: Callable[..., Any]) -> tuple[Callable[..., Any], ...]:
    """The function inside all wrappers first, then each wrapper."""
    found = [function]
    while (inner := getattr(found[-1], "__wrapped__", None)) is not None and all(inner is not each for each in found):
        found.append(inner)
    return tuple(reversed(found))


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Code and all code in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def functions_of(members: Iterable[Any]) -> Iterator[types.FunctionType]:
    """The functions of a class with a text, those in properties and the like included."""
    for member in members:
        parts = (member, *(getattr(member, part, None) for part in ("__func__", "fget", "fset", "fdel", "func")))
        for part in parts:
            for layer in layers(part) if part is not None else ():
                if isinstance(layer, types.FunctionType) and not layer.__code__.co_filename.startswith("<string"):
                    yield layer


def holds_values(function: Any) -> bool:
    """Whether a function has defaults or variables of a function around it."""
    return bool(function.__defaults__ or function.__kwdefaults__ or function.__closure__)


def defaults_of(function: Any, memories: set[str]) -> Iterator[object]:
    """The defaults of its parameters, but for containers that it writes to, which it keeps from call to call."""
    code = function.__code__
    defaults = function.__defaults__ or ()
    named = dict(zip(code.co_varnames[: code.co_argcount][-len(defaults) :], defaults, strict=False))
    named |= dict(sorted((function.__kwdefaults__ or {}).items()))
    for name, value in named.items():
        if name not in memories or value is None or isinstance(value, _UNCHANGING):
            yield value


def cells_of(function: Any, memories: set[str]) -> Iterator[object]:
    """The variables of a function around that it reads and does not write to."""
    names = function.__code__.co_freevars
    for name, cell in zip(names, function.__closure__ or (), strict=False):
        if name not in memories:
            with suppress(ValueError):  # a variable that has no value yet
                yield cell.cell_contents


def module_of(value: Any) -> str:
    """The module in which a function was written; a wrapper may have borrowed the name of another."""
    function = value.__func__ if inspect.ismethod(value) else value
    scope = getattr(function, "__globals__", None)
    if scope is not None and getattr(function, "__wrapped__", None) is None:
        return str(scope.get("__name__"))
    found = getattr(function, "__module__", None)
    if found is None and (owner := getattr(function, "__self__", None)) is not None:
        found = owner.__name__ if isinstance(owner, types.ModuleType) else type(owner).__module__
    return str(found or getattr(function, "__objclass__", type(function)).__module__)


def title_of(value: Any) -> str:
    """The qualified name of a function or class; that of its type for other objects."""
    return str(getattr(value, "__qualname__", None) or getattr(value, "__name__", None) or type(value).__qualname__)


def has_by_name(module: str, qualname: str, value: object) -> bool:
    """Whether a module has a function by its own name."""
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
        found = getattr(found, "__func__", found)
    return found is value


__all__ = [
    "cells_of",
    "codes",
    "defaults_of",
    "functions_of",
    "has_by_name",
    "holds_values",
    "layers",
    "module_of",
    "title_of",
]
