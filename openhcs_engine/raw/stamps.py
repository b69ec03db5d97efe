"""Size and time of raw files, asked only of those whose planes need them: a listing of names costs a tenth."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from openhcs_engine.errors import PlateError
from openhcs_engine.model.image_index import ImageIndex, ImagePlane
from openhcs_engine.model.system_errors import explained
from openhcs_engine.raw.array_listing import ArrayListing

_T = TypeVar("_T")


def stamp(index: ImageIndex, root: str, arrays: ArrayListing | None = None) -> ImageIndex:
    """The index with size and time of every file, and the digest of every array's chunks.

    Each file and each array is asked once, and none whose listing gave them.

    Parameters
    ----------
    index
        Planes of one plate.
    root
        The plate folder.
    arrays
        Lists the arrays, and afterwards knows what is stored of them; default: a new one.

    Raises
    ------
    PlateError
        If a file or an array that was listed is gone, or cannot be asked.
    """
    raw = arrays or ArrayListing(root)
    asked = {plane.path for plane in index if plane.size is None or plane.mtime_ns is None}
    found = {path: _ask(raw.stamp_of, root, path) for path in asked if path is not None}
    unlisted = {plane.path for plane in index if plane.chunks is None}
    digests = {path: _ask(raw.of, root, path).digest for path in unlisted if path is not None}
    if not found and not digests:
        return index
    return ImageIndex(tuple([_stamped(plane, found, digests) for plane in index]))


def _ask(question: Callable[[str], _T], root: str, path: str) -> _T:
    try:
        return question(path)
    except OSError as error:
        raise _refusal(root, path, error) from error


def _refusal(root: str, path: str, error: OSError) -> PlateError:
    if isinstance(error, FileNotFoundError):
        return PlateError(
            f"{path} is gone: it was in {root} when the plate was read. Copy it there again, or read the plate anew.",
            path=path,
        )
    return PlateError(f"{path} in {root} cannot be asked for its size: {explained(error)}.", path=path)


def _stamped(plane: ImagePlane, stamps: dict[str, tuple[int, int]], digests: dict[str, str]) -> ImagePlane:
    if plane.is_stamped or plane.path is None:
        return plane
    size, mtime_ns = stamps.get(plane.path, (plane.size, plane.mtime_ns))
    return plane.replace(size=size, mtime_ns=mtime_ns, chunks=digests.get(plane.path, plane.chunks))


__all__ = ["stamp"]
