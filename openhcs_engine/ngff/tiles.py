"""One plane as compressed chunks, and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.ngff.options import Compression, ImageOptions

BLOSC_SHUFFLE: Final = {"none": 0, "byte": 1, "bit": 2}
"""Numbers of the shuffles in Blosc."""
Window = tuple[slice, slice]
"""(y, x) of a part of a plane, from 0 to its edge at most."""


def chunk_edge(size: int, longest: int) -> int:
    """Edge of an axis' chunks: as few as possible up to ``longest`` px, and equal, so that hardly any is padded."""
    return -(-size // -(-size // longest))


@dataclass(frozen=True, slots=True)
class PlaneForm:
    """Shape, pixel type, chunks and compression that all planes of an array share."""

    shape: tuple[int, int]
    """(y, x)."""
    chunk: tuple[int, int]
    """(y, x)."""
    dtype: np.dtype[Any]
    compression: Compression

    @classmethod
    def of(cls, shape: tuple[int, int], dtype: np.dtype[Any], options: ImageOptions) -> Self:
        """As the options ask for."""
        longest = options.chunk_px
        chunk = chunk_edge(shape[0], longest), chunk_edge(shape[1], longest)
        return cls(shape, chunk, np.dtype(dtype), options.compression)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of chunks."""
        return -(-self.shape[0] // self.chunk[0]), -(-self.shape[1] // self.chunk[1])

    @property
    def count(self) -> int:
        """Chunks of a plane."""
        return self.grid[0] * self.grid[1]

    @property
    def fill_value(self) -> bool | int | float:
        """What pads chunks at the edges."""
        if self.dtype.kind == "b":
            return False
        return 0.0 if self.dtype.kind == "f" else 0

    def encode(self, plane: NDArray[Any]) -> list[bytes]:
        """The plane's chunks in C order."""
        return [self._compress(tile) for tile in self._tiles(plane)]

    def assemble(self, chunks: Iterable[tuple[int, bytes]]) -> NDArray[Any]:
        """A plane of some of its chunks, each with its number in C order; zeros where there is none.

        Raises
        ------
        ValueError
            If a chunk is damaged.
        """
        height, width = self.chunk
        plane = np.zeros(self.shape, self.dtype)
        for number, content in chunks:
            row, column = divmod(number, self.grid[1])
            part = plane[row * height : (row + 1) * height, column * width : (column + 1) * width]
            part[...] = self._decompress(content)[: part.shape[0], : part.shape[1]]
        return plane

    def numbers_in(self, window: Window) -> list[int]:
        """Chunks that a window touches, by their numbers in C order."""
        rows, columns = (
            range(*(part.start // edge, -(-part.stop // edge))) if part.stop > part.start else range(0)
            for part, edge in zip(window, self.chunk, strict=True)
        )
        return [row * self.grid[1] + column for row in rows for column in columns]

    def _tiles(self, plane: NDArray[Any]) -> list[NDArray[Any]]:
        """Chunks in C order, contiguous, the last of a row or column padded with the fill value."""
        height, width = self.chunk
        return [
            self._padded(plane[top : top + height, left : left + width])
            for top in range(0, plane.shape[0], height)
            for left in range(0, plane.shape[1], width)
        ]

    def _padded(self, part: NDArray[Any]) -> NDArray[Any]:
        stored = part.dtype.newbyteorder("<")
        if part.shape == self.chunk:
            return np.ascontiguousarray(part, dtype=stored)
        tile = np.zeros(self.chunk, stored)
        tile[: part.shape[0], : part.shape[1]] = part
        return tile

    def _compress(self, tile: NDArray[Any]) -> bytes:
        if self.compression.codec == "none":
            return tile.tobytes()
        from imagecodecs import blosc_encode

        encoded = blosc_encode(
            tile,  # type: ignore[arg-type] # any contiguous buffer will do
            level=self.compression.level,
            compressor=self.compression.codec,
            shuffle=BLOSC_SHUFFLE[self.compression.shuffle],
            typesize=self.dtype.itemsize,
            numthreads=1,
        )
        return bytes(encoded)

    def _decompress(self, content: bytes) -> NDArray[Any]:
        if self.compression.codec != "none":
            from imagecodecs import BloscError, blosc_decode

            try:
                content = bytes(blosc_decode(content))
            except BloscError as error:
                raise ValueError(f"a chunk of it cannot be decompressed ({error})") from error
        return np.frombuffer(content, self.dtype.newbyteorder("<")).reshape(self.chunk)


@dataclass(frozen=True, slots=True)
class FormedArray:
    """An array on disk whose planes share one form; its readers differ in where they find the chunks."""

    stack: tuple[int, ...]
    """Lengths of the leading axes."""
    form: PlaneForm

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return (*self.stack, *self.form.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return self.form.dtype


__all__ = ["BLOSC_SHUFFLE", "FormedArray", "PlaneForm", "Window", "chunk_edge"]
