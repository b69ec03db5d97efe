"""Size and time of raw files, asked only of those whose planes need them: a listing of names costs a tenth."""

from __future__ import annotations

import os

from openhcs_engine.errors import PlateError
from openhcs_engine.model.image_index import ImageIndex, ImagePlane


def stamp(index: ImageIndex, root: str) -> ImageIndex:
    """The index with size and time of every file; each file is asked once, and none whose listing told them.

    Parameters
    ----------
    index
        Planes of one plate.
    root
        The plate folder.

    Raises
    ------
    PlateError
        If a file that was listed is gone, or cannot be asked.
    """
    asked = {plane.path for plane in index if not plane.is_stamped}
    if not asked:
        return index
    found = {path: _ask(root, path) for path in asked if path is not None}
    return ImageIndex(tuple([_stamped(plane, found) for plane in index]))


def _ask(root: str, path: str) -> tuple[int, int]:
    try:
        status = os.stat(f"{root}/{path}")  # noqa: PTH116 # 100,000 files: no Path objects
    except FileNotFoundError as error:
        raise PlateError(
            f"{path} is gone: it was in {root} when the plate was read. Copy it there again, or read the plate anew.",
            path=path,
        ) from error
    except OSError as error:
        raise PlateError(f"{path} in {root} cannot be asked for its size: {error.strerror}.", path=path) from error
    return status.st_size, status.st_mtime_ns


def _stamped(plane: ImagePlane, found: dict[str, tuple[int, int]]) -> ImagePlane:
    if plane.is_stamped or plane.path is None:
        return plane
    size, mtime_ns = found[plane.path]
    return plane.replace(size=size, mtime_ns=mtime_ns)


__all__ = ["stamp"]
