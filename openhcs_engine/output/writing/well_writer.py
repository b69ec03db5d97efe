"""Writing one well to the staging place, as OME-Zarr or as OME-TIFF files."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from openhcs_engine.errors import ExecutionError, StorageError
from openhcs_engine.files.atomic import StoredFile, remove, write_new
from openhcs_engine.files.unfinished import hidden_name
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.ngff.metadata import PixelScale
from openhcs_engine.ngff.options import ImageOptions
from openhcs_engine.ngff.writing.plate_store import WellWriter, WrittenWell
from openhcs_engine.output.layout import DISK_IMAGES, ZARR_IMAGES, place_in_set, preview_path
from openhcs_engine.output.manifest import STAGED_TOKEN, StagedWell, removed
from openhcs_engine.output.opening import open_output
from openhcs_engine.output.pictures.previews import Preview, PreviewPlanes
from openhcs_engine.output.preflight import output_errors
from openhcs_engine.output.provenance import projected_channels
from openhcs_engine.output.writing.image_writer import Images, ImageWriter, Labels, Objects
from openhcs_engine.output.writing.tiff_writer import TiffWellWriter
from openhcs_engine.plan.context import MaterializePlan, ProcessingContext


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
        Planes ``(y, x)`` with their coordinates, each once; None on an axis: the axis was collapsed. A well has a
        preview if they are a collection, of which it is known beforehand which plane is in the middle.
    channel_labels
        Names of channels by number, None for a collapsed channel axis; default: the plate's own.
    options
        How OME-Zarr images are stored; default: as the context says.

    Raises
    ------
    OutputPlaceError
        If the place is full or refuses; nothing of the well stays behind. Errors of ``images`` pass as they are.
    """
    keys = [key for key, _ in images] if isinstance(images, Collection) else ()
    with stage_well(staging, context) as stage:
        return stage.write_results(images, channel_labels, options, keys=keys)


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
        keys: Collection[ImageKey] = (),
    ) -> StagedWell:
        """Write what the last step left; the well is then whole.

        ``objects`` are planes of object numbers, each with the name of its label; see ``ngff.WellWriter.write_label``.
        ``keys`` are the coordinates of all images, from which those of the preview are chosen; none: there is none.
        """
        backend = self.context.output.backend
        image_set = ZARR_IMAGES if backend == "zarr" else DISK_IMAGES
        written = self._write(image_set, backend, images, channel_labels, options, objects, keys)
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
        keys: Collection[ImageKey] = (),
    ) -> WrittenWell:
        context = self.context
        place = place_in_set(image_set, context.well)
        labels, planes = plate_labels(context) | dict(channel_labels or {}), PreviewPlanes.of(keys)
        scale = PixelScale(pixel_size_um=context.plate.pixel_size_um, z_step_um=context.plate.z_step_um)
        writer = _WRITERS[backend](self.folder / place, context, labels, options or context.output.images)
        written = _write(writer, context, images, planes, objects, labels, scale)
        self.places.append(place)
        self.files += [replace(file, path=f"{place}/{file.path}") for file in written.files]
        if keys:
            self._write_preview(planes.preview(labels), sum(file.size for file in written.files))
        return written

    def _write_preview(self, preview: Preview, images: int) -> None:
        path = preview_path(self.context.well)
        if (content := preview.encode(images)) is not None:
            with output_errors(_unfinished_place(self.context), f"writing well {self.context.well}"):
                self.files.append(write_new(self.folder, path, content))
            self.places.append(path)


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
    planes: PreviewPlanes,
    objects: Objects,
    labels: Labels,
    scale: PixelScale,
) -> WrittenWell:
    count, place = 0, _unfinished_place(context)
    for key, plane in images:
        # Only the writing: an OSError of the images is about the raw plate.
        with output_errors(place, f"writing well {context.well}"):
            planes.add(key, writer.write(key, plane))
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


def _zarr_writer(folder: Path, context: ProcessingContext, labels: Labels, options: ImageOptions) -> ImageWriter:
    return WellWriter(folder, context.well, context.plate.sites, options)


def _tiff_writer(folder: Path, context: ProcessingContext, labels: Labels, options: ImageOptions) -> ImageWriter:
    return TiffWellWriter(folder, context, labels)


_WRITERS: Final[Mapping[str, Callable[[Path, ProcessingContext, Labels, ImageOptions], ImageWriter]]] = {
    "zarr": _zarr_writer,
    "disk": _tiff_writer,
}


__all__ = ["WellStage", "plate_labels", "stage_well", "write_well"]
