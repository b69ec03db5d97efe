"""``MeasurementData.mlf``: one record for each image that a CellVoyager took, and for each that it failed to take.

The file is read as a stream: 100,000 records are tens of megabytes of XML, and nothing of it is kept but the records.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NoReturn
from xml.sax import SAXException, SAXParseException

from msgspec import Struct

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.model.wells import MAX_COLUMNS, MAX_ROWS, well_name
from openhcs_engine.model.wording import listed_first

MAX_MLF_BYTES: Final = 1 << 30
"""A record has about 400 bytes: room for two million images."""
_CHUNK: Final = 1 << 16
_MAX_ELEMENT: Final = 1 << 20
"""Bytes without a new element; a record's longest value is a file's name."""
_MAX_DIGITS: Final = 6
_MAX_TEXT: Final = 300
_NAMED: Final = 5
"""Incomplete records that are named one by one; the others are counted."""
_NO_PROCESSING: Final = frozenset({"", "none"})
_COUNTED: Final = ("FieldIndex", "Ch", "ZIndex", "TimePoint", "TimelineIndex", "ActionIndex")
_MEASURED: Final = ("X", "Y", "Z")

if TYPE_CHECKING:
    from xml.sax.xmlreader import IncrementalParser


class ImageRecord(Struct, frozen=True, gc=False):  # a Struct: plates have 100,000 of them
    """One image, as the instrument recorded it, or as its file's name says."""

    well: str
    site: int
    channel: int
    """Of the camera and filter; the number of the action that took the image is another one."""
    z_index: int
    timepoint: int
    timeline: int
    action: int
    is_projection: bool
    """True: the instrument projected a z-stack, and this is its result."""
    x_um: float | None
    """Relative to the well's centre, to the right."""
    y_um: float | None
    """Relative to the well's centre, upwards."""
    z_um: float | None
    file: str
    """As written, with ``\\`` as ``/``; relative to the measurement's folder, and not to be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Everything that a ``MeasurementData.mlf`` says."""

    images: tuple[ImageRecord, ...]
    errors: tuple[str, ...]
    """What the instrument recorded as failed, one sentence each."""
    warnings: tuple[str, ...]


def read_records(stream: BinaryIO, path: str) -> Records:
    """Read all records of an mlf file; ``path`` is its name in messages.

    Raises
    ------
    UnreadablePlateError
        If it is cut off, damaged, hostile or of another kind; the message names the file and the line.
    """
    from defusedxml.common import DefusedXmlException
    from defusedxml.expatreader import create_parser

    parser = create_parser(forbid_dtd=True)
    reader = _Reader(parser, path)
    try:
        _feed(parser, reader, stream)
    except UnreadablePlateError:
        raise
    except SAXParseException as error:
        raise UnreadablePlateError(
            f"{path} is cut off or damaged at line {error.getLineNumber()} ({error.getMessage()}): the acquisition or "
            "a copy was interrupted. Copy it again, or take it away to have the images read by their names.",
            path=path,
        ) from error
    except DefusedXmlException as error:
        raise UnreadablePlateError(
            f"{path} was not read: it declares a document type or entities, which no instrument writes.", path=path
        ) from error
    except (SAXException, LookupError, ValueError) as error:
        raise UnreadablePlateError(f"{path} cannot be read as XML ({error}).", path=path) from error
    return reader.records()


def _feed(parser: IncrementalParser, reader: _Reader, stream: BinaryIO) -> None:
    fed = last_element = 0
    parser.feed(b"")  # without it, SAX takes an empty file for a whole one
    reader.listen(parser)
    while chunk := stream.read(_CHUNK):
        fed += len(chunk)
        before = reader.elements
        parser.feed(chunk)
        last_element = fed if reader.elements > before else last_element
        if fed - last_element > _MAX_ELEMENT:
            reader.fail("holds a value of more than 1 MiB, which no instrument writes")
        if fed > MAX_MLF_BYTES:
            reader.fail(f"is larger than {MAX_MLF_BYTES >> 20} MiB")
    parser.close()


class _Reader:
    """Collects records while the XML passes by."""

    def __init__(self, parser: IncrementalParser, path: str) -> None:
        self.parser, self.path = parser, path
        self.elements = 0
        self.images: list[ImageRecord] = []
        self.errors: list[str] = []
        self.incomplete: list[str] = []
        self.other_types: Counter[str] = Counter()
        self.values: dict[str, str] | None = None
        self.text: list[str] = []
        self.local_names = _LocalNames()
        self.wells: dict[tuple[str, str], str] = {}
        # A plate's records repeat few numbers many times.
        self.wholes: dict[str, int] = {}
        self.numbers: dict[str | None, float | None] = {None: None, "": None}

    def listen(self, parser: Any) -> None:  # Any: pyexpat's parser has no importable type
        """Let expat call this reader itself: SAX, whose parser has the guards, takes as long again in between."""
        expat = parser._parser
        expat.StartElementHandler, expat.EndElementHandler = self.start, self.end
        expat.CharacterDataHandler = self.text.append

    @property
    def line(self) -> int:
        """The line that is being read."""
        number: int = self.parser.getLineNumber()  # type: ignore[attr-defined] # a Locator, too
        return number

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.elements += 1
        kind = self.local_names[name]
        if self.elements == 1 and kind != "MeasurementData":
            self.fail(f"is not a CellVoyager's measurement data: it begins with <{_clean(name)}>")
        if kind == "MeasurementRecord":
            self.values = dict(zip(map(self.local_names.__getitem__, attributes), attributes.values(), strict=True))
            self.text.clear()

    def end(self, name: str) -> None:
        if self.values is None or self.local_names[name] != "MeasurementRecord":
            return
        values, text, self.values = self.values, "".join(self.text).strip(), None
        kind = values.get("Type", "IMG")
        if kind == "IMG":
            self.add_image(values, text)
        elif kind == "ERR":
            self.errors.append(self.sentence(values, text))
        else:
            self.other_types[_clean(kind)] += 1

    def add_image(self, values: Mapping[str, str], text: str) -> None:
        well = self.well(values)
        if well is None or not text or "Ch" not in values:
            self.incomplete.append(f"line {self.line}")
            return
        get, known, sizes = values.get, self.wholes, self.numbers
        try:
            counted = [known[get(key, "1")] for key in _COUNTED]
            measured = [sizes[get(key)] for key in _MEASURED]
        except KeyError:  # a text that is new
            counted = [self.whole(values, key) for key in _COUNTED]
            measured = [self.number(values, key) for key in _MEASURED]
        is_projection = get("ZImageProcessing", "").lower() not in _NO_PROCESSING
        site, channel, z_index, timepoint, timeline, action = counted
        x, y, z = measured
        file = text.replace("\\", "/")
        self.images.append(
            ImageRecord(well, site, channel, z_index, timepoint, timeline, action, is_projection, x, y, z, file)
        )

    def well(self, values: Mapping[str, str]) -> str | None:
        """Name of the record's well; None if it gives none."""
        place = values.get("Row", ""), values.get("Column", "")
        if "" in place:
            return None
        if place not in self.wells:
            row, column = self.whole(values, "Row"), self.whole(values, "Column")
            if not (1 <= row <= MAX_ROWS and 1 <= column <= MAX_COLUMNS):
                self.fail(
                    f"gives row {row} and column {column}; the largest plate has {MAX_ROWS} x {MAX_COLUMNS} wells"
                )
            self.wells[place] = well_name(row - 1, column - 1)
        return self.wells[place]

    def whole(self, values: Mapping[str, str], key: str) -> int:
        """A counted coordinate; an axis that the record leaves out has one value, 1."""
        text = values.get(key, "1")
        if text not in self.wholes:
            if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
                self.fail(f'gives {key}="{_clean(text)}", not a number')
            self.wholes[text] = int(text)
        return self.wholes[text]

    def number(self, values: Mapping[str, str], key: str) -> float | None:
        text = values.get(key)
        if text not in self.numbers:
            try:
                value = float((text or "").replace(",", "."))  # a decimal comma, where the computer is set to one
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                self.fail(f'gives {key}="{_clean(text or "")}", not a number of µm')
            self.numbers[text] = value
        return self.numbers[text]

    def sentence(self, values: Mapping[str, str], text: str) -> str:
        """What failed, where and when; an autofocus error names no field and no channel."""
        numbered = (
            ("field", "FieldIndex"),
            ("tile", "PartialTileIndex"),
            ("channel", "Ch"),
            ("z", "ZIndex"),
            ("time point", "TimePoint"),
        )
        well = self.well(values)
        places = ["The plate" if well is None else f"Well {well}"]
        places += [f"{called} {_clean(values[key])}" for called, key in numbered if key in values]
        time = f" ({_clean(values['Time'])})" if values.get("Time") else ""
        return f"{', '.join(places)}{time}: {_clean(text) or 'the instrument recorded an error without a text'}"

    def fail(self, what: str) -> NoReturn:
        raise UnreadablePlateError(f"{self.path}, line {self.line}, {what}.", path=self.path)

    def records(self) -> Records:
        warnings = [
            f"{count} records of type {kind} in {self.path} were left out: only IMG and ERR are known."
            for kind, count in sorted(self.other_types.items())
        ]
        if self.incomplete:
            shown = listed_first(self.incomplete, _NAMED)
            warnings.append(f"Records in {self.path} without a well, a channel or a file were left out: {shown}.")
        return Records(images=tuple(self.images), errors=tuple(self.errors), warnings=tuple(warnings))


class _LocalNames(dict[str, str]):
    """Names without the prefix of their namespace, which is the writer's choice; ``bts`` everywhere so far."""

    def __missing__(self, name: str) -> str:
        self[name] = local = name.rpartition(":")[2]
        return local


def _clean(text: str) -> str:
    """Foreign text for a sentence: one line, printable, of bounded length."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[:_MAX_TEXT])
    return " ".join(shown.split())
