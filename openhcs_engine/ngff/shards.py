"""One zarr v3 array of planes, written plane by plane into a single shard.

zarr-python writes the same bytes, but needs the whole shard at once and several times the processor time for it.
*Source*: zarr v3 core specification and its codec specifications ``sharding_indexed``, ``blosc``, ``crc32c``.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import google_crc32c
import numpy as np
from imagecodecs import blosc_encode
from numpy.typing import NDArray

ABSENT: Final = 2**64 - 1
"""Offset and length of a chunk that was never written."""
SHARD_KEY: Final = "c.0.0.0.0.0"
"""The only shard of an array (t, c, z, y, x). With ``/`` every level would cost five folders, a third of all."""
COMPRESSOR, LEVEL, SHUFFLE = "zstd", 1, "shuffle"
"""Byte shuffle with zstd-1: smallest for its speed on camera images."""


def chunk_edge(size: int, longest: int) -> int:
    """Edge of an axis' chunks: as few as possible up to ``longest`` px, and equal, so that hardly any is padded."""
    return -(-size // -(-size // longest))


@dataclass(slots=True)
class ShardWriter:
    """Appends planes of one shape and dtype; ``finish`` puts them in order and returns the array's metadata.

    The file is opened for each plane, so that a well of many fields needs few open files.
    """

    path: Path
    shape: tuple[int, int]
    """(y, x) of every plane."""
    dtype: np.dtype[Any]
    longest_chunk: int
    _chunks: dict[Hashable, NDArray[np.uint64]] = field(default_factory=dict)
    _size: int = 0
    _crc: int = 0

    @property
    def chunk(self) -> tuple[int, int]:
        """(y, x) of one chunk."""
        return chunk_edge(self.shape[0], self.longest_chunk), chunk_edge(self.shape[1], self.longest_chunk)

    def add(self, coordinate: Hashable, plane: NDArray[Any]) -> None:
        """Compress and append one plane; its place in the array is decided by ``finish``."""
        encoded = [_encode(tile) for tile in _tiles(plane, self.chunk)]
        lengths = np.array([len(part) for part in encoded], np.uint64)
        offsets = self._size + np.concatenate(([np.uint64(0)], np.cumsum(lengths)[:-1]))
        self._chunks[coordinate] = np.column_stack((offsets.astype(np.uint64), lengths))
        self._append(b"".join(encoded))

    def finish(self, coordinates: Sequence[Hashable]) -> int:
        """Write the index of the planes, in this order; those never added are absent. Returns the file's checksum."""
        none = np.full((_tile_count(self.shape, self.chunk), 2), ABSENT, np.uint64)
        index = np.concatenate([self._chunks.get(coordinate, none) for coordinate in coordinates])
        content = index.astype("<u8").tobytes()
        self._append(content + google_crc32c.value(content).to_bytes(4, "little"))
        return self._crc

    @property
    def size(self) -> int:
        """Bytes of the file so far."""
        return self._size

    def _append(self, content: bytes) -> None:
        if self._size == 0:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as file:
            written = file.write(content)
            while written < len(content):
                written += file.write(content[written:])
        self._size += len(content)
        self._crc = google_crc32c.extend(self._crc, content)


def array_document(stack: tuple[int, int, int], writer: ShardWriter) -> dict[str, Any]:
    """``zarr.json`` of the array (t, c, z, y, x) that the writer made; ``stack`` is its (t, c, z)."""
    inner = (1, 1, 1, *writer.chunk)
    padded = tuple(-(-size // edge) * edge for size, edge in zip(writer.shape, writer.chunk, strict=True))
    little_endian = {"name": "bytes", "configuration": {"endian": "little"}}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [*stack, *writer.shape],
        "data_type": writer.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [*stack, *padded]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": _fill_value(writer.dtype),
        "codecs": [
            {
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": list(inner),
                    "codecs": [little_endian, _blosc(writer.dtype)],
                    "index_codecs": [little_endian, {"name": "crc32c"}],
                    "index_location": "end",
                },
            }
        ],
        "attributes": {},
        "dimension_names": ["t", "c", "z", "y", "x"],
        "storage_transformers": [],
    }


def _blosc(dtype: np.dtype[Any]) -> dict[str, Any]:
    configuration = {
        "typesize": dtype.itemsize, "cname": COMPRESSOR, "clevel": LEVEL, "shuffle": SHUFFLE, "blocksize": 0,
    }  # fmt: skip
    return {"name": "blosc", "configuration": configuration}


def _fill_value(dtype: np.dtype[Any]) -> bool | int | float:
    if dtype.kind == "b":
        return False
    return 0.0 if dtype.kind == "f" else 0


def _encode(tile: NDArray[Any]) -> bytes:
    encoded = blosc_encode(
        tile,  # type: ignore[arg-type] # any contiguous buffer will do
        level=LEVEL,
        compressor=COMPRESSOR,
        shuffle=1,
        typesize=tile.dtype.itemsize,
        numthreads=1,
    )
    return bytes(encoded)


def _tile_count(shape: tuple[int, int], chunk: tuple[int, int]) -> int:
    return -(-shape[0] // chunk[0]) * -(-shape[1] // chunk[1])


def _tiles(plane: NDArray[Any], chunk: tuple[int, int]) -> list[NDArray[Any]]:
    """Chunks in C order, contiguous, the last of a row or column padded with the fill value."""
    height, width = chunk
    return [
        _padded(plane[top : top + height, left : left + width], chunk)
        for top in range(0, plane.shape[0], height)
        for left in range(0, plane.shape[1], width)
    ]


def _padded(part: NDArray[Any], chunk: tuple[int, int]) -> NDArray[Any]:
    stored = part.dtype.newbyteorder("<")
    if part.shape == chunk:
        return np.ascontiguousarray(part, dtype=stored)
    tile = np.zeros(chunk, stored)
    tile[: part.shape[0], : part.shape[1]] = part
    return tile


__all__ = ["ABSENT", "SHARD_KEY", "ShardWriter", "array_document", "chunk_edge"]
