"""From a function to everything of the user's own that runs, or is read, when it is called."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, is_dataclass
from typing import Any, Final

from openhcs_engine.laws import now
from openhcs_engine.laws.moved import stored_name
from openhcs_engine.uses.functions import (
    cells_of,
    codes,
    defaults_of,
    functions_of,
    has_by_name,
    holds_values,
    layers,
    module_of,
    title_of,
)
from openhcs_engine.uses.memories import Key, Memories
from openhcs_engine.uses.opened_files import WATCH, OpenedFile
from openhcs_engine.uses.packages import Whose, file_of, is_compiled, package_of, whose
from openhcs_engine.uses.texts import Texts
from openhcs_engine.uses.values import LARGEST, Callers, UnfollowedError, Values, is_function, kind_of, slots_of
from openhcs_engine.uses.writes import ITEM, Writes, writes_of

SHOWN: Final = 12
"""Letters of a digest that are shown."""
_NO_VALUES: Final = frozenset(
    {"__builtins__", "__cached__", "__doc__", "__loader__", "__name__", "__package__", "__spec__", "__annotations__"}
)
_OF_CLASSES: Final = frozenset(
    {"__abstractmethods__", "__dataclass_fields__", "__dataclass_params__", "__match_args__", "__parameters__",
     "__orig_bases__", "__slots__", "__static_attributes__", "__firstlineno__", "__qualname__", "__module__",
     "__dict__", "__weakref__", "_abc_impl", "_member_map_", "_member_names_", "_value2member_map_", "_member_type_",
     *_NO_VALUES}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Uses:
    """A function, and all that it uses."""

    sha256: str
    """Digest of all of it but the files."""
    used: Mapping[str, str]
    """By name: the beginning of the digest of a function, class or value, the version of a package."""
    files: tuple[OpenedFile, ...]
    """Read by the modules while they were imported."""
    unfollowed: tuple[str, ...]
    """What nobody can tell from another thing of its kind, each with the reason."""
    functions: tuple[Callable[..., Any], ...]
    """The user's own that run when it is called, its wrappers included."""


def follow(function: Callable[..., Any]) -> Uses:
    """What a function is made of: its text and what it holds, and what it names in modules, and so on from there.

    Modules that are the user's own are followed by text and by value, wherever they lie; packages by their version;
    functions of this product by the number of times that their results changed. What the followed functions themselves
    write to is a memory: of it only how the module makes it counts.
    """
    return _Follower(function).follow()


def follow_together(functions: Iterable[Callable[..., Any]]) -> dict[int, Uses]:
    """What functions of one plan are made of, by their ids; what one of them writes to is a memory for all.

    They may hand something on from one to another by a name of their module, which no well becomes stale by.
    """
    alone = {id(function): _Follower(function) for function in functions}
    uses = {key: follower.follow() for key, follower in alone.items()}
    together = Memories(Texts())
    for follower in alone.values():
        together.join(follower.memories)
    others = {key: follower for key, follower in alone.items() if not follower.memories.knows(together)}
    return uses | {key: _Follower(follower.root, together).follow() for key, follower in others.items()}


class _Follower(Values):
    def __init__(self, root: Callable[..., Any], written: Memories | None = None) -> None:
        self.root = root
        self.texts = Texts()
        self.digests: dict[str, str] = {}
        self.packages: dict[str, str] = {}
        self.missed: dict[str, None] = {}
        self.modules: dict[str, None] = {}
        self.functions: dict[int, Callable[..., Any]] = {}
        self.named: set[str] = set()
        self.waiting: list[Callable[[], None]] = []
        self.values: dict[Key, object] = {}
        self.memories = Memories(self.texts)
        if written is not None:
            self.memories.join(written)
        self.where = title_of(root)

    def follow(self) -> Uses:
        function = self.root
        root = _sha(self._callable(function, (), top=True))
        done: set[Key] = set()
        while self.waiting or self.values.keys() - done:
            if self.waiting:  # what functions write to must be known before any value is described
                self.waiting.pop()()
                continue
            self.memories.spread()
            key = min(self.values.keys() - done)
            done.add(key)
            name, _, attribute = key[1].partition(".")
            if key not in self.memories.names and attribute not in self.memories.of_name((key[0], name)):
                self.digests[f"{key[0]}:{key[1]}"] = self._value(key)
        for key in self.memories.names & self.values.keys():
            self.digests[f"{key[0]}:{key[1]}"] = _sha(self._assignment(key))
        files = WATCH.files(self.modules)
        self._note_modules()
        self.digests.setdefault(f"{stored_name(module_of(function))}:{title_of(function)}", root)
        used = {**self.digests, **self.packages}
        whole = _sha(root + "".join(f"{name}={used[name]};" for name in sorted(used)))
        return Uses(
            sha256=whole,
            used={name: self.packages.get(name, used[name][:SHOWN]) for name in sorted(used)},
            files=files,
            unfollowed=tuple(sorted(self.missed)),
            functions=tuple(self.functions.values()),
        )

    # What is called

    def function(self, value: Any, callers: Callers) -> str:
        """A function by its name where a module has it, else whole."""
        home = module_of(value)
        if self._is_elsewhere(home, value):
            return f"function {stored_name(home)}:{title_of(value)};"
        if inspect.ismethod(value):
            return f"method {self.function(value.__func__, callers)}{self.text(value.__self__, callers)}"
        name = f"{home}:{title_of(value)}"
        if has_by_name(home, title_of(value), value):
            if name not in self.named:
                self.named.add(name)
                self.waiting.append(lambda: self.digests.__setitem__(name, _sha(self._callable(value, ()))))
            return f"function {name};"
        return self._callable(value, callers)

    def _callable(self, function: Any, callers: Callers, *, top: bool = False) -> str:
        """Text and held values of a function, or of a callable object, and of everything that it wraps."""
        return "".join(self._layer(layer, (*callers, function), top=top) for layer in layers(function))

    def _layer(self, layer: Any, callers: Callers, *, top: bool) -> str:
        if inspect.ismethod(layer):
            holder = "" if isinstance(layer.__self__, types.ModuleType) else self.text(layer.__self__, callers)
            return f"{self._layer(layer.__func__, callers, top=top)}{holder}"
        code = getattr(layer, "__code__", None)
        if not isinstance(code, types.CodeType):
            return self._wrapping_object(layer, callers)
        scope = layer.__globals__
        home = str(scope.get("__name__"))
        if whose(home) is not Whose.OWN:
            self._is_elsewhere(home, layer)
            return self._text_of(code, callers)[0] if top else f"{stored_name(home)}:{layer.__qualname__};"
        self.functions[id(layer)] = layer
        text, writes = self._text_of(code, callers)
        memories = {path[0] for path in writes.paths}
        self._follow_names(layer, writes, scope, home)
        held = [
            *defaults_of(layer, memories),
            *cells_of(layer, memories),
        ]
        return text + "".join(self._in(home, item, (*callers, layer)) for item in held)

    def _wrapping_object(self, layer: Any, callers: Callers) -> str:
        """An object that stands for a function: what it holds counts if its class is the user's own."""
        kind = type(layer)
        if whose(kind.__module__) is Whose.OWN:
            return self.instance(layer, callers)
        self._is_elsewhere(kind.__module__, layer)
        if getattr(layer, "__wrapped__", None) is None and not inspect.isroutine(layer):
            self.unfollowed(layer, kind_of(layer))
        return f"{kind_of(layer)};"

    def _text_of(self, code: types.CodeType, callers: Callers) -> tuple[str, Writes]:
        text, node = self.texts.of_code(code)
        # A lambda shares its line with others; a class of data has methods without a text.
        return text or self.code(code, callers), writes_of(node, code)

    def _is_elsewhere(self, home: str, value: Any) -> bool:
        """Whether a version, or a revision of ours, answers for a function or class; it is noted then."""
        match whose(home):
            case Whose.OWN:
                return False
            case Whose.INSTALLED:
                self._package(home)
            case Whose.OURS:
                name = f"{stored_name(home)}:{title_of(value)}"
                if name in now.REVISIONS:
                    self.packages[name] = f"revision {now.REVISIONS[name]}"
        return True

    def _package(self, module_name: str) -> None:
        top = module_name.partition(".")[0]
        told = package_of(top)
        if told:
            self.packages.update(
                [(name, version) for name, _, version in (one.partition("==") for one in told.split(", "))]
            )
        else:
            self.missed[f"{top} (an installed module without a version)"] = None

    # What is named

    def _follow_names(self, layer: Any, writes: Writes, scope: Mapping[str, Any], home: str) -> None:
        names = {name for code in codes(layer.__code__) for name in code.co_names}
        self._module_is_used(home)
        self.memories.note(layer, writes, scope, home)
        for name in sorted(names & scope.keys() - _NO_VALUES):
            self._name(home, name, scope[name], names, whole=name in writes.passed)
        for imported, dots in writes.imports:
            self._import(imported, dots, scope, names)
        for call in writes.dynamic:
            if not (call == "import_module" and "import_module" not in names):
                self.missed[f"what {home}.{layer.__qualname__} asks {call} for"] = None

    def _name(self, home: str, name: str, value: Any, names: set[str], *, whole: bool = False) -> None:
        if isinstance(value, types.ModuleType):
            self._module(value, names, whole=whole)
        elif isinstance(value, type):
            self.of_class(value)
        elif is_function(value) and (has_by_name(module_of(value), title_of(value), value) or self._is_foreign(value)):
            self.function(value, ())
            for attribute in names & getattr(value, "__dict__", {}).keys():
                self.values.setdefault((home, f"{name}.{attribute}"), vars(value)[attribute])
        else:
            self.values.setdefault((home, name), value)

    def _is_foreign(self, value: Any) -> bool:
        return not inspect.ismethod(value) and whose(module_of(value)) is not Whose.OWN

    def _module(
        self, module: types.ModuleType, names: set[str], *, whole: bool = False, seen: frozenset[str] = frozenset()
    ) -> None:
        """What a function names of a module that it names; all of it if it names nothing there, or hands it on."""
        name, inside = module.__name__, vars(module)
        if name in seen:
            return
        match whose(name):
            case Whose.INSTALLED:
                self._package(name)
            case Whose.OURS:
                for each in names & inside.keys():
                    if is_function(inside[each]):
                        self._is_elsewhere(module_of(inside[each]), inside[each])
            case Whose.OWN:
                self._module_is_used(name)
                found = sorted((names & inside.keys()) - _NO_VALUES)
                if whole or not found:
                    found = sorted(each for each in inside if not each.startswith("__"))
                for each in found:
                    if isinstance(inside[each], types.ModuleType):
                        self._module(inside[each], names, seen=seen | {name})
                    else:
                        self._name(name, each, inside[each], names)

    def _import(self, name: str, dots: int, scope: Mapping[str, Any], names: set[str]) -> None:
        """A module that is imported when the function is called: now, if it is the user's own or this product's.

        What another pipeline of this process imported before makes no difference.
        """
        with suppress(ImportError, ValueError):
            name = importlib.util.resolve_name("." * dots + name, scope.get("__package__") or "") if dots else name
            match whose(name):
                case Whose.INSTALLED:
                    self._package(name)
                case Whose.OURS | Whose.OWN if file_of(name) is not None or name in sys.modules:
                    self._import_now(name, names)

    def _import_now(self, name: str, names: set[str]) -> None:
        try:
            module = importlib.import_module(name)
        except ImportError:
            return  # ``from module import function``: no module
        except Exception as error:  # a user's module may raise anything
            self.missed[f"{name} (its import fails: {type(error).__name__})"] = None
            return
        self._module(module, names)

    def _module_is_used(self, name: str) -> None:
        if name in self.modules:
            return
        self.modules[name] = None
        module = sys.modules.get(name)
        if module is not None and is_compiled(module):
            self.digests[name] = self._machine_code(str(module.__file__))

    def _machine_code(self, path: str) -> str:
        try:
            if os.path.getsize(path) <= LARGEST:  # noqa: PTH202 # a module's own text
                with open(path, "rb") as file:  # noqa: PTH123
                    return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            pass
        self.missed[f"{path} (machine code)"] = None
        return ""

    def _note_modules(self) -> None:
        """Say of which modules it is not known what they read while they were imported."""
        own = [name for name in self.modules if name != "__main__"]
        for name in WATCH.unwatched(own):
            self.missed[f"what {name} read while it was imported (import openhcs_engine before it)"] = None
        for name, what in WATCH.outside(own):
            self.missed[f"what {name} got from {what} while it was imported"] = None

    # What is held

    def of_class(self, value: type) -> str:
        """A class by its name; its text and members are followed where it is the user's own."""
        home, qualname = value.__module__, value.__qualname__
        if self._is_elsewhere(home, value):
            return f"class {stored_name(home)}:{qualname};"
        name = f"{home}:{qualname}"
        if name not in self.named:
            self.named.add(name)
            self.waiting.append(lambda: self.digests.__setitem__(name, _sha(self._class(value))))
        return f"class {name};"

    def _class(self, kind: type) -> str:
        home, members = kind.__module__, vars(kind)
        self._module_is_used(home)
        module_file = file_of(home) or next((each.__code__.co_filename for each in functions_of(members.values())), "")
        text = self.texts.file(module_file, vars(sys.modules[home]) if home in sys.modules else None).of_class(
            kind.__qualname__
        )
        texts = [text, *(self.of_class(base) for base in kind.__bases__ if base is not object)]
        if type(kind) is not type:
            texts.append(self.of_class(type(kind)))
        for name, member in sorted(members.items()):
            inner = list(functions_of([member]))
            for function in inner:
                is_in_text = text and self.texts.of_code(function.__code__)[0] in text
                layer = self._layer(function, (kind,), top=False)
                texts.append("" if is_in_text and not holds_values(function) else f"{name}{layer}")
            if (
                inner
                or name in _OF_CLASSES
                or inspect.isdatadescriptor(member)
                or name in self.memories.attributes(kind)
            ):
                continue
            texts.append(f"{name}{self._in(home, member, (kind,), f'{kind.__qualname__}.{name}')}")
        return "".join(texts)

    def instance(self, value: object, callers: Callers) -> str:
        """An object of a class of the user's own by what it holds, but for what its methods write to."""
        kind = type(value)
        if is_dataclass(value) and whose(kind.__module__) is Whose.OURS:
            return f"{kind_of(value)}{self.text(list(slots_of(value)), callers)}"
        foreign = [each for each in kind.__mro__ if whose(each.__module__) in {Whose.INSTALLED, Whose.OURS}]
        if whose(kind.__module__) is not Whose.OWN or foreign:
            for each in kind.__mro__:
                self._is_elsewhere(each.__module__, each)
            if whose(kind.__module__) is Whose.OWN:
                self.of_class(kind)
            raise UnfollowedError(kind_of(value))
        written = self.memories.attributes(kind)
        if ITEM in written:
            return self.of_class(kind)
        held = "".join(
            f"{name}={self.text(item, callers)}"
            for name, item in slots_of(value)
            if name not in written and not name.startswith("__")  # as wrappers have of what they wrap
        )
        return f"{self.of_class(kind)}{{{held}}}"

    def of_module(self, value: types.ModuleType) -> str:
        """A module that a value holds is used whole."""
        self._module(value, set(), whole=True)
        return f"module {value.__name__};"

    def unfollowed(self, value: object, kind: str) -> None:
        """Note it under the name in a module that leads to it."""
        self.missed[f"{self.where} ({kind})"] = None

    def _value(self, key: Key) -> str:
        before = len(self.missed)
        told = self._in(key[0], self.values[key], (), key[1])
        if len(self.missed) > before:  # the text of the assignment at least
            told += self._assignment(key)
        return _sha(told)

    def _assignment(self, key: Key) -> str:
        module, name = key
        file = file_of(module)
        return f"memory {self.texts.file(file).of_assignment(name) if file else ''}"

    def _in(self, home: str, value: object, callers: Callers, name: str | None = None) -> str:
        """A value of a module, as text."""
        before = self.folder, self.where
        file = file_of(home)
        self.folder = os.path.dirname(file) if file else ""  # noqa: PTH120 # as text, to compare with text
        if name is not None:
            self.where = f"{home}.{name}"
        try:
            return self.text(value, callers)
        finally:
            self.folder, self.where = before


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


__all__ = ["Uses", "follow", "follow_together"]
