"""What backends that keep files have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from openhcs_engine.errors import OpenHCSError, OutputPlaceError
from openhcs_engine.files.keys import check_key, check_prefix
from openhcs_engine.files.store import FileStore
from openhcs_engine.model.system_errors import explained, is_system_error
from openhcs_engine.vfs.backend import StorageBackend


class FileBackend(StorageBackend):
    """Keys and bytes in a file store; subclasses say how an array becomes a file or several."""

    persistent: ClassVar[bool] = True
    keeps_info: ClassVar[bool] = True
    name: ClassVar[str]

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self.atomic_rename = store.atomic_rename

    def __str__(self) -> str:
        return f"the {self.name} backend at {self._store}"

    def save_bytes(self, key: str, content: bytes) -> None:
        with self._writing(key):
            self._store.write(check_key(key), lambda file: file.write(content))

    def load_bytes(self, key: str) -> bytes:
        with self._reading(key):
            return self._store.read(check_key(key))

    def exists(self, key: str) -> bool:
        return self._store.exists(check_key(key))

    def list(self, prefix: str = "") -> tuple[str, ...]:
        folder = check_prefix(prefix)
        if folder and self.exists(folder):
            return (folder,)
        return tuple(sorted(self._store.walk(folder)))

    def delete(self, key: str) -> None:
        with self._reading(key):
            self._store.delete(check_key(key))

    def sweep(self) -> int:
        return self._store.sweep()

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise self.missing(key) from None
        except OSError as error:
            if not is_system_error(error):
                raise
            raise OutputPlaceError(
                f"{key!r} cannot be read from {self}: {explained(error)}.", path=str(self._store)
            ) from error

    @contextmanager
    def _writing(self, key: str) -> Iterator[None]:
        try:
            yield
        except OpenHCSError:
            raise
        except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
            raise self.misplaced(key) from error
        except OSError as error:
            raise OutputPlaceError(
                f"{key!r} cannot be written to {self}: {explained(error)}, or choose another place.",
                path=str(self._store),
            ) from error


__all__ = ["FileBackend"]
