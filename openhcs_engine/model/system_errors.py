"""What a failed system call means, in words and with what to do about it: the one place that explains error numbers.

*Source* of the numbers: errno(3), and the manual pages of open(2), rename(2), write(2), flock(2).
"""

from __future__ import annotations

import errno
import os
from typing import Final

_FULL: Final = "free some space there and run again"
_RIGHTS: Final = "give this user the right to it (ls -ld shows who has it), or choose another place"
_DRIVE: Final = (
    "the drive, its cable or its server fails: see the system's log (dmesg), copy what matters to another drive, and "
    "run again"
)
_AWAY: Final = "the network drive does not answer: see whether its server can be reached, and run again"
_REMOUNT: Final = "the network drive was exported or mounted anew meanwhile: mount it again, and run again"
_LOGIN: Final = "the login to the network drive has run out: log in again (kinit), and run again"
_DESCRIPTORS: Final = "use fewer workers, or allow more open files (ulimit -n 65536)"
_REFUSED_NAME: Final = "the drive's file system takes no such name or request: choose another place, or a plainer name"
_NO_LOCKS: Final = (
    "the drive knows no locks: mount it with locks (NFS: without nolock), or choose a drive that has them"
)
_BROKEN: Final = "the drive's file system is damaged: have it checked (fsck), and copy what matters to another drive"

_BY_NAME: Final = {
    "ENOSPC": _FULL,
    "EDQUOT": "delete what you no longer need there, or ask for a larger quota, and run again",
    "EFBIG": "allow larger files (ulimit -f unlimited), or choose a drive whose file system takes them",
    "EACCES": _RIGHTS,
    "EPERM": _RIGHTS,
    "EROFS": "the drive is mounted for reading only: mount it for writing, or choose another place",
    "EIO": _DRIVE,
    **dict.fromkeys(("EUCLEAN", "EBADMSG"), _BROKEN),
    **dict.fromkeys(("ENODEV", "ENXIO", "ENOMEDIUM"), "the drive is gone: connect it again, and run again"),
    **dict.fromkeys(("ESTALE", "ENOTCONN"), _REMOUNT),
    **dict.fromkeys(
        (
            "EREMOTEIO",
            "ETIMEDOUT",
            "EHOSTDOWN",
            "EHOSTUNREACH",
            "ENETDOWN",
            "ENETUNREACH",
            "ENETRESET",
            "ENONET",
            "ECONNABORTED",
            "ECONNREFUSED",
            "ECONNRESET",
            "ESHUTDOWN",
        ),
        _AWAY,
    ),
    **dict.fromkeys(("ENOKEY", "EKEYEXPIRED", "EKEYREVOKED", "EKEYREJECTED"), _LOGIN),
    **dict.fromkeys(("EMFILE", "ENFILE"), _DESCRIPTORS),
    "ENOMEM": "use fewer workers, or end other programs",
    "EAGAIN": "use fewer workers, or allow more processes (ulimit -u)",
    "ENAMETOOLONG": "choose a shorter path, plate id or name: most file systems end at 255 letters a name",
    "ENOENT": "see whether it was moved or deleted, or its drive is not mounted",
    "ENOTDIR": "a part of this path is a file: give another path, or rename that file",
    "EISDIR": "this is a folder: give a file, or rename the folder",
    "EEXIST": "something else has that name: rename it, or choose another place",
    "ENOTEMPTY": "other files lie there: move them, or choose another place",
    "ELOOP": "links lead round in a circle: see where each of them points",
    "EMLINK": "too many entries in one folder: choose another place",
    **dict.fromkeys(("EBUSY", "ETXTBSY"), "another program uses it: wait until that is done, and run again"),
    "EXDEV": "both must lie on one drive: see what is mounted below it",
    **dict.fromkeys(("EINVAL", "EILSEQ", "EOVERFLOW"), _REFUSED_NAME),
    **dict.fromkeys(("ENOLCK", "ENOSYS", "EOPNOTSUPP", "ENOTSUP"), _NO_LOCKS),
    "EPIPE": "who reads it has ended: run again",
    "EADDRINUSE": "another program listens there: choose another port",
}
REMEDIES: Final = {getattr(errno, name): remedy for name, remedy in _BY_NAME.items() if hasattr(errno, name)}
"""What a person can do, by the number of the error; each system has some that others lack."""

TRANSIENT: Final = frozenset(
    {errno.EIO, *(number for number, remedy in REMEDIES.items() if remedy in (_AWAY, _REMOUNT))}
)
"""Errors that may pass by themselves: a network drive was away for a moment."""


def is_system_error(error: BaseException) -> bool:
    """Whether an error is that of a system call. Decoders raise OSErrors of their own, without a number."""
    return isinstance(error, OSError) and error.errno is not None


def explained(error: BaseException) -> str:
    """What the system said and what to do about it, as a clause without full stop; other errors as they are."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error).strip().rstrip(".") or type(error).__name__
    said = error.strerror or os.strerror(error.errno)
    remedy = REMEDIES.get(error.errno, "see whether the drive works, and run again")
    return f"{said.rstrip('.')}; {remedy}"


def unreadable(error: BaseException) -> str:
    """What is wrong with a file of an array: a drive that fails damages no file, and only the damaged are made anew."""
    broken = not is_system_error(error) or isinstance(error, FileNotFoundError)
    return f"{'is damaged' if broken else 'cannot be read'}: {explained(error)}"


def named_file(error: OSError) -> str:
    """The file that an error is about, or the two of a renaming; empty if it does not know."""
    names = (error.filename, error.filename2)
    return " to ".join(os.fsdecode(name) for name in names if isinstance(name, str | bytes))


def explained_with_file(error: OSError, doing: str = "") -> str:
    """A sentence without full stop: the file, as far as the error knows it, what was done, and ``explained``."""
    where = ", ".join(part for part in (named_file(error), f"while {doing}" if doing else "") if part)
    return f"{where}: {explained(error)}" if where else explained(error)


__all__ = ["REMEDIES", "TRANSIENT", "explained", "explained_with_file", "is_system_error", "named_file", "unreadable"]
