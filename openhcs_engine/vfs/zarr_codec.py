"""Arrays as the files of a zarr v3 array: one chunk a plane, with a checksum.

zarr-python writes and reads the same, after 0.5 s of imports and several times the processor time.
*Source*: zarr v3 core specification and its codec specifications ``blosc`` and ``crc32c``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from types import EllipsisType
from typing import Any, Final, TypeAlias

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from openhcs_engine.files.store import ReadFile
from openhcs_engine.memory.conversion.aligned import empty_aligned
from openhcs_engine.vfs.backend import ImageInfo

METADATA: Final = "zarr.json"
"""The file that makes a folder a zarr v3 array."""
ATTRIBUTES: Final = "openhcs"
COMPRESSIONS: Final[Mapping[str | None, Mapping[str, Any]]] = {  # Any: JSON
    None: {},
    "zstd": {"cname": "zstd", "clevel": 1, "shuffle": "shuffle"},
    "lz4": {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle"},
}
"""Blosc's settings: on camera images zstd-1 with byte shuffle is smallest for its speed, lz4 with bits fastest."""
Region: TypeAlias = tuple[slice | EllipsisType, ...]
_SHUFFLES: Final = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
_MOST_BYTES: Final = 2**30
"""Of a chunk; blosc takes less than two of these."""
_CHECKSUM: Final = {"name": "crc32c"}
_CHECKSUM_BYTES: Final = 4
_REMAINDER: Final = google_crc32c.value(bytes(_CHECKSUM_BYTES))
"""CRC-32C of any content followed by its own checksum."""
_CODECS: Final = ("bytes", "blosc", "crc32c")


def encode_array(array: NDArray[Any], info: ImageInfo, compression: str | None) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file of an array, ``zarr.json`` last.

    Parameters
    ----------
    array
        Of any shape and numeric dtype; stored little-endian.
    info
        Goes into the attribute ``openhcs``.
    compression
        A key of ``COMPRESSIONS``.
    """
    chunk = _chunk_shape(array.shape, array.dtype.itemsize)
    settings = COMPRESSIONS[compression]
    for position, region in _grid(array.shape, chunk):
        content = _encode(_padded(array[region], chunk), settings)
        yield _chunk_name(position, "."), content + _checksum(content)
    yield METADATA, json.dumps(_document(array, chunk, info, settings), indent=1).encode()


def decode_array(read: ReadFile) -> NDArray[Any]:
    """The array in the files that ``encode_array`` made, writable and aligned to 64 bytes.

    Raises
    ------
    FileNotFoundError, KeyError
        If there is no ``zarr.json``.
    ValueError
        If a chunk is missing, cut off or changed, or another program wrote the array in a way of its own; decoders
        raise others of ``DECODING_ERRORS``.
    """
    document = json.loads(read(METADATA))
    shape, dtype = tuple(document["shape"]), np.dtype(document["data_type"])
    chunk = tuple(document["chunk_grid"]["configuration"]["chunk_shape"])
    separator = document["chunk_key_encoding"]["configuration"]["separator"]
    codecs = [codec["name"] for codec in document["codecs"]]
    if codecs[:1] != ["bytes"] or codecs != [name for name in _CODECS if name in codecs]:
        raise ValueError(f"its codecs {', '.join(codecs)} are not those of this engine")
    array = empty_aligned(shape, dtype)
    for position, region in _grid(shape, chunk):
        name = _chunk_name(position, separator)
        content = _content(read, name, "crc32c" in codecs)
        _decode_into(array[region], chunk, content, name, "blosc" in codecs)
    return array


def decode_info(read: ReadFile) -> ImageInfo:
    """The info that ``encode_array`` was given; raises as ``decode_array``."""
    attributes = json.loads(read(METADATA))["attributes"].get(ATTRIBUTES, {})
    return ImageInfo(pixel_size_um=attributes.get("pixel_size_um"), channel=attributes.get("channel"))


def _document(
    array: NDArray[Any], chunk: tuple[int, ...], info: ImageInfo, settings: Mapping[str, Any]
) -> dict[str, Any]:
    blosc = {"name": "blosc", "configuration": {**settings, "typesize": array.dtype.itemsize, "blocksize": 0}}
    attributes = {"pixel_size_um": info.pixel_size_um, "channel": info.channel}
    document: dict[str, Any] = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(array.shape),
        "data_type": array.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": {"b": False, "f": 0.0, "c": [0.0, 0.0]}.get(array.dtype.kind, 0),
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            *([blosc] if settings else []),
            _CHECKSUM,
        ],
        "attributes": {ATTRIBUTES: {name: value for name, value in attributes.items() if value is not None}},
        "storage_transformers": [],
    }
    if array.ndim >= 2:
        document["dimension_names"] = [None] * (array.ndim - 2) + ["y", "x"]
    return document


def _chunk_shape(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """One plane, or a part of its rows where a plane is too large for blosc."""
    plane = [max(size, 1) for size in shape[-2:]]
    for axis in range(len(plane)):
        rest = prod(plane[axis + 1 :]) * itemsize
        plane[axis] = max(1, min(plane[axis], _MOST_BYTES // rest))
    return (1,) * (len(shape) - len(plane)) + tuple(plane)


def _grid(shape: tuple[int, ...], chunk: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Region]]:
    """Position of each chunk in the grid, and the index of what it holds of the array."""
    counts = [-(-size // edge) for size, edge in zip(shape, chunk, strict=True)]
    for position in product(*(range(count) for count in counts)):
        edges = (slice(at * edge, (at + 1) * edge) for at, edge in zip(position, chunk, strict=True))
        # The dots: without them an array of no axes gives a number, and no view to write to.
        yield position, (..., *edges)


def _chunk_name(position: tuple[int, ...], separator: str) -> str:
    return separator.join(("c", *map(str, position)))


def _padded(part: NDArray[Any], chunk: tuple[int, ...]) -> NDArray[Any]:
    little_endian = part.dtype.newbyteorder("<")
    if part.shape == chunk:
        return np.ascontiguousarray(part, little_endian)
    whole = np.zeros(chunk, little_endian)
    whole[tuple(slice(size) for size in part.shape)] = part
    return whole


def _encode(chunk: NDArray[Any], settings: Mapping[str, Any]) -> bytes:
    if not settings:
        return chunk.tobytes()
    from imagecodecs import blosc_encode

    encoded = blosc_encode(
        chunk,  # type: ignore[arg-type] # any contiguous buffer will do
        level=settings["clevel"],
        compressor=settings["cname"],
        shuffle=_SHUFFLES[settings["shuffle"]],
        typesize=chunk.dtype.itemsize,
        numthreads=1,
    )
    return bytes(encoded)


def _checksum(content: bytes) -> bytes:
    return int(google_crc32c.value(content)).to_bytes(_CHECKSUM_BYTES, "little")


def _content(read: ReadFile, name: str, checked: bool) -> memoryview:
    """A chunk's content, its checksum compared and taken off."""
    try:
        content = read(name)
    except (FileNotFoundError, KeyError):
        raise ValueError(f"chunk {name} is missing") from None
    if not checked:
        return memoryview(content)
    if google_crc32c.value(content) != _REMAINDER:
        raise ValueError(f"chunk {name} was cut off or changed: its checksum is another one")
    return memoryview(content)[:-_CHECKSUM_BYTES]  # no copy


def _decode_into(part: NDArray[Any], chunk: tuple[int, ...], content: memoryview, name: str, compressed: bool) -> None:
    from imagecodecs import blosc_decode

    whole = part if part.shape == chunk and part.flags.c_contiguous else np.empty(chunk, part.dtype)
    target = whole.reshape(-1).view(np.uint8)
    # *Source*: Blosc's header: bytes 4 to 8 are the size of what was compressed.
    holds = int.from_bytes(content[4:8], "little") if compressed else len(content)
    if holds != target.nbytes:
        raise ValueError(f"chunk {name} holds {holds} bytes, not {target.nbytes}")
    if compressed:
        blosc_decode(content, numthreads=1, out=target)  # type: ignore[arg-type] # any contiguous buffers will do
    else:
        target[:] = np.frombuffer(content, np.uint8)
    if whole is not part:
        part[...] = whole[tuple(slice(size) for size in part.shape)]


__all__ = ["COMPRESSIONS", "METADATA", "decode_array", "decode_info", "encode_array"]
