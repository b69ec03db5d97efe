"""Files behind an fsspec URL; a folder is one zip file, since object stores cannot rename."""

from __future__ import annotations

import io
import posixpath
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, Final

from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.files.address import OBJECT_STORES, remote, store_errors
from openhcs_engine.files.keys import folders_of
from openhcs_engine.files.store import FileStore, ReadFile, Result
from openhcs_engine.files.unfinished import hidden_name, is_unfinished

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_AT_ONCE: Final = 32
"""Files fetched together: hides the store's latency, and no more of them are in memory."""
_ZIP_START: Final = b"PK\x03\x04"


class ObjectStore(FileStore):
    """Every value is one object of its key's name, put whole by one request."""

    atomic_rename = False

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self._folders: set[str] = set()
        """Folders above which no key was found; asked once, not before every save."""

    def __str__(self) -> str:
        return self.root

    def write(self, key: str, fill: Callable[[BinaryIO], object]) -> None:
        buffer = io.BytesIO()
        fill(buffer)
        self._put(key, buffer.getvalue())

    def write_folder(self, key: str, files: Iterable[tuple[str, bytes]]) -> None:
        def fill(file: BinaryIO) -> None:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for name, content in files:
                    archive.writestr(name, content)

        self.write(key, fill)

    def open(self, key: str) -> BinaryIO:
        with self._errors(f"reading {key!r}"):
            return io.BytesIO(self._files.cat_file(self._path(key)))

    def read_folder(self, key: str, use: Callable[[ReadFile], Result]) -> Result:
        return _use_archive(self.open(key), use)

    def open_many(self, keys: Sequence[str]) -> Iterator[BinaryIO]:
        for start in range(0, len(keys), _AT_ONCE):
            paths = [self._path(key) for key in keys[start : start + _AT_ONCE]]
            with self._errors(f"reading {len(paths)} files"):
                found = self._files.cat(paths, on_error="return") if len(paths) > 1 else {}
            for key, path in zip(keys[start : start + _AT_ONCE], paths, strict=True):
                content = found.get(path)
                yield io.BytesIO(content) if isinstance(content, bytes) else self.open(key)

    def read_folders(self, keys: Sequence[str], use: Callable[[ReadFile], Result]) -> Iterator[Result]:
        for file in self.open_many(keys):
            yield _use_archive(file, use)

    def exists(self, key: str) -> bool:
        with self._errors(f"looking for {key!r}"):
            self._files.invalidate_cache()  # others write here, too
            return bool(self._files.isfile(self._path(key)))

    def walk(self, prefix: str) -> Iterator[str]:
        with self._errors("listing"):
            self._files.invalidate_cache()
            found = self._files.find(self._path(prefix) if prefix else self._folder)
        for path in found:
            key = str(path).removeprefix(self._folder).lstrip("/")
            if key and not str(path).endswith("/") and not any(is_unfinished(part) for part in key.split("/")):
                yield key

    def delete(self, key: str) -> None:
        if not self.exists(key):
            raise FileNotFoundError(key)  # object stores delete what is not there without a word
        with self._errors(f"deleting {key!r}"):
            self._files.rm_file(self._path(key))
            if not self._puts_whole:
                self._remove_empty_folders(key)
        self._folders.clear()

    def _put(self, key: str, content: bytes) -> None:
        path = self._path(key)
        try:
            with self._errors(f"writing {key!r}"):
                self._refuse_misplaced(key)
                if self._puts_whole:
                    self._files.pipe_file(path, content)
                else:
                    self._put_and_move(path, content)
        except (NotADirectoryError, IsADirectoryError):
            raise
        except FileNotFoundError as error:  # what is missing is the bucket, not a value
            raise OutputPlaceError(f"{self.root} does not exist; create it, or choose another place.") from error

    def _put_and_move(self, path: str, content: bytes) -> None:
        folder = posixpath.dirname(path)
        unfinished = f"{folder}/{hidden_name()}"
        self._files.makedirs(folder, exist_ok=True)
        try:
            self._files.pipe_file(unfinished, content)
            self._files.mv(unfinished, path)
        except BaseException:
            if self._files.exists(unfinished):
                self._files.rm_file(unfinished)
            raise

    def _remove_empty_folders(self, key: str) -> None:
        for folder in map(self._path, folders_of(key)):
            with suppress(FileNotFoundError):
                if self._files.ls(folder, detail=False):
                    return
                self._files.rmdir(folder)

    def _refuse_misplaced(self, key: str) -> None:
        """Object stores have no folders, and would keep both ``a`` and ``a/b``."""
        unknown = [folder for folder in folders_of(key) if folder not in self._folders]
        if any(self.exists(folder) for folder in unknown):
            raise NotADirectoryError(key)
        if self._is_folder(key):
            raise IsADirectoryError(key)
        self._folders.update(unknown)

    def _is_folder(self, key: str) -> bool:
        path = self._path(key)
        try:
            return any(str(found).rstrip("/") != path for found in self._files.ls(path, detail=False))
        except (FileNotFoundError, NotADirectoryError):
            return False

    @property
    def _puts_whole(self) -> bool:
        """False: a value gets a temporary name and is moved."""
        protocol = self._files.protocol
        return not OBJECT_STORES.isdisjoint((protocol,) if isinstance(protocol, str) else protocol)

    @cached_property
    def _remote(self) -> tuple[AbstractFileSystem, str]:
        return remote(self.root)

    @property
    def _files(self) -> AbstractFileSystem:
        return self._remote[0]

    @property
    def _folder(self) -> str:
        return self._remote[1]

    def _path(self, key: str) -> str:
        return f"{self._folder}/{key}"

    def _errors(self, doing: str) -> AbstractContextManager[None]:
        return store_errors(self.root, doing, for_caller=(FileNotFoundError, NotADirectoryError, IsADirectoryError))


def _use_archive(file: BinaryIO, use: Callable[[ReadFile], Result]) -> Result:
    if file.read(len(_ZIP_START)) != _ZIP_START:
        raise ValueError("it holds bytes, not an image")
    try:
        with zipfile.ZipFile(file) as archive:
            return use(archive.read)
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error
