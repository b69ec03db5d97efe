"""One difference between two plans, and the walk along two values that finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from openhcs_engine.model.digest import digest
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
    FIT = "fit"
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
    where: str = ""
    """``step 2 "Denoise"``, ``raw files``, ``plate``, ``packages``, ``output`` …"""
    what: str
    """What is different there, as words that stand behind ``where``."""
    before: Any = None  # Any: what JSON may hold
    after: Any = None
    wells: frozenset[str] = field(default_factory=frozenset)
    """Wells whose results it makes stale; empty for what changes no result."""

    @property
    def summary(self) -> str:
        """The change in one line."""
        return f"{self.where}: {self.what}"


class Label(NamedTuple):
    """How a change of one value is described."""

    kind: ChangeKind
    words: str = ""
    """What stands before the values; empty: the value's own name."""
    text: Callable[[Any], Any] | None = None
    """What a person reads of the value; None: the value itself."""
    stale: bool = True
    """False: no result depends on it."""
    more: str = ""
    """What a person should know besides."""


ABSENT: Final = msgspec.UNSET
"""In place of a value that one of two mappings lacks; None is a value."""


def differing(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> Iterator[tuple[Any, Any, Any]]:
    """Key, earlier and later value of each difference; 1 and 1.0 are different, as they give other results."""
    for key in dict.fromkeys((*before, *after)):
        old, new = before.get(key, ABSENT), after.get(key, ABSENT)
        if old is ABSENT or new is ABSENT or digest(old) != digest(new):
            yield key, old, new


def walk(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    labels: Mapping[str, Label | None],
    other: Label | None = None,
    *,
    subject: str = "",
    where: str = "",
    wells: frozenset[str] = frozenset(),
) -> Iterator[Change]:
    """One change for each value that differs.

    Parameters
    ----------
    before, after
        Values by their names, as ``values_of`` gives them.
    labels
        How each is described; None: not at all.
    other
        How those are described that have no label.
    subject
        Whose values they are, if ``where`` does not say it.
    where, wells
        Of the changes.
    """
    for name, *both in differing(before, after):
        label = labels.get(name, other)
        if label is None:
            continue
        old, new = (None if each is ABSENT else label.text(each) if label.text else each for each in both)
        what = from_to(f"{subject} {label.words or name.replace('_', ' ') + ':'}".strip(), old, new) + label.more
        stale = wells if label.stale else frozenset()
        yield Change(kind=label.kind, where=where, what=what, before=plain(old), after=plain(new), wells=stale)


def values_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by name."""
    return {each.name: getattr(value, each.name) for each in fields(value)}


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


def plain(value: Any) -> Any:
    """A value of a plan as JSON writes it."""
    if isinstance(value, FrozenMap):
        return {name: plain(item) for name, item in value.pairs}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


__all__ = ["ABSENT", "Change", "ChangeKind", "Label", "differing", "from_to", "plain", "shown", "values_of", "walk"]
