"""Which chunks and shards of zarr arrays are stored, by name, size and time: one listing, no content.

Only what a chunk can be called counts: ``0.1``, ``0/1``, ``c/0/1``, ``c.0.1``. What a file manager, or a copy under
way, leaves beside them is none. Of a sharded array these are its shards; what a shard holds is not looked into.
"""

from __future__ import annotations

import os
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import Final, Literal, Protocol

from msgspec import Struct

from openhcs_engine.errors import PlateError
from openhcs_engine.files.address import is_remote, list_remote, open_raw
from openhcs_engine.model.wording import listed_first
from openhcs_engine.raw.chunk_grid import ChunkGrid, chunk_grid

DIGEST_LETTERS: Final = 10
"""60 bits: enough to tell a change, and short enough for a plan with an array for each of its 55,000 planes."""
_METADATA: Final[tuple[tuple[str, Literal[2, 3]], ...]] = (("zarr.json", 3), (".zarray", 2))
_CHUNK: Final = re.compile(r"c|(?:c\.)?[0-9]+(?:\.[0-9]+)*", re.ASCII)
"""A chunk's file, or a folder on the way to it."""
_DEEPEST: Final = 32
"""Folders below an array: NumPy's arrays have at most 64 axes, images five. Links may lead in circles."""
_MAX_METADATA_BYTES: Final = 2**20
"""What an array says of itself is small."""
_MOST_SOUGHT: Final = 10**6
"""Chunks of an array that are sought by their names."""
_NAMED: Final = 3
"""Chunks of an array that a sentence names."""


class ListedFolder(Struct, frozen=True, gc=False):
    """One folder of an array, as it was when it was listed."""

    mtime_ns: int
    """Its own time: that of files that came or went, not of one that was written again in place."""
    digest: str
    """Of its chunks' names, sizes and times; empty if it has none."""
    chunks: int
    folders: tuple[str, ...]
    """Names of the folders in it."""


class FolderMemory(Protocol):
    """Folders as an earlier listing found them, for one that passes over those whose own time is the same."""

    def recall(self, path: str, mtime_ns: int) -> ListedFolder | None:
        """The folder at an absolute path, if it had this time; None: list it."""

    def keep(self, path: str, folder: ListedFolder) -> None:
        """Remember a folder as it is now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredArray:
    """What is stored of one array."""

    digest: str
    """Of names, sizes and times of all its chunks; DIGEST_LETTERS long."""
    chunks: int
    """How many are stored."""
    metadata: tuple[int, int] | None
    """Bytes of its metadata file, and the time of its last change in ns; None if there is none."""
    grid: ChunkGrid | None
    """How many there would be if all were, and their names; None if its metadata do not say."""
    absent: tuple[str, ...] = ()
    """The first of those that are not stored."""

    @property
    def is_partial(self) -> bool:
        """True if some of its chunks are stored, and others are not."""
        return self.grid is not None and 0 < self.chunks < self.grid.count


@dataclass(slots=True)
class ArrayListing:
    """Lists the arrays of one plate, each once and only when it is asked for; a plate behind a URL at once."""

    root: str
    """The plate's folder, or its URL."""
    memory: FolderMemory | None = None
    documents: dict[str, bytes] = field(default_factory=dict)
    """Metadata of arrays that were read already, by path."""
    arrays: dict[str, StoredArray] = field(default_factory=dict)
    """The arrays that were asked for, by path."""
    _remote: _RemoteFolders | None = None

    @classmethod
    def remote(cls, root: str, files: Iterable[tuple[str, int, int]]) -> ArrayListing:
        """The arrays among files that were listed already: (path, bytes, time in ns) of each."""
        return cls(root, _remote=_RemoteFolders.of(files))

    def of(self, path: str) -> StoredArray:
        """What is stored of the array in a folder of the plate.

        Raises
        ------
        OSError
            If it cannot be listed; FileNotFoundError if there is no such folder.
        """
        if path not in self.arrays:
            self.arrays[path] = self._list(path)
        return self.arrays[path]

    def stamp_of(self, path: str) -> tuple[int, int]:
        """Bytes of a file of the plate, and the time of its last change in ns; OSError if it cannot be asked."""
        if is_remote(self.root):
            return self._remote_folders().stamp_of(path)
        status = os.stat(f"{self.root}/{path}")  # noqa: PTH116 # 100,000 files: no Path objects
        return status.st_size, status.st_mtime_ns

    def unstored_parts(self) -> tuple[str, ...]:
        """One sentence about the arrays of which a part is not stored; none if there is no such array."""
        return unstored_parts(self.arrays)

    def _list(self, path: str) -> StoredArray:
        names: list[str] = []
        folders = sorted(_walk(self._look_into(path, names)))
        digest = _digest(f"{below}\0{folder.digest}" for below, folder in folders if folder.chunks)
        chunks = sum(folder.chunks for _, folder in folders)
        metadata, grid = self._metadata(path)
        absent = _absent(grid, names) if grid is not None and len(names) == chunks != grid.count else ()
        return StoredArray(digest=digest, chunks=chunks, metadata=metadata, grid=grid, absent=absent)

    def _look_into(self, path: str, names: list[str]) -> Callable[[str], ListedFolder]:
        if is_remote(self.root):
            remote = self._remote_folders()
            return lambda below: remote.folder(path, below, names)
        return lambda below: _local_folder(f"{self.root}/{path}", below, names, self.memory)

    def _metadata(self, path: str) -> tuple[tuple[int, int] | None, ChunkGrid | None]:
        for name, version in _METADATA:
            file = f"{path}/{name}"
            try:
                stamp = self.stamp_of(file)
                if file not in self.documents:
                    with open_raw(self.root, file) as stream:
                        self.documents[file] = stream.read(_MAX_METADATA_BYTES)
            except OSError:
                continue
            return stamp, chunk_grid(self.documents[file], version)
        return None, None

    def _remote_folders(self) -> _RemoteFolders:
        if self._remote is None:
            try:
                self._remote = _RemoteFolders.of(list_remote(self.root))
            except OSError as error:  # not that of one file, which a caller may pass over
                raise PlateError(
                    f"{self.root} cannot be listed: {error}; run it again when the store answers."
                ) from error
        return self._remote


def unstored_parts(arrays: Mapping[str, StoredArray]) -> tuple[str, ...]:
    """One sentence about the arrays of which a part is not stored; none if there is no such array."""
    sentences = [_unstored_part(path, array) for path, array in sorted(arrays.items()) if array.is_partial]
    if not sentences:
        return ()
    return (
        f"Parts of these arrays are not stored: {listed_first(sentences, separator='; ')}. Writers leave out chunks "
        "that hold nothing but the fill value; if images were taken there, copy them again.",
    )


def _unstored_part(path: str, array: StoredArray) -> str:
    assert array.grid is not None
    missing = array.grid.count - array.chunks
    named = f" ({', '.join(array.absent)}{', …' if missing > len(array.absent) else ''})" if array.absent else ""
    verb, they = ("is", "it reads") if missing == 1 else ("are", "they read")
    return (
        f"{missing} of {array.grid.count} chunks of {path}{named} {verb} not stored, and {they} as "
        f"{array.grid.fill_value}"
    )


def _absent(grid: ChunkGrid, names: list[str]) -> tuple[str, ...]:
    if grid.count > _MOST_SOUGHT:
        return ()
    stored = frozenset(names)
    return tuple(islice((key for key in grid.chunk_keys() if key not in stored), _NAMED))


def _walk(look_into: Callable[[str], ListedFolder]) -> Iterator[tuple[str, ListedFolder]]:
    """Every folder of an array by its path below it; the array's own is the empty one."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        folder = look_into(below)
        yield below, folder
        if below.count("/") < _DEEPEST:
            waiting += [_join(below, name) for name in folder.folders]


def _local_folder(array: str, below: str, names: list[str], memory: FolderMemory | None) -> ListedFolder:
    path = _join(array, below)
    mtime_ns = os.stat(path).st_mtime_ns  # noqa: PTH116 # 10,000 folders: no Path objects
    known = None if memory is None else memory.recall(path, mtime_ns)
    folder = known or _scan(path, below, mtime_ns, names)
    if memory is not None:
        memory.keep(path, folder)
    return folder


def _scan(path: str, below: str, mtime_ns: int, names: list[str]) -> ListedFolder:
    files, folders = list[tuple[str, int, int]](), list[str]()
    with os.scandir(path) as entries:
        for entry in entries:
            if not _CHUNK.fullmatch(entry.name):
                continue
            if entry.is_dir():
                folders.append(entry.name)
                continue
            try:
                status = entry.stat()
            except FileNotFoundError:  # a link to nowhere holds no chunk
                continue
            files.append((entry.name, status.st_size, status.st_mtime_ns))
    return _listed(below, mtime_ns, files, folders, names)


def _listed(
    below: str, mtime_ns: int, files: list[tuple[str, int, int]], folders: Iterable[str], names: list[str]
) -> ListedFolder:
    names += [_join(below, name) for name, _, _ in files]
    digest = _digest(f"{name}\0{size}\0{changed}" for name, size, changed in sorted(files)) if files else ""
    return ListedFolder(mtime_ns, digest, len(files), tuple(sorted(folders)))


@dataclass(slots=True)
class _RemoteFolders:
    """The folders of a plate behind a URL, as one listing has them."""

    files: dict[str, list[tuple[str, int, int]]] = field(default_factory=dict)
    folders: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, listed: Iterable[tuple[str, int, int]]) -> _RemoteFolders:
        arrays = cls()
        for path, size, mtime_ns in listed:
            folder, _, name = path.rpartition("/")
            arrays.files.setdefault(folder, []).append((name, size, mtime_ns))
            while folder and folder not in arrays.folders.get(above := folder.rpartition("/")[0], ()):
                arrays.folders.setdefault(above, set()).add(folder)
                folder = above
        return arrays

    def stamp_of(self, path: str) -> tuple[int, int]:
        folder, _, wanted = path.rpartition("/")
        for name, size, mtime_ns in self.files.get(folder, ()):
            if name == wanted:
                return size, mtime_ns
        raise FileNotFoundError(path)

    def folder(self, array: str, below: str, names: list[str]) -> ListedFolder:
        path = _join(array, below)
        files = [file for file in self.files.get(path, ()) if _CHUNK.fullmatch(file[0])]
        inside = (folder.rpartition("/")[2] for folder in self.folders.get(path, ()))
        return _listed(below, 0, files, (name for name in inside if _CHUNK.fullmatch(name)), names)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder and name else folder or name


def _digest(lines: Iterable[str]) -> str:
    arrays = blake2b("\n".join(lines).encode(), digest_size=9).digest()
    return urlsafe_b64encode(arrays).decode()[:DIGEST_LETTERS]


__all__ = ["DIGEST_LETTERS", "ArrayListing", "FolderMemory", "ListedFolder", "StoredArray", "unstored_parts"]
