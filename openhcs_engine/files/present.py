"""What is present in folders that others change meanwhile: what vanishes while one looks is not there, and no error.

``Path.glob`` does not serve: up to Python 3.12 it raises FileNotFoundError for a folder that vanishes, and from 3.13 on
it takes a folder on a failing drive for an empty one, as ``os.walk`` does in every version.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

_VANISHED: Final = (FileNotFoundError, NotADirectoryError)


def find(folder: Path, *patterns: str) -> list[Path]:
    """What matches one of several patterns such as ``wells/*.json``, by name in the order of the patterns.

    Parameters
    ----------
    folder
        Need not exist.
    patterns
        Relative to it, with ``/``; each part is one of ``fnmatch``, whose ``*`` matches hidden names, too. Links are
        found whatever they lead to.

    Raises
    ------
    OSError
        If a folder cannot be listed. One that is missing, or vanishes meanwhile, holds nothing.
    """
    return [Path(path) for pattern in patterns for path in _matching(str(folder), *pattern.split("/"))]


def walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As ``os.walk``; a folder that vanishes meanwhile holds nothing, and one that cannot be listed raises OSError."""
    return os.walk(folder, onerror=_raise_unless_vanished)


def modified_ns(path: Path) -> int:
    """Time of a file's last change; 0 if it vanished."""
    try:
        return path.stat().st_mtime_ns
    except _VANISHED:
        return 0


def _matching(folder: str, part: str, *parts: str) -> Iterator[str]:
    found = (f"{folder}/{name}" for name in sorted(_names(folder)) if fnmatchcase(name, part))
    for path in found:
        if parts:
            yield from _matching(path, *parts)
        else:
            yield path


def _names(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except _VANISHED:
        return []


def _raise_unless_vanished(error: OSError) -> None:
    if not isinstance(error, _VANISHED):
        raise error


__all__ = ["find", "modified_ns", "walk"]
