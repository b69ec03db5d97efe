"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from openhcs_engine.files.unfinished import make_folders, remove, unfinished_file


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One finished file."""

    path: str
    """Relative, with ``/``."""
    size: int
    """Bytes."""
    crc32c: int
    """Checksum of the content."""


def write_new(folder: Path, path: str, content: bytes) -> StoredFile:
    """Write one file of a folder that nobody reads yet; see ``make_folders`` for folders that are not made."""
    file = folder / path
    make_folders(file.parent)
    file.write_bytes(content)
    return StoredFile(path, len(content), google_crc32c.value(content))


def file_checksum(path: Path) -> int:
    """CRC-32C of a file's content."""
    checksum = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(1 << 22):
            checksum = google_crc32c.extend(checksum, block)
    return checksum


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file by a new one; readers see the old content or the new, never a part."""
    with unfinished_file(path) as (unfinished, file):
        file.write(content)
        file.flush()
        unfinished.replace(path)


def flush(path: Path) -> None:
    """Return when a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_if_changed(path: Path, content: bytes) -> bool:
    """Write a file unless it already has this content; True if it was written."""
    if path.is_file() and path.read_bytes() == content:
        return False
    write_whole(path, content)
    return True


def remove_empty_parents(path: Path, top: Path) -> None:
    """Remove the folders above ``path``, below ``top``, that are empty."""
    for folder in path.parents:
        if folder == top or top not in folder.parents:
            return
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue  # those above it may be empty all the same
        except OSError:
            return


__all__ = [
    "StoredFile",
    "file_checksum",
    "flush",
    "make_folders",
    "remove",
    "remove_empty_parents",
    "write_if_changed",
    "write_new",
    "write_whole",
]
