"""What changed in the raw files of wells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class _Found:
    """Files that changed in one way."""

    wells: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    def add(self, well: str, files: list[str]) -> None:
        if files:
            self.wells[well] = len(files)
            self.files += files[: _EXAMPLES - len(self.files)]


def compare_raw(
    before: Mapping[str, ProcessingContext], after: Mapping[str, ProcessingContext], wells: tuple[str, ...]
) -> Iterator[Change]:
    """Files that came, went, or are others than they were; and planes that are told otherwise of the same files."""
    found = {way: _Found() for way in _WAYS}
    told_otherwise: list[str] = []
    for well in wells:
        old, new = before[well].index, after[well].index
        if old == new:
            continue
        differences = _of_well(_files(old), _files(new))
        for way, files in differences.items():
            found[way].add(well, files)
        if not any(differences.values()):
            told_otherwise.append(well)
    yield from (_change(way, files) for way, files in found.items() if files.wells)
    if told_otherwise:
        what = f"the same files hold other planes, or others are missing, in {counted(len(told_otherwise), 'well')}"
        yield Change(kind=ChangeKind.PLANES, where=_WHERE, what=what, wells=frozenset(told_otherwise))


_Stamp: TypeAlias = tuple[int, int, str | None]
"""Size and time of a file; of an array those of its metadata, and the digest of its chunks."""


def _files(index: ImageIndex) -> dict[str, _Stamp]:
    """What each file that is there was, when it was looked at."""
    return {plane.path: (*plane.stamp, plane.chunks) for plane in index if plane.present and plane.path is not None}


def _of_well(old: Mapping[str, _Stamp], new: Mapping[str, _Stamp]) -> dict[_Way, list[str]]:
    other_chunks = [path for path in new if path in old and old[path][2] != new[path][2]]
    both = [path for path in new if path in old and old[path][:2] != new[path][:2] and path not in other_chunks]
    return {
        _ADDED: [path for path in new if path not in old],
        _GONE: [path for path in old if path not in new],
        _OTHER_SIZE: [path for path in both if old[path][0] != new[path][0]],
        _OTHER_TIME: [path for path in both if old[path][0] == new[path][0]],
        _OTHER_CHUNKS: other_chunks,
    }


def _change(way: _Way, found: _Found) -> Change:
    count = sum(found.wells.values())
    more = ", …" if count > len(found.files) else ""
    told = f"{counted(count, way.noun)} {way.words} in {counted(len(found.wells), 'well')}"
    gone = way is _GONE
    return Change(
        kind=way.kind,
        where=_WHERE,
        what=f"{told} ({', '.join(found.files)}{more})",
        before=found.wells if gone else None,
        after=None if gone else found.wells,
        wells=frozenset(found.wells),
    )


__all__ = ["compare_raw"]
