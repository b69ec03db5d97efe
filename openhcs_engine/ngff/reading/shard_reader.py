"""Planes out of an array that this engine wrote into one shard, by one read of its index and one a chunk.

zarr-python reads the same, after 0.8 s of imports and 10 ms a plane; pictures of a plate want hundreds of small planes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import PlaneReadError
from openhcs_engine.model.system_errors import unreadable
from openhcs_engine.ngff.options import Compression
from openhcs_engine.ngff.tiles import FormedArray, PlaneForm, Window
from openhcs_engine.ngff.writing.shards import ABSENT, SHUFFLE_NAMES, shard_document, shard_key


@dataclass(frozen=True, slots=True)
class ShardReader(FormedArray):
    """The only shard of an array."""

    path: Path

    @classmethod
    def of(cls, folder: Path, document: Mapping[str, Any]) -> Self | None:
        """A reader of the array in ``folder``; None if its ``zarr.json`` is not just as the writer writes it."""
        try:
            *stack, height, width = document["shape"]
            inner = document["codecs"][0]["configuration"]
            *_, rows, columns = inner["chunk_shape"]
            names = "".join(document["dimension_names"])
            form = PlaneForm(
                (height, width), (rows, columns), np.dtype(document["data_type"]), _compression(inner["codecs"])
            )
            if document != shard_document(form, names, tuple(stack)):
                return None
        except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError):
            return None
        return cls(tuple(stack), form, folder / shard_key(len(names)))

    def plane(self, index: tuple[int, ...], window: Window) -> NDArray[Any]:
        """A window of the plane at an index of the leading axes.

        Raises
        ------
        PlaneReadError
            If the plane was never written, or the file is missing or damaged.
        """
        try:
            return self.form.assemble(self._chunks(index, self.form.numbers_in(window)))[window]
        except (OSError, ValueError) as error:
            raise PlaneReadError(f"{self.path} {unreadable(error)}.", path=str(self.path)) from error

    def _chunks(self, position: tuple[int, ...], numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        first = int(np.ravel_multi_index(position, self.stack)) * self.form.count
        with self.path.open("rb") as file:
            index = self._index(file)
            for number in numbers:
                offset, length = (int(value) for value in index[first + number])
                if offset == ABSENT:
                    raise ValueError(f"it holds no plane at {list(position)}")
                file.seek(offset)
                yield number, file.read(length)

    def _index(self, file: BinaryIO) -> NDArray[np.uint64]:
        """Offset and length of every chunk."""
        entries = int(np.prod(self.stack)) * self.form.count
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - (entries * 16 + 4), 0))
        content, crc = file.read(entries * 16), file.read(4)
        if google_crc32c.value(content) != int.from_bytes(crc, "little"):
            raise ValueError("its index does not match its checksum")
        return np.frombuffer(content, "<u8").reshape(entries, 2)


def _compression(codecs: Sequence[Mapping[str, Any]]) -> Compression:
    """As an array's codecs say; whatever is not ours is caught by comparing the document made of it."""
    if len(codecs) == 1:
        return Compression(codec="none")
    configuration = codecs[1]["configuration"]
    shuffles = {name: shuffle for shuffle, name in SHUFFLE_NAMES.items()}
    return Compression(
        codec=configuration["cname"], level=configuration["clevel"], shuffle=shuffles[configuration["shuffle"]]
    )


__all__ = ["ShardReader"]
