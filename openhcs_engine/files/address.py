"""Raw plates by their address: a folder of this host, or an fsspec URL (``s3://bucket/plate``). Only ever read."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from openhcs_engine.errors import OpenHCSError, OutputPlaceError, StorageError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

OBJECT_STORES: Final = frozenset(
    {"memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "ocilake", "r2"}
)
"""Protocols whose objects appear whole or not at all, and whose listings show at once what was put."""
_PART: Final = 1 << 16
"""Bytes of a remote file that are fetched at once where little of it is read; a TIFF's header has a few kB."""
_MEMORY_LOCK: Final = RLock()
"""All of ``memory://`` is one dictionary of fsspec's, which cannot be listed while another thread writes."""


def is_remote(root: str) -> bool:
    """True for a URL; ``file://`` is a folder of this host."""
    return "://" in root and not root.startswith("file://")


def local_folder(root: str) -> Path:
    """The folder that a path or a ``file://`` URL names."""
    return Path(root.removeprefix("file://")).expanduser()


def open_raw(root: str, path: str) -> BinaryIO:
    """Open one file of a plate for reading. A remote one is fetched whole: images are read from end to end anyway.

    Raises
    ------
    OSError
        If there is no such file, or the store does not answer.
    """
    if not is_remote(root):
        return (Path(root) / path).open("rb", buffering=0)
    files, folder = remote(root)
    try:
        return io.BytesIO(files.cat_file(f"{folder}/{path}"))
    except OSError:
        raise
    except Exception as error:  # stores raise their own kinds: botocore, aiohttp, ...
        raise OSError(f"{type(error).__name__}: {error}") from error


def open_header(root: str, path: str, size: int) -> BinaryIO:
    """Open one file of ``size`` bytes of which little will be read: of a remote one only those parts are fetched.

    Raises
    ------
    OSError
        If there is no such file, or the store does not answer; also while it is read.
    """
    if not is_remote(root):
        return open_raw(root, path)
    return io.BufferedReader(_RemoteParts(root, path, size), _PART)


class _RemoteParts(io.RawIOBase):
    """A remote file, fetched part by part as it is read."""

    def __init__(self, root: str, path: str, size: int) -> None:
        self.files, folder = remote(root)
        self.path, self.size, self.position = f"{folder}/{path}", size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        self.position = max(start + offset, 0)
        return self.position

    def readinto(self, buffer: Any) -> int:  # Any: typeshed's WriteableBuffer has no length
        end = min(self.position + len(buffer), self.size)
        if end <= self.position:
            return 0
        try:
            found = self.files.cat_file(self.path, start=self.position, end=end)
        except OSError:
            raise
        except Exception as error:  # as above
            raise OSError(f"{type(error).__name__}: {error}") from error
        buffer[: len(found)] = found
        self.position += len(found)
        return len(found)


def list_remote(root: str) -> Iterator[tuple[str, int, int]]:
    """Path relative to the root, bytes, and time of the last change in ns (0 if the store does not tell) of every file.

    Raises
    ------
    OSError
        If the store does not answer.
    """
    files, folder = remote(root)
    try:
        found = files.find(folder, detail=True)
    except OSError:
        raise
    except Exception as error:  # as above
        raise OSError(f"{type(error).__name__}: {error}") from error
    for path, about in found.items():
        relative = str(path).removeprefix(folder.rstrip("/") + "/")
        if relative and not relative.endswith("/"):
            yield relative, int(about.get("size") or 0), changed_ns(about)


def remote(root: str, **options: object) -> tuple[AbstractFileSystem, str]:
    """The file system of a URL and the folder in it; settings come from fsspec's own configuration and ``options``.

    Raises
    ------
    StorageError
        If fsspec does not know the protocol, or its package is not installed.
    """
    from fsspec.core import url_to_fs

    try:
        files, folder = url_to_fs(root, **options)
    except (ImportError, ValueError) as error:
        raise StorageError(f"{root} cannot be opened: {error}.") from error
    return files, str(folder).rstrip("/")


@contextmanager
def store_errors(
    root: str, doing: str, untouched: str = "", for_caller: tuple[type[OSError], ...] = (FileNotFoundError,)
) -> Iterator[None]:
    """Use the store of a URL, and turn its own errors into ours, but for those that are the caller's to judge.

    Threads take turns in ``memory://``. ``untouched`` says what the failure left as it was.

    Raises
    ------
    OutputPlaceError
        If the store fails while ``doing`` something.
    """
    try:
        with _MEMORY_LOCK if root.startswith("memory://") else nullcontext():
            yield
    except for_caller:
        raise
    except OpenHCSError:
        raise
    except Exception as error:  # stores raise their own kinds: botocore, aiohttp, ...
        raise OutputPlaceError(
            f"{root} failed while {doing} ({type(error).__name__}: {error}); check the address, the credentials and "
            f"the connection.{untouched and f' {untouched}'}",
            path=root,
        ) from error


def changed_ns(about: dict[str, Any]) -> int:  # Any: each store describes its files in its own words
    """Time of a file's last change by what a listing says of it, ns; 0 if it does not tell."""
    for name in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = about.get(name)
        if isinstance(value, datetime):
            return int(value.timestamp() * 1e9)
        if isinstance(value, int | float):
            return int(value * 1e9)
    return 0
