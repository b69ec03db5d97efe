"""Functions by name: found again in another process, and known by what they are made of."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.abc import SourceLoader
from types import CodeType, ModuleType
from typing import Any

from openhcs_engine.laws.moved import current_name, stored_name
from openhcs_engine.uses.follow import Uses, follow
from openhcs_engine.uses.functions import codes


def reference_of(function: Callable[..., Any]) -> str:
    """``module:qualname``; a module that moved keeps the name that earlier plans give it."""
    return f"{stored_name(function.__module__)}:{function.__qualname__}"


def resolve(reference: str) -> Callable[..., Any]:
    """The function that ``module:qualname`` names, also where its module had that name in earlier versions.

    Raises
    ------
    ImportError, AttributeError
        If the module or the name in it does not exist.
    """
    module, _, name = reference.partition(":")
    found: Any = importlib.import_module(current_name(module))
    for part in name.split("."):
        found = getattr(found, part)
    function: Callable[..., Any] = found
    return function


def changed_since_import(uses: Uses) -> str | None:
    """The file of a function, or of what it uses, that says something else now than when it was imported.

    None if all is as it was. A changed one does what nobody can read any more, and lines of the new text would be taken
    for its source.
    """
    now: dict[str, frozenset[CodeType] | None] = {}
    for layer in uses.functions:
        code, module = getattr(layer, "__code__", None), sys.modules.get(getattr(layer, "__module__", None) or "")
        file = getattr(module, "__file__", None)
        if code is None or module is None or code.co_filename != file:
            continue
        if file not in now:
            now[file] = _codes_now(module)
        known = now[file]
        if known is not None and code not in known:
            return str(file)
    return next((file.path for file in uses.files if file.has_changed), None)


def _codes_now(module: ModuleType) -> frozenset[CodeType] | None:
    """All code of a module's file as it is now; None if nobody can tell."""
    loader = getattr(getattr(module, "__spec__", None), "loader", None)
    if not isinstance(loader, SourceLoader):
        return None
    try:
        code = loader.get_code(module.__name__)
    except (ImportError, OSError):
        return None  # it is gone, and so is its text
    except SyntaxError:
        return frozenset()
    return None if code is None else frozenset(codes(code))


def source_sha256(function: Callable[..., Any]) -> str:
    """Digest of a function's source text, of the values that it holds, and of all that it uses; see ``uses.follow``."""
    return follow(function).sha256
