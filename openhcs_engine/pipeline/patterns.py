"""The four function patterns, and the one form they all have after the door.

- ``f``: one function;
- ``(f, {"parameter": value})``: with parameters;
- ``[f, (g, {...}), ...]``: a chain, each function takes what the one before returned;
- ``{"DAPI": any of these, "GFP": ...}``: by the value of the step's ``group_by``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

StackFunction: TypeAlias = Callable[..., Any]
"""Takes a stack ``(plane, y, x)`` and keyword parameters, returns a stack."""

Call: TypeAlias = StackFunction | tuple[StackFunction, Mapping[str, object]]
Chain: TypeAlias = Call | Sequence[Call]
Pattern: TypeAlias = Chain | Mapping[str | int, Chain]

Refuse: TypeAlias = Callable[[str, str], None]
"""Takes a sentence and the key of what it is about."""

_SHAPES = "a function, (function, {parameters}), a list of those, or a dict of any of them"
_DEPTH = 4
"""A dict of lists of tuples of functions: nothing is deeper."""
_OWN_DEPTH = 8
"""Parameters may hold lists and dicts, too."""


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


def normalise_pattern(pattern: object, refuse: Refuse) -> tuple[DeclaredRoute, ...]:
    """Bring any of the four patterns into one form; each part that does not fit is refused and left out."""
    if not isinstance(pattern, Mapping):
        return (DeclaredRoute(None, _chain(pattern, "func", refuse)),)
    if not pattern:
        refuse("func={} is an empty dict; give at least one entry.", "func")
    return tuple(_routes(pattern, refuse))


def own_pattern(pattern: Any, depth: int = _OWN_DEPTH) -> Any:  # Any: whatever a user gave
    """A pattern whose dicts and lists are nobody else's, so that the caller's can change and the step does not."""
    if depth == 0:
        return pattern
    if type(pattern) is dict:
        return {key: own_pattern(value, depth - 1) for key, value in pattern.items()}
    if type(pattern) in (list, tuple):
        return type(pattern)(own_pattern(item, depth - 1) for item in pattern)
    return pattern


def first_function_name(pattern: object) -> str | None:
    """Name of the first function of a pattern, for a step that was given none."""
    for _ in range(_DEPTH):
        if callable(pattern):
            return str(getattr(pattern, "__name__", type(pattern).__name__))
        if isinstance(pattern, Mapping):
            pattern = next(iter(pattern.values()), None)
        elif isinstance(pattern, Sequence) and pattern and not isinstance(pattern, str):
            pattern = pattern[0]
    return None


def _routes(pattern: Mapping[Any, object], refuse: Refuse) -> Iterator[DeclaredRoute]:  # Any: keys of a user's dict
    for key, entry in pattern.items():
        if isinstance(key, bool) or not isinstance(key, str | int):
            refuse(f"the key {key!r} of func={{…}} is neither a name nor a number; name a value of group_by.", str(key))
        else:
            yield DeclaredRoute(key, _chain(entry, f"func[{key!r}]", refuse))


def _chain(entry: object, where: str, refuse: Refuse) -> tuple[DeclaredCall, ...]:
    if not isinstance(entry, list):
        return tuple(_call(entry, where, refuse))
    if not entry:
        refuse(f"{where} is an empty list; give at least one function.", where)
    return tuple(call for position, item in enumerate(entry) for call in _call(item, f"{where}[{position}]", refuse))


def _call(item: object, where: str, refuse: Refuse) -> Iterator[DeclaredCall]:
    """The call that an item means; none if it means nothing."""
    if isinstance(item, tuple):
        if len(item) != 2 or not _is_function(item[0]) or not isinstance(item[1], Mapping):
            refuse(f"{where} holds {_shown(item)}; a tuple must be (function, {{parameters}}).", where)
        else:
            yield DeclaredCall(item[0], dict(item[1]))
    elif not _is_function(item):
        nested = " Lists are not nested: write one list." if isinstance(item, list) else ""
        refuse(f"{where} holds {_shown(item)}; expected {_SHAPES}.{nested}", where)
    else:
        assert callable(item)
        yield DeclaredCall(item, {})


def _is_function(item: object) -> bool:
    return callable(item) and not isinstance(item, type)


def _shown(item: object) -> str:
    text = repr(item)
    return text if len(text) <= 120 else f"{text[:120]}…"
