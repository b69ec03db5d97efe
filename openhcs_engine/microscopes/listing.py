"""What lies in a plate folder: one recursive pass, then never again."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple


class ListedFile(NamedTuple):
    """One file of the folder."""

    path: str
    """Relative to the folder, with ``/``."""
    size: int
    """Bytes."""
    mtime_ns: int
    """Time of the last change, ns since the epoch."""

    @property
    def folder(self) -> str:
        """Folder that holds it; empty for the root."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class FolderListing:
    """All files of a folder and its subfolders, in order of their paths."""

    root: str
    """The folder, absolute."""
    files: tuple[ListedFile, ...]
    warnings: tuple[str, ...] = ()
    """What could not be listed, or was refused, one sentence each."""

    @property
    def name(self) -> str:
        """Name of the folder."""
        return Path(self.root).name

    @cached_property
    def by_folder(self) -> dict[str, tuple[ListedFile, ...]]:
        """Files of each folder; the root is the empty name."""
        folders: dict[str, list[ListedFile]] = {}
        for file in self.files:
            folders.setdefault(file.folder, []).append(file)
        return {folder: tuple(files) for folder, files in folders.items()}

    def open(self, path: str) -> BinaryIO:
        """Open one listed file for reading."""
        return (Path(self.root) / path).open("rb")

    def read_bytes(self, path: str, limit: int) -> bytes:
        """The first ``limit`` bytes of one listed file."""
        with self.open(path) as stream:
            return stream.read(limit)


def list_folder(root: str | os.PathLike[str]) -> FolderListing:
    """List a folder and its subfolders in one pass.

    Links to folders are followed once, and never to a folder that is listed already or holds the root. Names with
    control characters, or that are not Unicode, are left out with a warning.

    Raises
    ------
    OSError
        If the folder itself cannot be listed.
    """
    top = os.path.abspath(root)  # not resolved: the user knows the plate by the link's name  # noqa: PTH100
    walk = _Walk(top)
    files = sorted(walk.run())
    return FolderListing(root=top, files=tuple(files), warnings=tuple(walk.warnings))


class _Walk:
    """State of one pass: which folders were seen, which links wait."""

    def __init__(self, top: str) -> None:
        self.top = top
        self.warnings: list[str] = []
        self.links: list[tuple[str, str]] = []
        self.seen = {_identity(parent.stat()) for parent in Path(os.path.realpath(top)).parents}

    def run(self) -> Iterator[ListedFile]:
        yield from self.folder(self.top, "")
        # Links come last: a folder that lies here itself is listed under its own name, whatever points to it.
        while self.links:
            path, relative = self.links.pop(0)
            yield from self.linked_folder(path, relative)

    def linked_folder(self, path: str, relative: str) -> Iterator[ListedFile]:
        if _identity(Path(path).stat()) in self.seen:
            self.warnings.append(f"The link {relative} was not followed: it leads to a folder that is listed already.")
            return
        yield from self.folder(path, relative + "/")

    def folder(self, top: str, top_prefix: str) -> Iterator[ListedFile]:
        waiting = [(top, top_prefix)]
        while waiting:
            path, prefix = waiting.pop()
            self.seen.add(_identity(Path(path).stat()))
            for entry in self.entries(path, prefix):
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, f"{prefix}{entry.name}/"))
                elif entry.is_symlink():
                    yield from self.link(entry, prefix)
                else:
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(found.st_mode):
                        yield ListedFile(prefix + entry.name, found.st_size, found.st_mtime_ns)

    def entries(self, path: str, prefix: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(path) as scan:
                found = list(scan)
        except OSError as error:
            if not prefix:
                raise
            self.warnings.append(f"The folder {prefix.rstrip('/')} cannot be listed: {error.strerror}.")
            return []
        # isprintable() is False for control characters, line breaks and undecodable bytes (surrogates).
        refused = [entry.name for entry in found if not entry.name.isprintable()]
        self.warnings += [f"{prefix}{name!a} was ignored: its name has control characters." for name in refused]
        return [entry for entry in found if entry.name.isprintable()] if refused else found

    def link(self, entry: os.DirEntry[str], prefix: str) -> Iterator[ListedFile]:
        relative = prefix + entry.name
        try:
            found = entry.stat()
        except OSError as error:
            self.warnings.append(f"The link {relative} leads nowhere: {error.strerror}.")
            return
        if stat.S_ISDIR(found.st_mode):
            self.links.append((entry.path, relative))
        elif stat.S_ISREG(found.st_mode):
            yield ListedFile(relative, found.st_size, found.st_mtime_ns)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
