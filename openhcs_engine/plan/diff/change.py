"""One difference between two plans."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from openhcs_engine.model.frozen import FrozenMap


class ChangeKind(StrEnum):
    """What a change is about."""

    STEP_ADDED = "step added"
    STEP_REMOVED = "step removed"
    STEP_MOVED = "step moved"
    STEP_RENAMED = "step renamed"
    FUNCTION = "function"
    MODULE = "module"
    SOURCE = "source"
    VERSION = "version"
    PARAMETER = "parameter"
    MEMORY_TYPE = "memory type"
    DTYPE = "pixel type"
    CONTRACT = "contract"
    SIDE_DATA = "side data"
    AXES = "axes"
    GROUP_BY = "group_by"
    KEYS = "keys"
    UNCOVERED = "uncovered"
    INPUT = "input"
    WELL_FILTER = "well filter"
    KEPT_PLANES = "kept planes"
    RAW_ADDED = "raw files added"
    RAW_GONE = "raw files gone"
    RAW_SIZE = "raw files of other size"
    RAW_TIME = "raw files of other time"
    PLANES = "planes"
    STAGE = "stage positions"
    WELLS_ADDED = "wells added"
    WELLS_REMOVED = "wells removed"
    CHANNELS = "channels"
    PLATE = "plate"
    ON_MISSING = "on_missing"
    DEVICE = "device"
    OUTPUT = "output"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference, and the wells that go stale by it."""

    kind: ChangeKind
    where: str
    """``step 2 "Denoise"``, ``raw files``, ``plate``, ``packages``, ``output`` …"""
    what: str
    """What is different there, as words that stand behind ``where``."""
    before: Any = None  # Any: what JSON may hold
    after: Any = None
    wells: frozenset[str] = field(default_factory=frozenset)
    """Wells whose results it makes stale; empty for what changes no result."""

    @property
    def told(self) -> str:
        """The change in one line."""
        return f"{self.where}: {self.what}"


def from_to(name: str, before: object, after: object) -> str:
    """``name: before → after``, values as a person writes them."""
    return f"{name} {shown(before)} → {shown(after)}".strip()


def shown(value: object) -> str:
    """A value of a plan as a person writes it."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return str(value) or "none"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, FrozenMap):
        return f"{{{', '.join(f'{name}: {shown(item)}' for name, item in value.pairs)}}}"
    return str(value)


def short(digest: str) -> str:
    """The beginning of a digest, which tells it from others."""
    return digest[:8] or "none"


__all__ = ["Change", "ChangeKind", "from_to", "short", "shown"]
