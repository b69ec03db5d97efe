"""What lies in a plate folder: one recursive pass, then never again."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from openhcs_engine.ngff.nodes import MAX_NODE_BYTES, METADATA_NAMES, chunks_among, is_array, level_0, may_be_node
from openhcs_engine.vfs.raw import list_remote, open_raw


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
    """All files of a folder and its subfolders, in order of their paths.

    Of a zarr array just its metadata; of an OME-Zarr image just its own and those of its level 0.
    """

    root: str
    """The folder, absolute, or its URL."""
    files: tuple[ListedFile, ...]
    warnings: tuple[str, ...] = ()
    """What could not be listed, or was refused, one sentence each."""
    empty_arrays: frozenset[str] = frozenset()
    """Folders of zarr arrays that hold no chunk."""
    documents: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    """Content of zarr metadata that had to be read for the listing, by path: so none is read twice."""

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.root.rstrip("/").rpartition("/")[2]

    @cached_property
    def by_folder(self) -> dict[str, tuple[ListedFile, ...]]:
        """Files of each folder; the root is the empty name."""
        folders: dict[str, list[ListedFile]] = {}
        for file in self.files:
            folders.setdefault(file.folder, []).append(file)
        return {folder: tuple(files) for folder, files in folders.items()}

    @cached_property
    def by_path(self) -> dict[str, ListedFile]:
        """Every file by its path."""
        return {file.path: file for file in self.files}

    def open(self, path: str) -> BinaryIO:
        """Open one listed file for reading."""
        return open_raw(self.root, path)

    def read_bytes(self, path: str, limit: int) -> bytes:
        """The first ``limit`` bytes of one listed file."""
        if path in self.documents:
            return self.documents[path][:limit]
        with self.open(path) as stream:
            return stream.read(limit)


def list_folder(root: str | os.PathLike[str]) -> FolderListing:
    """List a folder and its subfolders in one pass.

    Links to folders are followed once, and never to a folder that is listed already or holds the root. Names with
    control characters, or that are not Unicode, are left out with a warning. The chunks of zarr arrays, of which there
    may be millions, are not listed, nor are an OME-Zarr image's smaller levels, labels and tables.

    Raises
    ------
    OSError
        If the folder itself cannot be listed.
    """
    top = os.path.abspath(root)  # not resolved: the user knows the plate by the link's name  # noqa: PTH100
    walk = _Walk(top)
    files = sorted(walk.run())
    return FolderListing(
        root=top,
        files=tuple(files),
        warnings=tuple(walk.warnings),
        empty_arrays=frozenset(walk.empty_arrays),
        documents=walk.documents,
    )


def list_url(root: str) -> FolderListing:
    """List a plate behind an fsspec URL; OSError or StorageError if it cannot be listed."""
    found = list(list_remote(root))
    refused = [path for path, _, _ in found if not path.isprintable()]
    kept = [ListedFile(path, size, changed) for path, size, changed in found if path.isprintable()]
    arrays = {file.folder for file in kept if file.name in METADATA_NAMES}
    files = tuple(sorted(file for file in kept if file.name in METADATA_NAMES or not _is_below(file.folder, arrays)))
    warnings = tuple(f"{path!a} was ignored: its name has control characters." for path in refused)
    return FolderListing(root=root, files=files, warnings=warnings)


def _is_below(folder: str, nodes: set[str]) -> bool:
    """True if a folder is, or lies in, a zarr node: what is there beside metadata are chunks."""
    while folder and folder not in nodes:
        folder = folder.rpartition("/")[0]
    return folder in nodes


class _Walk:
    """State of one pass: which folders were seen, which links wait."""

    def __init__(self, top: str) -> None:
        self.top = top
        self.warnings: list[str] = []
        self.empty_arrays: list[str] = []
        self.documents: dict[str, bytes] = {}
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
            for entry in self.within_zarr(self.entries(path, prefix), path, prefix):
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, f"{prefix}{entry.name}/"))
                elif entry.is_symlink():
                    yield from self.link(entry, prefix)
                else:
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(found.st_mode):
                        yield ListedFile(prefix + entry.name, found.st_size, found.st_mtime_ns)

    def within_zarr(self, entries: list[os.DirEntry[str]], path: str, prefix: str) -> list[os.DirEntry[str]]:
        """What is worth listing of a zarr array or image; everything of other folders."""
        names = {entry.name for entry in entries}
        if not may_be_node(names):
            return entries

        def read(name: str) -> bytes:
            return self.document(f"{path}/{name}", prefix + name)

        if is_array(names, lambda: any(entry.is_dir() for entry in entries), read):
            if not chunks_among(names):
                self.empty_arrays.append(prefix.rstrip("/"))
            return [entry for entry in entries if entry.name in METADATA_NAMES]
        level = level_0(names, read)
        if level is None:
            return entries
        first = level.split("/")[0]
        return [entry for entry in entries if entry.name == first or entry.name in METADATA_NAMES]

    def document(self, path: str, relative: str) -> bytes:
        """A small metadata file; nothing if it is large or cannot be read, which its reader will tell."""
        if relative not in self.documents:
            try:
                with FileIO(path) as stream:
                    if os.fstat(stream.fileno()).st_size > MAX_NODE_BYTES:
                        return b""
                    self.documents[relative] = stream.readall()
            except OSError:
                return b""
        return self.documents[relative]

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
