"""Raw planes: one grey image a file, TIFF or PNG, read and never written."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import OpenHCSError, PlaneMismatchError, PlaneReadError
from openhcs_engine.files.address import open_raw
from openhcs_engine.model.system_errors import explained, is_system_error
from openhcs_engine.raw.image_header import (
    PNG_MODES,
    PNG_START,
    PlainPage,
    is_tiff_stack,
    read_plain_page,
    read_png_header,
)

if TYPE_CHECKING:
    import tifffile
from openhcs_engine.files.store import DECODING_ERRORS

Header: TypeAlias = tuple[tuple[int, int], str]
"""Shape ``(y, x)`` and NumPy name of the dtype."""

_BEST_RATIO: Final = 2000
"""LZW and deflate shrink at most about 1400 and 1032 times; a header that claims more lies."""

_UNPACKED_RATIO: Final = 8
"""Uncompressed pixels grow only where single bits become bytes."""

_ALWAYS_ALLOWED: Final = 64 * 2**20
"""Bytes of pixels that newer codecs, which shrink without limit, may always make of a small file."""

_UNBOUNDED: Final = frozenset({34887, 34925, 50000, 50001, 50002, 34926, 52546})
"""TIFF compressions without a known limit: LERC, LZMA, zstd, WebP, JPEG XL."""


def read_plane(root: str | PathLike[str], relative_path: str, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Read an image file of one plane.

    Parameters
    ----------
    root
        The plate folder, or its URL.
    relative_path
        The file inside it, with ``/``.
    out
        Array ``(y, x)`` to fill and return; a file of another shape or dtype is refused.

    Returns
    -------
    ndarray
        ``(y, x)`` in the file's dtype and this machine's byte order.

    Raises
    ------
    PlaneReadError
        If the file is missing, empty, cut off, damaged, no TIFF or PNG, has several planes or more than two dimensions,
        or declares more pixels than it can hold (found before memory is asked for). A cut-off file never comes back
        as zeros.
    PlaneMismatchError
        If ``out`` does not fit.
    """
    with _Plane(str(root), relative_path) as plane:
        return plane.read(out)


def read_header(path: str | PathLike[str]) -> Header:
    """Shape and dtype of an image file, without decoding its pixels; the same errors as ``read_plane``."""
    place = Path(path)
    return read_plane_header(place.parent, place.name)


def read_plane_header(root: str | PathLike[str], relative_path: str) -> Header:
    """The same of a file in a plate folder, or behind its URL."""
    with _Plane(str(root), relative_path) as plane:
        return plane.header()


class _Plane:
    """An open image file."""

    def __init__(self, root: str, name: str) -> None:
        self.path, self.name = f"{root}/{name}", name
        try:
            self.file = open_raw(root, name)
        except OSError as error:
            raise PlaneReadError(f"{name} cannot be opened: {explained(error)}.", path=self.path) from error
        self.size = self.file.seek(0, os.SEEK_END)
        self.file.seek(0)

    def __enter__(self) -> _Plane:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()

    def read(self, out: NDArray[Any] | None) -> NDArray[Any]:
        try:
            page = self._plain_page()
            if page is not None:
                return self._read_plain(page, out)
            decoded = self._decode_png() if self._is_png() else self._decode_tiff()
        except OpenHCSError:
            raise
        except DECODING_ERRORS as error:
            self._fail_reading("is damaged and cannot be decoded", error)
        if out is None:
            return decoded
        self._refuse_other(out, decoded.shape, decoded.dtype)
        out[...] = decoded
        return out

    def header(self) -> Header:
        try:
            page = self._plain_page()
            if page is not None:
                return page.shape, page.dtype.newbyteorder("=").name
            return self._png_header() if self._is_png() else self._tiff_header()
        except OpenHCSError:
            raise
        except DECODING_ERRORS as error:
            self._fail_reading("is damaged and its header cannot be read", error)

    def _fail_reading(self, damage: str, error: Exception) -> NoReturn:
        """A drive that fails says nothing about the image."""
        if is_system_error(error):
            self._fail(f"cannot be read: {explained(error)}", error)
        self._fail(f"{damage} ({error})", error)

    def _plain_page(self) -> PlainPage | None:
        if self.size == 0:
            self._fail("is empty (0 bytes): its acquisition or copy was interrupted")
        page = read_plain_page(self.file, self.size)
        if page is not None and page.offset + page.nbytes > self.size:
            self._fail_cut_off(page.shape, page.offset + page.nbytes)
        return page

    def _read_plain(self, page: PlainPage, out: NDArray[Any] | None) -> NDArray[Any]:
        native = page.dtype.newbyteorder("=")
        if out is not None:
            self._refuse_other(out, page.shape, native)
        straight = out is not None and out.flags.c_contiguous and out.dtype.isnative
        pixels = out if out is not None and straight else np.empty(page.shape, native)
        self._fill(pixels, page)
        if not page.dtype.isnative:
            pixels.byteswap(inplace=True)
        if out is None or straight:
            return pixels
        out[...] = pixels
        return out

    def _fill(self, pixels: NDArray[Any], page: PlainPage) -> None:
        self.file.seek(page.offset)
        rest = pixels.reshape(-1).view(np.uint8).data
        while rest:
            count = self.file.readinto(rest)  # type: ignore[attr-defined] # raw files have it
            if not count:
                self._fail_cut_off(page.shape, page.offset + page.nbytes)
            rest = rest[count:]

    def _refuse_other(self, out: NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if out.shape != shape or out.dtype != dtype:
            raise PlaneMismatchError(
                f"{self.name} is {describe_form(shape, dtype.name)}, but the plate's planes of this channel are "
                f"{describe_form(out.shape, out.dtype.name)}.",
                path=self.path,
            )

    def _tiff_header(self) -> Header:
        import tifffile

        self._refuse_no_tiff()
        with tifffile.TiffFile(self._from_start()) as tiff:
            page = tiff.pages.first
            dtype = self._check_page(page)
            self._refuse_stack()
            return (page.imagelength, page.imagewidth), dtype.name

    def _decode_tiff(self) -> NDArray[Any]:
        import tifffile

        self._refuse_no_tiff()
        with tifffile.TiffFile(self._from_start()) as tiff:
            page = tiff.pages.first
            self._check_page(page)
            self._refuse_stack()
            decoded: NDArray[Any] = page.asarray(maxworkers=1).reshape(page.imagelength, page.imagewidth)
        return decoded.astype(decoded.dtype.newbyteorder("="), copy=False)

    def _refuse_stack(self) -> None:
        """A file of several planes has one place on a plate: none of them may be taken for all."""
        if is_tiff_stack(self._from_start(), self.size):
            self._fail(
                "is a stack of several planes, of which only one has a place on the plate; export each plane to a file "
                "of its own"
            )

    def _refuse_no_tiff(self) -> None:
        if self._start(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            self._fail("is neither a TIFF nor a PNG image")

    def _check_page(self, page: tifffile.TiffPage) -> np.dtype[Any]:
        if page.dtype is None or 0 in (page.imagelength, page.imagewidth):
            self._fail("has a header without an image")
        shape = (page.imagelength, page.imagewidth)
        if page.samplesperpixel != 1 or page.imagedepth != 1:
            self._fail_more_dimensions(f"{page.samplesperpixel * page.imagedepth} values a pixel")
        self._refuse_claim(shape, page.dtype, self._most_bytes(int(page.compression)))
        counts, offsets = page.databytecounts, page.dataoffsets
        # tifffile fills strips that have no bytes with zeros, and reads past the end as if nothing were there.
        if not counts or len(counts) != len(offsets) or 0 in counts:
            self._fail("has no pixels for a part of the image")
        end = max(offset + count for offset, count in zip(offsets, counts, strict=True))
        if end > self.size:
            self._fail_cut_off(shape, end)
        return page.dtype

    def _is_png(self) -> bool:
        return self._start(len(PNG_START)) == PNG_START

    def _png_header(self) -> Header:
        png = read_png_header(self.file, self.size)
        if PNG_MODES.get(png.mode) != "grey":
            self._fail_more_dimensions(PNG_MODES.get(png.mode, "an unknown pixel type"))
        self._refuse_claim(png.shape, np.dtype(png.dtype), self.size * _BEST_RATIO)
        if not png.is_whole:
            self._fail(f"is cut off: its {self.size} bytes do not end as a PNG file does")
        return png.shape, png.dtype

    def _decode_png(self) -> NDArray[Any]:
        from imagecodecs import png_decode

        shape, dtype = self._png_header()
        self.file.seek(0)
        decoded: NDArray[Any] = png_decode(self.file.read())
        if decoded.shape != shape or decoded.dtype != dtype:
            self._fail(f"decodes to {decoded.shape} {decoded.dtype}, but its header says {shape} {dtype}")
        return decoded

    def _from_start(self) -> BinaryIO:
        self.file.seek(0)
        return self.file

    def _start(self, count: int) -> bytes:
        self.file.seek(0)
        return self.file.read(count)

    def _most_bytes(self, compression: int) -> int:
        """Bytes of pixels that a TIFF of this size can hold."""
        if compression == 1:
            return self.size * _UNPACKED_RATIO
        return max(self.size * _BEST_RATIO, _ALWAYS_ALLOWED if compression in _UNBOUNDED else 0)

    def _refuse_claim(self, shape: tuple[int, int], dtype: np.dtype[Any], limit: int) -> None:
        claimed = shape[0] * shape[1] * dtype.itemsize
        if claimed > limit:
            self._fail(
                f"declares {shape[1]} x {shape[0]} pixels ({claimed} bytes), more than its {self.size} bytes can hold"
            )

    def _fail_cut_off(self, shape: tuple[int, int], needed: int) -> NoReturn:
        self._fail(
            f"is cut off: {shape[1]} x {shape[0]} pixels need {needed} bytes, the file has {self.size} (its "
            "acquisition or copy was interrupted; copy it again)"
        )

    def _fail_more_dimensions(self, what: str) -> NoReturn:
        self._fail(f"has more than two dimensions ({what}); a plane is one grey image")

    def _fail(self, reason: str, cause: Exception | None = None) -> NoReturn:
        raise PlaneReadError(f"{self.name} {reason}.", path=self.path) from cause


def describe_form(shape: tuple[int, ...], dtype: str) -> str:
    """A plane's shape ``(y, x)`` and pixel type as people say them: ``width x height uint16``."""
    return f"{' x '.join(str(size) for size in reversed(shape))} {dtype}"


__all__ = ["Header", "describe_form", "read_header", "read_plane", "read_plane_header"]
