"""One well as OME-TIFF files, one a plane."""

from __future__ import annotations

import hashlib
import io
import json
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import StorageError
from openhcs_engine.files.atomic import StoredFile, write_new
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.ngff.metadata import PixelScale
from openhcs_engine.ngff.writing.plate_store import WrittenWell, default_label
from openhcs_engine.output.provenance import projected_channels
from openhcs_engine.output.writing.image_writer import Labels
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.vfs.backend import ImageInfo


@dataclass(slots=True)
class TiffWellWriter:
    """One OME-TIFF file a plane, ``B03_s1_w1_z01_t1.ome.tif``, numbers padded to the longest on the plate.

    A collapsed axis has the number 1 in the name; the file's description says that it was collapsed.
    """

    folder: Path
    context: ProcessingContext
    labels: Labels
    files: dict[str, StoredFile] = field(default_factory=dict)
    keys: list[ImageKey] = field(default_factory=list)

    def write(self, key: ImageKey, plane: NDArray[Any]) -> NDArray[Any]:
        """Write one plane, booleans as 0 and 1; StorageError if another one has the same name."""
        name = tiff_name(key, self.context)
        if name in self.files:
            raise StorageError(f"Well {key.well}: two planes would be written as {name}.")
        stored = plane.astype(np.uint8) if plane.dtype == bool else plane
        self.files[name] = write_new(self.folder, name, self._encode(key, stored, name))
        return stored

    def write_label(self, name: str, key: ImageKey, plane: NDArray[Any]) -> None:
        """Write one plane of object numbers as uint32, ``B03_s1_w1_z01_t1_label-<name>.ome.tif``."""
        file = tiff_name(key, self.context, f"_label-{name}")
        if file in self.files:
            raise StorageError(f"Well {key.well}: two planes would be written as {file}.")
        self.files[file] = write_new(self.folder, file, self._encode(key, plane.astype(np.uint32), file))

    def finish(self, labels: Labels, scale: PixelScale, projected: Collection[int]) -> WrittenWell:
        """Nothing is left to write; planes that do not exist have no file."""
        return WrittenWell(tuple(self.files.values()), ())

    def _encode(self, key: ImageKey, plane: NDArray[Any], name: str) -> bytes:
        import tifffile

        described = self._metadata(key, name)
        buffer = io.BytesIO()
        tifffile.imwrite(
            buffer,
            plane,
            ome=True,
            photometric="minisblack",
            metadata={"UUID": str(_uuid_of(plane, described)), **described},
        )
        return buffer.getvalue()

    def _metadata(self, key: ImageKey, file: str) -> dict[str, object]:
        size = self.context.plate.pixel_size_um
        physical: dict[str, object] = (
            {}
            if size is None
            else {"PhysicalSizeX": size, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": size, "PhysicalSizeYUnit": "µm"}
        )
        collapsed = [axis for axis in _NAMED_AXES if getattr(key, axis) is None]
        sentences = [f"collapsed: {', '.join(collapsed)}"] if collapsed else []
        if key.channel in projected_channels(self.context):
            sentences.append("source: projection")
        told: dict[str, object] = {"Description": "; ".join(sentences)} if sentences else {}
        name = self.labels.get(key.channel) or default_label(key.channel)
        return {"axes": "YX", "Name": file, "Channel": {"Name": ImageInfo(channel=name).channel}, **physical, **told}


def _uuid_of(plane: NDArray[Any], described: Mapping[str, object]) -> uuid.UUID:
    """By the content: the same file has the same bytes whenever it is written."""
    content = hashlib.sha256(json.dumps([plane.dtype.str, plane.shape, described], sort_keys=True).encode())
    content.update(np.ascontiguousarray(plane).data)
    return uuid.UUID(bytes=content.digest()[:16], version=5)


_NAMED_AXES: Final = ("site", "channel", "z_index", "timepoint")


def tiff_name(key: ImageKey, context: ProcessingContext, suffix: str = "") -> str:
    """Name of a plane's file; sorts as the numbers do. ``suffix`` stands behind the coordinates."""
    plate = context.plate
    numbers = (
        ("s", key.site, plate.sites),
        ("w", key.channel, [channel.index for channel in plate.channels]),
        ("z", key.z_index, plate.z_indexes),
        ("t", key.timepoint, plate.timepoints),
    )
    parts = (
        f"{letter}{1 if number is None else number:0{max(len(str(value)) for value in (1, *known))}d}"
        for letter, number, known in numbers
    )
    return f"{key.well}_{'_'.join(parts)}{suffix}.ome.tif"


__all__ = ["TiffWellWriter", "tiff_name"]
