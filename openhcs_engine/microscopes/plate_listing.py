"""What one look at a plate's folder found: the plate and the index of its planes, as one value with a digest."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

import msgspec

from openhcs_engine.errors import ContextFileError
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.model.digest import digest
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane, PlaneKind
from openhcs_engine.model.plate import Plate
from openhcs_engine.raw.array_listing import ArrayListing, FolderMemory
from openhcs_engine.raw.stamps import stamp

FORMAT: Final = 1
"""Version of the listing document."""


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One plane; a JSON list, to whose end later versions may add."""

    well: str
    site: int | None
    channel: int | None
    z_index: int | None
    timepoint: int | None
    path: str | None
    kind: str
    present: bool
    size: int
    mtime_ns: int
    array_index: tuple[int, ...] | None
    chunks: str = ""

    def digested(self) -> tuple[object, ...]:
        """What a digest covers; ``chunks`` of arrays alone, so that plates of files keep theirs."""
        values = msgspec.structs.astuple(self)
        return values if self.chunks else values[:-1]


@dataclass(frozen=True)
class PlateListing:
    """A plate and its planes, all of them stamped, at one moment."""

    plate: Plate
    index: ImageIndex

    @property
    def digest(self) -> str:
        """sha256 of the plate, its plate map, its planes with sizes and times; independent of where the folder lies."""
        plate = replace(self.plate, root="", warnings=(), notes=())  # texts that may name the folder
        told = {field.name: getattr(plate, field.name) for field in fields(plate)}
        del told["declares_planes"]
        for name in ("damaged_wells", "failed"):  # which versions before did not have: the same plate keeps its digest
            if not told[name]:
                del told[name]
        return digest([told, [_row(plane).digested() for plane in self.index]])


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    plate: Plate
    planes: list[Row]


def read_listing(
    folder: str | Path,
    plate_id: str | None = None,
    reading: ReadOptions | None = None,
    memory: FolderMemory | None = None,
) -> PlateListing:
    """List and parse a plate's folder once, with the chunks of its arrays.

    With a ``memory``, folders of chunks are passed over whose own time is the one that it remembers.

    Raises
    ------
    PlateError
        If the folder is no plate, several plates, or contradicts itself, or if a file of it vanishes meanwhile.
    """
    options = reading or ReadOptions()
    plate, index = options.detect(str(folder)).read_plate(plate_id)
    arrays = ArrayListing(plate.root, memory)
    stamped = stamp(index, plate.root, arrays)
    plate = replace(plate, warnings=(*plate.warnings, *arrays.unstored_parts()))
    return PlateListing(options.describe(plate), stamped)


def listing_to_json(listing: PlateListing) -> bytes:
    """The listing as a document of its own format."""
    rows = [_row(plane) for plane in listing.index]
    return msgspec.json.encode(_Document(format=FORMAT, plate=listing.plate, planes=rows))


def listing_from_json(document: bytes) -> PlateListing:
    """Read a listing back; ContextFileError if it is of another format."""
    try:
        parsed = msgspec.json.decode(document, type=_Document)
    except msgspec.MsgspecError as error:
        raise ContextFileError(f"This is not a plate listing of format {FORMAT}: {error}.") from error
    return PlateListing(parsed.plate, ImageIndex(tuple(_plane(row) for row in parsed.planes)))


def _row(plane: ImagePlane) -> Row:
    key = plane.key
    size, mtime_ns = plane.stamp
    return Row(
        key.well, key.site, key.channel, key.z_index, key.timepoint,
        plane.path, plane.kind.value, plane.present, size, mtime_ns, plane.array_index, plane.chunks or "",
    )  # fmt: skip


def _plane(row: Row) -> ImagePlane:
    return ImagePlane(
        key=ImageKey(row.well, row.site, row.channel, row.z_index, row.timepoint),
        path=row.path, kind=PlaneKind(row.kind), present=row.present, size=row.size, mtime_ns=row.mtime_ns,
        array_index=row.array_index, chunks=row.chunks,
    )  # fmt: skip
