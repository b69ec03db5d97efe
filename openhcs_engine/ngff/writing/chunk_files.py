"""One zarr v2 array of planes, written plane by plane with one file a chunk, and read back.

*Source*: zarr v2 specification (``.zarray``, ``dimension_separator``), OME-NGFF 0.4, which asks for ``/``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import PlaneReadError
from openhcs_engine.files.atomic import StoredFile, make_folders, write_new
from openhcs_engine.model.system_errors import unreadable
from openhcs_engine.ngff.metadata import document
from openhcs_engine.ngff.nodes import ARRAY_V2
from openhcs_engine.ngff.options import Compression
from openhcs_engine.ngff.tiles import BLOSC_SHUFFLE, FormedArray, PlaneForm, Window

_UNPLACED: Final = ".planes"


@dataclass(slots=True)
class ChunkFileWriter:
    """Writes the chunks of each plane into a folder of its own, which ``finish`` renames to its path."""

    folder: Path
    """The array's."""
    form: PlaneForm
    names: str
    """Axes of the array, e.g. ``tczyx``."""
    _planes: dict[Hashable, list[StoredFile]] = field(default_factory=dict)
    """Files by coordinate, relative to the plane's folder."""

    def add(self, coordinate: Hashable, plane: NDArray[Any]) -> None:
        """Compress and write one plane; its index in the array is decided by ``finish``."""
        folder = self._unplaced(len(self._planes))
        chunks = zip(np.ndindex(self.form.grid), self.form.encode(plane), strict=True)
        self._planes[coordinate] = [write_new(folder, f"{row}/{column}", content) for (row, column), content in chunks]

    def finish(self, stack: tuple[int, ...], coordinates: Sequence[Hashable]) -> list[StoredFile]:
        """Put the planes in order and write the array's metadata; see ``ShardWriter.finish``."""
        files, places = [], dict(zip(coordinates, np.ndindex(stack), strict=True))
        for number, (coordinate, chunks) in enumerate(self._planes.items()):
            path = "/".join(map(str, places[coordinate]))
            make_folders((self.folder / path).parent)
            self._unplaced(number).rename(self.folder / path)
            files += [replace(chunk, path=f"{path}/{chunk.path}") for chunk in chunks]
        if self._planes:
            (self.folder / _UNPLACED).rmdir()
        return [*files, write_new(self.folder, ARRAY_V2, document(chunks_document(self.form, stack)))]

    def _unplaced(self, number: int) -> Path:
        return self.folder / _UNPLACED / str(number)


def chunks_document(form: PlaneForm, stack: tuple[int, ...]) -> dict[str, Any]:
    """``.zarray`` of an array with one file a chunk; ``stack`` are the lengths of its leading axes."""
    return {
        "zarr_format": 2,
        "shape": [*stack, *form.shape],
        "chunks": [*(1 for _ in stack), *form.chunk],
        "dtype": form.dtype.newbyteorder("<").str,
        "compressor": _compressor(form.compression),
        "fill_value": form.fill_value,
        "order": "C",
        "filters": None,
        "dimension_separator": "/",
    }


def _compressor(compression: Compression) -> dict[str, Any] | None:
    if compression.codec == "none":
        return None
    return {
        "id": "blosc",
        "cname": compression.codec,
        "clevel": compression.level,
        "shuffle": BLOSC_SHUFFLE[compression.shuffle],
        "blocksize": 0,
    }


@dataclass(frozen=True, slots=True)
class ChunkFileReader(FormedArray):
    """Planes of an array that the writer made. A file that is not there is an error, and not the fill value."""

    folder: Path
    """The array's."""

    @classmethod
    def of(cls, folder: Path, document: Mapping[str, Any]) -> Self | None:
        """A reader of the array in ``folder``; None if its ``.zarray`` is not just as the writer writes it."""
        try:
            *stack, height, width = document["shape"]
            *_, rows, columns = document["chunks"]
            form = PlaneForm(
                (height, width), (rows, columns), np.dtype(document["dtype"]), _compression(document["compressor"])
            )
            if document != chunks_document(form, tuple(stack)):
                return None
        except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError):
            return None
        return cls(tuple(stack), form, folder)

    def plane(self, index: tuple[int, ...], window: Window) -> NDArray[Any]:
        """A window of the plane at an index of the leading axes.

        Raises
        ------
        PlaneReadError
            If one of its files is missing or damaged.
        """
        folder = self.folder.joinpath(*map(str, index))
        try:
            return self.form.assemble(self._chunks(folder, self.form.numbers_in(window)))[window]
        except (OSError, ValueError) as error:
            raise PlaneReadError(f"{folder} {unreadable(error)}.", path=str(folder)) from error

    def _chunks(self, folder: Path, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        for number in numbers:
            row, column = divmod(number, self.form.grid[1])
            yield number, (folder / str(row) / str(column)).read_bytes()


def _compression(compressor: Mapping[str, Any] | None) -> Compression:
    if compressor is None:
        return Compression(codec="none")
    shuffles = {number: shuffle for shuffle, number in BLOSC_SHUFFLE.items()}
    return Compression(codec=compressor["cname"], level=compressor["clevel"], shuffle=shuffles[compressor["shuffle"]])


__all__ = ["ChunkFileReader", "ChunkFileWriter", "chunks_document"]
