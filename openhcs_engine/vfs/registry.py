"""Which storage backends a run knows.

Three are built in: ``memory``, ``disk`` and ``zarr``. One of your own is named where these are, by its class::

    my_lab.storage:TapeBackend

The class derives from ``StorageBackend`` and is called with the folder or address of its own that the run gives it. The
module is imported in every worker, so it must be found on Python's search path, as a pipeline's module must.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from os import PathLike, fspath
from typing import TypeAlias

from openhcs_engine.errors import UnknownBackendError
from openhcs_engine.vfs.backend import StorageBackend
from openhcs_engine.vfs.disk import DiskBackend
from openhcs_engine.vfs.memory import MemoryBackend
from openhcs_engine.vfs.zarr import ZarrBackend

BackendFactory: TypeAlias = Callable[[str], StorageBackend]
"""Called with the folder or address that the backend has for itself."""


class StorageRegistry:
    """Backends by name, made when first asked for; a value that is passed in, never changed.

    Pickling carries the factories, not what they made: every process has its own memory backend.

    Parameters
    ----------
    factories
        By name.
    root
        Folder or fsspec URL; each backend gets ``root/<name>`` for itself.
    """

    def __init__(self, factories: Mapping[str, BackendFactory], root: str | PathLike[str]) -> None:
        self._factories = dict(factories)
        self._root = fspath(root).rstrip("/")
        self._made: dict[str, StorageBackend] = {}

    def __reduce__(self) -> tuple[type[StorageRegistry], tuple[dict[str, BackendFactory], str]]:
        return type(self), (self._factories, self._root)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the backends, sorted."""
        return tuple(sorted(self._factories))

    def get(self, name: str) -> StorageBackend:
        """The backend of this name or ``module:Class``, the same object every time.

        Raises
        ------
        UnknownBackendError
            If there is no such name, or the class cannot be imported or is no whole StorageBackend.
        """
        if name not in self._made:
            factory = self.factory(name)
            self._made[name] = factory(f"{self._root}/{name.replace(':', '.')}")
        return self._made[name]

    def factory(self, name: str) -> BackendFactory:
        """What makes the backend of this name; raises as ``get``, so that a plan can be checked without a folder."""
        if name in self._factories:
            return self._factories[name]
        if ":" in name:
            return import_backend(name)
        raise _unknown(
            name,
            f"No storage backend is called {name!r} (known: {', '.join(self.names)}; one of your own is named "
            "module:Class).",
        )

    def adding(self, name: str, factory: BackendFactory) -> StorageRegistry:
        """Another registry that also knows ``name``; it shares no backend with this one."""
        return StorageRegistry({**self._factories, name: factory}, self._root)


def default_storage(
    scratch: str | PathLike[str], *, memory_budget: int | None = None, compression: str | None = None
) -> StorageRegistry:
    """``memory``, and ``disk`` and ``zarr`` in folders of their own below ``scratch``, made by the first save.

    Parameters
    ----------
    scratch
        Folder or fsspec URL.
    memory_budget
        The most bytes that ``memory`` may hold; default: no limit.
    compression
        Of the disk backend's TIFF files; default: none.
    """
    return StorageRegistry(
        {
            "memory": partial(_memory, budget_bytes=memory_budget),
            "disk": partial(DiskBackend, compression=compression),
            "zarr": ZarrBackend,
        },
        scratch,
    )


def import_backend(reference: str) -> type[StorageBackend]:
    """The backend class that ``module:Class`` names. UnknownBackendError if it leads to nothing that can be one."""
    module_name, _, class_name = reference.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), class_name, None)
    except Exception as error:  # a user's module may raise anything while it is imported
        message = f"The storage backend {reference!r} cannot be imported: {type(error).__name__}: {error}."
        raise _unknown(reference, message) from error
    if not (inspect.isclass(found) and issubclass(found, StorageBackend)):
        raise _unknown(
            reference,
            f"{reference!r} is no storage backend: {class_name or 'nothing'} in {module_name} must be a class that "
            "derives from openhcs_engine.vfs.backend.StorageBackend.",
        )
    if missing := sorted(found.__abstractmethods__):
        raise _unknown(reference, f"The storage backend {reference!r} is not whole: it lacks {', '.join(missing)}.")
    return found


def _memory(root: str, *, budget_bytes: int | None) -> MemoryBackend:
    return MemoryBackend(budget_bytes=budget_bytes)


def _unknown(name: str, message: str) -> UnknownBackendError:
    return UnknownBackendError(message, backend=name)


__all__ = ["BackendFactory", "StorageRegistry", "default_storage", "import_backend"]
