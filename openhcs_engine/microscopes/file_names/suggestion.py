"""A pattern that would match the names of a folder's images, for the message to who has none.

Names are cut at everything that is no letter and no digit, and the pieces compared from name to name: what is a row's
letter and a number is the well, what stands behind ``s``, ``ch`` or ``z`` is what such letters stand for everywhere,
and the same text in all names is itself.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from openhcs_engine.microscopes.declared import IMAGE_SUFFIXES, canonical_well
from openhcs_engine.microscopes.file_names.declared_times import is_time
from openhcs_engine.microscopes.file_names.presets import PRESETS
from openhcs_engine.microscopes.listing import FolderListing

_SAMPLE: Final = 400
"""Names that are compared."""
_TAGS: Final = {
    "site": ("s", "f", "p", "xy", "site", "field", "fld", "fov", "pos", "position", "tile", "point"),
    "channel": ("w", "c", "d", "ch", "wv", "wave", "wavelength", "channel"),
    "z": ("z", "plane", "slice", "zstep", "layer"),
    "timepoint": ("t", "tp", "time", "timepoint", "frame"),
    "row": ("row", "v"),
    "column": ("col", "column", "u"),
}
"""What the letters before a number stand for in the names of most instruments."""
_NUMBERED_WELLS: Final = ("w", "well")
_PIECES = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
"""``WellA01`` has three: a word, a row and a number."""
_ROWS_OF_FEW: Final = "ABCDEFGH"
"""Letters that are likelier rows than tags, if they are the same in all names: those of a plate of 96 wells."""
_EXAMPLE: Final = r"(?P<well>[A-P]\d\d)_s(?P<site>\d+)_w(?P<channel>\d+)\.tif"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """The same piece of all names."""

    values: tuple[str, ...]
    kind: str
    """``letters``, ``digits``, ``text`` of both, a ``time``, or ``between``."""
    group: str = ""

    @property
    def constant(self) -> str | None:
        """Its text, where it is the same in all names."""
        return self.values[0] if len(set(self.values)) == 1 else None

    def expression(self, text_ends: str) -> str:
        """The part of a regular expression; a text goes on up to one of ``text_ends``."""
        if not self.group and self.constant is not None:
            return _escaped(self.constant)
        kinds = {"digits": r"\d+", "letters": "[A-Za-z]+", "text": f"[^{_escaped(text_ends)}/]+"}
        inner = kinds.get(self.kind, ".+?")
        return f"(?P<{self.group}>{inner})" if self.group else inner


def ways_to_say_it(listing: FolderListing) -> str:
    """Sentences on how the files of a folder that is no known plate can be described; empty if it has no image."""
    if not _images(listing):
        return ""
    suggested = suggested_pattern(listing)
    if suggested is None:
        pattern = f"--pattern with a regular expression such as {shlex.quote(_EXAMPLE)}"
    else:
        pattern = f"--pattern {shlex.quote(suggested)}"
        if "(?P<well>\\d+)" in suggested:
            pattern += " --plate-wells 96"
    return (
        " If the names of its images say what they are, give a --preset "
        f"({', '.join(PRESETS)}), or a {pattern}, or list the planes in a table: --planes-csv FILE."
    ).replace("or a --pattern", "or --pattern")


def suggested_pattern(listing: FolderListing) -> str | None:
    """A pattern that matches most images, if their names or folders seem to say the well; None if they do not."""
    paths = _images(listing)
    names = [path.rpartition("/")[2] for path in paths]
    for texts in (names, paths):
        if (pattern := _pattern_of(texts)) is not None:
            return pattern
    return None


def _images(listing: FolderListing) -> list[str]:
    """Paths of some images, from all over the folder."""
    found = [
        f"{folder}/{name}" if folder else name
        for folder, names in listing.names.items()
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
    ]
    return found[:: max(len(found) // _SAMPLE, 1)]


def _pattern_of(texts: Sequence[str]) -> str | None:
    shapes = Counter(re.sub("[A-Za-z0-9]+", "a", text) for text in texts)
    if not shapes:
        return None
    shape = max(shapes, key=lambda shape: shapes[shape])
    alike = [text for text in texts if re.sub("[A-Za-z0-9]+", "a", text) == shape]
    if 2 * len(alike) < len(texts):
        return None
    pieces = _tagged(_with_well(list(_pieces(alike))))
    if not any(piece.group in ("well", "column") for piece in pieces):
        return None
    pieces = _rest_named(pieces)
    ends = [following.values[0][:1] if following.kind == "between" else "" for following in (*pieces[1:], pieces[-1])]
    pattern = "".join(piece.expression(end) for piece, end in zip(pieces, ends, strict=True))
    return pattern if _fits(pattern, alike) else None


def _pieces(texts: Sequence[str]) -> Iterator[_Piece]:
    """Letters, digits and what is between them, the same of all texts in one."""
    split = [_with_whole_clocks(re.split("([^A-Za-z0-9]+)", text)) for text in texts]
    if len({len(parts) for parts in split}) > 1:
        return
    for number, values in enumerate(zip(*split, strict=True)):
        if number % 2:
            yield _Piece(values=values, kind="between")
            continue
        if all(map(is_time, values)):
            yield _Piece(values=values, kind="time", group="timepoint")
            continue
        parts = [_PIECES.findall(value) for value in values]
        kinds = {tuple(part.isdigit() for part in found) for found in parts}
        if values[0] == "" and len(set(values)) == 1:
            continue
        if len(kinds) > 1:
            yield _Piece(values=values, kind="text")
            continue
        (digits,) = kinds
        for part, is_digits in zip(zip(*parts, strict=True), digits, strict=True):
            yield _Piece(values=part, kind="digits" if is_digits else "letters")


def _with_whole_clocks(parts: list[str]) -> list[str]:
    """Parts of a text, of which two that are a date and a time of day are one: ``2024y03m05d_14h30m``."""
    for at in range(0, len(parts) - 2, 2):
        if not is_time(parts[at]) and is_time(whole := "".join(parts[at : at + 3])):
            return [*parts[:at], whole, *parts[at + 3 :]]
    return parts


def _with_well(pieces: list[_Piece]) -> list[_Piece]:
    """The pieces with the well named, where some say one: the surest kind first."""
    for named in (_as_rows_and_columns, _as_letter_and_number, _as_row_and_column, _as_number):
        if (found := named(pieces)) is not None:
            return found
    return pieces


def _as_rows_and_columns(pieces: list[_Piece]) -> list[_Piece] | None:
    """``r02c03``, or ``R02-C03``."""
    for at in range(len(pieces) - 4):
        r, row, between, c, column = pieces[at : at + 5]
        apart = between.kind == "between" and row.kind == column.kind == "digits"
        if apart and (r.constant or "").lower() == "r" and (c.constant or "").lower() == "c":
            named = [r, replace(row, group="row"), between, c, replace(column, group="column")]
            return [*pieces[:at], *named, *pieces[at + 5 :]]
    for at in range(len(pieces) - 3):
        r, row, c, column = pieces[at : at + 4]
        if (
            (r.constant or "").lower() == "r"
            and (c.constant or "").lower() == "c"
            and row.kind == column.kind == "digits"
        ):
            expression = rf"{r.constant}\d+{c.constant}\d+"
            return [*pieces[:at], _ready("well", expression), *pieces[at + 4 :]]
    return None


def _as_letter_and_number(pieces: list[_Piece]) -> list[_Piece] | None:
    """``B03``: of several the one whose letters differ."""
    found = [at for at in range(len(pieces) - 1) if _is_well(pieces[at], pieces[at + 1])]
    found.sort(key=lambda at: (pieces[at].constant is not None, pieces[at + 1].constant is not None, at))
    if not found:
        return None
    at = found[0]
    said = [piece.values for piece in pieces[at : at + 2]]
    named: list[_Piece] = []
    for place, piece in enumerate(pieces):
        if place in (at, at + 1):
            named += [_ready("well", r"[A-Za-z]{1,2}\d+")] if place == at else []
        elif place > at and [again.values for again in pieces[place : place + 2]] == said:
            named.append(_Ready(values=("",), kind="text", inner="(?P=well)"))
        elif place > at + 2 and [again.values for again in pieces[place - 1 : place + 1]] == said:
            continue  # the number of a well that is said again
        else:
            named.append(piece)
    return named


def _is_well(letters: _Piece, digits: _Piece) -> bool:
    if letters.kind != "letters" or digits.kind != "digits" or any(len(number) > 2 for number in digits.values):
        return False
    if letters.constant is not None:
        # One letter before all numbers is more often a tag, as in s1 and t1; wells of one row are written A01.
        tag = letters.constant.lower() in _KNOWN and any(len(number) != 2 for number in digits.values)
        return letters.constant in tuple(_ROWS_OF_FEW) and not tag and _are_wells(letters, digits)
    return _are_wells(letters, digits)


def _are_wells(letters: _Piece, digits: _Piece) -> bool:
    return all(canonical_well(f"{row}{column}") for row, column in zip(letters.values, digits.values, strict=True))


def _as_row_and_column(pieces: list[_Piece]) -> list[_Piece] | None:
    """``A - 03``, ``A_03``; or both behind letters that say so, as ``row2_col3``."""
    for at in range(len(pieces) - 2):
        row, between, column = pieces[at : at + 3]
        apart = row.kind == "letters" and between.kind == "between" and column.kind == "digits"
        if (
            apart
            and row.constant is None
            and all(canonical_well(r + c) for r, c in zip(row.values, column.values, strict=True))
        ):
            return [
                *pieces[:at],
                replace(row, group="row"),
                between,
                replace(column, group="column"),
                *pieces[at + 3 :],
            ]
    tagged = _tagged(pieces)
    return tagged if {"row", "column"} <= {piece.group for piece in tagged} else None


def _as_number(pieces: list[_Piece]) -> list[_Piece] | None:
    """``W00013``, ``well_13``."""
    for at in range(1, len(pieces)):
        if pieces[at].kind == "digits" and _tag_before(pieces, at) in _NUMBERED_WELLS:
            return [*pieces[:at], replace(pieces[at], group="well"), *pieces[at + 1 :]]
    return None


def _tag_before(pieces: Sequence[_Piece], at: int) -> str:
    """The letters before a number, in lower case; a single ``-``, ``_`` or ``=`` may stand between them."""
    before = pieces[at - 1]
    if before.kind == "between" and before.constant in ("-", "_", "=", " ") and at > 1:
        before = pieces[at - 2]
    return (before.constant or "").lower() if before.kind == "letters" and not before.group else ""


def _tagged(pieces: list[_Piece]) -> list[_Piece]:
    """The pieces with every number named that stands behind letters which say what it is; each name once."""
    named: list[_Piece] = []
    used = {piece.group for piece in pieces}
    whole_well = "well" in used
    for at, piece in enumerate(pieces):
        tag = _tag_before(pieces, at) if at and piece.kind == "digits" and not piece.group else ""
        group = _KNOWN.get(tag, "")
        if not group or group in used or (group in ("row", "column") and whole_well):
            named.append(piece)
            continue
        used.add(group)
        named.append(replace(piece, group=group))
    if len({"row", "column"} & {piece.group for piece in named}) == 1:
        named = [replace(piece, group="") if piece.group in ("row", "column") else piece for piece in named]
    return named


def _rest_named(pieces: list[_Piece]) -> list[_Piece]:
    """What differs and is not named yet: the first text is the channel, the first number the site."""
    used = {piece.group for piece in pieces}
    named = []
    for piece in pieces:
        group = ""
        if not piece.group and piece.constant is None and piece.kind != "between":
            wanted = "site" if piece.kind == "digits" else "channel"
            group = wanted if wanted not in used else ""
        used.add(group)
        named.append(replace(piece, group=group) if group else piece)
    return named


def _escaped(text: str) -> str:
    """As ``re.escape``, which also escapes what means nothing outside of ``[]``: a name shall stay readable."""
    return re.sub(r"([\\.^$*+?{}\[\]()|])", r"\\\1", text)


def _fits(pattern: str, texts: Sequence[str]) -> bool:
    try:
        compiled = re.compile(pattern)
    except re.error:
        return False
    return all(compiled.fullmatch(text) for text in texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready(_Piece):
    """A piece whose expression is known."""

    inner: str = ""

    def expression(self, text_ends: str) -> str:
        """The group, or what has none, whatever follows."""
        return f"(?P<{self.group}>{self.inner})" if self.group else self.inner


def _ready(group: str, inner: str) -> _Piece:
    return _Ready(values=("",), kind="text", group=group, inner=inner)


_KNOWN: Final = {tag: group for group, tags in _TAGS.items() for tag in tags}
