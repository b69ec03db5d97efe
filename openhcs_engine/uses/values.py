"""Values as text that is the same in every process: no address, no order of a set, no folder of this machine."""

from __future__ import annotations

import array
import decimal
import fractions
import functools
import hashlib
import inspect
import logging
import os
import re
import threading
import types
import uuid
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import date, time, timedelta, tzinfo
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, Final, TypeVar

from openhcs_engine.laws.moved import stored_name
from openhcs_engine.model.quantities.sizes import format_bytes

LARGEST: Final = 64 * 1024 * 1024
"""Bytes of an array, or of a file of machine code, whose content is followed."""
MOST_CELLS: Final = 1_000_000
"""Cells of a table whose content is followed."""

_PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented)})
_AS_TEXT: Final = (
    date, time, timedelta, tzinfo, decimal.Decimal, fractions.Fraction, uuid.UUID, range, slice, types.GenericAlias,
    types.UnionType,
)  # fmt: skip
_NO_CONSTANTS: Final = (
    logging.Logger, logging.LoggerAdapter, type(threading.Lock()), type(threading.RLock()), threading.Condition,
    threading.Event, threading.Semaphore, threading.local, weakref.ref, weakref.WeakKeyDictionary,
    weakref.WeakValueDictionary, weakref.WeakSet, TypeVar,
)  # fmt: skip
"""What no result depends on, or what remembers only."""
_ARRAYS: Final = frozenset({"numpy", "cupy", "torch", "tensorflow", "jax", "jaxlib", "pyclesperanto"})
"""Packages whose arrays become NumPy's when they are asked for ``__array__`` or ``get()``."""
_TABLES: Final = frozenset({"pandas", "polars", "pyarrow"})

Callers = tuple[object, ...]


class UnfollowedError(Exception):
    """A value of which nobody can tell whether it is the same; the message is its kind."""


class Values(ABC):
    """Describes values; what functions, classes and objects are is known to who follows them."""

    folder: str = ""
    """The folder of the module whose value is described: paths in it are relative to it."""

    @abstractmethod
    def function(self, value: Any, callers: Callers) -> str:  # Any: whatever can be called
        """A function, builtin or bound method."""

    @abstractmethod
    def of_class(self, value: type) -> str:
        """A class."""

    @abstractmethod
    def of_module(self, value: types.ModuleType) -> str:
        """A module."""

    @abstractmethod
    def instance(self, value: object, callers: Callers) -> str:
        """An object of a class that is no kind of plain value. UnfollowedError if nobody can tell what it holds."""

    @abstractmethod
    def unfollowed(self, value: object, kind: str) -> None:
        """Note what cannot be followed."""

    def text(self, value: Any, callers: Callers = ()) -> str:  # Any: whatever a module holds
        """The value as text; what cannot be followed is noted, and described by its type."""
        if type(value) in _PLAIN:
            return f"{self._relative(value)!r};" if isinstance(value, str) else f"{value!r};"
        if any(value is caller for caller in callers):
            return "recursion;"
        try:
            return self._text(value, (*callers, value))
        except UnfollowedError as error:
            self.unfollowed(value, str(error))
        except RecursionError:
            self.unfollowed(value, "too deep")
        return f"{kind_of(value)}?;"

    def _text(self, value: Any, callers: Callers) -> str:
        if isinstance(value, _NO_CONSTANTS):
            return f"{kind_of(value)};"
        if isinstance(value, Enum):
            return f"{self.of_class(type(value))}{value.name};"
        if isinstance(value, type):
            return self.of_class(value)
        if isinstance(value, types.ModuleType):
            return self.of_module(value)
        if isinstance(value, PurePath):
            return f"path {self._relative(str(value))!r};"
        if isinstance(value, re.Pattern):
            return f"pattern {value.pattern!r}{value.flags};"
        if isinstance(value, _AS_TEXT):
            return f"{kind_of(value)}{value!s};"
        if isinstance(value, functools.partial):
            return f"partial{self.text((value.func, value.args, value.keywords), callers)}"
        if isinstance(value, types.CodeType):
            return self.code(value, callers)
        if isinstance(value, Mapping | list | tuple | set | frozenset | deque | bytearray | array.array):
            return self._container(value, callers)
        if isinstance(value, types.SimpleNamespace):
            return f"namespace{self.text(vars(value), callers)}"
        if is_function(value):
            return self.function(value, callers)
        if (package := type(value).__module__.partition(".")[0]) in _ARRAYS:
            return self._array(value, callers)
        if package in _TABLES:
            return self._table(value, callers)
        if isinstance(value, str | bytes | int | float | complex):  # of a class of its own
            return f"{kind_of(value)}{self.text(_bare(value), callers)}"
        return self.instance(value, callers)

    def code(self, code: types.CodeType, callers: Callers) -> str:
        """Bytecode, names and constants, the functions inside included."""
        return f"{code.co_code!r}{code.co_names!r}{self.text(code.co_consts, callers)}"

    def _container(self, value: Any, callers: Callers) -> str:
        kind = "" if type(value) in (list, tuple, dict, set, frozenset) else kind_of(value)
        if isinstance(value, Mapping):
            factory = getattr(value, "default_factory", None)
            pairs = (f"{self.text(key, callers)}{self.text(item, callers)}" for key, item in value.items())
            return f"{kind}{self.text(factory, callers)}{{{''.join(sorted(pairs))}}}"
        if isinstance(value, set | frozenset):
            return f"{kind}{{{''.join(sorted(self.text(item, callers) for item in value))}}}"
        if isinstance(value, bytearray | array.array):
            return f"{kind}{getattr(value, 'typecode', '')}{hashlib.sha256(bytes(value)).hexdigest()};"
        if len(value) > 64 and {type(item) for item in value} <= _NUMBERS:
            return f"{kind}[{hashlib.sha256(repr(list(value)).encode()).hexdigest()}]"
        return f"{kind}[{''.join(self.text(item, callers) for item in value)}]"

    def _array(self, value: Any, callers: Callers) -> str:
        if type(value).__name__ == "ufunc":
            return self.function(value, callers)
        if type(value).__name__ in {"dtype", "DType", "device"} or type(value).__module__ == "numpy.dtypes":
            return f"{kind_of(value)}{value!s};"
        if (inside := getattr(value, "pyfunc", None)) is not None:  # numpy.vectorize
            return f"{kind_of(value)}{self.text(inside, callers)}"
        if type(value).__name__ == "memmap" and (text := _file_behind(value)):
            return text
        nbytes = getattr(value, "nbytes", 0)
        if isinstance(nbytes, int) and nbytes > LARGEST:
            raise UnfollowedError(f"an array of {format_bytes(nbytes)}")
        found = _on_host(value)
        if found.dtype == object:
            return f"{found.shape}{self.text(found.tolist(), callers)}"
        mask = getattr(value, "mask", None)
        masked = self.text(mask, callers) if type(value).__name__ == "MaskedArray" else ""
        return f"{hashlib.sha256(found.tobytes()).hexdigest()}{found.dtype.str}{found.dtype!s}{found.shape}{masked};"

    def _table(self, value: Any, callers: Callers) -> str:
        kind = kind_of(value)
        cells = getattr(value, "size", 0) or getattr(value, "nbytes", 0) or 0
        if callable(cells) or not isinstance(cells, int) or cells > MOST_CELLS:
            raise UnfollowedError("a table too large to be followed")
        for convert in ("to_pydict", "to_pylist"):  # pyarrow
            if hasattr(value, convert):
                return f"{kind}{self.text(getattr(value, convert)(), callers)}"
        if type(value).__module__.startswith("pandas"):
            if type(value).__name__ == "DataFrame":
                return f"{kind}{self.text(value.to_dict('split'), callers)}{self.text(list(map(str, value.dtypes)))}"
            if type(value).__name__ == "Series":
                items = [value.index.tolist(), value.tolist(), str(value.dtype), str(value.name)]
                return f"{kind}{self.text(items, callers)}"
        if type(value).__module__.startswith("polars") and type(value).__name__ in {"DataFrame", "Series"}:
            columns = value.get_columns() if type(value).__name__ == "DataFrame" else [value]
            return f"{kind}{self.text([(each.name, str(each.dtype), each.to_list()) for each in columns], callers)}"
        raise UnfollowedError(kind)

    def _relative(self, text: str) -> str:
        """A path in the module's folder, relative to it: a pipeline that was moved is the same."""
        if not self.folder or not text.startswith(self.folder):
            return text
        rest = text[len(self.folder) :]
        return f"<folder>{rest}" if not rest or rest[0] in "/\\" else text


def _bare(value: Any) -> object:
    return next(kind.__call__(value) for kind in (str, bytes, int, float, complex) if isinstance(value, kind))


_NUMBERS: Final = frozenset({bool, int, float, complex, type(None)})


def kind_of(value: object) -> str:
    """Module and name of a value's type."""
    named = type(value)
    module = stored_name(named.__module__)
    return named.__qualname__ if module == "builtins" else f"{module}.{named.__qualname__}"


def is_function(value: object) -> bool:
    """Functions, builtins, bound methods, and what wraps one."""
    return inspect.isroutine(value) or (callable(value) and getattr(value, "__wrapped__", None) is not None)


def _on_host(value: Any) -> Any:
    """An array or number of any library as a NumPy array. UnfollowedError if it is none."""
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu().numpy()
        elif type(value).__module__.startswith("cupy") or (hasattr(value, "get") and not hasattr(value, "__array__")):
            value = value.get()
        found = value if type(value).__module__ == "numpy" and hasattr(value, "tobytes") else value.__array__()
        if not (hasattr(found, "tobytes") and hasattr(found, "dtype") and hasattr(found, "shape")):
            raise UnfollowedError(kind_of(value))
    except UnfollowedError:
        raise
    except Exception as error:
        raise UnfollowedError(kind_of(value)) from error
    return found


def _file_behind(value: Any) -> str:
    """A memory-mapped file by its size and time; empty if it cannot be asked."""
    try:
        found = os.stat(value.filename)  # noqa: PTH116 # a path or its text
    except (OSError, TypeError):
        return ""
    return f"file {Path(value.filename).name!r} {found.st_size} {found.st_mtime_ns}{value.dtype!s}{value.shape};"


def slots_of(value: object) -> Iterator[tuple[str, object]]:
    """Attributes of an object, those in slots included, sorted."""
    names = set(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        declared = vars(kind).get("__slots__", ())
        names.update((declared,) if isinstance(declared, str) else declared)
    for name in sorted(names - {"__dict__", "__weakref__"}):
        found = getattr(value, "__dict__", {}).get(name, _MISSING)
        if found is _MISSING:
            found = getattr(value, name, _MISSING)
        if found is not _MISSING:
            yield name, found


_MISSING: Final = object()

__all__ = ["LARGEST", "Callers", "UnfollowedError", "Values", "is_function", "kind_of", "slots_of"]
