"""Arrays as zarr v3 arrays and bytes as files, below a folder or behind an fsspec URL."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any, ClassVar, Final, TypeVar

from numpy.typing import NDArray

from openhcs_engine.errors import OptionError, PlaneReadError, StorageKeyError
from openhcs_engine.files.keys import check_key
from openhcs_engine.files.opening import open_store
from openhcs_engine.files.store import DECODING_ERRORS, ReadFile
from openhcs_engine.vfs.backend import ImageInfo, check_array
from openhcs_engine.vfs.file_backend import FileBackend
from openhcs_engine.vfs.zarr_codec import COMPRESSIONS, METADATA, decode_array, decode_info, encode_array

Result = TypeVar("Result")

_ERRORS: Final = (*DECODING_ERRORS, zlib.error)


class ZarrBackend(FileBackend):
    """Every array is a zarr v3 array that any reader opens: a folder, or behind a URL a zip file of one.

    One chunk a plane, with a checksum. Object stores cannot rename a folder, but put a single object whole: hence the
    zip file, which ``zarr.storage.ZipStore`` reads.

    Parameters
    ----------
    root
        Folder or fsspec URL; made by the first save.
    compression
        ``zstd`` (default, smallest), ``lz4`` (for what is soon read again), or None.

    Raises
    ------
    OptionError
        If the compression is none of these.
    """

    name: ClassVar[str] = "zarr"

    def __init__(self, root: str | PathLike[str], *, compression: str | None = "zstd") -> None:
        if compression not in COMPRESSIONS:
            known = ", ".join(str(name) for name in COMPRESSIONS)
            raise OptionError(f"compression={compression!r} is unknown (choose from {known}).", option="compression")
        self.compression = compression
        super().__init__(open_store(root, METADATA))

    def save(self, key: str, array: NDArray[Any], *, give: bool = False, info: ImageInfo | None = None) -> None:
        check_array(array, self._checked(key))
        with self._writing(key):
            self._store.write_folder(key, encode_array(array, info or ImageInfo(), self.compression))

    def save_bytes(self, key: str, content: bytes) -> None:
        super().save_bytes(self._checked(key), content)

    def load(self, key: str) -> NDArray[Any]:
        return self._read(key, decode_array)

    def load_many(self, keys: Iterable[str]) -> tuple[NDArray[Any], ...]:
        wanted = [check_key(key) for key in keys]
        loaded: list[NDArray[Any]] = []
        found = self._store.read_folders(wanted, decode_array)
        for key in wanted:
            with self._decoding(key):
                loaded.append(next(found))
        return tuple(loaded)

    def describe(self, key: str) -> ImageInfo:
        return self._read(key, decode_info)

    def _read(self, key: str, use: Callable[[ReadFile], Result]) -> Result:
        with self._decoding(key):
            return self._store.read_folder(check_key(key), use)

    @contextmanager
    def _decoding(self, key: str) -> Iterator[None]:
        with self._reading(key):
            try:
                yield
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError, StorageKeyError):
                raise
            except _ERRORS as error:
                raise PlaneReadError(
                    f"{key!r} in {self} does not hold an array that this engine wrote, or is damaged: {error}.",
                    path=key,
                ) from error

    def _checked(self, key: str) -> str:
        if METADATA in check_key(key).split("/"):
            raise StorageKeyError(f"{key!r} cannot be a key of {self}: {METADATA} marks arrays there.", key=key)
        return key


__all__ = ["ZarrBackend"]
