"""Arrays and bytes in this process's memory."""

from __future__ import annotations

from collections import Counter
from threading import RLock
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import OptionError, PlaneReadError, StorageBudgetError, StorageError
from openhcs_engine.files.keys import check_key, check_prefix, folders_of, is_below
from openhcs_engine.memory.conversion.aligned import copy_aligned
from openhcs_engine.model.quantities.sizes import format_bytes
from openhcs_engine.vfs.backend import ImageInfo, StorageBackend, check_array


class MemoryBackend(StorageBackend):
    """Belongs to one run in one process; ``load`` hands out read-only views of what is stored, without copying.

    Parameters
    ----------
    budget_bytes
        The most that all values together may take; default: no limit.

    Raises
    ------
    OptionError
        If the budget is not positive.
    """

    persistent: ClassVar[bool] = False
    shares_memory: ClassVar[bool] = True
    keeps_info: ClassVar[bool] = True
    atomic_rename = True

    def __init__(self, *, budget_bytes: int | None = None) -> None:
        if budget_bytes is not None and budget_bytes <= 0:
            raise OptionError(f"A memory budget must be positive, not {budget_bytes} bytes.", option="budget_bytes")
        self.budget_bytes = budget_bytes
        self._values: dict[str, NDArray[Any] | bytes] = {}
        self._infos: dict[str, ImageInfo] = {}
        self._folders: Counter[str] = Counter()
        self._nbytes = 0
        self._lock = RLock()

    def __str__(self) -> str:
        return "the memory backend"

    def __reduce__(self) -> NoReturn:
        raise StorageError(
            "The memory backend lives inside one process and cannot be handed to another; use the disk or zarr backend "
            "for what must be read elsewhere."
        )

    def save(self, key: str, array: NDArray[Any], *, give: bool = False, info: ImageInfo | None = None) -> None:
        check_array(array, check_key(key))
        with self._lock:
            self._make_room(key, array.nbytes)
            held = (array if give else copy_aligned(array)).view()
            held.flags.writeable = False
            self._hold(key, held)
            self._infos[key] = info or ImageInfo()

    def load(self, key: str) -> NDArray[Any]:
        value = self._value(key)
        if not isinstance(value, np.ndarray):
            raise PlaneReadError(f"{key!r} in {self} holds bytes, not an image.", path=key)
        return value

    def take(self, key: str) -> NDArray[Any]:
        with self._lock:
            array = self.load(key)
            self.delete(key)
        if array.base is None or not array.base.flags.writeable:
            return copy_aligned(array)
        owned = array.view()
        owned.flags.writeable = True
        return owned

    def describe(self, key: str) -> ImageInfo:
        with self._lock:
            self.load(key)
            return self._infos[key]

    def save_bytes(self, key: str, content: bytes) -> None:
        with self._lock:
            self._make_room(check_key(key), len(content))
            self._hold(key, bytes(content))

    def load_bytes(self, key: str) -> bytes:
        value = self._value(key)
        return value.tobytes() if isinstance(value, np.ndarray) else value

    def exists(self, key: str) -> bool:
        return check_key(key) in self._values

    def list(self, prefix: str = "") -> tuple[str, ...]:
        folder = check_prefix(prefix)
        with self._lock:
            return tuple(sorted(key for key in self._values if is_below(key, folder)))

    def delete(self, key: str) -> None:
        with self._lock:
            self._nbytes -= _size(self._value(key))
            del self._values[key]
            self._infos.pop(key, None)
            self._folders.subtract(folders_of(key))
            self._folders += Counter()  # drops those that hold nothing

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._nbytes

    def _value(self, key: str) -> NDArray[Any] | bytes:
        value = self._values.get(check_key(key))
        if value is None:
            raise self.missing(key)
        return value

    def _make_room(self, key: str, asked: int) -> None:
        """Refuse what has no place or does not fit; nothing is changed yet."""
        if self._folders[key] or any(folder in self._values for folder in folders_of(key)):
            raise self.misplaced(key)
        old = self._values.get(key)
        used = self._nbytes - (0 if old is None else _size(old))
        if self.budget_bytes is not None and used + asked > self.budget_bytes:
            raise StorageBudgetError(
                f"{key!r} needs {format_bytes(asked)} of memory, but {format_bytes(used)} of the budget of "
                f"{format_bytes(self.budget_bytes)} are in use. Raise the budget, run fewer workers with a larger one "
                "each, or keep intermediates on disk.",
                key=key,
                budget=self.budget_bytes,
                used=used,
                asked=asked,
            )

    def _hold(self, key: str, value: NDArray[Any] | bytes) -> None:
        if key in self._values:
            self.delete(key)
        self._values[key] = value
        self._nbytes += _size(value)
        self._folders.update(folders_of(key))


def _size(value: NDArray[Any] | bytes) -> int:
    return len(value) if isinstance(value, bytes) else value.nbytes


__all__ = ["MemoryBackend"]
