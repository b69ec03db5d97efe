"""Functions by name: found again in another process, and known by their source."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import CodeType
from typing import Any


def resolve(reference: str) -> Callable[..., Any]:
    """The function that ``module:qualname`` names.

    Raises
    ------
    ImportError, AttributeError
        If the module or the name in it does not exist.
    """
    module, _, name = reference.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    function: Callable[..., Any] = found
    return function


def source_sha256(function: Callable[..., Any]) -> str:
    """Digest of a function's source text, and of the values that its defaults and its closure hold.

    Of its bytecode where there is no text (a console, a C function). Module constants and the functions that it calls
    are not in it.
    """
    return _digest(function, ())


def _digest(function: Callable[..., Any], callers: tuple[object, ...]) -> str:
    inner = inspect.unwrap(function)
    try:
        source = inspect.getsource(inner).encode()
    except (OSError, TypeError):
        code = getattr(inner, "__code__", None)
        source = b"" if code is None else _of_code(code, (inner, *callers)).encode()
    layers = (inner,) if inner is function else (inner, function)
    bound = "".join(_told(value, (*callers, *layers)) for layer in layers for value in _bound_values(layer))
    return hashlib.sha256(source + bound.encode()).hexdigest()


def _of_code(code: CodeType, callers: tuple[object, ...]) -> str:
    """Bytecode, names and constants, the functions inside included; no address in memory, no order of a set."""
    return f"{code.co_code!r}{code.co_names!r}{_told(code.co_consts, callers)}"


def _bound_values(function: Callable[..., Any]) -> Iterator[object]:
    """Values that the source text does not show: ``def f(stack, n=N)``, and the variables of a function around it."""
    yield from getattr(function, "__defaults__", None) or ()
    yield from (getattr(function, "__kwdefaults__", None) or {}).values()
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # a variable that has no value yet
            yield cell.cell_contents


def _told(value: object, callers: tuple[object, ...]) -> str:
    """A text that is the same in every process; of other objects only their type."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return f"{value!r};"
    if isinstance(value, list | tuple):
        return f"[{''.join(_told(item, callers) for item in value)}]"
    if isinstance(value, frozenset):
        return f"{{{''.join(sorted(_told(item, callers) for item in value))}}}"
    if isinstance(value, CodeType):
        return _of_code(value, callers)
    if inspect.isfunction(value):
        return "recursion;" if value in callers else f"{_digest(value, callers)};"
    if hasattr(value, "tobytes") and hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{hashlib.sha256(value.tobytes()).hexdigest()}{value.dtype}{value.shape};"
    return f"{type(value).__qualname__};"
