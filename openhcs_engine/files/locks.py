"""Locks on files of this host: they end with the process that holds them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from openhcs_engine.files.private import open_file_in, open_private_folder


def lock(descriptor: int, *, wait: bool) -> bool:
    """Lock an open file or folder until it is closed; False if another holds it and ``wait`` is False.

    Raises
    ------
    OSError
        If the file system knows no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def try_lock(path: Path) -> int | None:
    """The descriptor of a lock now held; None if somebody else holds it. Lock files are never deleted: that races."""
    with open_private_folder(path.parent, "remove it, or give another folder for leases") as folder:
        descriptor = open_file_in(folder, path, os.O_RDWR | os.O_CREAT)
    if not lock(descriptor, wait=False):
        os.close(descriptor)
        return None
    with suppress(OSError):  # on a full disk the lease holds, but cannot say whose it is
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def unlock(descriptor: int) -> None:
    """Give back a lock of ``try_lock``."""
    # Explicitly, for a child made by fork holds a copy of the descriptor, and closing ours would not free the lock.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def lock_holder(path: Path) -> str:
    """The number of the process that took a lock of ``try_lock`` last, and since when; empty if the file is missing."""
    with suppress(OSError):
        since = datetime.fromtimestamp(path.stat().st_mtime, UTC)  # written by who took it
        return f"{path.read_text()} (since {since:%Y-%m-%d %H:%M:%S} UTC)"
    return ""


def hold(folder: Path, *, wait: bool) -> int | None:
    """Lock a folder until the descriptor that is returned is closed; None if another holds it and ``wait`` is False.

    The lock dies with its process, so a crash leaves nothing to clean up.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    is_locked = False
    try:
        is_locked = lock(descriptor, wait=wait)
    finally:
        if not is_locked:
            os.close(descriptor)
    return descriptor if is_locked else None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; waits for it."""
    descriptor = hold(folder, wait=True)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
