"""Folders of this user where others may write, too, such as in ``/tmp``: real ones, which nobody else can enter."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from openhcs_engine.errors import UnsafePathError
from openhcs_engine.files.links import target_of

_ONLY_OWNER: Final = 0o700
_NO_FOLDER: Final = {errno.ELOOP, errno.ENOTDIR}
"""What opening a link, or a file, as a folder says; which of the two for a link depends on the system."""


@contextmanager
def open_private_folder(path: Path, remedy: str) -> Iterator[int]:
    """Make a folder with mode 0700 if it is not there, and open it without following a link.

    Parameters
    ----------
    path
        The folder. Those above it are made, too, and may be links.
    remedy
        What a person can do if it is not this user's, as the end of a sentence.

    Yields
    ------
    int
        A descriptor of the folder, for ``dir_fd``: what is opened by it lies in this very folder.

    Raises
    ------
    UnsafePathError
        If the path is a link or a file, or belongs to another user. Nothing was changed then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir(mode=_ONLY_OWNER)
    descriptor = _open_folder(path, remedy)
    try:
        about = os.fstat(descriptor)
        if about.st_uid not in (os.geteuid(), _owner_of_new(path.parent, about.st_uid)):
            raise _others(path, about.st_uid, remedy)
        if stat.S_IMODE(about.st_mode) != _ONLY_OWNER:  # one of an earlier version, or made by hand
            with suppress(PermissionError):  # our own, so that the file system knows no modes, as on a USB disk
                os.fchmod(descriptor, _ONLY_OWNER)
        yield descriptor
    finally:
        os.close(descriptor)


def make_private_folder(path: Path, remedy: str) -> Path:
    """The folder, as ``open_private_folder`` makes it."""
    with open_private_folder(path, remedy):
        return path


def open_file_in(folder: int, path: Path, flags: int) -> int:
    """A descriptor of a file in an open folder, made with mode 0600 if ``flags`` say so.

    ``path`` has the file's name last; what stands before is for the sentence of the UnsafePathError that a link gets.
    """
    try:
        return os.open(path.name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise UnsafePathError(
            f"{path} is a link to {target_of(path)}, so nothing was written there; remove it.", path=str(path)
        ) from error


def _open_folder(path: Path, remedy: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except PermissionError as error:
        owner = path.lstat().st_uid
        if owner == os.geteuid():
            raise
        raise _others(path, owner, remedy) from error
    except OSError as error:
        if error.errno not in _NO_FOLDER:
            raise
        kind = f"a link to {target_of(path)}" if path.is_symlink() else "a file"
        raise UnsafePathError(
            f"{path} is {kind} and no folder, so nothing was written there; {remedy}.", path=str(path)
        ) from error


def _owner_of_new(folder: Path, suspect: int) -> int | None:
    """Who owns what this user makes in a folder: on network drives and disks without owners, one and the same for all.

    None if nothing can be made there; asked only where a folder seems to be another user's.
    """
    if suspect == os.geteuid():
        return None
    with suppress(OSError), tempfile.TemporaryDirectory(prefix=".openhcs-owner-", dir=folder) as made:
        return os.lstat(made).st_uid
    return None


def _others(path: Path, owner: int, remedy: str) -> UnsafePathError:
    return UnsafePathError(
        f"{path} belongs to another user (number {owner}), so nothing was written there; {remedy}.", path=str(path)
    )


__all__ = ["make_private_folder", "open_file_in", "open_private_folder"]
