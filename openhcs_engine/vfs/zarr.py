"""Arrays as zarr v3 arrays and bytes as files, below a local folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import PlaneReadError, StorageKeyError
from openhcs_engine.vfs.backend import TEMPORARY_PREFIX, StorageBackend, check_key, check_prefix
from openhcs_engine.vfs.files import remove, remove_empty_parents, temporary_beside, write_whole

METADATA = "zarr.json"
"""The file that makes a folder a zarr v3 array."""


class ZarrBackend(StorageBackend):
    """Every array key is a folder that any zarr v3 reader opens; one chunk a plane, blosc zstd-1 with byte shuffle.

    A whole array is written beside its place and renamed into it.
    """

    persistent: ClassVar[bool] = True

    def __init__(self, root: str | PathLike[str]) -> None:
        self.root = Path(root)
        self.atomic_rename = True

    def __str__(self) -> str:
        return f"the zarr backend at {self.root}"

    def save(self, key: str, array: NDArray[Any], *, give: bool = False) -> None:
        place = self._place(key)
        staged = temporary_beside(place)
        try:
            _write_array(staged, array)
            self._replace(place, staged)
        finally:
            remove(staged)

    def load(self, key: str) -> NDArray[Any]:
        import zarr

        place = self._path(key)
        if not (place / METADATA).is_file():
            if place.is_file():
                raise PlaneReadError(f"{key!r} in {self} holds bytes, not an image.", path=key)
            raise self.missing(key)
        try:
            return np.asarray(zarr.open_array(str(place), mode="r")[...])
        except (ValueError, RuntimeError, KeyError) as error:
            raise PlaneReadError(f"{key!r} in {self} is damaged: {error}.", path=key) from error

    def save_bytes(self, key: str, content: bytes) -> None:
        place = self._place(key)
        if place.is_dir():
            remove(place)
        write_whole(place, content)

    def load_bytes(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise self.missing(key) from None

    def exists(self, key: str) -> bool:
        path = self._path(key)
        return path.is_file() or (path / METADATA).is_file()

    def list(self, prefix: str = "") -> tuple[str, ...]:
        folder = check_prefix(prefix)
        if folder and self.exists(folder):
            return (folder,)
        return tuple(sorted(path.relative_to(self.root).as_posix() for path in _leaves(self.root / folder)))

    def delete(self, key: str) -> None:
        if not self.exists(key):
            raise self.missing(key)
        remove(self._path(key))
        remove_empty_parents(self._path(key), self.root)

    def _path(self, key: str) -> Path:
        if check_key(key).split("/")[-1] == METADATA:
            raise StorageKeyError(f"{key!r} cannot be a key of {self}: {METADATA} marks arrays there.", key=key)
        return self.root / key

    def _place(self, key: str) -> Path:
        """Where a new value of the key goes; its folder exists afterwards."""
        place = self._path(key)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except (NotADirectoryError, FileExistsError) as error:
            raise StorageKeyError(f"{key!r} lies below another key in {self}.", key=key) from error
        above = [folder for folder in place.parents if self.root in folder.parents]
        holds_keys = place.is_dir() and not (place / METADATA).is_file()
        if holds_keys or any((folder / METADATA).is_file() for folder in above):
            raise StorageKeyError(f"{key!r} is a folder of other keys in {self}, or lies below a key.", key=key)
        return place

    def _replace(self, place: Path, staged: Path) -> None:
        if not place.exists():
            staged.rename(place)
            return
        old = temporary_beside(place)
        place.rename(old)
        staged.rename(place)
        remove(old)


def _write_array(folder: Path, array: NDArray[Any]) -> None:
    import zarr
    from zarr.codecs import BloscCodec

    chunks = (1,) * (array.ndim - 2) + array.shape[-2:]
    target = zarr.create_array(
        str(folder),
        shape=array.shape,
        chunks=tuple(max(size, 1) for size in chunks),
        dtype=array.dtype,
        compressors=BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=array.dtype.itemsize),
        config={"write_empty_chunks": True},
    )
    target[...] = array


def _leaves(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        if METADATA in names:
            folders.clear()
            yield Path(where)
            continue
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY_PREFIX)]
        yield from (Path(where) / name for name in names if not name.startswith(TEMPORARY_PREFIX))
