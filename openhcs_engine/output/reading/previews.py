"""How published wells look: by the previews that their workers wrote, and where there is none by their images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c
from numpy.typing import NDArray

from openhcs_engine.errors import PlaneReadError
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.output.layout import DISK_IMAGES, ZARR_IMAGES, is_preview
from openhcs_engine.output.pictures.previews import Preview, PreviewPlanes

if TYPE_CHECKING:
    from openhcs_engine.output.manifest import WellManifest

Planes = dict[ImageKey, Callable[[], NDArray[Any] | None]]
"""What reads each plane that exists, on its smallest level."""


def preview_of(folder: Path, manifest: WellManifest) -> Preview:
    """How a published well of an output in a folder looks.

    Wells of earlier versions have no preview, and neither have very small ones; one that is damaged, as ``verify``
    says, does not keep the well from being shown.

    Raises
    ------
    NotAnOutputError, PlaneReadError
        If there is no preview, and the images are missing or damaged.
    """
    for file in manifest.files:
        if is_preview(file.path):
            with suppress(OSError, PlaneReadError):
                content = (folder / file.path).read_bytes()
                if google_crc32c.value(content) == file.crc32c:
                    return Preview.decode(content, file.path)
    return preview_of_images(folder, manifest)


def preview_of_images(folder: Path, manifest: WellManifest) -> Preview:
    """The preview that a well's worker would have written; raises as ``preview_of``."""
    read = _read_zarr if manifest.backend == "zarr" else _read_tiff
    labels, reads = read(folder, manifest.well)
    planes = PreviewPlanes.of(reads.keys())
    for key in planes.shown:
        plane = reads[key]()
        assert plane is not None, "only planes that exist are listed"
        planes.add(key, plane)
    return planes.preview(labels)


def _read_zarr(folder: Path, well: str) -> tuple[dict[int | None, str], Planes]:
    from openhcs_engine.ngff.reading.reader import open_well

    labels, planes = dict[int | None, str](), Planes()
    for site, image in open_well(folder / ZARR_IMAGES, well).items():
        axes, absent, level = image.axes, image.absent, image.levels - 1
        labels |= zip(axes.channels, image.channel_labels, strict=True)
        for key in axes.keys(well, site):
            if axes.coordinate(key) not in absent:
                where = {"channel": key.channel, "z_index": key.z_index, "timepoint": key.timepoint}
                planes[key] = partial(image.plane, **where, level=level)
    return labels, planes


def _read_tiff(folder: Path, well: str) -> tuple[dict[int | None, str], Planes]:
    from openhcs_engine.output.reading.tiff_reader import open_tiff_well
    from openhcs_engine.raw.plane import read_plane

    labels, planes = dict[int | None, str](), Planes()
    for site, image in open_tiff_well(folder / DISK_IMAGES / well).items():
        labels |= zip(sorted({channel for _, channel, _ in image.files}), image.channel_labels, strict=True)
        for (timepoint, channel, z_index), path in image.files.items():
            key = ImageKey(well, site, channel, z_index, timepoint)
            planes[key] = partial(read_plane, path.parent, path.name)
    return labels, planes


__all__ = ["preview_of", "preview_of_images"]
