"""A drive that fails: whatever Python does to files below some folders is an error of the system, by an audit hook."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ACTIONS = ("open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")


@dataclass
class FailingDrive:
    """What fails, from which access on, and what was asked for."""

    folders: tuple[str, ...]
    number: int
    after: int
    asked: list[str] = field(default_factory=list)
    """Paths in the order of the accesses; the first ``after`` of them did not fail."""

    @property
    def failed(self) -> list[str]:
        return self.asked[self.after :]

    def look(self, action: str, path: Any) -> None:  # Any: what the caller gave as a path
        if action not in ACTIONS or not isinstance(path, str | bytes | os.PathLike):
            return
        name = os.fsdecode(path)
        if any(name == folder or name.startswith(f"{folder}/") for folder in self.folders):
            self.asked.append(name)
            if len(self.asked) > self.after:
                raise OSError(self.number, os.strerror(self.number), name)


_drives: list[FailingDrive] = []
_hooked = False


def _hook(action: str, arguments: tuple[Any, ...]) -> None:
    for drive in _drives:
        drive.look(action, arguments[0] if arguments else None)


@contextmanager
def failing_drive(number: int, *folders: Path, after: int = 0) -> Iterator[FailingDrive]:
    """From the access after so many on, files and folders below these fail with this number, in all threads."""
    global _hooked
    if not _hooked:  # a hook stays as long as the process; without a drive it does nothing
        sys.addaudithook(_hook)
        _hooked = True
    drive = FailingDrive(tuple(map(str, folders)), number, after)
    _drives.append(drive)
    try:
        yield drive
    finally:
        _drives.remove(drive)
