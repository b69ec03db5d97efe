"""Arrays as TIFF files and bytes as files, below a folder or behind an fsspec URL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from os import PathLike
from typing import Any, BinaryIO, ClassVar, TypeVar

from numpy.typing import NDArray

from openhcs_engine.errors import OptionError, PlaneReadError
from openhcs_engine.files.keys import check_key
from openhcs_engine.files.opening import open_store
from openhcs_engine.files.store import DECODING_ERRORS
from openhcs_engine.vfs.backend import ImageInfo, check_array
from openhcs_engine.vfs.file_backend import FileBackend
from openhcs_engine.vfs.tiff_codec import COMPRESSIONS, read_info, read_tiff, write_tiff

Result = TypeVar("Result")


class DiskBackend(FileBackend):
    """Every key is a file of that name; arrays are TIFF, planes and stacks of common dtypes OME-TIFF.

    Parameters
    ----------
    root
        Folder or fsspec URL; made by the first save.
    compression
        None (default, fastest), ``zstd``, ``zlib`` or ``lzw``.

    Raises
    ------
    OptionError
        If the compression is none of these.
    """

    name: ClassVar[str] = "disk"

    def __init__(self, root: str | PathLike[str], *, compression: str | None = None) -> None:
        if compression not in COMPRESSIONS:
            known = ", ".join(str(name) for name in COMPRESSIONS)
            raise OptionError(f"compression={compression!r} is unknown (choose from {known}).", option="compression")
        self.compression = compression
        super().__init__(open_store(root))

    def save(self, key: str, array: NDArray[Any], *, give: bool = False, info: ImageInfo | None = None) -> None:
        check_array(array, check_key(key))
        with self._writing(key):
            self._store.write(key, lambda file: write_tiff(file, array, info or ImageInfo(), self.compression))

    def load(self, key: str) -> NDArray[Any]:
        return self._read(key, read_tiff)

    def load_many(self, keys: Iterable[str]) -> tuple[NDArray[Any], ...]:
        wanted = [check_key(key) for key in keys]
        loaded: list[NDArray[Any]] = []
        files = self._store.open_many(wanted)
        for key in wanted:
            with self._reading(key):
                file = next(files)
            loaded.append(self._decode(key, file, read_tiff))
        return tuple(loaded)

    def describe(self, key: str) -> ImageInfo:
        return self._read(key, read_info)

    def _read(self, key: str, decode: Callable[[BinaryIO], Result]) -> Result:
        with self._reading(key):
            file = self._store.open(check_key(key))
        return self._decode(key, file, decode)

    def _decode(self, key: str, file: BinaryIO, decode: Callable[[BinaryIO], Result]) -> Result:
        with file:
            try:
                return decode(file)
            except DECODING_ERRORS as error:
                raise PlaneReadError(
                    f"{key!r} in {self} does not hold an array that this engine wrote, or is damaged: {error}.",
                    path=key,
                ) from error


__all__ = ["DiskBackend"]
