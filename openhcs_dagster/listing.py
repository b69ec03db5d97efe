"""What one look at a plate's folder found: the plate and the index of its planes, as one value with a digest."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

import msgspec

from openhcs_engine.context import digest
from openhcs_engine.errors import ContextFileError
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane, PlaneKind
from openhcs_engine.model.plate import Plate
from openhcs_engine.vfs.stamps import stamp

FORMAT: Final = 1
"""Version of the listing document."""

Row = tuple[
    str, int | None, int | None, int | None, int | None, str | None, str, bool, int, int, tuple[int, ...] | None
]


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
        return digest([told, [_row(plane) for plane in self.index]])


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    plate: Plate
    planes: list[Row]


def read_listing(folder: str | Path, plate_id: str | None = None, reading: ReadOptions | None = None) -> PlateListing:
    """List and parse a plate's folder once.

    Raises
    ------
    PlateError
        If the folder is no plate, several plates, or contradicts itself, or if a file of it vanishes meanwhile.
    """
    options = reading or ReadOptions()
    plate, index = options.detect(str(folder)).read_plate(plate_id)
    return PlateListing(options.describe(plate), stamp(index, plate.root))


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
    return (
        key.well, key.site, key.channel, key.z_index, key.timepoint,
        plane.path, plane.kind.value, plane.present, *plane.stamp, plane.array_index,
    )  # fmt: skip


def _plane(row: Row) -> ImagePlane:
    well, site, channel, z_index, timepoint, path, kind, present, size, mtime_ns, array_index = row
    return ImagePlane(
        key=ImageKey(well, site, channel, z_index, timepoint),
        path=path, kind=PlaneKind(kind), present=present, size=size, mtime_ns=mtime_ns, array_index=array_index,
    )  # fmt: skip
