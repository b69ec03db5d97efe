"""Harmony's index (``Index.xml``, ``Index.idx.xml``): one record for each image, read as a stream.

Versions differ in the namespace and in where they describe a channel: V4 and V5 repeat it in each ``Image``, V6 and V7
write it once, as ``Maps/Map/Entry``. Elements are known by their local names, so versions to come read alike.
Lengths are metres unless the ``Unit`` attribute says otherwise.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import BinaryIO, Final, NamedTuple

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.microscopes.tiff_header import MAX_EDGE
from openhcs_engine.model.wells import MAX_COLUMNS, MAX_ROWS, well_name

MAX_INDEX_BYTES: Final = 4 << 30
"""An image's record has 1.7 KB in V5: two million images."""
MAX_IMAGES: Final = 4_000_000
_MAX_TOKEN: Final = 16 << 20
"""Bytes of one tag, comment or text; Harmony's longest, a flat-field profile, has 2 KB."""
_MAX_DEPTH: Final = 32
"""Nested elements; Harmony nests 5."""
_MAX_VALUE: Final = 2048
"""Letters of one value that is kept; longer ones are cut, and mean nothing."""
_CHUNK: Final = 1 << 18

_POWERS_OF_TEN: Final = {"m": 0, "mm": -3, "um": -6, "µm": -6, "μm": -6, "nm": -9}
_CHANNEL_KEYS: Final = (
    "ChannelName",
    "ImageResolutionX",
    "ImageResolutionY",
    "ImageSizeX",
    "ImageSizeY",
    "MainEmissionWavelength",
)
_IMAGE_KEYS: Final = frozenset(
    {"id", "State", "URL", "Row", "Col", "FieldID", "PlaneID", "TimepointID", "ChannelID"}
    | {"PositionX", "PositionY", "PositionZ", "AbsPositionZ", *_CHANNEL_KEYS}
)
_PLATE_KEYS: Final = frozenset({"Name", "PlateID", "PlateRows", "PlateColumns"})


class HarmonyImage(NamedTuple):  # a tuple: an index has 100,000 of them
    """One ``Image`` record."""

    well: str
    """Canonical name."""
    field: int
    plane: int
    channel: int
    timepoint: int
    """As written: V5 counts from 0."""
    url: str | None
    """Place of the file, relative to the index as a rule; None if the record gives none."""
    state: str
    """``Ok``, unless the image was not acquired."""
    x_um: float | None
    """Position of the image's centre, from the well's centre; y grows upwards."""
    y_um: float | None
    z_um: float | None
    absolute_z_um: float | None
    """Height of the stage itself."""

    @property
    def is_ok(self) -> bool:
        """False if the instrument says that there is no sound image."""
        return self.state.lower() == "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class HarmonyChannel:
    """What the index says of one channel; None where it is silent."""

    name: str | None = None
    pixel_size_um: tuple[float | None, float | None] = (None, None)
    """Width and height of a pixel in the specimen."""
    shape: tuple[int, int] | None = None
    """(y, x) in pixels."""
    emission_nm: float | None = None
    is_uniform: bool = True
    """False if the channel's images differ in one of these; the most frequent values are given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HarmonyIndex:
    """An index, complete."""

    plate_name: str | None
    rows: int | None
    columns: int | None
    wells: tuple[str, ...]
    """Wells that the plate's head lists as measured, in that order."""
    images: tuple[HarmonyImage, ...]
    channels: Mapping[int, HarmonyChannel]
    plates: int
    """How many plates it speaks of; more than 1 cannot be told apart."""
    unusable: int
    """Records without a row, column or channel."""


def read_harmony_index(stream: BinaryIO, path: str) -> HarmonyIndex:
    """Read an index of any version.

    Raises
    ------
    UnreadablePlateError
        If it is damaged, is no index, declares entities, or is absurdly large in any part.
    """
    from xml.parsers.expat import ExpatError

    from defusedxml.common import DefusedXmlException

    reader = _Reader()
    try:
        _parse(stream, reader)
    except DefusedXmlException as error:
        reason = f"it declares a document type or entities ({type(error).__name__}), which Harmony never does"
    except (ExpatError, LookupError, ValueError) as error:
        reason = str(error)
    else:
        if reader.root == "EvaluationInputData":
            return reader.finish()
        reason = f"its first element is {reader.root[:80]!r}, expected 'EvaluationInputData'"
    raise UnreadablePlateError(
        f"{path} cannot be read as Harmony's index: {reason}. Export it again, or move it away to read the images by "
        "their file names alone.",
        path=path,
    )


_Attributes = list[str]
"""Names and values in turns, as expat gives them."""
_Fields = dict[str, str]
"""Texts of an element's children, by local name; a unit stands behind the text, after a NUL (XML has none)."""


def _parse(stream: BinaryIO, reader: _Reader) -> None:
    from defusedxml.ElementTree import DefusedXMLParser

    # Its expat parser carries the guards (DTD, entities, external references). Building elements only to drop them
    # would take a third longer, and what has no handler costs nothing.
    parser = DefusedXMLParser(target=reader, forbid_dtd=True).parser
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler = reader.text.append
    parser.DefaultHandlerExpand = None
    read = 0
    while chunk := stream.read(_CHUNK):
        read += len(chunk)
        if read > MAX_INDEX_BYTES:
            raise ValueError(f"it is larger than {MAX_INDEX_BYTES >> 30} GiB")
        parser.Parse(chunk, False)
        if read - parser.CurrentByteIndex > _MAX_TOKEN or sum(map(len, reader.text)) > _MAX_TOKEN:
            raise ValueError(f"a single tag or text in it is longer than {_MAX_TOKEN >> 20} MiB")
    parser.Parse(b"", True)


class _LocalNames(dict[str, str]):
    """``namespace}Name`` → ``Name``, worked out once each."""

    def __missing__(self, name: str) -> str:
        local = self[name] = name.rpartition("}")[2]
        return local


class _Reader:
    """Receives the stream of tags; holds no more than the element that is open and what is kept."""

    def __init__(self) -> None:
        self.root = ""
        self.text: list[str] = []
        self.depth = 0
        self.local = _LocalNames()
        self.attributes: _Attributes = []
        self.fields: _Fields = {}
        self.kept: frozenset[str] = frozenset()
        self.close: Callable[[], None] | None = None
        self.record_depth = 0
        self.entry_channel: int | None = None
        self.section = ""
        self.plate: _Fields | None = None
        self.plates = 0
        self.unusable = 0
        self.wells: dict[str, None] = {}
        self.images: list[HarmonyImage] = []
        self.properties: dict[int, Counter[tuple[str | None, ...]]] = {}

    def start(self, name: str, attributes: _Attributes) -> None:
        self.text.clear()
        self.attributes = attributes
        self.depth += 1
        if self.close is None or self.depth >= _MAX_DEPTH or self.section == "Plates":
            self.enter(self.local[name], attributes)

    def enter(self, local: str, attributes: _Attributes) -> None:
        """An element outside images and channels: a section, the beginning of a record, or a part of the plate's."""
        if self.depth == 1:
            self.root = local
        if self.depth >= _MAX_DEPTH:
            raise ValueError(f"its elements are nested deeper than {_MAX_DEPTH}")
        if self.close is not None:
            if local == "Well":
                self.add_well(dict(_pairs(attributes)).get("id", ""))
        elif local in {"Plates", "Wells", "Maps", "Images"}:
            self.section = local
        elif (self.section, local) == ("Images", "Image"):
            self.open(_IMAGE_KEYS, self.add_image)
        elif (self.section, local) == ("Maps", "Entry"):
            self.entry_channel = _number(dict(_pairs(attributes)).get("ChannelID"))
            self.open(frozenset(_CHANNEL_KEYS), self.add_entry)
        elif (self.section, local) == ("Plates", "Plate"):
            self.open(_PLATE_KEYS, self.add_plate)

    def open(self, kept: frozenset[str], close: Callable[[], None]) -> None:
        self.fields, self.kept, self.close, self.record_depth = {}, kept, close, self.depth

    def end(self, name: str) -> None:
        self.depth -= 1
        if self.close is None:
            return
        if self.depth < self.record_depth:
            self.close()
            self.close = None
        elif (local := self.local[name]) in self.kept:
            value = "".join(self.text)[:_MAX_VALUE]
            self.fields[local] = f"{value}\0{_unit(self.attributes)}" if self.attributes else value

    def add_well(self, text: str) -> None:
        if len(text) == 4 and (well := _well(_number(text[:2]), _number(text[2:]))) is not None:
            self.wells[well] = None

    def add_plate(self) -> None:
        self.plates += 1
        self.plate = self.plate or self.fields

    def add_entry(self) -> None:
        if self.entry_channel is not None:
            self.add_properties(self.entry_channel)

    def add_properties(self, channel: int) -> None:
        get = self.fields.get
        seen = self.properties.get(channel)
        if seen is None:
            seen = self.properties[channel] = Counter()
        seen[tuple([get(key) for key in _CHANNEL_KEYS])] += 1

    def add_image(self) -> None:
        get = self.fields.get
        well, channel = _well(_number(get("Row")), _number(get("Col"))), _number(get("ChannelID"))
        if well is None or channel is None:
            self.unusable += 1
            return
        if len(self.images) >= MAX_IMAGES:
            raise ValueError(f"it has more than {MAX_IMAGES} images")
        self.add_properties(channel)
        field, plane, timepoint = _number(get("FieldID")), _number(get("PlaneID")), _number(get("TimepointID"))
        self.images.append(
            HarmonyImage(
                well,
                1 if field is None else field,
                1 if plane is None else plane,
                channel,
                0 if timepoint is None else timepoint,
                get("URL", "").strip() or None,
                clean_text(get("State")) or "Ok",
                _length(get("PositionX")),
                _length(get("PositionY")),
                _length(get("PositionZ")),
                _length(get("AbsPositionZ")),
            )
        )

    def finish(self) -> HarmonyIndex:
        plate = self.plate or {}
        return HarmonyIndex(
            plate_name=clean_text(plate.get("Name")) or clean_text(plate.get("PlateID")),
            rows=_within(_number(plate.get("PlateRows")), MAX_ROWS),
            columns=_within(_number(plate.get("PlateColumns")), MAX_COLUMNS),
            wells=tuple(self.wells),
            images=tuple(self.images),
            channels={channel: _channel(seen) for channel, seen in sorted(self.properties.items())},
            plates=self.plates,
            unusable=self.unusable,
        )


def _pairs(attributes: _Attributes) -> Iterator[tuple[str, str]]:
    return zip(attributes[::2], attributes[1::2], strict=True)


def clean_text(text: str | None) -> str | None:
    """A text for people: on one line, without control characters, not endless; None if nothing is left."""
    if text is None or (text.isprintable() and 0 < len(text) <= 200 and text == text.strip()):
        return text
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in text[:1000]).split())
    return words[:200].strip() or None


@lru_cache(maxsize=4096)
def _number(text: str | None) -> int | None:
    stripped = "" if text is None else text.strip()
    return int(stripped) if stripped.isascii() and stripped.isdigit() and len(stripped) <= 9 else None


def _within(number: int | None, limit: int) -> int | None:
    return number if number is not None and 0 < number <= limit else None


@lru_cache(maxsize=4096)
def _well(row: int | None, column: int | None) -> str | None:
    """Canonical name of a well by its row and column, counted from 1; None outside of any plate."""
    if row is None or column is None or not (0 < row <= MAX_ROWS and 0 < column <= MAX_COLUMNS):
        return None
    return well_name(row - 1, column - 1)


def _unit(attributes: _Attributes) -> str:
    return attributes[1] if attributes[0] == "Unit" else dict(_pairs(attributes)).get("Unit", "")


@lru_cache(maxsize=8192)
def _length(value: str | None, default: str = "m", wanted: int = -6) -> float | None:
    """A length in 10^wanted metres; None if it is no number, not finite, or in a unit that is no length's."""
    text, _, unit = (value or "").partition("\0")
    power = _POWERS_OF_TEN.get(unit.strip() or default)
    try:
        # In decimals: 1.1E-06 m is 1.1 µm, not 1.0999999999999999.
        number = math.nan if power is None else float(Decimal(text.strip()[:60]).scaleb(power - wanted))
    except (ArithmeticError, ValueError):  # all of decimal's exceptions are arithmetic errors
        return None
    return number if math.isfinite(number) else None


def _positive(value: str | None, default: str = "m", wanted: int = -6) -> float | None:
    number = _length(value, default, wanted)
    return number if number is not None and number > 0 else None


def _channel(seen: Counter[tuple[str | None, ...]]) -> HarmonyChannel:
    stated: list[Counter[str]] = [Counter() for _ in _CHANNEL_KEYS]
    for values, count in seen.items():
        for counter, value in zip(stated, values, strict=True):
            if value is not None:
                counter[value] += count
    name, width, height, size_x, size_y, emission = (
        max(sorted(counter), key=counter.__getitem__) if counter else None for counter in stated
    )
    rows, columns = _within(_number(size_y), MAX_EDGE), _within(_number(size_x), MAX_EDGE)
    return HarmonyChannel(
        name=clean_text(name),
        pixel_size_um=(_positive(width), _positive(height)),
        shape=None if rows is None or columns is None else (rows, columns),
        emission_nm=_positive(emission, "nm", -9),  # 0: not set, as with transmitted light
        is_uniform=all(len(counter) <= 1 for counter in stated),
    )
