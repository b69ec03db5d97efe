"""What changed in the raw files of wells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.model.wording import counted
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.diff.change import Change, ChangeKind

_EXAMPLES: Final = 5
"""Files that are named of each kind of change."""
_WHERE: Final = "raw files"


class _Way(NamedTuple):
    """How raw files differ."""

    kind: ChangeKind
    noun: str
    words: str


_ADDED: Final = _Way(ChangeKind.RAW_ADDED, "file", "added")
_GONE: Final = _Way(ChangeKind.RAW_GONE, "file", "gone")
_OTHER_SIZE: Final = _Way(ChangeKind.RAW_SIZE, "file", "of another size")
_OTHER_TIME: Final = _Way(ChangeKind.RAW_TIME, "file", "written again (same size, other time)")
_OTHER_CHUNKS: Final = _Way(
    ChangeKind.RAW_TIME, "array", "with chunks that were written again, came or went, or were not followed before"
)
_WAYS: Final = (_ADDED, _GONE, _OTHER_SIZE, _OTHER_TIME, _OTHER_CHUNKS)


def compare_raw(
    before: Mapping[str, ProcessingContext], after: Mapping[str, ProcessingContext], wells: tuple[str, ...]
) -> Iterator[Change]:
    """Files that came, went, or are others than they were; and planes that differ in the same files."""
    changed: dict[_Way, dict[str, list[str]]] = {way: {} for way in _WAYS}
    otherwise: list[str] = []
    for well in wells:
        if before[well].index == after[well].index:
            continue
        old, new = _files(before[well].index), _files(after[well].index)
        ways = {path: _way(old.get(path), new.get(path)) for path in (*new, *old)}
        for path, way in ways.items():
            if way is not None:
                changed[way].setdefault(well, []).append(path)
        if not any(ways.values()):
            otherwise.append(well)
    yield from (_change(way, files) for way, files in changed.items() if files)
    if otherwise:
        what = f"the same files hold other planes, or others are missing, in {counted(len(otherwise), 'well')}"
        yield Change(kind=ChangeKind.PLANES, where=_WHERE, what=what, wells=frozenset(otherwise))


_Stamp: TypeAlias = tuple[int, int, str | None]
"""Size and time of a file; of an array those of its metadata, and the digest of its chunks."""


def _files(index: ImageIndex) -> dict[str, _Stamp]:
    """What each file that is there was, when it was looked at."""
    return {plane.path: (*plane.stamp, plane.chunks) for plane in index if plane.present and plane.path is not None}


def _way(old: _Stamp | None, new: _Stamp | None) -> _Way | None:
    if old == new:
        return None
    if old is None or new is None:
        return _ADDED if old is None else _GONE
    if old[2] != new[2]:
        return _OTHER_CHUNKS
    return _OTHER_TIME if old[0] == new[0] else _OTHER_SIZE


def _change(way: _Way, files: Mapping[str, list[str]]) -> Change:
    paths = [path for of_well in files.values() for path in of_well]
    named = ", ".join(paths[:_EXAMPLES]) + (", …" if len(paths) > _EXAMPLES else "")
    counts = {well: len(of_well) for well, of_well in files.items()}
    return Change(
        kind=way.kind,
        where=_WHERE,
        what=f"{counted(len(paths), way.noun)} {way.words} in {counted(len(files), 'well')} ({named})",
        before=counts if way is _GONE else None,
        after=None if way is _GONE else counts,
        wells=frozenset(files),
    )


__all__ = ["compare_raw"]
