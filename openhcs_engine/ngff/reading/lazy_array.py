"""An array of planes on disk that is read where it is indexed, and says which planes do not exist."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import PlaneReadError
from openhcs_engine.model.system_errors import unreadable
from openhcs_engine.ngff.groups import read_array_document
from openhcs_engine.ngff.tiles import Window


class ArrayReader(Protocol):
    """What reads planes of one array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""

    def plane(self, position: tuple[int, ...], window: Window) -> NDArray[Any]:
        """A window of the plane at an index of the leading axes; PlaneReadError if it is missing or damaged."""


class LazyPlanes(ABC):
    """An array (…, y, x) of planes; indexing reads just what is asked for. Subclasses say where the planes are."""

    @property
    @abstractmethod
    def absence(self) -> NDArray[np.bool_]:
        """True where a plane of the leading axes does not exist."""

    @property
    @abstractmethod
    def _reader(self) -> ArrayReader: ...

    @property
    @abstractmethod
    def _place(self) -> Path:
        """What errors name."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As of a NumPy array."""
        return self._reader.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return self._reader.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, selection: Any) -> NDArray[Any]:  # Any: integers, slices and ... as NumPy takes them
        """Pixels as an array; as a masked array if planes of the selection do not exist, never as zeros.

        Raises
        ------
        IndexError
            If the selection does not fit the shape, or holds other than integers, slices and one ``...``.
        PlaneReadError
            If stored chunks are missing or damaged.
        """
        indexes = _full(selection, self.shape)
        leading, (y, x) = indexes[:-2], indexes[-2:]
        window = _window(y, self.shape[-2]), _window(x, self.shape[-1])
        inside = _inside(y, self.shape[-2]), _inside(x, self.shape[-1])
        wanted = np.broadcast_to(np.zeros((), self.dtype), self.shape)[indexes]
        positions = np.arange(prod(self.shape[:-2])).reshape(self.shape[:-2])[leading]
        pixels = np.zeros((positions.size, *wanted.shape[positions.ndim :]), self.dtype)
        missing = np.broadcast_to(self.absence, self.shape[:-2]).reshape(-1)[positions.reshape(-1)]
        for number in np.flatnonzero(~missing) if pixels.size else ():
            position = np.unravel_index(positions.flat[number], self.shape[:-2])
            pixels[number] = self._reader.plane(tuple(int(index) for index in position), window)[inside]
        whole = pixels.reshape(wanted.shape)
        if not missing.any():
            return whole
        mask = np.broadcast_to(missing.reshape(-1, *(1,) * (pixels.ndim - 1)), pixels.shape)
        return np.ma.masked_array(whole, mask.reshape(whole.shape))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError(f"{self._place} is on disk: its pixels cannot be had without a copy.")
        pixels = self[...]
        if np.ma.isMaskedArray(pixels):
            raise PlaneReadError(
                f"{self._place} has planes that do not exist, and a plain array could not say so; index it with [...], "
                "which gives a masked array.",
                path=str(self._place),
            )
        return np.asarray(pixels, dtype=dtype)


class LazyField(ABC):
    """One field of a well: behaves as its full-size array, whatever format it was written in."""

    @abstractmethod
    def array(self, level: int = 0) -> LazyPlanes:
        """The array (t, c, z, y, x) at a resolution, 0 the full one; IndexError if there is no such level."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(t, c, z, y, x) at full size."""
        return self.array().shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return self.array().dtype

    def __getitem__(self, selection: Any) -> NDArray[Any]:  # Any: as NumPy takes it
        """Pixels at full size; see ``LazyPlanes``."""
        return self.array()[selection]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.array().__array__(dtype, copy)


class LazyArray(LazyPlanes):
    """An array on disk.

    Parameters
    ----------
    folder
        The array's.
    absence
        True where a plane of the leading axes does not exist, in their shape.
    """

    def __init__(self, folder: Path, absence: NDArray[np.bool_]) -> None:
        self.folder = folder
        self._absence = absence

    def __repr__(self) -> str:
        return f"LazyArray({str(self.folder)!r})"

    @property
    def absence(self) -> NDArray[np.bool_]:
        return self._absence

    @cached_property
    def _reader(self) -> ArrayReader:
        return open_array(self.folder)

    @property
    def _place(self) -> Path:
        return self.folder


def open_array(folder: Path) -> ArrayReader:
    """A reader of the array in a folder: our own for what this engine wrote, zarr's for all else.

    Raises
    ------
    NotAnOutputError
        If there is no array.
    """
    from openhcs_engine.ngff.reading.shard_reader import ShardReader
    from openhcs_engine.ngff.writing.chunk_files import ChunkFileReader

    document = read_array_document(folder)
    return ShardReader.of(folder, document) or ChunkFileReader.of(folder, document) or _ForeignReader(folder)


class _ForeignReader:
    """zarr's array, with its errors as ours. A chunk that is not there is the fill value, as zarr defines it."""

    def __init__(self, folder: Path) -> None:
        import zarr

        self.folder = folder
        # Any: zarr's own types are not those of NumPy
        self.array = cast(Any, zarr.open_array(str(folder), mode="r"))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    def plane(self, position: tuple[int, ...], window: Window) -> NDArray[Any]:
        try:
            return np.asarray(self.array[(*position, *window)])
        except (ValueError, RuntimeError, OSError) as error:
            raise PlaneReadError(f"{self.folder} {unreadable(error)}.", path=str(self.folder)) from error


def _full(selection: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """One integer or slice for each axis."""
    given = selection if isinstance(selection, tuple) else (selection,)
    known = [item for item in given if item is not Ellipsis]
    if len(given) - len(known) > 1 or len(known) > len(shape) or not all(_is_basic(item) for item in known):
        raise IndexError(f"{selection!r} does not index an array of shape {shape}: use integers, slices and one '...'.")
    gap = (slice(None),) * (len(shape) - len(known))
    position = next((number for number, item in enumerate(given) if item is Ellipsis), len(known))
    return (*known[:position], *gap, *known[position:])


def _is_basic(item: object) -> bool:
    return isinstance(item, slice | int | np.integer) and not isinstance(item, bool)


def _window(index: Any, size: int) -> slice:
    """The shortest slice from 0 on, step 1, that holds what an index takes."""
    if isinstance(index, slice):
        taken = range(size)[index]
        return slice(min(taken[0], taken[-1]), max(taken[0], taken[-1]) + 1) if taken else slice(0, 0)
    number = int(index) + (size if index < 0 else 0)
    return slice(number, number + 1)


def _inside(index: Any, size: int) -> Any:
    """The index as seen from its window."""
    if not isinstance(index, slice):
        return 0
    step = index.step or 1
    return slice(None, None, step)


__all__ = ["ArrayReader", "LazyArray", "LazyField", "LazyPlanes", "open_array"]
