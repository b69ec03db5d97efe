"""What the nightly comparison remembers of a plate's folders of chunks, so that it need not list them all every night.

A chunk that is written again in place leaves its folder's time as it was. So each plate is listed whole at least once
in seven nights; plates take turns, lest one night has to list them all.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Final, Self

import msgspec

from openhcs_engine.files.atomic import write_whole
from openhcs_engine.files.links import refuse_links
from openhcs_engine.raw.array_listing import ListedFolder

NIGHTS: Final = 7
"""Each plate is listed whole at least once in so many nights."""
_YOUNG_NS: Final = 2 * 10**9
"""A folder that changed so shortly ago may change again within the same time stamp: some drives count seconds."""


class _Memory(msgspec.Struct):
    root: str
    """The plate's folder."""
    listed: date
    """Night of the last whole listing."""
    due: date
    """Night of the next."""
    folders: dict[str, ListedFolder]


@dataclass(slots=True)
class PlateFolders:
    """The folders of one plate; a FolderMemory of its listing."""

    listed: date
    due: date
    known: dict[str, ListedFolder] = field(default_factory=dict)
    """Of the nights before; empty: this listing is a whole one."""
    now: dict[str, ListedFolder] = field(default_factory=dict)
    asked: int = 0
    """Folders of this listing."""
    passed: int = 0
    """Those of them that were not listed, because their time is the same."""

    @classmethod
    def whole(cls, night: date) -> Self:
        """For a listing that passes over nothing."""
        return cls(listed=night, due=night + timedelta(days=NIGHTS))

    @classmethod
    def read(cls, path: Path | None, root: str, night: date) -> Self:
        """What is kept in a file; a whole listing where that is nothing, is another folder's, or where one is due."""
        try:
            memory = msgspec.msgpack.decode(path.read_bytes(), type=_Memory) if path is not None else None
        except (OSError, msgspec.MsgspecError):
            memory = None
        if memory is None or memory.root != root:
            # Plates that are seen for the first time in one night are listed whole again in different ones.
            turn = 1 + zlib.crc32(root.encode()) % NIGHTS
            return cls(listed=night, due=night + timedelta(days=turn))
        if not memory.listed <= night < memory.due:
            return cls.whole(night)
        return cls(listed=memory.listed, due=memory.due, known=memory.folders)

    def write(self, path: Path | None, root: str) -> None:
        """Keep what was found, for the next night; a plate without arrays leaves nothing."""
        if path is None or not self.asked:
            return
        refuse_links(path.parent.parent, [path.relative_to(path.parent.parent)])
        path.parent.mkdir(parents=True, exist_ok=True)
        memory = _Memory(root=root, listed=self.listed, due=self.due, folders=self.now)
        write_whole(path, msgspec.msgpack.encode(memory))

    def recall(self, path: str, mtime_ns: int) -> ListedFolder | None:
        """See FolderMemory."""
        folder = self.known.get(path)
        if folder is None or folder.mtime_ns != mtime_ns:
            return None
        self.passed += 1
        return folder

    def keep(self, path: str, folder: ListedFolder) -> None:
        """See FolderMemory."""
        self.asked += 1
        is_known = self.known.get(path) is folder
        if is_known or time.time_ns() - folder.mtime_ns > _YOUNG_NS:
            self.now[path] = folder

    def summary(self) -> str:
        """Whether the chunks were listed whole; nothing for a plate without arrays."""
        if self.passed:
            return (
                f"{self.passed} folders of chunks whose own time did not change were passed over; all were listed on "
                f"{self.listed}, and are again by {self.due}."
            )
        return "All its chunks were listed." if self.asked else ""


__all__ = ["NIGHTS", "PlateFolders"]
