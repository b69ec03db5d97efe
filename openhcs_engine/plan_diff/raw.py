"""What changed in the raw files of wells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from openhcs_engine.context import ProcessingContext
from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.plan_diff.change import Change, ChangeKind, counted

_EXAMPLES: Final = 5
"""Files that are named of each kind of change."""
_WHERE: Final = "raw files"
_TOLD: Final = {
    ChangeKind.RAW_ADDED: "added",
    ChangeKind.RAW_GONE: "gone",
    ChangeKind.RAW_SIZE: "of another size",
    ChangeKind.RAW_TIME: "written again (same size, other time)",
}


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
    found = {kind: _Found() for kind in _TOLD}
    told_otherwise: list[str] = []
    for well in wells:
        old, new = before[well].index, after[well].index
        if old == new:
            continue
        differences = _of_well(_files(old), _files(new))
        for kind, files in differences.items():
            found[kind].add(well, files)
        if not any(differences.values()):
            told_otherwise.append(well)
    yield from (_change(kind, of_kind) for kind, of_kind in found.items() if of_kind.wells)
    if told_otherwise:
        what = f"the same files hold other planes, or others are missing, in {counted(len(told_otherwise), 'well')}"
        yield Change(kind=ChangeKind.PLANES, where=_WHERE, what=what, wells=frozenset(told_otherwise))


def _files(index: ImageIndex) -> dict[str, tuple[int, int]]:
    """Size and time of each file that is there."""
    return {plane.path: plane.stamp for plane in index if plane.present and plane.path is not None}


def _of_well(old: Mapping[str, tuple[int, int]], new: Mapping[str, tuple[int, int]]) -> dict[ChangeKind, list[str]]:
    both = [path for path in new if path in old and old[path] != new[path]]
    return {
        ChangeKind.RAW_ADDED: [path for path in new if path not in old],
        ChangeKind.RAW_GONE: [path for path in old if path not in new],
        ChangeKind.RAW_SIZE: [path for path in both if old[path][0] != new[path][0]],
        ChangeKind.RAW_TIME: [path for path in both if old[path][0] == new[path][0]],
    }


def _change(kind: ChangeKind, found: _Found) -> Change:
    count = sum(found.wells.values())
    more = ", …" if count > len(found.files) else ""
    told = f"{counted(count, 'file')} {_TOLD[kind]} in {counted(len(found.wells), 'well')}"
    gone = kind is ChangeKind.RAW_GONE
    return Change(
        kind=kind,
        where=_WHERE,
        what=f"{told} ({', '.join(found.files)}{more})",
        before=found.wells if gone else None,
        after=None if gone else found.wells,
        wells=frozenset(found.wells),
    )


__all__ = ["compare_raw"]
