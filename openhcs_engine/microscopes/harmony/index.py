"""Harmony's index (``Index.xml``, ``Index.idx.xml``): one record for each image, read as a stream.

Versions differ in the namespace and in where they describe a channel: V4 and V5 repeat it in each ``Image``, V6 and V7
write it once, as ``Maps/Map/Entry``. Elements are known by their local names, so versions to come read alike.
Lengths are metres unless the ``Unit`` attribute says otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final

from msgspec import Struct

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.microscopes.harmony.records import MAX_VALUE, RecordFeed, Values
from openhcs_engine.microscopes.harmony.values import clean_text, length, number, positive, well, within
from openhcs_engine.model.wells import MAX_COLUMNS, MAX_ROWS
from openhcs_engine.raw.image_header import MAX_EDGE

MAX_INDEX_BYTES: Final = 4 << 30
"""An image's record has 1.7 KB in V5: two million images."""
MAX_IMAGES: Final = 4_000_000
_MAX_TOKEN: Final = 16 << 20
"""Bytes of one tag, comment or text; Harmony's longest, a flat-field profile, has 2 KB."""
_MAX_DEPTH: Final = 32
"""Nested elements; Harmony nests 5."""
_CHUNK: Final = 1 << 18

_CHANNEL_KEYS: Final = (
    "ChannelName",
    "ImageResolutionX",
    "ImageResolutionY",
    "ImageSizeX",
    "ImageSizeY",
    "MainEmissionWavelength",
)
_PLACE_KEYS: Final = ("Row", "Col", "ChannelID", "FieldID", "PlaneID", "TimepointID")
_POSITION_KEYS: Final = ("PositionX", "PositionY", "PositionZ", "AbsPositionZ")
_IMAGE_ORDER: Final = ("id", *_PLACE_KEYS, "URL", "State", *_POSITION_KEYS, *_CHANNEL_KEYS)
_IMAGE_KEYS: Final = frozenset(_IMAGE_ORDER)
_MEASURED: Final = frozenset({*_POSITION_KEYS, "ImageResolutionX", "ImageResolutionY", "MainEmissionWavelength"})
"""Elements whose attribute ``Unit`` matters."""
_CHANNEL_AT: Final = len(_IMAGE_ORDER) - len(_CHANNEL_KEYS)
_PLATE_KEYS: Final = frozenset({"Name", "PlateID", "PlateRows", "PlateColumns"})


class HarmonyImage(Struct, frozen=True, gc=False):  # a Struct: an index has 100,000 of them
    """One ``Image`` record."""

    well: str
    """Canonical name."""
    field: int
    plane: int
    channel: int
    timepoint: int
    """As written: V5 counts from 0."""
    url: str | None
    """Path of the file, relative to the index as a rule; None if the record gives none."""
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
    """Records without a row, column or channel, or with a number that is none."""
    first_unusable: str | None
    """The id of the first of them."""


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
    parser.DefaultHandlerExpand = None
    feed = RecordFeed(parser, reader, _IMAGE_ORDER, _MEASURED)
    read, rest = 0, b""
    while chunk := stream.read(_CHUNK):
        read += len(chunk)
        if read > MAX_INDEX_BYTES:
            raise ValueError(f"it is larger than {MAX_INDEX_BYTES >> 30} GiB")
        rest = feed.take(rest + chunk)
        if read - parser.CurrentByteIndex > _MAX_TOKEN or sum(map(len, reader.text)) > _MAX_TOKEN:
            raise ValueError(f"a single tag or text in it is longer than {_MAX_TOKEN >> 20} MiB")
    parser.Parse(rest, True)


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
        self.wanted: frozenset[str] = frozenset()
        self.close: Callable[[], None] | None = None
        self.record_depth = 0
        self.entry_channel: int | None = None
        self.section = ""
        self.plate: _Fields | None = None
        self.plates = 0
        self.records = 0
        self.last: Values = ()
        self.unusable = 0
        self.first_unusable: str | None = None
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
            self.open(_IMAGE_KEYS, self.close_image)
        elif (self.section, local) == ("Maps", "Entry"):
            self.entry_channel = number(dict(_pairs(attributes)).get("ChannelID"))
            self.open(frozenset(_CHANNEL_KEYS), self.add_entry)
        elif (self.section, local) == ("Plates", "Plate"):
            self.open(_PLATE_KEYS, self.add_plate)

    def open(self, wanted: frozenset[str], close: Callable[[], None]) -> None:
        self.fields, self.wanted, self.close, self.record_depth = {}, wanted, close, self.depth

    def end(self, name: str) -> None:
        self.depth -= 1
        if self.close is None:
            return
        if self.depth < self.record_depth:
            self.close()
            self.close = None
        elif (local := self.local[name]) in self.wanted:
            value = "".join(self.text)[:MAX_VALUE]
            has_unit = self.attributes and local in _MEASURED
            self.fields[local] = f"{value}\0{_unit(self.attributes)}" if has_unit else value

    def add_well(self, text: str) -> None:
        if len(text) == 4 and (name := well(text[:2], text[2:])) is not None:
            self.wells[name] = None

    def add_plate(self) -> None:
        self.plates += 1
        self.plate = self.plate or self.fields

    def add_entry(self) -> None:
        if self.entry_channel is not None:
            self.add_properties(self.entry_channel, tuple(map(self.fields.get, _CHANNEL_KEYS)))

    def add_properties(self, channel: int, values: Values) -> None:
        seen = self.properties.get(channel)
        if seen is None:
            seen = self.properties[channel] = Counter()
        seen[values] += 1

    def close_image(self) -> None:
        self.records += 1
        self.last = tuple(map(self.fields.get, _IMAGE_ORDER))
        self.add_image(self.last)

    def add_image(self, values: Values) -> None:
        """Add the image of a record whose texts stand in the order of ``_IMAGE_ORDER``."""
        name, row, column, channel, field, plane, timepoint, url, state, x, y, z, absolute_z = values[:_CHANNEL_AT]
        site, z_index, time = _stated(field, 1), _stated(plane, 1), _stated(timepoint, 0)
        place, wave = well(row, column), number(channel)
        if place is None or wave is None or site is None or z_index is None or time is None:
            self.unusable += 1
            self.first_unusable = self.first_unusable or clean_text(name)
            return
        if len(self.images) >= MAX_IMAGES:
            raise ValueError(f"it has more than {MAX_IMAGES} images")
        self.add_properties(wave, values[_CHANNEL_AT:])
        self.images.append(
            HarmonyImage(
                place,
                site,
                z_index,
                wave,
                time,
                None if url is None else url.strip() or None,
                clean_text(state) or "Ok",
                length(x),
                length(y),
                length(z),
                length(absolute_z),
            )
        )

    def finish(self) -> HarmonyIndex:
        plate = self.plate or {}
        return HarmonyIndex(
            plate_name=clean_text(plate.get("Name")) or clean_text(plate.get("PlateID")),
            rows=within(number(plate.get("PlateRows")), MAX_ROWS),
            columns=within(number(plate.get("PlateColumns")), MAX_COLUMNS),
            wells=tuple(self.wells),
            images=tuple(self.images),
            channels={channel: _channel(seen) for channel, seen in sorted(self.properties.items())},
            plates=self.plates,
            unusable=self.unusable,
            first_unusable=self.first_unusable,
        )


def _pairs(attributes: _Attributes) -> Iterator[tuple[str, str]]:
    return zip(attributes[::2], attributes[1::2], strict=True)


def _stated(text: str | None, default: int) -> int | None:
    """The number of an axis; ``default`` where the record has no such element, None where its text is no number."""
    return default if text is None else number(text)


def _unit(attributes: _Attributes) -> str:
    return attributes[1] if attributes[0] == "Unit" else dict(_pairs(attributes)).get("Unit", "")


def _channel(seen: Counter[tuple[str | None, ...]]) -> HarmonyChannel:
    stated: list[Counter[str]] = [Counter() for _ in _CHANNEL_KEYS]
    for values, count in seen.items():
        for counter, value in zip(stated, values, strict=True):
            if value is not None:
                counter[value] += count
    name, width, height, size_x, size_y, emission = (
        max(sorted(counter), key=counter.__getitem__) if counter else None for counter in stated
    )
    rows, columns = within(number(size_y), MAX_EDGE), within(number(size_x), MAX_EDGE)
    return HarmonyChannel(
        name=clean_text(name),
        pixel_size_um=(positive(width), positive(height)),
        shape=None if rows is None or columns is None else (rows, columns),
        emission_nm=positive(emission, "nm", -9),  # 0: not set, as with transmitted light
        is_uniform=all(len(counter) <= 1 for counter in stated),
    )
