"""What the text of a function writes to that is not its own: names of its module, attributes, what variables hold.

Such a thing is a memory (a cache, a counter, a model that is loaded once) and no constant: what it holds differs
between processes and moments, and no well may become stale by it.
"""

from __future__ import annotations

import ast
import dis
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Final, TypeAlias

from openhcs_engine.uses.texts import FunctionNode

Path: TypeAlias = tuple[str, ...]
"""A name and the attributes behind it: ``STATE.models["a"] = m`` writes to ``("STATE", "models", "[]")``."""

ITEM: Final = "[]"
"""The end of a path: something in what the path leads to."""

_MUTATORS: Final = frozenset(
    {
        "add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "fill", "insert", "itemset",
        "move_to_end", "partition", "pop", "popitem", "popleft", "put", "remove", "resize", "reverse", "setdefault",
        "setflags", "sort", "update", "write", "__setitem__", "__delitem__", "__setattr__",
    }
)  # fmt: skip
"""Methods that change what they are called on."""
_INTO_FIRST: Final = frozenset({"at", "copyto", "fill_diagonal", "heappop", "heappush", "insort", "putmask", "shuffle"})
"""Functions that change their first argument."""
_DYNAMIC: Final = frozenset({"eval", "exec", "__import__", "globals"})


@dataclass(frozen=True, slots=True)
class Writes:
    """What a function does to names that are not its own."""

    paths: frozenset[Path] = frozenset()
    """Written to: names of the module or of a function around, and parameters of the function itself."""
    parameters: tuple[str, ...] = ()
    """The first is the object if it is a method."""
    handed: tuple[tuple[Path, int | str, Path], ...] = ()
    """What it hands on: to which function, as which argument, by position or name, and what."""
    passed: frozenset[str] = frozenset()
    """Names handed on whole, as arguments."""
    imports: tuple[tuple[str, int], ...] = ()
    """Modules that it imports, each with the number of dots in front."""
    dynamic: tuple[str, ...] = ()
    """Calls whose result no text tells: ``eval``, ``import_module`` …"""


def writes_of(node: FunctionNode | None, code: CodeType) -> Writes:
    """What a function writes to, by its definition; by its bytecode, which says less, where it has no text."""
    return _by_text(node) if node is not None else _by_bytecode(code)


@lru_cache(maxsize=4096)
def _by_text(node: FunctionNode) -> Writes:
    reader = _Reader(node)
    reader.read()
    return reader.writes()


def _by_bytecode(code: CodeType) -> Writes:
    names, imports = set[str](), list[tuple[str, int]]()
    for inner in _codes(code):
        for each in dis.get_instructions(inner):
            if each.opname in {"STORE_GLOBAL", "DELETE_GLOBAL"} or (
                each.opname in {"STORE_DEREF", "DELETE_DEREF"} and each.argval in inner.co_freevars
            ):
                names.add(str(each.argval))
            elif each.opname == "IMPORT_NAME":
                imports.append((str(each.argval), 0))
    parameters = code.co_varnames[: code.co_argcount]
    return Writes(frozenset((name,) for name in names), parameters, imports=tuple(imports))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


class _Reader:
    """Reads one function; functions in it are read with it, as what they write to is written by a call of it."""

    def __init__(self, node: FunctionNode) -> None:
        self.node = node
        self.nodes = [inner for statement in node.body for inner in ast.walk(statement)]
        self.outer = {
            name for inner in self.nodes if isinstance(inner, ast.Global | ast.Nonlocal) for name in inner.names
        }
        self.parameters = [*_parameters(node)]
        self.local = {inner.id for inner in self.nodes if isinstance(inner, ast.Name) and not _is_load(inner)}
        self.local -= self.outer
        self.aliases = dict(self._find_aliases())
        self.paths: set[Path] = set()

    def writes(self) -> Writes:
        calls = [inner for inner in self.nodes if isinstance(inner, ast.Call)]
        return Writes(
            paths=frozenset(self.paths),
            parameters=tuple(self.parameters),
            handed=tuple(handed for call in calls for handed in self._handed(call)),
            passed=frozenset(name for call in calls for name in _passed(call)),
            imports=tuple(dict.fromkeys(_imports(self.nodes))),
            dynamic=tuple(dict.fromkeys(filter(None, map(_dynamic, calls)))),
        )

    def read(self) -> None:
        for inner in self.nodes:
            if isinstance(inner, ast.Name) and not _is_load(inner) and inner.id in self.outer:
                self.paths.add((inner.id,))
            elif isinstance(inner, ast.Attribute | ast.Subscript) and not _is_load(inner):
                self._write(_path(inner))
            elif isinstance(inner, ast.AugAssign) and isinstance(inner.target, ast.Name):
                self._write((inner.target.id,), only_aliases=True)
            elif isinstance(inner, ast.Call):
                self._read_call(inner)

    def _handed(self, call: ast.Call) -> Iterator[tuple[Path, int | str, Path]]:
        callee = _path(call.func)
        if not callee or callee[-1] == ITEM:
            return
        arguments: list[tuple[int | str, ast.expr]] = list(enumerate(call.args))
        arguments += [(keyword.arg or "", keyword.value) for keyword in call.keywords]
        for where, argument in arguments:
            path = self._beyond_aliases(_path(argument))
            if path:
                yield callee, where, path

    def _read_call(self, call: ast.Call) -> None:
        name = _called(call)
        if isinstance(call.func, ast.Attribute) and name in _MUTATORS:
            self._write(_path(call.func.value))
        if name in {"setattr", "__setattr__"} and len(call.args) > 1:  # object.__setattr__(self, "name", value)
            self._write((*_path(call.args[0]), *_constants(call.args[1:2])))
        elif name in _INTO_FIRST and call.args:
            self._write(_path(call.args[0]))
        for keyword in call.keywords:
            if keyword.arg == "out":
                self._write(_path(keyword.value))

    def _write(self, path: Path, *, only_aliases: bool = False) -> None:
        """Note a write; one to a variable of the function is one to what the variable was taken from."""
        beyond = self._beyond_aliases(path)
        if beyond and (beyond != path or not only_aliases):
            self.paths.add(beyond)

    def _beyond_aliases(self, path: Path) -> Path:
        """What a variable was taken from; empty if it is the function's own."""
        seen = set[str]()
        while path and path[0] in self.aliases and path[0] not in seen:
            seen.add(path[0])
            path = _joined(self.aliases[path[0]], path[1:])
        is_own = path and path[0] in self.local and path[0] not in self.parameters
        return () if is_own else path

    def _find_aliases(self) -> Iterator[tuple[str, Path]]:
        for inner in self.nodes:
            targets: list[ast.expr] = []
            if isinstance(inner, ast.Assign):
                targets = inner.targets
            elif isinstance(inner, ast.NamedExpr | ast.AnnAssign) and inner.value is not None:
                targets = [inner.target]
            for target in targets:
                if isinstance(target, ast.Name) and target.id in self.local:
                    path = _path(inner.value)  # type: ignore[attr-defined] # those three have one
                    if path and path[0] != target.id:
                        yield target.id, path


def _joined(path: Path, more: Path) -> Path:
    return path if path[-1] == ITEM else (*path, *more)


def _parameters(node: FunctionNode) -> Iterator[str]:
    every = node.args
    yield from (each.arg for each in (*every.posonlyargs, *every.args, *every.kwonlyargs))
    yield from (each.arg for each in (every.vararg, every.kwarg) if each is not None)


def _is_load(node: ast.Name | ast.Attribute | ast.Subscript) -> bool:
    return isinstance(node.ctx, ast.Load)


def _path(node: ast.expr | None) -> Path:
    """The name from which an expression takes something that exists already; empty if it makes something new."""
    match node:
        case ast.Name(id=name):
            return (name,)
        case ast.Attribute(value=inner, attr=attr):
            path = _path(inner)
            return (*path, attr) if path and path[-1] != ITEM else path
        case ast.Starred(value=inner) | ast.NamedExpr(value=inner):
            return _path(inner)
        case (
            ast.Subscript(value=inner)
            | ast.Call(func=ast.Attribute(value=inner, attr="get" | "setdefault" | "view" | "reshape" | "ravel"))
        ):
            path = _path(inner)
            return (*path, ITEM) if path and path[-1] != ITEM else path
    return ()


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _constants(nodes: list[ast.expr]) -> Iterator[str]:
    yield from (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def _passed(call: ast.Call) -> Iterator[str]:
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    yield from (each.id for each in arguments if isinstance(each, ast.Name))


def _imports(nodes: list[ast.AST]) -> Iterator[tuple[str, int]]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level
            # ``from package import module`` may name a module that only this line imports
            yield from ((f"{node.module or ''}.{alias.name}".strip("."), node.level) for alias in node.names)


def _dynamic(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) if name in _DYNAMIC:
            return name
        case ast.Name(id="import_module") | ast.Attribute(attr="import_module"):
            return "import_module"
    return ""


__all__ = ["ITEM", "Path", "Writes", "writes_of"]
