"""Harmony's image records look alike: a pattern made of one takes the next apart without a visit to each element.

An index of 17,280 images has half a million elements, and calling Python for each takes five times as long as reading
them. A pattern knows nothing of XML: it repeats one record's tags letter by letter and has holes where that record's
texts stood. So whatever it matches has the tags of a record that the XML parser took apart itself, and texts of plain
ASCII without markup, entities or line breaks. Any other record does not match, and is left to the parser.

lxml (6.1.3, ``iterparse``) takes 2.3 times as long for 17,280 records, before anything is made of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

MAX_RECORD: Final = 1 << 16
"""Bytes of an image's record that is waited for; longer ones are read piece by piece."""
MAX_LEARNT: Final = 1 << 14
"""Bytes of a record that a pattern is made of: making one takes longer than the XML parser."""
MAX_PATTERNS: Final = 8
"""Forms of records that are learnt; an instrument writes one for each kind of channel."""
MAX_STRANGE: Final = 16
"""Records that make no pattern before no more are tried."""
END_OF_RECORD: Final = re.compile(r"</(?:[^\s<>/&:]+:)?Image\s*>")
"""What closes a record, if it is no part of a comment or of quoted text, which only the XML parser knows."""
MAX_VALUE: Final = 2048
"""Letters of one value that is kept; longer ones are cut by the reader, and no pattern matches them."""
_LETTER: Final = r"[\x20-%'-;=?-~]"
"""Printable ASCII without ``&``, ``<`` and ``>``."""
_TEXT: Final = rf"{_LETTER}*+"
_TAG: Final = r"<(?P<name>[A-Za-z_][A-Za-z0-9_.:-]*)(?P<attributes>[^<>/&]*)"
_HEAD: Final = re.compile(rf"\s*{_TAG}>")
_LEAF: Final = re.compile(rf"\s*{_TAG}>(?P<text>{_TEXT})</(?P=name)>")
_UNIT: Final = re.compile(r"""\bUnit\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_NEVER: Final = "(\0)?"
"""A group for what a record does not have: XML has no NUL, so it is None."""

Values = tuple[str | None, ...]
"""Texts of one record in a fixed order; None: it has no such element. A unit stands behind its text, after a NUL."""


@dataclass(frozen=True, slots=True)
class RecordPattern:
    """Finds records that differ from a known one in their texts only."""

    pattern: re.Pattern[str]
    groups: tuple[int, ...]
    """The group of each value."""
    units: tuple[tuple[int, str], ...]
    """Index and unit, with the NUL before it, of values that have one."""

    @classmethod
    def of(cls, record: str, order: Sequence[str], measured: frozenset[str]) -> Self | None:
        """Make a pattern of one record's text; None if it is not made of plain elements.

        ``order`` names the elements whose texts are wanted, ``measured`` those of them that have units.
        """
        head = _HEAD.match(record)
        if head is None:
            return None
        parts, position = [re.escape(head[0])], head.end()
        found, units = dict[str, int](), dict[str, str]()
        while (leaf := _LEAF.match(record, position)) is not None:
            name, (start, end) = leaf["name"].rpartition(":")[2], leaf.span("text")
            if name in found:
                return None
            hole = f"({_LETTER}{{0,{MAX_VALUE}}}+)" if name in order else _TEXT
            parts += [re.escape(record[position:start]), hole, re.escape(record[end : leaf.end()])]
            if name in order:
                found[name] = len(found) + 1
            if name in measured and leaf["attributes"].strip():
                unit = _UNIT.search(leaf["attributes"])
                units[name] = "\0" + ((unit[1] or unit[2] or "") if unit else "")
            position = leaf.end()
        if re.fullmatch(rf"\s*</{re.escape(head['name'])}\s*>", record[position:]) is None:
            return None
        never = len(found) + 1
        return cls(
            re.compile("".join(parts) + re.escape(record[position:]) + _NEVER),
            tuple(found.get(name, never) for name in order),
            tuple((place, units[name]) for place, name in enumerate(order) if name in units),
        )

    def match(self, text: str, position: int) -> tuple[int, Values] | None:
        """End and values of the record that begins at ``position``; None if it is of another form, or not all there."""
        found = self.pattern.match(text, position)
        if found is None:
            return None
        values = found.group(*self.groups)
        if self.units:
            measured = list(values)
            for number, unit in self.units:
                measured[number] += unit
            return found.end(), tuple(measured)
        return found.end(), values


class RecordReader(Protocol):
    """Takes records apart, element by element."""

    text: list[str]
    """Texts since the last start of an element."""
    close: Callable[[], None] | None
    """Not None inside a record."""
    records: int
    """Image records that it has seen whole."""
    last: Values
    """Those of the last of them."""

    def start(self, name: str, attributes: list[str]) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """An element ends."""

    def add_image(self, values: Values) -> None:
        """A record was taken apart elsewhere."""


class RecordFeed:
    """Hands every byte to expat, and records that look like one before to patterns instead of the reader."""

    def __init__(
        self,
        parser: Any,  # Any: pyexpat's parser has no importable type
        reader: RecordReader,
        order: Sequence[str],
        measured: frozenset[str],
    ) -> None:
        self.parser = parser
        self.reader = reader
        self.order, self.measured = order, measured
        self.patterns: list[RecordPattern] = []
        self.strange = 0
        self.between = False
        """True: all that was handed over ends with a record, so that what follows is no part of a comment or text."""
        self.listen()

    def listen(self) -> None:
        self.parser.StartElementHandler, self.parser.EndElementHandler = self.reader.start, self.reader.end
        self.parser.CharacterDataHandler = self.reader.text.append

    def take(self, data: bytes) -> bytes:
        """Read what is there; return the beginning of a record whose end is not."""
        text = data.decode("latin-1")  # a letter a byte; a pattern only matches ASCII
        position = 0
        while position < len(data):
            position = self.skim(data, text, position)
            end = END_OF_RECORD.search(text, position)
            if end is None:
                if self.between and len(data) - position <= MAX_RECORD:
                    return data[position:]
                self.between = False
                self.parser.Parse(data[position:], False)
                break
            self.read(data[position : end.end()])
            position = end.end()
        return b""

    def skim(self, data: bytes, text: str, start: int) -> int:
        """Add the records from ``start`` on that patterns know; expat sees that they are sound XML."""
        position = start
        while self.between and (found := self.known(text, position)) is not None:
            position, values = found
            self.reader.add_image(values)
        if position > start:
            self.parser.StartElementHandler = self.parser.EndElementHandler = self.parser.CharacterDataHandler = None
            self.parser.Parse(data[start:position], False)
            self.listen()
        return position

    def known(self, text: str, position: int) -> tuple[int, Values] | None:
        for pattern in self.patterns:
            if (found := pattern.match(text, position)) is not None:
                return found
        return None

    def read(self, data: bytes) -> None:
        """Let expat and the reader take apart what ends as a record does, and learn from it if it is one."""
        was_between, before = self.between, self.reader.records
        self.parser.Parse(data, False)
        self.between = self.reader.records > before and self.reader.close is None
        may_learn = len(self.patterns) < MAX_PATTERNS and self.strange < MAX_STRANGE and len(data) <= MAX_LEARNT
        if was_between and self.between and may_learn:
            self.learn(data.decode("latin-1"))

    def learn(self, record: str) -> None:
        pattern = RecordPattern.of(record, self.order, self.measured)
        found = None if pattern is None else pattern.match(record, 0)
        if pattern is not None and found == (len(record), self.reader.last):
            self.patterns.append(pattern)
        else:
            self.strange += 1
