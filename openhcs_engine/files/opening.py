"""Which store an address means."""

from __future__ import annotations

import os
from os import PathLike

from openhcs_engine.files.address import is_remote
from openhcs_engine.files.store import FileStore


def open_store(root: str | PathLike[str], mark: str | None = None) -> FileStore:
    """The store below a folder of this host or an fsspec URL; nothing is read or made before it is used."""
    address = os.fspath(root)
    if is_remote(address):
        from openhcs_engine.files.object_store import ObjectStore

        return ObjectStore(address)
    from openhcs_engine.files.local_store import LocalStore

    return LocalStore(address, mark)


__all__ = ["open_store"]
