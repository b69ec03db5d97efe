"""The four function patterns, and the one form they all have after the door.

- ``f``: one function;
- ``(f, {"parameter": value})``: with parameters;
- ``[f, (g, {...}), ...]``: a chain, each function takes what the one before returned;
- ``{"DAPI": any of these, "GFP": ...}``: by the value of the step's ``group_by``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from openhcs_engine.errors import PatternError

StackFunction: TypeAlias = Callable[..., Any]
"""Takes a stack ``(plane, y, x)`` and keyword parameters, returns a stack."""

Call: TypeAlias = StackFunction | tuple[StackFunction, Mapping[str, object]]
Chain: TypeAlias = Call | Sequence[Call]
Pattern: TypeAlias = Chain | Mapping[str | int, Chain]

_SHAPES = "a function, (function, {parameters}), a list of those, or a dict of any of them"


@dataclass(frozen=True, slots=True)
class DeclaredCall:
    """One function and the parameters it was declared with."""

    function: StackFunction
    kwargs: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class DeclaredRoute:
    """The calls under one key of a dict pattern; ``key`` None: for every stack."""

    key: str | int | None
    calls: tuple[DeclaredCall, ...]


def normalise_pattern(pattern: object, step: str) -> tuple[DeclaredRoute, ...]:
    """Bring any of the four patterns into one form.

    Raises
    ------
    PatternError
        If it is none of them; the message names the part that does not fit.
    """
    if not isinstance(pattern, Mapping):
        return (DeclaredRoute(None, _chain(pattern, step)),)
    if not pattern:
        raise PatternError("func={} is an empty dict; give at least one entry.", step=step)
    for key in pattern:
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise PatternError(f"the key {key!r} of func={{…}} is neither a name nor a number.", step=step)
    return tuple(DeclaredRoute(key, _chain(entry, step, key)) for key, entry in pattern.items())


def first_function_name(pattern: object) -> str | None:
    """Name of the first function of a pattern, for a step that was given none."""
    while not callable(pattern):
        if isinstance(pattern, Mapping):
            pattern = next(iter(pattern.values()), None)
        elif isinstance(pattern, Sequence) and pattern and not isinstance(pattern, str):
            pattern = pattern[0]
        else:
            return None
    return str(getattr(pattern, "__name__", type(pattern).__name__))


def _chain(entry: object, step: str, key: str | int | None = None) -> tuple[DeclaredCall, ...]:
    if isinstance(entry, list):
        if not entry:
            raise PatternError(f"{_place(key)} is an empty list; give at least one function.", step=step)
        return tuple(_call(item, step, key) for item in entry)
    return (_call(entry, step, key),)


def _call(item: object, step: str, key: str | int | None) -> DeclaredCall:
    if isinstance(item, tuple):
        if len(item) != 2 or not callable(item[0]) or not isinstance(item[1], Mapping):
            raise PatternError(f"{_place(key)} holds {item!r}; a tuple must be (function, {{parameters}}).", step=step)
        return DeclaredCall(item[0], dict(item[1]))
    if isinstance(item, type) or not callable(item):
        raise PatternError(f"{_place(key)} holds {item!r}; expected {_SHAPES}.", step=step)
    return DeclaredCall(item, {})


def _place(key: str | int | None) -> str:
    return "func" if key is None else f"func[{key!r}]"
