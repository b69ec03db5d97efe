"""Arrays and bytes in this process's memory."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import PlaneReadError, StorageError
from openhcs_engine.vfs.backend import StorageBackend, check_key, check_prefix, is_below


class MemoryBackend(StorageBackend):
    """Belongs to one run in one process; ``load`` hands out read-only views of what is stored, without copying."""

    persistent: ClassVar[bool] = False
    atomic_rename = True

    def __init__(self) -> None:
        self._values: dict[str, NDArray[Any] | bytes] = {}

    def __str__(self) -> str:
        return "the memory backend"

    def __reduce__(self) -> NoReturn:
        raise StorageError(
            "The memory backend lives inside one process and cannot be handed to another; use the disk or zarr backend "
            "for what must be read elsewhere."
        )

    def save(self, key: str, array: NDArray[Any], *, give: bool = False) -> None:
        kept = (array if give else array.copy()).view()
        kept.flags.writeable = False
        self._values[check_key(key)] = kept

    def load(self, key: str) -> NDArray[Any]:
        value = self._value(key)
        if not isinstance(value, np.ndarray):
            raise PlaneReadError(f"{key!r} in {self} holds bytes, not an image.", path=key)
        return value

    def take(self, key: str) -> NDArray[Any]:
        array = self.load(key)
        self.delete(key)
        if array.base is None or not array.base.flags.writeable:
            return array.copy()
        owned = array.view()
        owned.flags.writeable = True
        return owned

    def save_bytes(self, key: str, content: bytes) -> None:
        self._values[check_key(key)] = bytes(content)

    def load_bytes(self, key: str) -> bytes:
        value = self._value(key)
        return value.tobytes() if isinstance(value, np.ndarray) else value

    def exists(self, key: str) -> bool:
        return check_key(key) in self._values

    def list(self, prefix: str = "") -> tuple[str, ...]:
        folder = check_prefix(prefix)
        return tuple(sorted(key for key in list(self._values) if is_below(key, folder)))

    def delete(self, key: str) -> None:
        if self._values.pop(check_key(key), None) is None:
            raise self.missing(key)

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return sum(len(value) if isinstance(value, bytes) else value.nbytes for value in self._values.values())

    def _value(self, key: str) -> NDArray[Any] | bytes:
        value = self._values.get(check_key(key))
        if value is None:
            raise self.missing(key)
        return value
