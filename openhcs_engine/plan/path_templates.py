"""Path templates: the names of a plate's files with fields for what varies, found in the names and not by vendor.

A *slot* is one plane that wells can have: its coordinates, and its path with a mark in place of the well. Slots whose
paths differ only in numbers that follow a coordinate become one template with axes:
``TimePoint_1/ZStep_{z_index}/P1_{row}{column:02d}_s{site}_w{channel}.tif``. A field is taken only if it renders the
very text of every slot; numbers that follow none stay as they are, in templates of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from math import inf, prod
from typing import Final, NamedTuple, TypeAlias

from msgspec import Struct

from openhcs_engine.model.image_index import PlaneKind
from openhcs_engine.plan.number_text import Runs, count_runs, from_runs, to_runs
from openhcs_engine.plan.well_spelling import MAX_SPELLINGS, RESERVED

AXES: Final = ("timepoint", "site", "channel", "z_index")
"""Order of the numbers in a slot's key: that of the planes in a well, slowest first."""

TEXT: Final = "\0"
"""Mark in a slot's path: what each plane has of its own."""

LINE: Final = "\n"
"""Between paths that are searched together."""

_MAX_MARKS: Final = 2 * MAX_SPELLINGS

_ARRAY = "\x1f"
"""Mark between a path and the index into its array."""

Key: TypeAlias = tuple[int | None, int | None, int | None, int | None]


class Slot(NamedTuple):
    """A plane that wells can have."""

    key: Key
    kind: PlaneKind
    array_index: tuple[int, ...] | None
    path: str | None
    """With marks for the well and for text of its own."""


class PathTemplate(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The paths of planes that follow one pattern."""

    path: str | None = None
    """With fields; None: planes that were declared and never named."""
    kind: PlaneKind = PlaneKind.PLANE
    array_index: str | None = None
    """Index into the array that ``path`` is, with fields: ``{timepoint-1},{channel-1},{z_index-1}``."""
    timepoint: Runs | None = None
    """Values along the axis, each with each of the others; None: collapsed, or see ``keys``."""
    site: Runs | None = None
    channel: Runs | None = None
    z_index: Runs | None = None
    keys: list[Key] | None = None
    """Time point, site, channel and z of each plane, where they are no product of axes."""

    @property
    def count(self) -> int:
        """How many slots it stands for, without making them; ValueError if a run ends before it begins."""
        axes = (self.timepoint, self.site, self.channel, self.z_index)
        return prod(count_runs(axis) for axis in axes if axis is not None) if self.keys is None else len(self.keys)

    def expand_keys(self) -> Iterable[Key]:
        """The coordinates of its slots."""
        if self.keys is not None:
            return self.keys
        return product(_values(self.timepoint), _values(self.site), _values(self.channel), _values(self.z_index))


def _values(axis: Runs | None) -> Iterable[int | None]:
    return (None,) if axis is None else from_runs(axis)


def to_templates(slots: Iterable[Slot], marks: Mapping[str, str]) -> tuple[list[PathTemplate], list[Slot]]:
    """The templates of different slots, and the slots in the order in which ``from_templates`` gives them back.

    ``marks`` are the spellings of the well, by the mark that stands for each.
    """
    alike: dict[_Alike, list[_Split]] = {}
    for slot in slots:
        pieces = _NUMBER.split(_whole_text(slot))
        collapsed = tuple([value is None for value in slot.key])
        alike.setdefault((slot.kind, slot.path is None, collapsed, tuple(pieces[::2])), []).append((slot, pieces))
    groups = [group for splits in alike.values() for group in _generalise(splits)]
    templates = [_template(text, of_text, marks) for text, of_text in groups]
    return templates, in_order(slot for _, of_text in groups for slot in of_text)


def from_templates(templates: Sequence[PathTemplate]) -> tuple[list[Slot], dict[str, str]]:
    """All slots in the order that positions count by, and the well fields by the mark that stands for them.

    Raises
    ------
    ValueError
        If a template has a field that there is none of, or leads out of the plate folder.
    """
    marks: dict[str, str] = {}
    slots = [slot for template in templates for slot in _expand(template, marks)]
    return in_order(slots), {mark: field for field, mark in marks.items()}


def in_order(slots: Iterable[Slot]) -> list[Slot]:
    """By coordinate as in a well; those of equal coordinates stay in the order of their templates."""
    return sorted(slots, key=_order)


def check_inside(path: str) -> None:
    """ValueError if a path is absolute or climbs with ``..``: a plane lies in the plate folder."""
    if path.startswith("/") or (".." in path and ".." in path.split("/")):
        raise ValueError(f"the path {path!r} leads out of the plate folder")


_Split: TypeAlias = tuple[Slot, list[str]]
"""A slot, and its text cut at its numbers, which stand at the odd places."""
_Alike: TypeAlias = tuple[PlaneKind, bool, tuple[bool, ...], tuple[str, ...]]

_NUMBER = re.compile(r"([0-9]{1,18})")
_FIELD = re.compile(r"\{([a-z_]+)([+-][0-9]{1,18})?(?::(lower|d|0[0-9]{1,2}d))?\}")


def _order(slot: Slot) -> tuple[float | PlaneKind, ...]:
    time, site, channel, z_index = slot.key
    return (
        -inf if time is None else time,
        -inf if site is None else site,
        -inf if channel is None else channel,
        -inf if z_index is None else z_index,
        slot.kind,
    )


def _whole_text(slot: Slot) -> str:
    path = slot.path or ""
    return path if slot.array_index is None else path + _ARRAY + ",".join(map(str, slot.array_index))


def _generalise(group: list[_Split], position: int = 1) -> Iterator[tuple[str, list[Slot]]]:
    """Texts with fields, and the slots of each."""
    fields: dict[int, str] = {}
    while len(group) > 1 and position < len(group[0][1]):  # what is alone is its own template
        field = _field_for([(slot.key, pieces[position]) for slot, pieces in group])
        if field is None:
            parts: dict[str, list[_Split]] = {}
            for slot, pieces in group:
                known = [fields.get(place, piece) for place, piece in enumerate(pieces)]
                parts.setdefault(pieces[position], []).append((slot, known))
            for part in parts.values():
                yield from _generalise(part, position + 2)
            return
        fields[position] = field
        position += 2
    pieces = group[0][1]
    text = "".join(fields.get(place, piece) for place, piece in enumerate(pieces))
    yield text, [slot for slot, _ in group]


def _field_for(found: Sequence[tuple[Key, str]]) -> str | None:
    """What stands for these digits in all of the slots: themselves, or the field of an axis; None if nothing does."""
    first_key, first = found[0]
    distinct = {digits for _, digits in found}
    if len(distinct) == 1:
        return first
    width = min(map(len, distinct))
    for axis, name in enumerate(AXES):
        pairs = {(key[axis] or 0, digits) for key, digits in found}
        offset = int(first) - (first_key[axis] or 0)
        if len(pairs) == len(distinct) and all(digits == f"{value + offset:0{width}d}" for value, digits in pairs):
            shift = f"{offset:+d}" if offset else ""
            return f"{{{name}{shift}{f':0{width}d' if width > 1 else ''}}}" if abs(offset) < 10**18 else None
    return None


def _template(text: str, slots: Sequence[Slot], marks: Mapping[str, str]) -> PathTemplate:
    keys = [slot.key for slot in slots]
    path, has_array, array_index = text.partition(_ARRAY)
    for mark, spelling in marks.items():
        path = path.replace(mark, spelling)
    values = [sorted({value for key in keys if (value := key[axis]) is not None}) for axis in range(len(AXES))]
    is_product = prod(len(axis) or 1 for axis in values) == len(keys)
    timepoint, site, channel, z_index = (to_runs(axis) if axis and is_product else None for axis in values)
    return PathTemplate(
        path=None if slots[0].path is None else path.replace(TEXT, "{text}"),
        kind=slots[0].kind,
        array_index=array_index if has_array else None,
        timepoint=timepoint,
        site=site,
        channel=channel,
        z_index=z_index,
        keys=None if is_product else keys,
    )


def _expand(template: PathTemplate, marks: dict[str, str]) -> Iterator[Slot]:
    path = [] if template.path is None else _parse(template.path, marks)
    places = None if template.array_index is None else _parse(template.array_index, {}, allowed=AXES)
    for key in template.expand_keys():
        rendered = None if template.path is None else _render(path, key)
        if rendered is not None:
            check_inside(rendered)
        yield Slot(key, template.kind, None if places is None else _integers(_render(places, key)), rendered)


_Piece: TypeAlias = str | tuple[int, int, int]
"""Text, or (axis, offset, width) of a number."""


def _parse(
    template: str, marks: dict[str, str], allowed: Sequence[str] = (*AXES, "row", "column", "text")
) -> list[_Piece]:
    pieces: list[_Piece] = []
    at = 0
    for field in _FIELD.finditer(template):
        pieces.append(_literal(template[at : field.start()], template))
        at = field.end()
        name, offset, style = field.groups()
        fits = style is None or style != "lower" or name == "row"
        if name not in allowed or not fits or (offset and name not in AXES) or (name == "text" and style):
            raise ValueError(f"the path template {template!r} has an unknown field {field[0]}")
        if name in AXES:
            pieces.append((AXES.index(name), int(offset or 0), int(style[:-1] or 0) if style else 0))
        elif name == "text":
            pieces.append(TEXT)
        else:
            pieces.append(marks.setdefault(field[0], chr(1 + len(marks))))
    pieces.append(_literal(template[at:], template))
    if len(marks) > _MAX_MARKS or pieces.count(TEXT) > 1:
        raise ValueError(f"the path template {template!r} has more fields than a path needs")
    return pieces


def _literal(text: str, template: str) -> str:
    if RESERVED.search(text):
        raise ValueError(f"the path template {template!r} holds a brace or a control character")
    return text


def _render(pieces: Sequence[_Piece], key: Key) -> str:
    return "".join(piece if isinstance(piece, str) else _number(piece, key) for piece in pieces)


def _number(piece: tuple[int, int, int], key: Key) -> str:
    axis, offset, width = piece
    value = key[axis]
    if value is None:
        raise ValueError(f"a path template has the field {AXES[axis]} where that axis is collapsed")
    return f"{value + offset:0{width}d}"


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",")) if text else ()


__all__ = ["LINE", "TEXT", "PathTemplate", "Slot", "check_inside", "from_templates", "in_order", "to_templates"]
