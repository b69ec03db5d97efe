"""What lies in a plate folder: one recursive pass, then never again."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import FileIO
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

from openhcs_engine.files.address import list_remote, open_header, open_raw
from openhcs_engine.model.system_errors import explained
from openhcs_engine.ngff.nodes import MAX_NODE_BYTES, METADATA_NAMES, chunks_among, is_array, level_0, may_be_node
from openhcs_engine.raw.array_listing import ArrayListing


def sha256_of(stream: BinaryIO) -> str:
    """Digest of the rest of a stream."""
    digest = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


class ListedFile(Struct, frozen=True, gc=False):  # a Struct: plates have 100,000 of them
    """One file of the folder."""

    path: str
    """Relative to the folder, with ``/``."""
    size: int | None = None
    """Bytes; None: nobody needed it, see ``FolderListing.size_of``."""
    mtime_ns: int | None = None
    """Time of the last change, ns since the epoch; None as above."""

    @property
    def folder(self) -> str:
        """Folder that holds it; empty for the root."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.path.rpartition("/")[2]


_BY_PATH: Final = attrgetter("path")


@dataclass(frozen=True)
class FolderListing:
    """All files of a folder and its subfolders.

    Of a zarr array just its metadata; of an OME-Zarr image just its own and those of its level 0.
    """

    root: str
    """The folder, absolute, or its URL."""
    names: Mapping[str, tuple[str, ...]]
    """Names of each folder's files without folders, in order; of folders that hold some. The root is the empty name."""
    known: Mapping[str, ListedFile] = field(default_factory=dict, repr=False)
    """Files whose size and time are known, by path: all of a URL, links and zarr metadata of a folder."""
    warnings: tuple[str, ...] = ()
    """What could not be listed, or was refused, one sentence each."""
    empty_arrays: frozenset[str] = frozenset()
    """Folders of zarr arrays that hold no chunk."""
    documents: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    """Content of zarr metadata that had to be read for the listing, by path: so none is read twice."""
    arrays: ArrayListing | None = field(default=None, repr=False, compare=False)
    """Of a URL, what is stored of its arrays, which its listing has; those of a folder are listed when needed."""

    @classmethod
    def of(
        cls,
        root: str,
        files: Iterable[ListedFile],
        warnings: tuple[str, ...] = (),
        empty_arrays: frozenset[str] = frozenset(),
        arrays: ArrayListing | None = None,
    ) -> FolderListing:
        """The listing of files in any order."""
        known = {file.path: file for file in files}
        folders: dict[str, list[str]] = {}
        for path in sorted(known):
            folder, _, name = path.rpartition("/")
            folders.setdefault(folder, []).append(name)
        return cls(root, _in_order(folders), known, warnings, empty_arrays, arrays=arrays)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.root.rstrip("/").rpartition("/")[2]

    @cached_property
    def by_folder(self) -> Mapping[str, tuple[ListedFile, ...]]:
        """Files of each folder, in the order of ``names``."""
        starts = {folder: start_of(folder) for folder in self.names}
        return {
            folder: tuple([self.file(starts[folder] + name) for name in names]) for folder, names in self.names.items()
        }

    @cached_property
    def files(self) -> tuple[ListedFile, ...]:
        """Every file, in order of the paths."""
        return tuple(sorted((file for files in self.by_folder.values() for file in files), key=_BY_PATH))

    @cached_property
    def by_path(self) -> dict[str, ListedFile]:
        """Every file by its path."""
        return {file.path: file for file in self.files}

    @cached_property
    def folders_in(self) -> Mapping[str, tuple[str, ...]]:
        """Folders with files of their own, by the folder that holds them, in order."""
        found: dict[str, list[str]] = {}
        for folder in self.names:
            found.setdefault(folder.rpartition("/")[0], []).append(folder)
        return {parent: tuple(folders) for parent, folders in found.items()}

    def file(self, path: str) -> ListedFile:
        """One of the files, with all that is known of it."""
        return self.known.get(path) or ListedFile(path)

    def with_suffix(self, folder: str, suffix: str) -> tuple[ListedFile, ...]:
        """Files of one folder by the last four characters of their names, given in lower case; any case is found."""
        if suffix not in self._suffixes[folder]:
            return ()
        start = start_of(folder)
        return tuple(self.file(start + name) for name in self.names[folder] if name[-4:].lower() == suffix)

    @cached_property
    def _suffixes(self) -> Mapping[str, frozenset[str]]:
        """Which suffixes each folder has, so that nobody looks through 100,000 images for a file that is not there."""
        found = {folder: {name[-4:] for name in names} for folder, names in self.names.items()}
        return {folder: frozenset(suffix.lower() for suffix in suffixes) for folder, suffixes in found.items()}

    def open(self, path: str) -> BinaryIO:
        """Open one listed file for reading."""
        return open_raw(self.root, path)

    def open_header(self, path: str) -> BinaryIO:
        """Open one listed file of which little will be read; see ``files.address.open_header``."""
        return open_header(self.root, path, self.size_of(path))

    def size_of(self, path: str) -> int:
        """Bytes of one listed file; OSError if it is missing."""
        size = self.file(path).size
        return Path(self.root, path).stat().st_size if size is None else size

    def are_as_large(self, one: str, other: str) -> bool:
        """True if two listed files are still there and have the same number of bytes."""
        try:
            return self.size_of(one) == self.size_of(other)
        except OSError:
            return False

    def read_bytes(self, path: str, limit: int) -> bytes:
        """The first ``limit`` bytes of one listed file."""
        if path in self.documents:
            return self.documents[path][:limit]
        with self.open(path) as stream:
            return stream.read(limit)


def start_of(folder: str) -> str:
    """What the paths of a folder's files begin with."""
    return f"{folder}/" if folder else ""


def list_folder(root: str | os.PathLike[str]) -> FolderListing:
    """List a folder and its subfolders in one pass.

    Links to folders are followed once, and never to a folder that is listed already or holds the root. Names with
    control characters, or that are not Unicode, are left out with a warning. The chunks of zarr arrays, of which there
    may be millions, are not listed, nor are an OME-Zarr image's smaller levels, labels and tables. Size and time are
    asked of links and zarr metadata only: they would take five times as long as all names.

    Raises
    ------
    OSError
        If the folder itself cannot be listed.
    """
    top = os.path.abspath(root)  # not resolved: the user knows the plate by the link's name  # noqa: PTH100
    walk = _Walk(top)
    walk.run()
    return FolderListing(
        root=top,
        names=_in_order(walk.folders),
        known=walk.known,
        warnings=tuple(walk.warnings),
        empty_arrays=frozenset(walk.empty_arrays),
        documents=walk.documents,
    )


def list_url(root: str) -> FolderListing:
    """List a plate behind an fsspec URL; OSError or StorageError if it cannot be listed."""
    root = root.rstrip("/")  # s3://bucket/plate//A01 is another key than s3://bucket/plate/A01
    found = list(list_remote(root))
    refused = [path for path, _, _ in found if not path.isprintable()]
    kept = [ListedFile(path, size, changed) for path, size, changed in found if path.isprintable()]
    arrays = {file.folder for file in kept if file.name in METADATA_NAMES}
    nodes = {file: _node_of(file.folder, arrays) for file in kept if file.name not in METADATA_NAMES}
    return FolderListing.of(
        root,
        (file for file in kept if nodes.get(file) is None),
        warnings=tuple(f"{path!a} was ignored: its name has control characters." for path in refused),
        empty_arrays=frozenset(arrays.difference(nodes.values())),  # groups among them do no harm
        arrays=ArrayListing.remote(root, found),
    )


def _in_order(folders: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """Sorted names of each folder's files, folders in order of the path of their first file; none without files."""
    ordered = [(folder, _sorted(names)) for folder, names in folders.items() if names]
    return dict(sorted(ordered, key=lambda item: start_of(item[0]) + item[1][0]))


def _sorted(names: list[str]) -> tuple[str, ...]:
    # Made anew, the texts of a large folder lie in memory as they will be gone through, not as the disk gave them:
    # a plate of 70,000 is indexed in a tenth less time, and grows with its files. No name has a slash.
    return tuple("/".join(sorted(names)).split("/"))


def _node_of(folder: str, nodes: set[str]) -> str | None:
    """The zarr node that a folder is, or lies in: what is there beside metadata are chunks. None outside of any."""
    while folder and folder not in nodes:
        folder = folder.rpartition("/")[0]
    return folder if folder in nodes else None


class _Walk:
    """State of one pass: which folders were seen, which links wait."""

    def __init__(self, top: str) -> None:
        self.top = top
        self.folders: dict[str, list[str]] = {}
        self.known: dict[str, ListedFile] = {}
        self.warnings: list[str] = []
        self.empty_arrays: list[str] = []
        self.documents: dict[str, bytes] = {}
        self.links: list[tuple[str, str]] = []
        self.seen = {_identity(parent.stat()) for parent in Path(os.path.realpath(top)).parents}

    def run(self) -> None:
        self.tree(self.top, "")
        # Links come last: a folder that lies here itself is listed under its own name, whatever points to it.
        while self.links:
            path, relative = self.links.pop(0)
            self.linked_folder(path, relative)

    def linked_folder(self, path: str, relative: str) -> None:
        if _identity(Path(path).stat()) in self.seen:
            self.warnings.append(f"The link {relative} was not followed: it leads to a folder that is listed already.")
            return
        self.tree(path, relative + "/")

    def tree(self, top: str, top_prefix: str) -> None:
        waiting = [(top, top_prefix)]
        while waiting:
            path, prefix = waiting.pop()
            self.seen.add(_identity(Path(path).stat()))
            waiting += self.folder(path, prefix)

    def folder(self, path: str, prefix: str) -> list[tuple[str, str]]:
        """Add the files of one folder; return the folders in it."""
        entries = self.within_zarr(self.entries(path, prefix), path, prefix)
        names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        self.folders[prefix.rstrip("/")] = names
        folders: list[tuple[str, str]] = []
        for entry in entries if len(names) < len(entries) else ():
            if entry.is_dir(follow_symlinks=False):
                folders.append((entry.path, f"{prefix}{entry.name}/"))
            elif entry.is_symlink():
                self.link(entry, prefix, names)
        return folders

    def within_zarr(self, entries: list[os.DirEntry[str]], path: str, prefix: str) -> list[os.DirEntry[str]]:
        """What is worth listing of a zarr array or image; everything of other folders."""
        names = {entry.name for entry in entries}
        if not may_be_node(names):
            return entries
        for entry in entries:
            if entry.name in METADATA_NAMES and entry.is_file(follow_symlinks=False):
                self.keep(prefix + entry.name, entry.stat())

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
            self.warnings.append(f"The folder {prefix.rstrip('/')} cannot be listed: {explained(error)}.")
            return []
        # isprintable() is False for control characters, line breaks and undecodable bytes (surrogates).
        if "".join([entry.name for entry in found]).isprintable():
            return found
        refused = [entry.name for entry in found if not entry.name.isprintable()]
        self.warnings += [f"{prefix}{name!a} was ignored: its name has control characters." for name in refused]
        return [entry for entry in found if entry.name.isprintable()]

    def link(self, entry: os.DirEntry[str], prefix: str, names: list[str]) -> None:
        relative = prefix + entry.name
        try:
            status = entry.stat()
        except OSError as error:
            self.warnings.append(f"The link {relative} leads nowhere: {explained(error)}.")
            return
        if stat.S_ISDIR(status.st_mode):
            self.links.append((entry.path, relative))
        elif stat.S_ISREG(status.st_mode):
            names.append(entry.name)
            self.keep(relative, status)

    def keep(self, relative: str, status: os.stat_result) -> None:
        self.known[relative] = ListedFile(relative, status.st_size, status.st_mtime_ns)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
