"""Arrays as TIFF files and bytes as files, below a folder or an fsspec address."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from openhcs_engine.errors import PlaneReadError, StorageKeyError
from openhcs_engine.vfs.backend import TEMPORARY_PREFIX, StorageBackend, check_key, check_prefix
from openhcs_engine.vfs.files import remove_empty_parents, write_whole
from openhcs_engine.vfs.source import DECODING_ERRORS


class DiskBackend(StorageBackend):
    """Every key is a file of that name. Arrays are uncompressed TIFF of any shape; give their keys the ending ``.tif``.

    Local files are written under a temporary name and renamed; object stores write one object whole by themselves.
    """

    persistent: ClassVar[bool] = True

    def __init__(self, root: str | PathLike[str]) -> None:
        self.root = UPath(root)
        self.atomic_rename = isinstance(self.root, Path)

    def __str__(self) -> str:
        return f"the disk backend at {self.root}"

    def save(self, key: str, array: NDArray[Any], *, give: bool = False) -> None:
        self.save_bytes(key, encode_tiff(array))

    def load(self, key: str) -> NDArray[Any]:
        return decode_tiff(self.load_bytes(key), key)

    def save_bytes(self, key: str, content: bytes) -> None:
        path = self._path(key)
        try:
            if isinstance(path, Path):
                write_whole(path, content)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
            message = f"{key!r} is a folder of other keys in {self}, or lies below a key."
            raise StorageKeyError(message, key=key) from error

    def load_bytes(self, key: str) -> bytes:
        try:
            return bytes(self._path(key).read_bytes())
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise self.missing(key) from None

    def exists(self, key: str) -> bool:
        return bool(self._path(key).is_file())

    def list(self, prefix: str = "") -> tuple[str, ...]:
        folder = check_prefix(prefix)
        if folder and self.exists(folder):
            return (folder,)
        return tuple(sorted(self._walk(self.root / folder if folder else self.root)))

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
            if path.is_file():
                raise
            raise self.missing(key) from None
        if isinstance(path, Path):
            remove_empty_parents(path, Path(self.root))

    def _path(self, key: str) -> UPath:
        return self.root / check_key(key)

    def _walk(self, folder: UPath) -> Iterator[str]:
        if isinstance(folder, Path):
            found = (Path(where) / name for where, _, names in os.walk(folder) for name in names)
            yield from (path.relative_to(self.root).as_posix() for path in found if not _is_unfinished(path.name))
        elif folder.exists():
            root = self.root.path.rstrip("/")
            yield from (str(path).removeprefix(root).lstrip("/") for path in folder.fs.find(folder.path))


def encode_tiff(array: NDArray[Any]) -> bytes:
    """An array as an uncompressed TIFF file; its exact shape and dtype are in the description."""
    import tifffile

    buffer = io.BytesIO()
    stored = np.ascontiguousarray(array)
    if stored.dtype == bool:
        # TIFF packs bits, which only some readers undo.
        stored = stored.view(np.uint8)
    shape = ",".join(str(size) for size in array.shape)
    page = stored.reshape((-1, array.shape[-1]) if array.ndim > 2 else stored.shape or (1, 1))
    if stored.size == 0:
        page = np.zeros((1, 1), stored.dtype)
    tifffile.imwrite(
        buffer,
        np.atleast_2d(page),
        description=f"openhcs shape={shape} dtype={array.dtype.name}",
        metadata=None,
        photometric="minisblack",
    )
    return buffer.getvalue()


def decode_tiff(content: bytes, name: str) -> NDArray[Any]:
    """The array that ``encode_tiff`` wrote. PlaneReadError if the bytes are something else or cut off."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(content)) as tiff:
            page = tiff.pages.first
            marker, shape, dtype = page.description.split(" ")
            if marker != "openhcs" or sum(page.databytecounts) + page.dataoffsets[0] > len(content):
                raise ValueError("cut off or written by another program")
            sizes = tuple(int(size) for size in shape.removeprefix("shape=").split(",") if size)
            stored = page.asarray(maxworkers=1).view(dtype.removeprefix("dtype="))
    except DECODING_ERRORS as error:
        raise PlaneReadError(f"{name} does not hold an array that this engine wrote: {error}.", path=name) from error
    return stored.reshape(-1)[: int(np.prod(sizes))].reshape(sizes)


def _is_unfinished(name: str) -> bool:
    return name.startswith(TEMPORARY_PREFIX)
