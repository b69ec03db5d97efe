"""The files of one plate's output as a verification sees them, wherever they lie."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, TypeVar

from openhcs_engine.files.atomic import file_checksum
from openhcs_engine.files.present import find, walk
from openhcs_engine.output.layout import CONTEXTS, FREE, REPLACED, STAGING, WELLS

LITTER: Final = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""What file browsers leave behind; no harm."""
Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class PresentFile:
    """One file that is there."""

    size: int
    """Bytes."""
    changed_ns: int
    """Time of its last change; 0 where the store does not say."""


class OutputFiles(ABC):
    """What is in ``<output>/<plate_id>``, by paths relative to it. Only ever read."""

    at_once: ClassVar[int] = 1
    """Files that are read at the same time, which hides the latency of a store."""

    @property
    @abstractmethod
    def address(self) -> str:
        """The folder or URL, for messages."""

    @abstractmethod
    def by_path(self) -> Mapping[str, PresentFile]:
        """Every file that a manifest or a rule must account for."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Content of a file; an OSError if it cannot be read."""

    @abstractmethod
    def checksum(self, path: str) -> int:
        """CRC-32C of a file's content; an OSError if it cannot be read."""

    @abstractmethod
    def is_output(self) -> bool:
        """True if this engine wrote here."""

    @abstractmethod
    def outputs_inside(self) -> Sequence[str]:
        """Names of the outputs one level below: a person may have given the folder above them."""

    def set_aside(self) -> tuple[str, ...]:
        """Folders that hold the old versions of wells which a run was replacing; buckets have none."""
        return ()

    def read_all(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes | OSError]]:
        """Each path with its content, or why it cannot be read."""
        return zip(paths, self._each(self.read, paths), strict=True)

    def checksums(self, paths: Sequence[str]) -> Iterator[tuple[str, int | OSError]]:
        """Each path with its checksum, or why it cannot be read."""
        return zip(paths, self._each(self.checksum, paths), strict=True)

    def _each(self, read: Callable[[str], Read], paths: Sequence[str]) -> Iterator[Read | OSError]:
        if self.at_once == 1 or len(paths) < 2:
            yield from map(partial(_or_error, read), paths)
            return
        with ThreadPoolExecutor(self.at_once) as threads:
            yield from threads.map(partial(_or_error, read), paths)


def _or_error(read: Callable[[str], Read], path: str) -> Read | OSError:
    try:
        return read(path)
    except OSError as error:
        return error


@dataclass(frozen=True)
class FolderFiles(OutputFiles):
    """Files below a folder of this host."""

    folder: Path

    @property
    def address(self) -> str:
        """The folder."""
        return str(self.folder)

    def by_path(self) -> Mapping[str, PresentFile]:
        """Every file, links to nothing included."""
        return {
            path.relative_to(self.folder).as_posix(): PresentFile(about.st_size, about.st_mtime_ns)
            for path in self._walk()
            if (about := _stat(path)) is not None
        }

    def set_aside(self) -> tuple[str, ...]:
        """What lies in the folder of replaced wells, whatever its name."""
        return tuple(f"{REPLACED}/{path.name}" for path in find(self.folder / REPLACED, "*"))

    def read(self, path: str) -> bytes:
        """Content of a file."""
        return (self.folder / path).read_bytes()

    def checksum(self, path: str) -> int:
        """CRC-32C of a file's content."""
        return file_checksum(self.folder / path)

    def is_output(self) -> bool:
        """True if the folders of manifests and of plans are there."""
        return _is_output(self.folder)

    def outputs_inside(self) -> Sequence[str]:
        """Names of the outputs in this folder."""
        return [path.name for path in find(self.folder, "*") if _is_output(path)]

    def _walk(self) -> Iterable[Path]:
        for where, folders, names in walk(self.folder):
            if Path(where) == self.folder:
                folders[:] = [name for name in folders if name not in FREE | {STAGING, REPLACED}]
            yield from (Path(where) / name for name in names if name not in LITTER)


def _is_output(folder: Path) -> bool:
    return (folder / WELLS).is_dir() and (folder / CONTEXTS).is_dir()


def _stat(path: Path) -> os.stat_result | None:
    """None for a file that was removed meanwhile."""
    try:
        return path.lstat() if path.is_symlink() and not path.exists() else path.stat()
    except FileNotFoundError:
        return None


__all__ = ["LITTER", "FolderFiles", "OutputFiles", "PresentFile"]
