"""Headers of image files, TIFF or PNG: what each says of itself before a pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from openhcs_engine.microscopes.listing import FolderListing
from openhcs_engine.model.system_errors import explained
from openhcs_engine.raw.png_header import PNG_START, read_png_header
from openhcs_engine.raw.tiff_header import read_tiff_header

_PNG_END: Final = b"\0\0\0\0IEND\xaeB`\x82"


@dataclass(frozen=True, slots=True, order=True)
class ImageForm:
    """What all images of a channel have in common."""

    shape: tuple[int, int]
    """(y, x) in pixels."""
    dtype: str
    """NumPy name of the pixel type."""
    is_stack: bool = False
    """True for a file of several planes."""

    def __str__(self) -> str:
        height, width = self.shape
        return f"{width} x {height} pixels of {self.dtype}" + (", several planes a file" if self.is_stack else "")


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """One file's header."""

    form: ImageForm
    oddities: tuple[str, ...]
    """Sentences about what the file has too little or too much of."""


def read_image_header(listing: FolderListing, path: str) -> ImageHeader:
    """Read one listed file's header. Its first bytes say what the file is, not its name: names were changed before.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read, or is no image of one grey plane; the message is the reason.
    """
    size = listing.size_of(path)
    with listing.open_header(path) as stream:
        if stream.read(len(PNG_START)) == PNG_START:
            shape, dtype = read_png_header(stream)
            # A few bytes behind the end do no harm: some programs write them.
            stream.seek(max(size - 1024, 0))
            cut = f"{path} is cut short: it does not end as a PNG does."
            return ImageHeader(ImageForm(shape, dtype), () if _PNG_END in stream.read(1024) else (cut,))
        stream.seek(0)
        tiff = read_tiff_header(stream, size)
        return ImageHeader(ImageForm(tiff.shape, tiff.dtype, tiff.is_stack), tiff.oddities(path, size))


def why_unreadable(path: str, error: Exception) -> str:
    """The sentence about a file whose header cannot be read."""
    reason = explained(error)
    return f"{path} cannot be read: {reason}."


__all__ = ["ImageForm", "ImageHeader", "read_image_header", "why_unreadable"]
