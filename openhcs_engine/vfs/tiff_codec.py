"""Arrays as TIFF files: OME-TIFF where OME has a place for them, plain TIFF for all others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.memory.conversion.aligned import empty_aligned
from openhcs_engine.vfs.backend import ImageInfo

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    import tifffile

    Page: TypeAlias = tifffile.TiffPage | tifffile.TiffFrame

COMPRESSIONS: Final[Mapping[str | None, Mapping[str, object]]] = {
    None: {},
    "lzw": {"compression": "lzw", "predictor": True},
    "zlib": {"compression": "zlib", "predictor": True, "compressionargs": {"level": 1}},
    "zstd": {"compression": "zstd", "compressionargs": {"level": 3}},
}
"""Options of tifffile. Level 6 of zlib takes five times as long as level 1 for files of the same size."""
_ROWS: Final = 256
"""Of a compressed strip: half a megabyte of a camera's plane."""
_OME_AXES: Final = {2: "YX", 3: "ZYX", 4: "TZYX"}
_OME_TYPES: Final = frozenset(
    {"int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64", "complex64", "complex128"}
)
_MARKER: Final = re.compile(r"openhcs shape=([0-9,]*) dtype=([a-z0-9]+)")
"""The exact shape and dtype, in the description: OME's sizes do not tell a plane from a stack of one."""


def write_tiff(file: BinaryIO, array: NDArray[Any], info: ImageInfo, compression: str | None = None) -> None:
    """Write an array of any shape and numeric dtype.

    Parameters
    ----------
    file
        Empty, seekable.
    array
        With two to four axes ``(…, y, x)`` and a dtype that OME knows, the file is OME-TIFF.
    info
        Goes into the OME-XML: pixel size in µm, name of the channel.
    compression
        A key of ``COMPRESSIONS``.
    """
    import tifffile

    stored = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    if stored.dtype == bool:
        stored = stored.view(np.uint8)  # TIFF packs bits, which only some readers undo
    marker = f"openhcs shape={','.join(str(size) for size in array.shape)} dtype={array.dtype.name}"
    options = dict(COMPRESSIONS[compression])
    if compression is not None:
        options |= {"rowsperstrip": _ROWS, "maxworkers": 1}
    if not _has_predictor(stored.dtype):
        options.pop("predictor", None)
    if stored.size and stored.dtype.name in _OME_TYPES and array.ndim in _OME_AXES:
        options |= {"ome": True, "metadata": _ome(array.ndim, marker, info)}
    else:
        stored = _as_pages(stored)
        options |= {"description": marker, "metadata": None}
    tifffile.imwrite(file, stored, photometric="minisblack", **options)  # type: ignore[arg-type] # a table of options


def read_tiff(file: BinaryIO) -> NDArray[Any]:
    """The array that ``write_tiff`` wrote, writable and aligned to 64 bytes.

    Raises
    ------
    ValueError
        If the file is something else, or cut off; decoders raise others of ``DECODING_ERRORS`` if it is damaged.
    """
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        shape, dtype = _marker(tiff)
        array = empty_aligned(shape, dtype)  # a false shape takes no memory: it is refused before it is touched
        if array.size:
            _fill(array.view(np.uint8) if array.dtype == bool else array, tiff, file)
    return array


def read_info(file: BinaryIO) -> ImageInfo:
    """The info that ``write_tiff`` was given, as far as the file is OME-TIFF; raises as ``read_tiff``."""
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        _marker(tiff)
        return read_ome(tiff.pages.first.description) if tiff.pages.first.is_ome else ImageInfo()


def read_ome(document: str) -> ImageInfo:
    """What OME-XML that we wrote says of its first image: pixel size in µm, name of the channel.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        pixels = _first(fromstring(document), "Pixels")
    except ParseError as error:
        raise ValueError(f"its OME-XML is damaged ({error})") from error
    size, channel = pixels.get("PhysicalSizeX"), _first(pixels, "Channel").get("Name")
    return ImageInfo(pixel_size_um=None if size is None else float(size), channel=channel)


def _ome(dimensions: int, marker: str, info: ImageInfo) -> dict[str, object]:
    metadata: dict[str, object] = {"axes": _OME_AXES[dimensions], "Description": marker}
    if info.channel is not None:
        metadata["Channel"] = {"Name": info.channel}
    if info.pixel_size_um is not None:
        for axis in "XY":
            metadata |= {f"PhysicalSize{axis}": info.pixel_size_um, f"PhysicalSize{axis}Unit": "µm"}
    return metadata


def _has_predictor(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or (dtype.kind in "iu" and dtype.itemsize <= 4)


def _as_pages(stored: NDArray[Any]) -> NDArray[Any]:
    """A plane of all values, whatever the shape; TIFF has no empty image."""
    if not stored.size:
        return np.zeros((1, 1), stored.dtype)
    return stored.reshape(-1, stored.shape[-1] if stored.ndim else 1)


def _marker(tiff: tifffile.TiffFile) -> tuple[tuple[int, ...], str]:
    found = _MARKER.search(tiff.pages.first.description)
    if found is None:
        raise ValueError("another program wrote it")
    return tuple(int(size) for size in found[1].split(",") if size), found[2]


def _fill(array: NDArray[Any], tiff: tifffile.TiffFile, file: BinaryIO) -> None:
    """Read all pages into the array; ValueError unless they hold just as much as it."""
    pages = list(tiff.pages)
    size = file.seek(0, 2)
    for page in pages:
        # tifffile fills strips that have no bytes with zeros, and reads past the end as if nothing were there.
        if page.dtype != array.dtype or 0 in page.databytecounts or not page.databytecounts:
            raise ValueError("its pages are not those that were written")
        ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends) > size:
            raise ValueError(f"it is cut off: its pixels end at byte {max(ends)}, the file has {size}")
    if sum(page.size for page in pages) != array.size:
        raise ValueError("its pages do not have the shape in its description")
    if all(page.compression == 1 for page in pages) and _follow_each_other(pages, array.nbytes):
        _read_into(array, file, pages[0].dataoffsets[0])
        return
    planes = array.reshape(len(pages), *pages[0].shape)
    for plane, page in zip(planes, pages, strict=True):
        plane[...] = page.asarray(maxworkers=1)


def _follow_each_other(pages: list[Page], nbytes: int) -> bool:
    """True if the pixels of all pages lie in one run."""
    expected = pages[0].dataoffsets[0]
    for page in pages:
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            if offset != expected:
                return False
            expected += count
    return bool(expected - pages[0].dataoffsets[0] == nbytes)


def _read_into(array: NDArray[Any], file: BinaryIO, offset: int) -> None:
    rest = memoryview(array.reshape(-1).view(np.uint8).data)
    file.seek(offset)
    while len(rest):
        count = file.readinto(rest)  # type: ignore[attr-defined] # files and BytesIO have it, BinaryIO does not say so
        if not count:
            raise ValueError("it is cut off")
        rest = rest[count:]


def _first(element: Element, name: str) -> Element:
    """The first element below of this name, in whatever version of the namespace."""
    for found in element.iter():
        if found.tag.rpartition("}")[2] == name:
            return found
    raise ValueError(f"its OME-XML has no {name}")


__all__ = ["COMPRESSIONS", "read_info", "read_ome", "read_tiff", "write_tiff"]
