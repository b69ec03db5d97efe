"""How many chunks an array has, and what each of them is called, by its metadata.

*Source*: zarr v2 specification (``dimension_separator``), zarr v3 core specification (chunk key encodings, regular
chunk grid; of a sharded array the grid is that of its shards).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Literal

import msgspec


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkGrid:
    """The chunks of one array."""

    counts: tuple[int, ...]
    """Chunks along each axis."""
    prefix: str
    """What keys begin with: ``c`` or nothing."""
    separator: str
    fill_value: object
    """What chunks that are not stored read as."""

    @property
    def count(self) -> int:
        """All chunks."""
        return prod(self.counts)

    def chunk_keys(self) -> Iterator[str]:
        """Their keys, in the array's order; each is a path below the array with ``/`` or ``.``."""
        first = [self.prefix] if self.prefix else []
        for position in product(*map(range, self.counts)):
            yield self.separator.join([*first, *map(str, position)]) or "0"


def chunk_grid(document: bytes, version: Literal[2, 3]) -> ChunkGrid | None:
    """The grid that ``.zarray`` or ``zarr.json`` declares; None if it is damaged, or of a kind that is not known."""
    try:
        return _of_v2(document) if version == 2 else _of_v3(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ZeroDivisionError):
        return None


class _ArrayV2(msgspec.Struct):
    shape: list[int]
    chunks: list[int]
    dimension_separator: Literal[".", "/"] = "."
    fill_value: Any = None  # Any: of the array's type


class _ChunkShape(msgspec.Struct):
    chunk_shape: list[int]


class _Grid(msgspec.Struct):
    name: Literal["regular"]
    configuration: _ChunkShape


class _Separator(msgspec.Struct, frozen=True):
    separator: Literal[".", "/"] | None = None


class _Encoding(msgspec.Struct, frozen=True):
    name: Literal["default", "v2"] = "default"
    configuration: _Separator = _Separator()


class _ArrayV3(msgspec.Struct):
    shape: list[int]
    chunk_grid: _Grid
    chunk_key_encoding: _Encoding = _Encoding()
    fill_value: Any = 0  # Any: as above


def _of_v2(document: bytes) -> ChunkGrid | None:
    array = msgspec.json.decode(document, type=_ArrayV2)
    fill_value = 0 if array.fill_value is None else array.fill_value
    return _grid(array.shape, array.chunks, "", array.dimension_separator, fill_value)


def _of_v3(document: bytes) -> ChunkGrid | None:
    array = msgspec.json.decode(document, type=_ArrayV3)
    by_default = array.chunk_key_encoding.name == "default"
    separator = array.chunk_key_encoding.configuration.separator or ("/" if by_default else ".")
    return _grid(
        array.shape, array.chunk_grid.configuration.chunk_shape, "c" if by_default else "", separator, array.fill_value
    )


def _grid(shape: list[int], chunk: list[int], prefix: str, separator: str, fill_value: object) -> ChunkGrid | None:
    if len(shape) != len(chunk) or min(chunk, default=1) < 1 or min(shape, default=0) < 0:
        return None
    counts = tuple(-(-size // edge) for size, edge in zip(shape, chunk, strict=True))
    return ChunkGrid(counts=counts, prefix=prefix, separator=separator, fill_value=fill_value)


__all__ = ["ChunkGrid", "chunk_grid"]
