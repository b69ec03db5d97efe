"""Raw planes inside zarr arrays of either version, read and never written."""

from __future__ import annotations

import lzma
import threading
import zlib
from functools import lru_cache
from math import prod
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import PlaneMismatchError, PlaneReadError
from openhcs_engine.files.address import is_remote
from openhcs_engine.files.store import DECODING_ERRORS
from openhcs_engine.model.system_errors import explained, is_system_error
from openhcs_engine.raw.plane import Header

if TYPE_CHECKING:
    import zarr

_METADATA: Final = ("zarr.json", ".zarray")
_ERRORS: Final = (*DECODING_ERRORS, EOFError, zlib.error, lzma.LZMAError)
_OPEN_ARRAYS: Final = 64
"""Opening takes as long as reading a plane; a well's fields fit."""
_MOST_KEPT: Final = 2**29
"""Bytes of the last chunks that are kept for the planes to come; larger ones are decoded again for every plane."""


def read_array_plane(
    root: str | PathLike[str],
    relative_path: str,
    array_index: tuple[int, ...],
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Read one plane of an array.

    Parameters
    ----------
    root
        The plate folder.
    relative_path
        The array's folder inside it, with ``/``.
    array_index
        The plane's index on all axes but the last two.
    out
        Array ``(y, x)`` to fill and return; a plane of another shape or dtype is refused.

    Returns
    -------
    ndarray
        ``(y, x)`` in the array's dtype and this machine's byte order. Chunks that were never written are its fill
        value, as zarr has it.

    Raises
    ------
    PlaneReadError
        If there is no such array or plane, or a chunk of it is cut off, damaged, or of an unknown kind.
    PlaneMismatchError
        If ``out`` does not fit.
    """
    array = _open(root, relative_path)
    _refuse_index(array, array_index, root, relative_path)
    if out is not None:
        _refuse_other(out, array, root, relative_path)
    try:
        pixels = _read(array, array_index)
    except _ERRORS as error:
        what = "cannot be read" if is_system_error(error) else "is damaged"
        raise PlaneReadError(
            f"{relative_path} {what}: plane {_shown(array_index)} cannot be decoded ({explained(error)}).",
            path=str(Path(root) / relative_path),
        ) from error
    if out is None:
        return pixels.astype(pixels.dtype.newbyteorder("="))  # a copy: what is kept stays as it is
    out[...] = pixels
    return out


def read_array_header(root: str | PathLike[str], relative_path: str) -> Header:
    """Shape ``(y, x)`` and dtype of an array's planes; PlaneReadError if there is no such array."""
    array = _open(root, relative_path)
    return (array.shape[-2], array.shape[-1]), array.dtype.newbyteorder("=").name


def _open(root: str | PathLike[str], relative_path: str) -> zarr.Array[Any]:
    if is_remote(str(root)):
        return _opened(f"{root}/{relative_path}", relative_path, 0, 0)
    folder = Path(root) / relative_path
    for name in _METADATA:
        try:
            found = (folder / name).stat()
        except OSError:
            continue
        # With its size and time: a plate that was published anew has other arrays.
        return _opened(str(folder), relative_path, found.st_size, found.st_mtime_ns)
    raise PlaneReadError(f"{relative_path} is no zarr array: it has no {' or '.join(_METADATA)}.", path=str(folder))


@lru_cache(maxsize=_OPEN_ARRAYS)
def _opened(folder: str, shown: str, size: int, mtime_ns: int) -> zarr.Array[Any]:
    import zarr

    try:
        array = zarr.open_array(folder, mode="r")
    except _ERRORS as error:
        raise PlaneReadError(f"{shown} cannot be opened as a zarr array: {explained(error)}.", path=folder) from error
    if array.ndim < 2:
        raise PlaneReadError(f"{shown} holds no planes: it has {array.ndim} dimension.", path=folder)
    return array


def _read(array: zarr.Array[Any], index: tuple[int, ...]) -> NDArray[Any]:
    """One plane; where chunks span several, all of them are decoded at once and the last ones are kept."""
    edges = tuple(min(edge, size) for edge, size in zip(array.chunks[:-2], array.shape[:-2], strict=True))
    if prod(edges) == 1 or prod((*edges, *array.shape[-2:])) * array.dtype.itemsize > _MOST_KEPT:
        return np.asarray(array[index])
    first = tuple(place // edge * edge for place, edge in zip(index, edges, strict=True))
    if _LAST.array is not array or _LAST.first != first:
        block = tuple(slice(start, start + edge) for start, edge in zip(first, edges, strict=True))
        _LAST.array, _LAST.pixels = None, None  # before the next are decoded: never two in memory
        _LAST.pixels = np.asarray(array[block])
        _LAST.array, _LAST.first = array, first
    assert _LAST.pixels is not None
    plane: NDArray[Any] = _LAST.pixels[tuple(place - start for place, start in zip(index, first, strict=True))]
    return plane


class _LastBlock(threading.local):
    """The planes that were decoded last, of each thread: its next plane mostly is one of them."""

    array: zarr.Array[Any] | None = None
    first: tuple[int, ...] = ()
    pixels: NDArray[Any] | None = None


_LAST: Final = _LastBlock()


def _refuse_index(array: zarr.Array[Any], index: tuple[int, ...], root: str | PathLike[str], shown: str) -> None:
    sizes = array.shape[:-2]
    if len(index) != len(sizes) or not all(0 <= place < size for place, size in zip(index, sizes, strict=True)):
        raise PlaneReadError(
            f"{shown} has no plane {_shown(index)}: its shape is {_shown(array.shape)} (the plate changed after it was "
            "read; read it again).",
            path=str(Path(root) / shown),
        )


def _refuse_other(out: NDArray[Any], array: zarr.Array[Any], root: str | PathLike[str], shown: str) -> None:
    shape, dtype = array.shape[-2:], array.dtype.newbyteorder("=")
    if out.shape != shape or out.dtype != dtype:
        raise PlaneMismatchError(
            f"{shown} has planes of {shape[1]} x {shape[0]} {dtype.name}, but the plate's planes of this channel are "
            f"{out.shape[1]} x {out.shape[0]} {out.dtype.name}.",
            path=str(Path(root) / shown),
        )


def _shown(numbers: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, numbers))})"


__all__ = ["read_array_header", "read_array_plane"]
