"""Files that appear whole or not at all."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from openhcs_engine.vfs.backend import TEMPORARY_PREFIX


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
    """Write one file of a folder that nobody reads yet."""
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return StoredFile(path, len(content), google_crc32c.value(content))


def file_checksum(path: Path) -> int:
    """CRC-32C of a file's content."""
    checksum = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(1 << 22):
            checksum = google_crc32c.extend(checksum, block)
    return checksum


def temporary_beside(path: Path) -> Path:
    """A new hidden name in the same folder, so that a rename to ``path`` stays on one file system."""
    return path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file by a new one; readers see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = temporary_beside(path)
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def write_if_changed(path: Path, content: bytes) -> bool:
    """Write a file unless it already has this content; True if it was written."""
    if path.is_file() and path.read_bytes() == content:
        return False
    write_whole(path, content)
    return True


def remove(path: Path) -> None:
    """Remove a file or a folder with all it holds; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_empty_parents(path: Path, top: Path) -> None:
    """Remove the folders above ``path``, below ``top``, that are empty."""
    for folder in path.parents:
        if folder == top or top not in folder.parents:
            return
        try:
            folder.rmdir()
        except OSError:
            return
