"""Writing one well to the staging place, as OME-Zarr or as OME-TIFF files."""

from __future__ import annotations

import hashlib
import io
import json
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.context import MaterializePlan, ProcessingContext
from openhcs_engine.errors import ExecutionError, StorageError
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.ngff.metadata import PixelScale
from openhcs_engine.ngff.options import ImageOptions
from openhcs_engine.ngff.plate_store import WellWriter, WrittenWell, default_label
from openhcs_engine.output.layout import DISK_IMAGES, ZARR_IMAGES, place_in_set
from openhcs_engine.output.manifest import STAGED_TOKEN, StagedWell, removed
from openhcs_engine.output.opening import open_output
from openhcs_engine.output.place import output_errors
from openhcs_engine.output.provenance import projected_channels
from openhcs_engine.vfs.backend import ImageInfo
from openhcs_engine.vfs.files import StoredFile, remove, write_new
from openhcs_engine.vfs.unfinished import hidden_name

Images = Iterable[tuple[ImageKey, NDArray[Any]]]
Objects = Iterable[tuple[str, ImageKey, NDArray[Any]]]
Labels = Mapping[int | None, str]


class ImageWriter(Protocol):
    """What a kind of output offers to write one well's planes."""

    def write(self, key: ImageKey, plane: NDArray[Any]) -> None:
        """Store one plane ``(y, x)``."""

    def write_label(self, name: str, key: ImageKey, plane: NDArray[Any]) -> None:
        """Store one plane ``(y, x)`` of object numbers of the label ``name``."""

    def finish(self, labels: Labels, scale: PixelScale, projected: Collection[int]) -> WrittenWell:
        """Write what is known only at the end."""


def write_well(
    staging: Path,
    context: ProcessingContext,
    images: Images,
    channel_labels: Labels | None = None,
    options: ImageOptions | None = None,
) -> StagedWell:
    """Write a well's planes below the run's staging folder, one by one as they come.

    Parameters
    ----------
    staging
        The run's staging folder.
    context
        Says which well of which plate, and the kind of output.
    images
        Planes ``(y, x)`` with their coordinates, each once; None on an axis: the axis was collapsed.
    channel_labels
        Names of channels by number, None for a collapsed channel axis; default: the plate's own.
    options
        How OME-Zarr images are stored; default: as the context says.

    Raises
    ------
    OutputPlaceError
        If the place is full or refuses; nothing of the well stays behind. Errors of ``images`` pass as they are.
    """
    with stage_well(staging, context) as stage:
        return stage.write_results(images, channel_labels, options)


@dataclass(slots=True)
class WellStage:
    """A well's folder in the run's staging place; sets of images go into it one after another, the results last."""

    folder: Path
    context: ProcessingContext
    token: str
    places: list[str] = field(default_factory=list)
    files: list[StoredFile] = field(default_factory=list)

    def keep(self, kept: MaterializePlan, images: Images, channel_labels: Labels | None = None) -> None:
        """Write what a step left as an image set of its own; errors as ``write_well``."""
        self._write(kept.place, kept.backend, images, channel_labels, None)

    def write_results(
        self,
        images: Images,
        channel_labels: Labels | None = None,
        options: ImageOptions | None = None,
        objects: Objects = (),
    ) -> StagedWell:
        """Write what the last step left; the well is then whole.

        ``objects`` are planes of object numbers, each with the name of its label; see ``ngff.WellWriter.write_label``.
        """
        backend = self.context.output.backend
        image_set = ZARR_IMAGES if backend == "zarr" else DISK_IMAGES
        written = self._write(image_set, backend, images, channel_labels, options, objects)
        return StagedWell(
            well=self.context.well,
            folder=self.folder,
            token=self.token,
            places=tuple(self.places),
            files=tuple(self.files),
            absent=written.absent,
            absent_labels=written.absent_labels,
        )

    def _write(
        self,
        image_set: str,
        backend: str,
        images: Images,
        channel_labels: Labels | None,
        options: ImageOptions | None,
        objects: Objects = (),
    ) -> WrittenWell:
        context = self.context
        place = place_in_set(image_set, context.well)
        labels = plate_labels(context) | dict(channel_labels or {})
        scale = PixelScale(pixel_size_um=context.plate.pixel_size_um, z_step_um=context.plate.z_step_um)
        writer = _WRITERS[backend](self.folder / place, context, labels, options or context.output.images)
        written = _write(writer, context, images, objects, labels, scale)
        self.places.append(place)
        self.files += [replace(file, path=f"{place}/{file.path}") for file in written.files]
        return written


@contextmanager
def stage_well(staging: Path, context: ProcessingContext) -> Iterator[WellStage]:
    """A folder for one unfinished well below the run's staging folder; a failure leaves nothing of it behind.

    Raises
    ------
    OutputPlaceError
        If the place is full or refuses. Also if another run took this one for dead and removed its staging folder.
    """
    folder, token = staging / hidden_name(context.well), uuid.uuid4().hex
    try:
        with output_errors(_unfinished_place(context), f"writing well {context.well}"):
            folder.mkdir()
            (folder / STAGED_TOKEN).write_text(token)
        yield WellStage(folder, context, token)
    except BaseException as error:
        swept = not folder.is_dir()
        remove(folder)
        if swept and isinstance(error, OSError | StorageError):
            raise removed(context.well, folder) from error
        raise


def plate_labels(context: ProcessingContext) -> dict[int | None, str]:
    """The names that the plate gives its channels."""
    return {channel.index: channel.label for channel in context.plate.channels}


def _write(
    writer: ImageWriter,
    context: ProcessingContext,
    images: Images,
    objects: Objects,
    labels: Labels,
    scale: PixelScale,
) -> WrittenWell:
    count, place = 0, _unfinished_place(context)
    for key, plane in images:
        # Only the writing: an OSError of the images is about the raw plate.
        with output_errors(place, f"writing well {context.well}"):
            writer.write(key, plane)
        count += 1
    if not count:
        raise ExecutionError(f"Well {context.well}: the pipeline left no image to write.")
    for name, key, plane in objects:
        with output_errors(place, f"writing well {context.well}"):
            writer.write_label(name, key, plane)
    with output_errors(place, f"writing well {context.well}"):
        return writer.finish(labels, scale, projected_channels(context))


def _unfinished_place(context: ProcessingContext) -> Path:
    return open_output(context.output.address).unfinished_place


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

    def write(self, key: ImageKey, plane: NDArray[Any]) -> None:
        """Write one plane; StorageError if another one has the same name."""
        name = tiff_name(key, self.context)
        if name in self.files:
            raise StorageError(f"Well {key.well}: two planes would be written as {name}.")
        self.files[name] = write_new(self.folder, name, self._encode(key, plane, name))

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

        stored = plane.astype(np.uint8) if plane.dtype == bool else plane
        described = self._metadata(key, name)
        buffer = io.BytesIO()
        tifffile.imwrite(
            buffer,
            stored,
            ome=True,
            photometric="minisblack",
            metadata={"UUID": str(_uuid_of(stored, described)), **described},
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


def _zarr_writer(folder: Path, context: ProcessingContext, labels: Labels, options: ImageOptions) -> ImageWriter:
    return WellWriter(folder, context.well, context.plate.sites, options)


def _tiff_writer(folder: Path, context: ProcessingContext, labels: Labels, options: ImageOptions) -> ImageWriter:
    return TiffWellWriter(folder, context, labels)


_WRITERS: Final[Mapping[str, Callable[[Path, ProcessingContext, Labels, ImageOptions], ImageWriter]]] = {
    "zarr": _zarr_writer,
    "disk": _tiff_writer,
}

__all__ = ["TiffWellWriter", "WellStage", "plate_labels", "stage_well", "tiff_name", "write_well"]
