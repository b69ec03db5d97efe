"""Which storage backends a run knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from openhcs_engine.errors import UnknownBackendError
from openhcs_engine.vfs.backend import StorageBackend
from openhcs_engine.vfs.disk import DiskBackend
from openhcs_engine.vfs.memory import MemoryBackend
from openhcs_engine.vfs.zarr import ZarrBackend

BackendFactory: TypeAlias = Callable[[], StorageBackend]


class StorageRegistry:
    """Backends by name, made when first asked for; a value that is passed in, never changed.

    Pickling carries the factories, not what they made: every process has its own memory backend.
    """

    def __init__(self, factories: Mapping[str, BackendFactory]) -> None:
        self._factories = dict(factories)
        self._made: dict[str, StorageBackend] = {}

    def __reduce__(self) -> tuple[type[StorageRegistry], tuple[dict[str, BackendFactory]]]:
        return type(self), (self._factories,)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the backends, sorted."""
        return tuple(sorted(self._factories))

    def get(self, name: str) -> StorageBackend:
        """The backend of this name, the same object every time. UnknownBackendError if there is none."""
        if name not in self._made:
            self._made[name] = self._factory(name)()
        return self._made[name]

    def adding(self, name: str, factory: BackendFactory) -> StorageRegistry:
        """Another registry that also knows ``name``; it shares no backend with this one."""
        return StorageRegistry({**self._factories, name: factory})

    def _factory(self, name: str) -> BackendFactory:
        try:
            return self._factories[name]
        except KeyError:
            message = f"No storage backend is called {name!r} (known: {', '.join(self.names)})."
            raise UnknownBackendError(message, backend=name) from None


def default_storage(scratch: str | PathLike[str]) -> StorageRegistry:
    """``memory``, and ``disk`` and ``zarr`` in folders of their own below ``scratch``, made by the first save."""
    root = Path(scratch)
    return StorageRegistry(
        {
            "memory": MemoryBackend,
            "disk": partial(DiskBackend, root / "disk"),
            "zarr": partial(ZarrBackend, root / "zarr"),
        }
    )
