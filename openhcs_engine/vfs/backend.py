"""The contract of a store of arrays and bytes under keys."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

from numpy.typing import NDArray

from openhcs_engine.errors import MissingKeyError, StorageError, StorageKeyError

_NOT_IN_XML = re.compile("[^ -\x7e\x80-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""*Source*: XML 1.0, production 2; less tab and line ends, which an attribute does not keep."""

_MOST_BYTES = {"b": 1, "i": 8, "u": 8, "f": 8, "c": 16}
"""By kind of dtype; longer numbers have no place in files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """What an image shows; kept with it where other programs look for it.

    Raises
    ------
    StorageError
        If the size is no length.
    """

    pixel_size_um: float | None = None
    """Edge of a pixel in the specimen, µm."""
    channel: str | None = None
    """Name of the channel; what XML cannot hold of it, such as control characters, becomes a space."""

    def __post_init__(self) -> None:
        if self.pixel_size_um is not None and not (isfinite(self.pixel_size_um) and self.pixel_size_um > 0):
            raise StorageError(
                f"{self.pixel_size_um} µm is not the size of a pixel; give a number above 0, or None if it is unknown."
            )
        if self.channel is not None:
            object.__setattr__(self, "channel", _NOT_IN_XML.sub(" ", self.channel))


class StorageBackend(ABC):
    """Arrays and bytes under keys: relative paths with ``/``.

    A write is whole or absent, and replaces what was there; readers in other processes see the old value or the new. A
    key is a leaf: ``a`` and ``a/b`` cannot both be stored. What was saved as an array comes back by ``load``, what was
    saved as bytes by ``load_bytes``.

    To make one of your own, subclass this, give it an ``__init__`` that takes the folder or address it may use, run
    the contract's tests on it, and name it as ``my_module:MyBackend`` (see ``registry``).
    """

    persistent: ClassVar[bool]
    """True if another process finds what was saved."""
    atomic_rename: bool
    """True if a finished folder can be put in place by one rename."""
    shares_memory: ClassVar[bool] = False
    """True if an array saved with ``give`` is kept itself: to change it later would change what is stored."""
    keeps_info: ClassVar[bool] = False
    """True if ``describe`` gives back the ``info`` of ``save``; False: it is dropped."""

    @abstractmethod
    def save(self, key: str, array: NDArray[Any], *, give: bool = False, info: ImageInfo | None = None) -> None:
        """Store an array of any shape and numeric dtype.

        Parameters
        ----------
        key
            Where. StorageKeyError if it is no key, lies below one, or is a folder of others.
        array
            StorageError if its dtype is not numeric.
        give
            The caller promises never to change the array again: it need not be copied.
        info
            What it shows.
        """

    @abstractmethod
    def load(self, key: str) -> NDArray[Any]:
        """The array under ``key``, possibly read-only: copy before changing it.

        MissingKeyError if there is none; PlaneReadError if it is damaged, or bytes were saved. Never zeros instead.
        """

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

    def describe(self, key: str) -> ImageInfo:
        """The ``info`` the array under ``key`` was saved with. The same errors as ``load``."""
        self.load(key)
        return ImageInfo()

    def save_many(
        self, arrays: Mapping[str, NDArray[Any]], *, give: bool = False, info: ImageInfo | None = None
    ) -> None:
        """Store several arrays; each by itself is whole or absent."""
        for key, array in arrays.items():
            self.save(key, array, give=give, info=info)

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

    def sweep(self) -> int:
        """Remove what killed writers left, and return how many that were; ``list`` never shows them anyway."""
        return 0

    def missing(self, key: str) -> MissingKeyError:
        """The error for a key with nothing under it."""
        return MissingKeyError(f"Nothing is stored under {key!r} in {self}.", key=key)

    def misplaced(self, key: str) -> StorageKeyError:
        """The error for a key that lies below another, or is the folder of others."""
        return StorageKeyError(f"{key!r} is a folder of other keys in {self}, or lies below a key.", key=key)


def check_array(array: NDArray[Any], key: str) -> None:
    """Refuse what has no pixels: StorageError for text, dates and Python objects."""
    if array.dtype.itemsize > _MOST_BYTES.get(array.dtype.kind, 0):
        raise StorageError(
            f"An array of {array.dtype} cannot be stored under {key!r}: only booleans and "
            "numbers of up to 64 bits (complex: 128) can; convert it first."
        )


__all__ = ["ImageInfo", "StorageBackend", "check_array"]
