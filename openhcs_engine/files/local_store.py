"""Files and folders below a folder of this host."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from openhcs_engine.files.address import local_folder
from openhcs_engine.files.atomic import remove_empty_parents
from openhcs_engine.files.keys import folders_of
from openhcs_engine.files.present import walk
from openhcs_engine.files.store import DECODING_ERRORS, FileStore, ReadFile, Result
from openhcs_engine.files.unfinished import (
    is_unfinished,
    remove,
    remove_empty_folders,
    replace_path,
    sweep,
    unfinished_file,
    unfinished_folder,
)


class LocalStore(FileStore):
    """Every value is a file or folder of its key's name, made beside its path under a hidden name and renamed."""

    atomic_rename = True

    def __init__(self, root: str, mark: str | None) -> None:
        self.root = local_folder(root).absolute()
        self.mark = mark

    def __str__(self) -> str:
        return str(self.root)

    def write(self, key: str, fill: Callable[[BinaryIO], object]) -> None:
        path = self._new_path(key)
        with unfinished_file(path) as (unfinished, file):
            fill(file)
            file.flush()
            if self._is_marked(path):
                replace_path(unfinished, path)
                remove(unfinished)
            else:
                unfinished.replace(path)

    def write_folder(self, key: str, files: Iterable[tuple[str, bytes]]) -> None:
        path = self._new_path(key)
        with unfinished_folder(path) as unfinished:
            for name, content in files:
                (unfinished / name).write_bytes(content)
            replace_path(unfinished, path)

    def open(self, key: str) -> BinaryIO:
        return (self.root / key).open("rb")

    def read_folder(self, key: str, use: Callable[[ReadFile], Result]) -> Result:
        path = self.root / key
        while True:
            with _opened(path) as folder:
                try:
                    return use(folder.read)
                except DECODING_ERRORS:
                    if folder.is_at(path):
                        raise  # it is whole no more by itself, and not because it was just replaced

    def exists(self, key: str) -> bool:
        path = self.root / key
        return path.is_file() or self._is_marked(path)

    def walk(self, prefix: str) -> Iterator[str]:
        for where, folders, names in walk(self.root / prefix):
            path = Path(where).relative_to(self.root)
            if self.mark in names:
                folders.clear()
                yield path.as_posix()
                continue
            folders[:] = [name for name in folders if not is_unfinished(name)]
            yield from ((path / name).as_posix() for name in names if not is_unfinished(name))

    def delete(self, key: str) -> None:
        if not self.exists(key):
            raise FileNotFoundError(key)
        path = self.root / key
        if path.is_dir():
            with unfinished_folder(path) as aside:  # others see all of it or nothing
                replace_path(path, aside)
        else:
            path.unlink()
        remove_empty_parents(path, self.root)

    def sweep(self) -> int:
        return sweep(self.root)

    def _new_path(self, key: str) -> Path:
        path = self.root / key
        if any(self._is_marked(self.root / folder) for folder in folders_of(key)):
            raise NotADirectoryError(key)
        if path.is_dir() and not self._is_marked(path):
            self._clear_way(key, path)
        return path

    def _clear_way(self, key: str, folder: Path) -> None:
        """Remove a folder that holds no key, but empty folders and what dead writers left."""
        sweep(folder)
        remove_empty_folders(folder)
        if folder.is_dir():
            raise IsADirectoryError(key)

    def _is_marked(self, path: Path) -> bool:
        return self.mark is not None and (path / self.mark).is_file()


class _Folder:
    """A folder by its descriptor: the same one, wherever it is renamed to."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, name: str) -> bytes:
        """Content of one file."""
        with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=self._descriptor), "rb") as file:
            return file.read()

    def is_at(self, path: Path) -> bool:
        """True if the folder is what a path leads to now. While it is open, no other can have its number."""
        try:
            return os.path.samestat(path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False


@contextmanager
def _opened(path: Path) -> Iterator[_Folder]:
    if path.is_file():
        raise ValueError(f"{path.name} is a file")
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield _Folder(descriptor)
    finally:
        os.close(descriptor)
