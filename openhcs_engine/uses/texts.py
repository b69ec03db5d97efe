"""The text of functions, classes and assignments, by the files in which they stand."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType
from typing import Any, TypeAlias

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class FileText:
    """A file of Python, taken apart once."""

    lines: tuple[str, ...] = ()
    functions: Mapping[tuple[str, int], FunctionNode] = field(default_factory=dict)
    """By name and first line, decorators included."""
    classes: Mapping[str, list[ast.ClassDef]] = field(default_factory=dict)
    """By qualified name."""
    assigned: Mapping[str, list[ast.stmt]] = field(default_factory=dict)
    """Statements of the module itself that give a name its value."""

    def of(self, node: ast.stmt) -> str:
        """The lines of a node, its decorators included."""
        return "".join(self.lines[first_line(node) - 1 : node.end_lineno])

    def function(self, code: CodeType) -> FunctionNode | None:
        """The definition of a function; None for lambdas, of which a line may have several."""
        return self.functions.get((code.co_name, code.co_firstlineno))

    def of_class(self, qualname: str) -> str:
        """The text of a class; empty if it has none, as what a call made."""
        return "".join(map(self.of, self.classes.get(qualname, ())))

    def of_assignment(self, name: str) -> str:
        """How the module gives a name its value."""
        return "".join(map(self.of, self.assigned.get(name, ())))


class Texts:
    """Files as they are now, each read once."""

    def __init__(self) -> None:
        self._files: dict[str, FileText] = {}

    def file(self, name: str, scope: Mapping[str, Any] | None = None) -> FileText:
        """A file by its name, or a cell of a notebook; empty if its text is nowhere."""
        if name not in self._files:
            linecache.checkcache(name)
            self._files[name] = _taken_apart("".join(linecache.getlines(name, dict(scope) if scope else None)))
        return self._files[name]

    def of_code(self, code: CodeType) -> tuple[str, FunctionNode | None]:
        """Text and definition of a function; empty and None where there is no text that is its own alone."""
        file = self.file(code.co_filename)
        node = file.function(code)
        return ("", None) if node is None else (file.of(node), node)


def first_line(node: ast.stmt) -> int:
    """The line where a definition begins: that of its first decorator."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(each.lineno for each in decorators)])


@lru_cache(maxsize=128)
def _taken_apart(text: str) -> FileText:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return FileText()
    found = FileText(tuple(f"{line}\n" for line in text.split("\n")), {}, {}, {})
    for name, node in _definitions(tree, ""):
        if isinstance(node, ast.ClassDef):
            found.classes.setdefault(name, []).append(node)  # type: ignore[attr-defined] # it is being made
        else:
            found.functions[node.name, first_line(node)] = node  # type: ignore[index] # it is being made
    for statement in _statements(tree):
        for name in _names_set(statement):
            found.assigned.setdefault(name, []).append(statement)  # type: ignore[attr-defined] # it is being made
    return found


def _definitions(node: ast.AST, inside: str) -> Iterator[tuple[str, ast.ClassDef | FunctionNode]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield f"{inside}{child.name}", child
            yield from _definitions(child, f"{inside}{child.name}.")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{inside}{child.name}", child
            yield from _definitions(child, f"{inside}{child.name}.<locals>.")
        else:
            yield from _definitions(child, inside)


def _statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """Statements that run when the module is imported, those in ``if``, ``try``, ``for`` and ``with`` included."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(child, ast.stmt):
            yield child
        yield from _statements(child)


def _names_set(statement: ast.stmt) -> Iterator[str]:
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        targets = [statement.value.func]  # CACHE.update(…)
    for node in (node for target in targets for node in ast.walk(target)):
        if isinstance(node, ast.Name):
            yield node.id


__all__ = ["FileText", "FunctionNode", "Texts", "first_line"]
