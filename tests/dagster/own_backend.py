"""A storage backend as a user writes one."""

from __future__ import annotations

from openhcs_engine.vfs.disk import DiskBackend


class PlainFiles(DiskBackend):
    """Compressed files in a folder of their own."""

    name = "plain"

    def __init__(self, place: str) -> None:
        super().__init__(place, compression="zlib")
