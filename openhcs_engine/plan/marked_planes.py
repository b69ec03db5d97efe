"""The planes of wells with a mark in place of what differs from well to well, so that wells can share slots.

First the well's own name is marked. Where names differ still, as by a GUID each, wells share the beginning and the end
of a name, and what stands between is the plane's own text.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.plan.path_templates import LINE, TEXT, Slot, check_inside
from openhcs_engine.plan.well_spelling import RESERVED, Spelling, spell

_WITHOUT_WORDS: Final = str.maketrans("", "", string.ascii_letters + string.digits)


class MarkedPlane(NamedTuple):
    """One plane of a well."""

    slot: Slot
    text: str | None = None
    """What stands for the mark TEXT in its slot's path; None: the slot has none."""


Marked: TypeAlias = dict[str, list[MarkedPlane]]
"""By well, in the order of its planes."""


def mark_planes(wells: Mapping[str, ImageIndex], spellings: Sequence[Spelling]) -> Marked:
    """All planes with marks; the n-th spelling's is ``mark_of(n)``.

    Raises
    ------
    ValueError
        If a plane's path leads out of the plate folder.
    """
    return _share({well: _mark_well(well, index, spellings) for well, index in wells.items()}, spellings)


def mark_of(number: int) -> str:
    """The mark of a spelling."""
    return chr(1 + number)


def _mark_well(well: str, index: ImageIndex, spellings: Sequence[Spelling]) -> list[MarkedPlane]:
    paths = [plane.path or "" for plane in index]
    texts: list[str | None] = [None] * len(paths)
    lines = LINE + LINE.join(paths)  # one search a well, and not one a plane
    if ".." in lines or LINE + "/" in lines:
        for path in paths:
            check_inside(path)
    is_plain = lines.count(LINE) == max(1, len(paths)) and not RESERVED.search(lines.replace(LINE, ""))
    if not is_plain:  # no template can hold such a path: it is all text
        texts = [path if RESERVED.search(path) else None for path in paths]
        lines = LINE + LINE.join(TEXT if text else path for path, text in zip(paths, texts, strict=True))
    for number, spelling in enumerate(spellings):
        lines = lines.replace(spelling.of(well), spelling.left + mark_of(number))
    found = []
    for plane, path, text in zip(index, lines[1:].split(LINE), texts, strict=False):  # no plane at all is one line
        key = plane.key
        at = (key.timepoint, key.site, key.channel, key.z_index)
        slot = Slot(at, plane.kind, plane.array_index, None if plane.path is None else path)
        found.append(MarkedPlane(slot, text))
    return found


def _share(marked: Marked, spellings: Sequence[Spelling]) -> Marked:
    """The same, with text marked in names that no other well has."""
    alone = _alone(marked) if len(marked) > 1 else ()
    if not alone:
        return marked
    shared = {well: [*planes] for well, planes in marked.items()}
    for places in alone:
        paths = [str(marked[well][position].slot.path) for well, position in places]
        begin = _common_beginning(paths)
        end = _common_beginning([path[begin:][::-1] for path in paths])
        well, position = places[0]
        own = paths[0][:begin] + TEXT + paths[0][len(paths[0]) - end :]
        slot = marked[well][position].slot._replace(path=own)
        for (well, position), path in zip(places, paths, strict=True):
            shared[well][position] = MarkedPlane(slot, _unmark(path[begin : len(path) - end], well, spellings))
    return shared


def _alone(marked: Marked) -> list[list[tuple[str, int]]]:
    """Wells and positions of planes whose names no other has, those with the same signs between words together."""
    counts = Counter(plane.slot for planes in marked.values() for plane in planes)
    alike: dict[tuple[object, ...], list[tuple[str, int]]] = {}
    for well, planes in marked.items():
        for position, (slot, text) in enumerate(planes):
            if counts[slot] == 1 and slot.path is not None and text is None:
                form = (slot.key, slot.kind, slot.array_index, slot.path.translate(_WITHOUT_WORDS))
                alike.setdefault(form, []).append((well, position))
    return [places for places in alike.values() if len(places) > 1]


def _common_beginning(texts: Sequence[str]) -> int:
    """How many characters all of them begin with: those that the first and the last in order share."""
    first, last = min(texts), max(texts)
    return next(
        (place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first)
    )


def _unmark(text: str, well: str, spellings: Sequence[Spelling]) -> str:
    for number, spelling in enumerate(spellings):
        if mark_of(number) in text:
            text = text.replace(mark_of(number), spell(spelling.template, well))
    return text


__all__ = ["Marked", "MarkedPlane", "mark_of", "mark_planes"]
