"""Functions by name: found again in another process, and known by their source."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable
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
    """Digest of a function's source text; of its bytecode where there is no text (a console, a C function)."""
    function = inspect.unwrap(function)
    try:
        source = inspect.getsource(function).encode()
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        source = b"" if code is None else code.co_code + repr(code.co_consts).encode()
    return hashlib.sha256(source).hexdigest()
