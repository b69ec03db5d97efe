"""What the functions that were followed write to: names of modules, and attributes of classes and objects."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final

from openhcs_engine.uses.functions import functions_of, layers
from openhcs_engine.uses.packages import Whose, whose
from openhcs_engine.uses.texts import Texts
from openhcs_engine.uses.writes import ITEM, Path, Writes, writes_of

Key = tuple[str, str]
"""A module and a name in it."""
_CONSTRUCTORS: Final = frozenset({"__init__", "__new__", "__post_init__", "__setstate__", "__set_name__"})
"""What they write is how an object begins."""


class Memories:
    """Grows while functions are followed; what values are is asked when all are known."""

    def __init__(self, texts: Texts) -> None:
        self.names: set[Key] = set()
        """Names of modules whose values functions write to."""
        self._texts = texts
        self._attributes: dict[Key, set[str]] = {}
        self._seen: dict[int, tuple[Any, Writes, Mapping[str, Any], str]] = {}

    def join(self, others: Memories) -> None:
        """Take over what others write to."""
        self.names |= others.names
        for key, names in others._attributes.items():
            self._attributes.setdefault(key, set()).update(names)

    def knows(self, others: Memories) -> bool:
        """Whether all that others write to is known here."""
        return others.names <= self.names and all(
            names <= self._attributes.get(key, set()) for key, names in others._attributes.items()
        )

    def note(self, function: Any, writes: Writes, scope: Mapping[str, Any], home: str) -> None:
        """Note what one function of a module writes to."""
        self._seen[id(function)] = function, writes, scope, home
        for path in writes.paths:
            self._note(path, scope, home)

    def spread(self) -> None:
        """Note what functions write to by handing it to others, which write to their parameters."""
        written = {
            key: {path[0] for path in writes.paths} & set(writes.parameters)
            for key, (_, writes, _, _) in self._seen.items()
        }
        is_known = False
        while not is_known:
            is_known = True
            for key, (_, writes, scope, home) in self._seen.items():
                for root, path in self._handed_to_writers(writes, scope, written):
                    if root in writes.parameters:
                        is_known &= root in written[key]
                        written[key].add(root)
                    else:
                        self._note(path, scope, home)

    def attributes(self, kind: type) -> set[str]:
        """Attributes of a class and its objects that its methods write to, and others; ``[]`` stands for all of it."""
        found = self.of_name((kind.__module__, kind.__qualname__))
        for each in kind.__mro__:
            if whose(each.__module__) is not Whose.OWN:
                continue
            for name, member in vars(each).items():
                if isinstance(member, cached_property):
                    found.add(name)
                for function in functions_of([member]):
                    if function.__name__ not in _CONSTRUCTORS:
                        found |= set(_of_self(self._writes(function)))
        return found

    def of_name(self, key: Key) -> set[str]:
        """Attributes of what a module has by a name that functions write to."""
        return set(self._attributes.get(key, ()))

    def _writes(self, function: types.FunctionType) -> Writes:
        return writes_of(self._texts.of_code(function.__code__)[1], function.__code__)

    def _handed_to_writers(
        self, writes: Writes, scope: Mapping[str, Any], written: Mapping[int, set[str]]
    ) -> Iterator[tuple[str, Path]]:
        for callee, where, path in writes.handed:
            for layer in layers(found) if (found := _resolved(callee, scope)) is not None else ():
                if id(layer) not in self._seen:
                    continue
                names = self._seen[id(layer)][1].parameters
                name = where if isinstance(where, str) else names[where] if where < len(names) else ""
                if name in written[id(layer)]:
                    yield path[0], path if path[-1] == ITEM else (*path, ITEM)

    def _note(self, path: Path, scope: Mapping[str, Any], home: str) -> None:
        root, *rest = path
        if root not in scope:
            return
        owner, value = (home, root), scope[root]
        while isinstance(value, types.ModuleType) and rest and rest[0] in vars(value):
            owner, value, rest = (value.__name__, rest[0]), vars(value)[rest[0]], rest[1:]
        if not rest or rest[0] == ITEM or isinstance(value, Mapping | list):
            self.names.add(owner)
        else:
            holder = value if isinstance(value, type) else type(value)
            self._attributes.setdefault(owner, set()).add(rest[0])
            self._attributes.setdefault((holder.__module__, holder.__qualname__), set()).add(rest[0])


def _resolved(path: Path, scope: Mapping[str, Any]) -> Any:
    """What a path of names leads to, through modules only."""
    value = scope.get(path[0])
    for name in path[1:]:
        value = vars(value).get(name) if isinstance(value, types.ModuleType) else None
    return value


def _of_self(writes: Writes) -> Iterator[str]:
    """Attributes of its object that a method writes to."""
    for path in writes.paths:
        if writes.parameters and path[0] == writes.parameters[0]:
            yield path[1] if len(path) > 1 else ITEM


__all__ = ["Key", "Memories"]
