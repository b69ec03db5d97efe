"""The contract of a place that holds arrays and bytes under keys."""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from numpy.typing import NDArray

from openhcs_engine.errors import MissingKeyError, StorageKeyError

TEMPORARY_PREFIX = ".tmp-"
"""Names of unfinished writes start with it; no key may."""
MAX_NAME_BYTES = 255
"""The longest file name of common file systems."""


class StorageBackend(ABC):
    """Arrays and bytes under keys: relative paths with ``/``.

    A write is whole or absent, and replaces what was there. A key is a leaf: ``a`` and ``a/b`` cannot both be stored.
    What was saved as an array comes back by ``load``, what was saved as bytes by ``load_bytes``.
    """

    persistent: ClassVar[bool]
    """True if another process finds what was saved."""
    atomic_rename: bool
    """True if a finished folder can be put in place by one rename."""

    @abstractmethod
    def save(self, key: str, array: NDArray[Any], *, give: bool = False) -> None:
        """Store an array of any numeric dtype; ``give`` promises that the caller never changes it again."""

    @abstractmethod
    def load(self, key: str) -> NDArray[Any]:
        """The array under ``key``, possibly read-only: copy before changing it. MissingKeyError if there is none."""

    @abstractmethod
    def save_bytes(self, key: str, content: bytes) -> None:
        """Store bytes."""

    @abstractmethod
    def load_bytes(self, key: str) -> bytes:
        """The bytes under ``key``. MissingKeyError if there are none."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """True if an array or bytes are stored under exactly this key."""

    @abstractmethod
    def list(self, prefix: str = "") -> tuple[str, ...]:
        """All keys equal to ``prefix`` or in the folder ``prefix``, sorted; everything for the empty prefix."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove what is under ``key``. MissingKeyError if there is nothing."""

    def save_many(self, arrays: Mapping[str, NDArray[Any]], *, give: bool = False) -> None:
        """Store several arrays; each by itself is whole or absent."""
        for key, array in arrays.items():
            self.save(key, array, give=give)

    def load_many(self, keys: Iterable[str]) -> tuple[NDArray[Any], ...]:
        """The arrays under ``keys``, in their order. MissingKeyError names the first that is absent."""
        return tuple(self.load(key) for key in keys)

    def take(self, key: str) -> NDArray[Any]:
        """The array under ``key``, which is removed: the caller owns it and may write to it."""
        array = self.load(key)
        self.delete(key)
        return array if array.flags.writeable else array.copy()

    def clear(self, prefix: str = "") -> None:
        """Delete every key that ``list(prefix)`` names."""
        for key in self.list(prefix):
            self.delete(key)

    def missing(self, key: str) -> MissingKeyError:
        """The error for a key with nothing under it."""
        return MissingKeyError(f"Nothing is stored under {key!r} in {self}.", key=key)


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
    if any(part.startswith(TEMPORARY_PREFIX) for part in parts):
        return f"names starting with {TEMPORARY_PREFIX!r} are kept for unfinished writes"
    return None
