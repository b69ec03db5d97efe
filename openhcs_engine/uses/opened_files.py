"""Files that modules read while they are imported, seen by an audit hook.

``import openhcs_engine`` installs the hook, so that in every process (command line, notebook, worker, code location)
the modules that are imported afterwards are known. It only looks; Python calls it for each file that is opened.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

_IMPORT: Final = "<frozen importlib._bootstrap_external>"
_SOURCES: Final = (".py", ".pyc", ".pyi")
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
_OUTSIDE: Final = {
    "socket.connect": "the network",
    "subprocess.Popen": "another program",
    "os.system": "another program",
    "sqlite3.connect": "a database",
}
"""Where a module may get values from that no file's size and time tell."""


@dataclass(frozen=True, slots=True, order=True)
class OpenedFile:
    """A file as it was when a module opened it."""

    path: str
    size: int
    """Bytes."""
    mtime_ns: int

    @property
    def has_changed(self) -> bool:
        """Whether it is another one now, or gone."""
        return _stamp(self.path) != (self.size, self.mtime_ns)


class ImportWatch:
    """What modules opened while they were imported last, by the modules' own files."""

    def __init__(self) -> None:
        self._files: dict[str, dict[str, OpenedFile]] = {}
        self._outside: dict[str, dict[str, None]] = {}
        self._before: frozenset[str] = frozenset()
        self._busy = threading.local()

    def start(self) -> None:
        """Begin to watch; of the modules that are imported already nothing can be known."""
        if not self._before:
            self._before = frozenset(
                name for name, module in list(sys.modules.items()) if not _is_being_imported(module)
            )
            sys.addaudithook(self._look)

    def files(self, modules: Iterable[str]) -> tuple[OpenedFile, ...]:
        """Files that any of these modules read while it was imported, each once."""
        own = map(_file_of, modules)
        return tuple(sorted({file for module in own for file in tuple(self._files.get(module, {}).values())}))

    def outside(self, modules: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Modules that asked something else than files while they were imported, each with what it was."""
        for module in modules:
            yield from ((module, what) for what in tuple(self._outside.get(_file_of(module), {})))

    def unwatched(self, modules: Iterable[str]) -> list[str]:
        """Those of the modules that were imported before the watch began."""
        return [module for module in modules if module in self._before and _file_of(module) not in self._files]

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:  # Any: what each event has
        if event != "open" and event != "exec" and event not in _OUTSIDE:
            return
        if getattr(self._busy, "now", False):
            return
        self._busy.now = True
        try:
            self._note(event, arguments)
        except Exception:  # a hook that raises would break the call that it watches
            return
        finally:
            self._busy.now = False

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "exec":
            code = arguments[0]
            if code.co_name == "<module>":  # a module is imported, perhaps anew
                self._files[code.co_filename], self._outside[code.co_filename] = {}, {}
            return
        if event == "open" and not _is_reading(*arguments[:3]):
            return
        module = _module_being_imported(sys._getframe(2))
        if module is None:
            return
        if event != "open":
            self._outside.setdefault(module, {})[_OUTSIDE[event]] = None
            return
        path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100 # the folder of now, no link resolved
        if path.endswith(_SOURCES) or not _INSTALLED.isdisjoint(Path(path).parts):
            return
        found = _stamp(path)
        if found is not None:
            self._files.setdefault(module, {})[path] = OpenedFile(path, *found)


def _file_of(module_name: str) -> str:
    return str(getattr(sys.modules.get(module_name), "__file__", None))


def _is_being_imported(module: object) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _is_reading(path: object, mode: object, flags: object) -> bool:
    if not isinstance(path, str | bytes | os.PathLike):
        return False  # a descriptor: its file was opened by a name before
    if isinstance(mode, str):
        return not set("wax+") & set(mode)
    return not (isinstance(flags, int) and flags & _WRITES)


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 # it is called within an audit hook
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def _module_being_imported(frame: FrameType | None) -> str | None:
    """The file of the module whose text, or what that called, opens a file; None at other times, and for imports."""
    if frame is not None and frame.f_code.co_filename == _IMPORT:
        return None  # the text of a module is read
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            scope: Mapping[str, Any] = frame.f_globals
            name = scope.get("__name__")
            own = isinstance(name, str) and name != "__main__" and scope.get("__file__") == frame.f_code.co_filename
            return frame.f_code.co_filename if own else None
        frame = frame.f_back
    return None


WATCH: Final = ImportWatch()
"""The watch of this process."""

__all__ = ["WATCH", "ImportWatch", "OpenedFile"]
