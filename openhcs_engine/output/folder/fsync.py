"""Making sure that what was written is on the disk, and not only in the computer's memory."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from openhcs_engine.files.atomic import flush
from openhcs_engine.files.present import walk

_AT_ONCE: Final = 8
"""Files flushed together: a file system writes its journal once for all of them."""


def flush_tree(folder: Path) -> None:
    """Return when every file and folder below ``folder``, and itself, is on the disk."""
    files, folders = list[Path](), list[Path]()
    for where, _, names in walk(folder):
        folders.append(Path(where))
        files += [Path(where) / name for name in names]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(flush, files))
    for place in folders:
        flush(place)


def flush_names(paths: Iterable[Path], top: Path) -> None:
    """Return when the names of these paths are on the disk, and those of the folders above them up to ``top``."""
    above = {folder for place in paths for folder in place.parents if folder == top or top in folder.parents}
    for folder in sorted(above, reverse=True):
        flush(folder)


__all__ = ["flush_names", "flush_tree"]
