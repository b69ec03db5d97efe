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
from numpy.typing import NDArray

from openhcs_engine.files.atomic import StoredFile, make_folders, write_new
from openhcs_engine.ngff.metadata import document
from openhcs_engine.ngff.nodes import NODE_V3
from openhcs_engine.ngff.tiles import PlaneForm

ABSENT: Final = 2**64 - 1
"""Offset and length of a chunk that was never written."""
SHUFFLE_NAMES: Final = {"none": "noshuffle", "byte": "shuffle", "bit": "bitshuffle"}


def shard_key(axes: int) -> str:
    """The only shard of an array. With ``/`` every level would cost five folders, a third of all."""
    return "c" + ".0" * axes


@dataclass(slots=True)
class ShardWriter:
    """Appends planes of one form; ``finish`` puts them in order.

    The file is opened for each plane, so that a well of many fields needs few open files.
    """

    folder: Path
    """The array's."""
    form: PlaneForm
    names: str
    """Axes of the array, e.g. ``tczyx``."""
    _chunks: dict[Hashable, NDArray[np.uint64]] = field(default_factory=dict)
    _size: int = 0
    _crc: int = 0

    def add(self, coordinate: Hashable, plane: NDArray[Any]) -> None:
        """Compress and append one plane; its index in the array is decided by ``finish``."""
        encoded = self.form.encode(plane)
        lengths = np.array([len(part) for part in encoded], np.uint64)
        offsets = self._size + np.concatenate(([np.uint64(0)], np.cumsum(lengths)[:-1]))
        self._chunks[coordinate] = np.column_stack((offsets.astype(np.uint64), lengths))
        self._append(b"".join(encoded))

    def finish(self, stack: tuple[int, ...], coordinates: Sequence[Hashable]) -> list[StoredFile]:
        """Write the index and the array's metadata; planes that were never added are absent.

        Parameters
        ----------
        stack
            Lengths of the leading axes.
        coordinates
            Of every plane, in C order.

        Returns
        -------
        list of StoredFile
            Relative to the array's folder.
        """
        none = np.full((self.form.count, 2), ABSENT, np.uint64)
        index = np.concatenate([self._chunks.get(coordinate, none) for coordinate in coordinates])
        content = index.astype("<u8").tobytes()
        self._append(content + google_crc32c.value(content).to_bytes(4, "little"))
        shard = StoredFile(shard_key(len(self.names)), self._size, self._crc)
        return [shard, write_new(self.folder, NODE_V3, document(shard_document(self.form, self.names, stack)))]

    def _append(self, content: bytes) -> None:
        if self._size == 0:
            make_folders(self.folder)
        # Never behind what another writer left: the index would count from there.
        mode = "ab" if self._size else "xb"
        with (self.folder / shard_key(len(self.names))).open(mode, buffering=0) as file:
            written = file.write(content)
            while written < len(content):
                written += file.write(content[written:])
        self._size += len(content)
        self._crc = google_crc32c.extend(self._crc, content)


def shard_document(form: PlaneForm, names: str, stack: tuple[int, ...]) -> dict[str, Any]:
    """``zarr.json`` of an array with one shard; ``stack`` are the lengths of its leading axes."""
    padded = tuple(size * edge for size, edge in zip(form.grid, form.chunk, strict=True))
    little_endian = {"name": "bytes", "configuration": {"endian": "little"}}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [*stack, *form.shape],
        "data_type": form.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [*stack, *padded]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": form.fill_value,
        "codecs": [
            {
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": [*(1 for _ in stack), *form.chunk],
                    "codecs": [little_endian, *_compressor(form)],
                    "index_codecs": [little_endian, {"name": "crc32c"}],
                    "index_location": "end",
                },
            }
        ],
        "attributes": {},
        "dimension_names": list(names),
        "storage_transformers": [],
    }


def _compressor(form: PlaneForm) -> list[dict[str, Any]]:
    if form.compression.codec == "none":
        return []
    configuration = {
        "typesize": form.dtype.itemsize,
        "cname": form.compression.codec,
        "clevel": form.compression.level,
        "shuffle": SHUFFLE_NAMES[form.compression.shuffle],
        "blocksize": 0,
    }
    return [{"name": "blosc", "configuration": configuration}]


__all__ = ["ABSENT", "SHUFFLE_NAMES", "ShardWriter", "shard_document", "shard_key"]
