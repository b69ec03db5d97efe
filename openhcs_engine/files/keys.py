"""What can be a key: the part of a path below a store's root."""

from __future__ import annotations

import unicodedata

from openhcs_engine.errors import StorageKeyError
from openhcs_engine.files.unfinished import TEMPORARY_PREFIX, is_unfinished

MAX_NAME_BYTES = 255
"""The longest file name of common file systems."""


def check_key(key: str) -> str:
    """Return a key that is safe on every backend.

    Raises
    ------
    StorageKeyError
        If it is empty, absolute, climbs out (``..``), or holds a backslash, a colon, a control character or a name over
        255 bytes.
    """
    if reason := _fault(key):
        raise StorageKeyError(
            f"{key!r} cannot be a storage key: {reason}. Keys are relative paths such as 'step_1/B03/s1_w1.tif'.",
            key=key,
        )
    return key


def check_prefix(prefix: str) -> str:
    """Return a folder's key without its trailing slash; the empty prefix is everything."""
    stripped = prefix.removesuffix("/")
    return check_key(stripped) if stripped else ""


def is_below(key: str, prefix: str) -> bool:
    """True if ``key`` is ``prefix`` or lies in its folder."""
    return not prefix or key == prefix or key.startswith(prefix + "/")


def folders_of(key: str) -> tuple[str, ...]:
    """The folders a key lies in, the nearest first: ``a/b`` and ``a`` for ``a/b/c``."""
    parts = key.split("/")
    return tuple("/".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))


def _fault(key: str) -> str | None:
    parts = key.split("/")
    if not key or key.startswith("/") or "" in parts:
        return "it is empty, absolute, or has an empty part"
    if any(part in (".", "..") for part in parts):
        return "it has a part '.' or '..'"
    if any(char in "\\:" or unicodedata.category(char) in ("Cc", "Cs") for char in key):
        return "it holds a backslash, a colon or a control character"
    if any(len(part.encode()) > MAX_NAME_BYTES for part in parts):
        return f"one of its parts is longer than {MAX_NAME_BYTES} bytes"
    if any(is_unfinished(part) for part in parts):
        return f"names starting with {TEMPORARY_PREFIX!r} are kept for unfinished writes"
    return None


__all__ = ["MAX_NAME_BYTES", "check_key", "check_prefix", "folders_of", "is_below"]
