"""Writing an OME-Zarr plate: the groups above the wells once, and each well by itself, plane by plane."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import PlaneMismatchError, StorageError
from openhcs_engine.model.components import Component
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.model.plate import Plate
from openhcs_engine.ngff.metadata import (
    GROUP,
    ChannelLook,
    PixelScale,
    StackAxes,
    document,
    group_document,
    image_attributes,
    plate_attributes,
    well_attributes,
    well_path,
)
from openhcs_engine.ngff.pyramid import halve, level_shapes
from openhcs_engine.ngff.reader import open_plate
from openhcs_engine.ngff.shards import SHARD_KEY, ShardWriter, array_document
from openhcs_engine.vfs.files import StoredFile, write_if_changed, write_new


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """How fields are stored."""

    levels: int = 3
    """Resolutions at most, the full one included; fewer where an edge falls below 256 px."""
    longest_chunk: int = 512
    """Longest edge of a chunk, px; chunks of an axis are of equal size up to it."""


def write_plate_groups(folder: Path, plate: Plate) -> None:
    """Write the plate's group and its rows; files that are right already are left alone, wells are never touched."""
    for row in sorted({well_path(well).split("/")[0] for well in plate.wells}):
        write_if_changed(folder / row / GROUP, group_document({}))
    write_if_changed(folder / GROUP, group_document(plate_attributes(plate)))


@dataclass(slots=True)
class FieldWriter:
    """One field: an array (t, c, z, y, x) and its smaller copies. All planes share shape and dtype."""

    folder: Path
    options: ImageOptions = ImageOptions()
    levels: list[ShardWriter] = field(default_factory=list)
    keys: list[ImageKey] = field(default_factory=list)
    ranges: dict[int | None, tuple[float, float]] = field(default_factory=dict)
    """Darkest and brightest value of each channel, on the smallest level."""

    def write(self, key: ImageKey, plane: NDArray[Any]) -> None:
        """Append one plane ``(y, x)`` in every resolution.

        Raises
        ------
        PlaneMismatchError
            If it differs in shape or dtype from the first plane, or is no image.
        StorageError
            If a plane of this coordinate was written before.
        """
        self._accept(key, plane)
        level = plane
        for number, writer in enumerate(self.levels):
            level = halve(level) if number else plane
            writer.add(_coordinate(key), level)
        self._note_range(key, level)
        self.keys.append(key)

    def finish(
        self,
        name: str,
        axes: StackAxes,
        scale: PixelScale,
        looks: Sequence[ChannelLook],
        own: Mapping[str, Any],
    ) -> list[StoredFile]:
        """Write the indexes and the metadata; planes of ``axes`` that were never written stay absent."""
        files = []
        for number, writer in enumerate(self.levels):
            crc = writer.finish(axes.coordinates())
            files.append(StoredFile(f"{number}/{SHARD_KEY}", writer.size, crc))
            files.append(write_new(self.folder, f"{number}/{GROUP}", document(array_document(axes.shape, writer))))
        attributes = image_attributes(
            name, levels=len(self.levels), scale=scale, channels=looks, dtype=self.levels[0].dtype, own=own
        )
        files.append(write_new(self.folder, GROUP, group_document(attributes)))
        return files

    def _accept(self, key: ImageKey, plane: NDArray[Any]) -> None:
        if plane.ndim != 2 or plane.size == 0 or plane.dtype.kind not in "biuf":
            raise PlaneMismatchError(
                f"{_describe(key)}: an image of shape {plane.shape} and type {plane.dtype} cannot be stored; a plane "
                "is (y, x), of whole numbers, floats or booleans.",
                path=str(self.folder),
            )
        if not self.levels:
            self._open(plane)
        first = self.levels[0]
        if plane.shape != first.shape or plane.dtype != first.dtype:
            raise PlaneMismatchError(
                f"{_describe(key)} has {plane.shape} pixels of {plane.dtype}, but the planes before it have "
                f"{first.shape} of {first.dtype}; one field holds planes of one kind. Bring them to the same size and "
                "type in a step.",
                path=str(self.folder),
            )
        if key in self.keys:
            raise StorageError(f"{_describe(key)} was written twice; every plane of a well is written once.")

    def _open(self, plane: NDArray[Any]) -> None:
        shapes = level_shapes((plane.shape[0], plane.shape[1]), self.options.levels)
        self.levels = [
            ShardWriter(self.folder / str(number) / SHARD_KEY, shape, plane.dtype, self.options.longest_chunk)
            for number, shape in enumerate(shapes)
        ]

    def _note_range(self, key: ImageKey, smallest: NDArray[Any]) -> None:
        low, high = float(np.min(smallest)), float(np.max(smallest))
        if not np.isfinite((low, high)).all():
            low, high = 0.0, 1.0  # JSON has no NaN
        before = self.ranges.get(key.channel, (low, high))
        self.ranges[key.channel] = min(low, before[0]), max(high, before[1])


@dataclass(frozen=True, slots=True)
class WrittenWell:
    """What one well's writer left."""

    files: tuple[StoredFile, ...]
    """Relative to the well's folder."""
    absent: tuple[ImageKey, ...]
    """Planes that the arrays have room for and that were never written."""


@dataclass(slots=True)
class WellWriter:
    """One well's group and fields, written below ``folder``; the image of a site is its position among ``sites``."""

    folder: Path
    well: str
    sites: Sequence[int]
    options: ImageOptions = ImageOptions()
    fields: dict[int | None, FieldWriter] = field(default_factory=dict)

    def write(self, key: ImageKey, plane: NDArray[Any]) -> None:
        """Append one plane to its field; see ``FieldWriter.write`` for what is refused."""
        if key.site not in self.fields:
            self.fields[key.site] = FieldWriter(self.folder / self._path(key.site), self.options)
        self.fields[key.site].write(key, plane)

    def finish(
        self, labels: Mapping[int | None, str], scale: PixelScale, projected: Collection[int] = ()
    ) -> WrittenWell:
        """Write all metadata; every field gets the same axes, those of all planes of the well.

        ``projected`` are channels whose pixels come from the instrument's own projections.
        """
        axes = StackAxes.of([key for writer in self.fields.values() for key in writer.keys])
        looks = [self._look(channel, labels) for channel in axes.channels]
        files, absent, paths = [], list[ImageKey](), dict[str, int | None]()
        for site in sorted(self.fields, key=lambda site: int(self._path(site))):
            path, writer = self._path(site), self.fields[site]
            paths[path] = site
            missing = _never_written(self.well, site, axes, writer.keys)
            own = _own_attributes(self.well, site, axes, missing)
            own["source"] = {str(channel): "projection" for channel in axes.channels if channel in projected}
            written = writer.finish(f"{self.well}/{path}", axes, _scale_of(axes, scale), looks, own)
            files += [replace(file, path=f"{path}/{file.path}") for file in written]
            absent += missing
        files.append(write_new(self.folder, GROUP, group_document(well_attributes(self.well, paths))))
        return WrittenWell(tuple(files), tuple(absent))

    def _path(self, site: int | None) -> str:
        """A collapsed site takes the first place; beside single sites there is none left for it but the last."""
        if site is None:
            return str(len(self.sites)) if self.fields.keys() - {None} else "0"
        return str(self.sites.index(site)) if site in self.sites else str(len(self.sites) + site)

    def _look(self, channel: int | None, labels: Mapping[int | None, str]) -> ChannelLook:
        seen = [writer.ranges[channel] for writer in self.fields.values() if channel in writer.ranges]
        return ChannelLook(
            label=labels.get(channel) or default_label(channel),
            low=min(low for low, _ in seen),
            high=max(high for _, high in seen),
        )


def write_field(
    folder: Path,
    images: Mapping[ImageKey, NDArray[Any]],
    *,
    name: str = "image",
    channel_labels: Mapping[int | None, str] | None = None,
    scale: PixelScale | None = None,
    options: ImageOptions = ImageOptions(),
) -> WrittenWell:
    """Write planes of one site as a stand-alone OME-Zarr image; its axes are those of the keys."""
    writer = FieldWriter(folder, options)
    for key, plane in images.items():
        writer.write(key, plane)
    axes, labels = StackAxes.of(writer.keys), channel_labels or {}
    looks = [
        ChannelLook(label=labels.get(channel) or default_label(channel), low=low, high=high)
        for channel, (low, high) in sorted(writer.ranges.items(), key=lambda item: axes.channels.index(item[0]))
    ]
    first = writer.keys[0]
    absent = _never_written(first.well, first.site, axes, writer.keys)
    own = _own_attributes(first.well, first.site, axes, absent)
    return WrittenWell(
        tuple(writer.finish(name, axes, _scale_of(axes, scale or PixelScale()), looks, own)), tuple(absent)
    )


def default_label(channel: int | None) -> str:
    """What a channel without a name is called; None: all channels in one."""
    return "All channels" if channel is None else f"Channel {channel}"


def _coordinate(key: ImageKey) -> tuple[int | None, int | None, int | None]:
    return key.timepoint, key.channel, key.z_index


def _never_written(well: str, site: int | None, axes: StackAxes, keys: Iterable[ImageKey]) -> list[ImageKey]:
    written = {_coordinate(key) for key in keys}
    return [ImageKey(well, site, c, z, t) for t, c, z in axes.coordinates() if (t, c, z) not in written]


def _own_attributes(well: str, site: int | None, axes: StackAxes, absent: Sequence[ImageKey]) -> dict[str, Any]:
    values = {
        Component.TIMEPOINT.value: axes.timepoints,
        Component.CHANNEL.value: axes.channels,
        Component.Z_INDEX.value: axes.z_indexes,
    }
    return {
        "well": well,
        "site": site,
        **values,
        "absent": [_coordinate(key) for key in absent],
        "collapsed": [name for name, numbers in {**values, "site": (site,)}.items() if numbers == (None,)],
    }


def _scale_of(axes: StackAxes, scale: PixelScale) -> PixelScale:
    """Collapsed planes have no distance."""
    return replace(scale, z_step_um=None) if axes.z_indexes == (None,) else scale


def _describe(key: ImageKey) -> str:
    place = f"site {key.site}, channel {key.channel}, z {key.z_index}, time {key.timepoint}"
    return f"Well {key.well}: the plane of {place}"


__all__ = [
    "FieldWriter",
    "ImageOptions",
    "WellWriter",
    "WrittenWell",
    "default_label",
    "open_plate",
    "write_field",
    "write_plate_groups",
]
