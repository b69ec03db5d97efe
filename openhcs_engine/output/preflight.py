"""Whether a folder can take results, and what went wrong when it could not."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openhcs_engine.errors import OpenHCSError, OutputPlaceError
from openhcs_engine.files.links import refuse_links, refuse_links_below
from openhcs_engine.model.quantities.sizes import format_bytes
from openhcs_engine.model.system_errors import explained, named_file
from openhcs_engine.output.layout import DISK_IMAGES, TABLES, WELLS, ZARR_IMAGES

_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def output_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn a failed system call into an OutputPlaceError that says where and at what, e.g. ``writing well B03``."""
    try:
        yield
    except OpenHCSError:
        raise
    except OSError as error:
        raise OutputPlaceError(_sentence(error, path, doing), path=str(path)) from error


def _sentence(error: OSError, path: Path, doing: str) -> str:
    where = named_file(error) or str(path)
    if error.errno in _FULL:
        return f"No space left on {where} while {doing}: {explained(error)}; finished wells are kept."
    return f"{where} cannot be used while {doing}: {explained(error)}; finished wells are kept."


def check_usable(folder: Path, plate_root: Path | None) -> None:
    """Refuse a folder in or around the raw plate, one that cannot be written, and one that holds something else.

    ``plate_root`` None: the raw plate lies on no file system of this host.

    Raises
    ------
    OutputPlaceError
        With the reason.
    UnsafePathError
        If the folder is a link, or there is one in it. The folders above it may be links.
    """
    refuse_links(folder.parent, [folder.name])
    resolved, raw = folder.resolve(), plate_root and plate_root.resolve()
    if raw is not None and (resolved == raw or raw in resolved.parents):
        raise OutputPlaceError(
            f"The output {folder} lies inside the raw plate {plate_root}, which is never written to; choose another "
            "output.",
            path=str(folder),
        )
    if raw is not None and resolved in raw.parents:
        raise OutputPlaceError(
            f"The raw plate {plate_root} lies inside its own output {folder}; choose another output.", path=str(folder)
        )
    _refuse_unwritable(folder, resolved)
    others = [name for name in (ZARR_IMAGES, DISK_IMAGES, TABLES) if (resolved / name).exists()]
    if others and not (resolved / WELLS).is_dir():
        raise OutputPlaceError(
            f"{folder} holds {' and '.join(others)} of something else (there is no folder {WELLS}/ in it); choose "
            "another output or plate id.",
            path=str(folder),
        )
    refuse_links_below(resolved)


def _refuse_unwritable(folder: Path, resolved: Path) -> None:
    there = nearest_existing(resolved)
    if not there.is_dir():
        raise OutputPlaceError(f"The output {folder} cannot be made: {there} is a file.", path=str(folder))
    for part in (there, *(resolved / name for name in (WELLS, ZARR_IMAGES, DISK_IMAGES))):
        if part.exists() and not os.access(part, os.W_OK | os.X_OK):
            raise OutputPlaceError(
                f"The output {folder} cannot be written: no permission to write in {part}, or it is read-only; choose "
                "another output.",
                path=str(folder),
            )


def check_free_space(
    folder: Path, needed: int, *, what: str = "the results", instead: str = "choose another output, or run fewer wells"
) -> None:
    """Refuse to start what will not fit; ``needed`` in bytes. OutputPlaceError says how much is missing."""
    free = shutil.disk_usage(nearest_existing(folder.resolve())).free
    if free < needed:
        raise OutputPlaceError(
            f"{folder} has {format_bytes(free)} of free space, but {what} need up to {format_bytes(needed)}; free "
            f"{format_bytes(needed - free)}, {instead}.",
            path=str(folder),
        )


def nearest_existing(path: Path) -> Path:
    """The path itself, or the closest folder above that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())
