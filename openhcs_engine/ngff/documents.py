"""The documents of OME-Zarr plates of any writer, NGFF 0.4 in zarr v2 and 0.5 in zarr v3, as far as we read them.

*Source*: OME-NGFF 0.4 and 0.5 (https://ngff.openmicroscopy.org), zarr v2 and v3 core specifications.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.model.system_errors import explained
from openhcs_engine.ngff.nodes import ARRAY_V2, ATTRIBUTES_V2, NODE_V3

MAX_DOCUMENT_BYTES: Final = 64 * 2**20
"""A plate's consolidated metadata may be large; anything beyond is no metadata."""


class PlateWell(msgspec.Struct, rename="camel"):
    """One entry of ``plate.wells``."""

    path: str
    row_index: int | None = None
    column_index: int | None = None


class Named(msgspec.Struct):
    """One entry of ``plate.rows`` or ``plate.columns``."""

    name: str


class PlateDocument(msgspec.Struct):
    """``plate``."""

    wells: list[PlateWell]
    rows: list[Named] = []
    columns: list[Named] = []
    name: Any = None  # Any: text; nothing hangs on it
    version: Any = None  # Any: text, numbers are seen, too
    acquisitions: msgspec.Raw = msgspec.Raw(b"[]")


class WellImage(msgspec.Struct):
    """One entry of ``well.images``."""

    path: str
    acquisition: int | None = None


class WellDocument(msgspec.Struct):
    """``well``."""

    images: list[WellImage]


class Axis(msgspec.Struct):
    """One entry of ``multiscales[].axes``."""

    name: str
    type: str | None = None
    unit: Any = None  # Any: text; another unit is an unknown one


class Transform(msgspec.Struct):
    """One coordinate transformation; only scales are of interest."""

    type: str
    scale: list[float | None] | None = None


class Dataset(msgspec.Struct, rename="camel"):
    """One resolution."""

    path: str
    coordinate_transformations: list[Transform] = []


class Multiscale(msgspec.Struct, rename="camel"):
    """One entry of ``multiscales``."""

    axes: list[Axis]
    datasets: list[Dataset]
    coordinate_transformations: list[Transform] = []


class _OmeroChannel(msgspec.Struct):
    label: Any = None  # Any: text; a wavelength is seen as a number, too


class _Omero(msgspec.Struct):
    channels: list[_OmeroChannel] = []


class Acquisition(msgspec.Struct):
    """One entry of ``plate.acquisitions``."""

    id: int
    name: str | None = None


class OwnAttributes(msgspec.Struct):
    """What our engine writes beside ``ome``, as far as reading back needs it. None: the axis was collapsed."""

    timepoint: list[int | None]
    channel: list[int | None]
    z_index: list[int | None]
    absent: list[tuple[int | None, int | None, int | None]] = []
    site: int | msgspec.UnsetType | None = msgspec.UNSET


class OwnPlate(msgspec.Struct):
    """The same of the plate group."""

    plate_id: str
    rows: int | None = None
    """Of the plate's format, which the listed wells need not fill."""
    columns: int | None = None
    wells: list[str] = []
    """Wells of the raw plate, published or not."""
    asked: list[str] | None = None
    """Wells that runs were asked for; None: an earlier version wrote it, which listed all wells."""


class OwnWell(msgspec.Struct):
    """The same of a well's group: the site of each image."""

    sites: list[int | None]


class Group(msgspec.Struct):
    """Attributes of a group: in zarr v2 its ``.zattrs``, in zarr v3 ``attributes.ome``."""

    version: Any = None  # Any: as in PlateDocument
    plate: PlateDocument | None = None
    well: WellDocument | None = None
    multiscales: list[Multiscale] | None = None
    omero: msgspec.Raw = msgspec.Raw(b"{}")
    openhcs: msgspec.Raw = msgspec.Raw(b"")
    """Our own attributes, wherever they stood."""

    def own(self, wanted: type[S], path: str) -> S | None:
        """Our own attributes; None where another program wrote the group. UnreadablePlateError if they are damaged."""
        return _decode(bytes(self.openhcs), wanted, path) if bytes(self.openhcs) else None

    def channel_labels(self) -> tuple[str | None, ...]:
        """Names of channels, in the array's order; none if ``omero``, which is transitional, is absent or unusual."""
        try:
            channels = msgspec.json.decode(self.omero, type=_Omero).channels
        except (msgspec.MsgspecError, RecursionError):
            return ()
        labels = ("" if channel.label is None else str(channel.label) for channel in channels)
        return tuple(label.strip() or None for label in labels)


class _AttributesV3(msgspec.Struct):  # names as in metadata.OWN
    ome: Group | None = None
    openhcs: msgspec.Raw = msgspec.Raw(b"")


class _NodeV3(msgspec.Struct):
    attributes: _AttributesV3 = msgspec.field(default_factory=_AttributesV3)


class _ArrayV2(msgspec.Struct):
    shape: list[int]
    chunks: list[int]
    dtype: Any  # Any: text, or a list for records


class _ChunkGridConfiguration(msgspec.Struct):
    chunk_shape: list[int]


class _ChunkGrid(msgspec.Struct):
    configuration: _ChunkGridConfiguration


class _ArrayV3(msgspec.Struct):
    shape: list[int]
    data_type: Any  # Any: text, or an object for extensions
    chunk_grid: _ChunkGrid


S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class ArrayDocument:
    """What an array says of itself, not yet judged."""

    path: str
    """Its metadata file."""
    shape: tuple[int, ...]
    dtype: object


@dataclass(frozen=True, slots=True)
class Nodes:
    """Reads the metadata of groups and arrays by their folders."""

    size_of: Callable[[str], int | None]
    """Bytes of a metadata file, None if there is none."""
    content_of: Callable[[str], bytes]

    def group(self, folder: str) -> Group | None:
        """A group's attributes; None if there is no such group, or it has none.

        Raises
        ------
        UnreadablePlateError
            If its document is too large, or not what OME-Zarr prescribes.
        """
        if (content := self._content(path := join(folder, NODE_V3))) is not None:
            attributes = _decode(content, _NodeV3, path).attributes
            return attributes.ome and msgspec.structs.replace(attributes.ome, openhcs=attributes.openhcs)
        if (content := self._content(path := join(folder, ATTRIBUTES_V2))) is not None:
            return _decode(content, Group, path)
        return None

    def group_path(self, folder: str) -> str:
        """The file that holds, or would hold, a group's attributes."""
        v3 = join(folder, NODE_V3)
        return v3 if self.size_of(v3) is not None else join(folder, ATTRIBUTES_V2)

    def mentions(self, folder: str, word: bytes) -> bool:
        """True if a group's document holds the word, or is not to be read at all."""
        try:
            return word in (self._content(self.group_path(folder)) or b"")
        except UnreadablePlateError:
            return True

    def array(self, folder: str) -> ArrayDocument | None:
        """An array's metadata; None if there is no such array. UnreadablePlateError as for ``group``."""
        if (content := self._content(path := join(folder, NODE_V3))) is not None:
            v3 = _decode(content, _ArrayV3, path)
            return ArrayDocument(path, tuple(v3.shape), v3.data_type)
        if (content := self._content(path := join(folder, ARRAY_V2))) is not None:
            v2 = _decode(content, _ArrayV2, path)
            return ArrayDocument(path, tuple(v2.shape), v2.dtype)
        return None

    def _content(self, path: str) -> bytes | None:
        size = self.size_of(path)
        if size is None:
            return None
        if size > MAX_DOCUMENT_BYTES:
            raise UnreadablePlateError(
                f"{path} has {size} bytes; the metadata of a plate have at most {MAX_DOCUMENT_BYTES}.", path=path
            )
        try:
            return self.content_of(path)
        except OSError as error:
            raise UnreadablePlateError(f"{path} cannot be read: {explained(error)}.", path=path) from error


def acquisitions_of(plate: PlateDocument) -> dict[int, str | None]:
    """Names of the acquisitions by id; none if they are not as they should be, which no image depends on."""
    try:
        listed = msgspec.json.decode(plate.acquisitions, type=list[Acquisition])
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return {acquisition.id: acquisition.name for acquisition in listed}


def join(folder: str, name: str) -> str:
    """A path below a folder; the root is the empty name."""
    return f"{folder}/{name}" if folder else name


def _decode(content: bytes, wanted: type[S], path: str) -> S:
    try:
        return msgspec.json.decode(content, type=wanted)
    except msgspec.ValidationError as error:
        raise UnreadablePlateError(f"{path} is not as OME-Zarr prescribes: {error}.", path=path) from error
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        return _decode_liberally(content, wanted, path, error)


def _decode_liberally(content: bytes, wanted: type[S], path: str, error: Exception) -> S:
    """Python's own writers leave NaN and byte order marks, which JSON has not; NaN is read as unknown."""
    try:
        value = json.loads(content.decode("utf-8-sig"), parse_constant=lambda _: None)
        return msgspec.json.decode(msgspec.json.encode(value), type=wanted)
    except msgspec.ValidationError as other:
        raise UnreadablePlateError(f"{path} is not as OME-Zarr prescribes: {other}.", path=path) from other
    except (ValueError, RecursionError):
        raise UnreadablePlateError(f"{path} is damaged: {error}.", path=path) from error


__all__ = [
    "ArrayDocument",
    "Axis",
    "Group",
    "Multiscale",
    "Nodes",
    "OwnAttributes",
    "OwnPlate",
    "OwnWell",
    "PlateDocument",
    "PlateWell",
    "Transform",
    "WellDocument",
    "WellImage",
    "acquisitions_of",
    "join",
]
