"""Writes in progress: hidden beside their path, locked by their writer, swept once it is dead."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from openhcs_engine.files.locks import lock

TEMPORARY_PREFIX: Final = ".tmp-"
"""Names of unfinished writes start with it; no key may."""
_ATTEMPTS: Final = 1000
"""Each fails only if another process removed or replaced something in the same microseconds."""
_OCCUPIED: Final = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR}
_NO_EXCHANGE: Final = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM}
_AT_CWD: Final = -100
_RENAME_EXCHANGE: Final = 2
"""*Source*: renameat2(2)."""


def is_unfinished(name: str) -> bool:
    """True for the name of a file or folder that is still being written, or never was finished."""
    return name.startswith(TEMPORARY_PREFIX)


def hidden_name(name: str = "") -> str:
    """A new name for an unfinished write; ``name`` is a part of it that tells people what is written."""
    return f"{TEMPORARY_PREFIX}{name and f'{name}-'}{uuid.uuid4().hex}"


class SweptError(FileNotFoundError):
    """A folder of an unfinished write is missing: its writer was taken for dead, and what it wrote was removed."""


def make_folders(path: Path) -> None:
    """Make a folder and those above it, but none that has the name of an unfinished write.

    Such a folder is made by its writer alone, and its name is used once. Where one is missing, a sweep removed it: a
    writer that was taken for dead and goes on must not make it again, as what it wrote before would be missing there.

    Raises
    ------
    SweptError
        If such a folder is missing on the way.
    """
    if is_unfinished(path.name):
        if not path.is_dir():
            raise SweptError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return
    try:
        path.mkdir(exist_ok=True)
    except FileNotFoundError:
        make_folders(path.parent)
        path.mkdir(exist_ok=True)


@contextmanager
def unfinished_file(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A hidden file beside ``path``, open for writing; the caller flushes and renames it, or it is removed."""
    unfinished, descriptor = _begin(path, _make_file)
    try:
        # Not os.fdopen: tifffile asks for the name.
        with open(unfinished, "wb", opener=lambda *_: descriptor) as file:
            yield unfinished, file
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def unfinished_folder(path: Path) -> Iterator[Path]:
    """A hidden folder beside ``path``; the caller fills it and puts it in place, or it is removed with all it holds."""
    unfinished, descriptor = _begin(path, _make_folder)
    try:
        yield unfinished
    finally:
        remove(unfinished)
        os.close(descriptor)


def replace_path(unfinished: Path, path: Path) -> None:
    """Rename a file or folder to ``path``; what is there is swapped out in the same instant, to ``unfinished``.

    Where the file system cannot swap (NFS, some network drives), ``path`` is absent between two renames.
    """
    for _ in range(_ATTEMPTS):
        if _rename(unfinished, path):
            return
        with suppress(FileNotFoundError):  # what had the path was deleted meanwhile
            if _exchange(unfinished, path):
                return
    raise OSError(errno.EBUSY, "is replaced by others all the time", str(path))


def sweep(folder: Path) -> int:
    """Remove what dead writers left anywhere below a folder; returns how many. Living writers keep theirs."""
    found = [
        Path(where) / name
        for where, folders, names in os.walk(folder)
        for name in _split_unfinished(folders) + [name for name in names if is_unfinished(name)]
    ]
    return sum(1 for path in found if remove_if_dead(path))


def remove(path: Path) -> None:
    """Remove a file or a folder with all it holds; nothing there is fine, and so is another who removes it, too."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=_unless_missing)
    else:
        path.unlink(missing_ok=True)


def remove_empty_folders(folder: Path) -> None:
    """Remove the folder and those below it, as far as they hold no file."""
    for where, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            Path(where).rmdir()


def _unless_missing(function: object, path: str, raised: tuple[object, BaseException, object]) -> None:
    if not isinstance(raised[1], FileNotFoundError):
        raise raised[1]


def _split_unfinished(folders: list[str]) -> list[str]:
    """Unfinished folders, which are taken out of the list that ``os.walk`` goes on with."""
    unfinished = [name for name in folders if is_unfinished(name)]
    folders[:] = [name for name in folders if not is_unfinished(name)]
    return unfinished


def remove_if_dead(unfinished: Path) -> bool:
    """Remove an unfinished file or folder unless its writer lives; True if it was removed.

    It is renamed first: a worker that outlived its run finds nothing at the old path, instead of what is left of it.
    """
    try:
        descriptor = os.open(unfinished, os.O_RDONLY)
    except OSError:
        return False
    try:
        if not lock(descriptor, wait=False):  # its writer lives
            return False
        remove(unfinished.rename(unfinished.with_name(hidden_name())))
    except OSError:  # locks are unknown here, or another removed it
        return False
    finally:
        os.close(descriptor)
    return True


def _begin(path: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """A new hidden path and its descriptor, which holds its lock."""
    for _ in range(_ATTEMPTS):
        unfinished = path.with_name(hidden_name())
        try:
            make_folders(path.parent)
            descriptor = make(unfinished)
        except SweptError:
            raise
        except FileNotFoundError:  # another process removed the folder, which was empty until now
            continue
        if _lock(unfinished, descriptor):
            return unfinished, descriptor
        os.close(descriptor)
    raise FileNotFoundError(errno.ENOENT, "is removed by others all the time", str(path.parent))


def _make_file(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)


def _make_folder(path: Path) -> int:
    path.mkdir()
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def _lock(path: Path, descriptor: int) -> bool:
    """Lock a new path for its writer; False if a sweep removed it between its making and its lock."""
    with suppress(OSError):  # file systems without locks: a sweep cannot lock there either, and removes nothing
        lock(descriptor, wait=True)
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _rename(source: Path, target: Path) -> bool:
    """False if the target is occupied by something that a rename does not replace."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno not in _OCCUPIED:
            raise
        return False
    return True


def _exchange(first: Path, second: Path) -> bool:
    """Swap, or as well as the file system can; False if another process came between."""
    try:
        _swap(first, second)
    except OSError as error:
        if error.errno not in _NO_EXCHANGE:
            raise
    else:
        return True
    old = second.with_name(hidden_name())
    second.rename(old)
    try:
        return _rename(first, second)
    finally:
        remove(old)


def _swap(first: Path, second: Path) -> None:
    """Exchange two names in one step. OSError ENOSYS where the system has no call for it."""
    call = getattr(_libc(), "renameat2", None) if sys.platform == "linux" else None
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(_AT_CWD, os.fsencode(first), _AT_CWD, os.fsencode(second), _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(second))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


__all__ = [
    "TEMPORARY_PREFIX",
    "SweptError",
    "hidden_name",
    "is_unfinished",
    "make_folders",
    "remove",
    "remove_empty_folders",
    "remove_if_dead",
    "replace_path",
    "sweep",
    "unfinished_file",
    "unfinished_folder",
]
