"""Writing an OME-Zarr plate: the groups above the wells, and each well by itself, plane by plane."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from openhcs_engine.errors import OutputPlaceError, StorageError
from openhcs_engine.files.atomic import StoredFile, remove_empty_parents, write_if_changed
from openhcs_engine.files.links import refuse_links
from openhcs_engine.files.present import find
from openhcs_engine.model.components import Component
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.ngff.groups import version_of, write_group
from openhcs_engine.ngff.metadata import ChannelLook, PixelScale, well_attributes
from openhcs_engine.ngff.nodes import ATTRIBUTES_V2, GROUP_V2, NODE_V3
from openhcs_engine.ngff.options import DEFAULT_OPTIONS, ImageOptions
from openhcs_engine.ngff.plate_group import PlateGroup
from openhcs_engine.ngff.reading.reader import open_plate
from openhcs_engine.ngff.stack_axes import LabelAxes, StackAxes
from openhcs_engine.ngff.writing.field_writer import FieldWriter, describe

_REMOVED: Final = (NODE_V3, GROUP_V2, ATTRIBUTES_V2)
"""Files of a group in the order in which they go: without the first there is none."""


def write_plate_groups(folder: Path, group: PlateGroup, wells: Collection[str]) -> None:
    """Make a plate's group list these wells and no other, and its rows those that hold them; none: no group is left.

    Files that are right already are left alone, others are replaced whole; wells are never touched.

    Raises
    ------
    OutputPlaceError
        If the folder holds a plate of another version of OME-Zarr.
    UnsafePathError
        If a row, or a group's file, is a link.
    """
    refuse_other_version(folder, group.ngff)
    files = group.files(wells)
    # The plate's first: nobody may find a row named whose group is missing.
    found = find(folder, *(f"{row}{name}" for row in ("", "*/") for name in _REMOVED))
    refuse_links(folder, [*files, *(place.relative_to(folder) for place in found)])
    for path, content in files.items():
        write_if_changed(folder / path, content)
    for place in [place for place in found if place.relative_to(folder).as_posix() not in files]:
        place.unlink(missing_ok=True)
        remove_empty_parents(place, folder.parent)


def refuse_other_version(folder: Path, ngff: str) -> None:
    """OutputPlaceError if the folder holds a plate of another version of OME-Zarr: readers follow one throughout."""
    refuse_version(str(folder), version_of(folder), ngff)


def refuse_version(address: str, present: str | None, ngff: str) -> None:
    """The same of an address with a plate of the version ``present``."""
    if present not in (None, ngff):
        raise OutputPlaceError(
            f"{address} is an OME-Zarr plate of version {present}, and wells of version {ngff} cannot stand beside its "
            f"wells; write version {present} (--ngff {present}), or choose another output.",
            path=address,
        )


@dataclass(frozen=True, slots=True)
class WrittenWell:
    """What one well's writer left."""

    files: tuple[StoredFile, ...]
    """Relative to the well's folder."""
    absent: tuple[ImageKey, ...]
    """Planes that the arrays have room for and that were never written."""
    absent_labels: tuple[tuple[str, ImageKey], ...] = ()
    """The same of labels, each by its name."""


@dataclass(slots=True)
class WellWriter:
    """One well's group and fields, written below ``folder``; the image of a site is its position among ``sites``."""

    folder: Path
    well: str
    sites: Sequence[int]
    options: ImageOptions = DEFAULT_OPTIONS
    fields: dict[int | None, FieldWriter] = field(default_factory=dict)

    def write(self, key: ImageKey, plane: NDArray[Any]) -> NDArray[Any]:
        """Append one plane to its field; see ``FieldWriter.write`` for what is returned and refused."""
        return self._field(key.site).write(key, plane)

    def write_label(self, name: str, key: ImageKey, plane: NDArray[Any]) -> None:
        """Append one plane ``(y, x)`` of object numbers to a label of its field.

        Labels have no channel axis: the key's channel is the one in which the objects were found, or None. A collapsed
        axis of the key is one of size 1. See ``FieldWriter.write_label`` for what is refused.
        """
        self._field(key.site).write_label(name, key, plane)

    def finish(
        self, labels: Mapping[int | None, str], scale: PixelScale, projected: Collection[int] = ()
    ) -> WrittenWell:
        """Write all metadata; every field gets the same axes, those of all planes of the well.

        ``labels`` are names of channels; ``projected`` are channels whose pixels come from the instrument's own
        projections.

        Raises
        ------
        StorageError
            If a field has labels and no image.
        """
        self._refuse_labels_alone()
        axes = StackAxes.of([key for writer in self.fields.values() for key in writer.keys])
        of_labels = self._label_axes(axes)
        looks = [self._look(channel, labels) for channel in axes.channels]
        files, absent, absent_labels = list[StoredFile](), list[ImageKey](), list[tuple[str, ImageKey]]()
        paths: dict[str, int | None] = {}
        for site, writer in sorted(self.fields.items(), key=lambda item: int(item[1].folder.name)):
            path = writer.folder.name
            paths[path] = site
            left = _Left(self.well, site, writer, axes, of_labels)
            own = left.image_attributes()
            own["source"] = {str(channel): "projection" for channel in axes.channels if channel in projected}
            written = writer.finish(f"{self.well}/{path}", axes, _scale_of(axes, scale), looks, own)
            written += writer.finish_labels(of_labels, scale, left.labels_attributes())
            files += [replace(file, path=f"{path}/{file.path}") for file in written]
            absent += left.absent()
            absent_labels += [(name, key) for name in writer.labels for key in left.absent_of(name)]
        files += write_group(self.folder, "", well_attributes(self.well, paths), self.options.ngff)
        return WrittenWell(tuple(files), tuple(absent), tuple(absent_labels))

    def _field(self, site: int | None) -> FieldWriter:
        if site not in self.fields:
            self.fields[site] = FieldWriter(self.folder / self._new_path(site), self.options)
        return self.fields[site]

    def _new_path(self, site: int | None) -> str:
        """A collapsed site takes the first place; beside single sites there is none left for it but the last."""
        taken = {writer.folder.name for writer in self.fields.values()}
        if site is None:
            path = str(len(self.sites)) if taken else "0"
        else:
            path = str(self.sites.index(site)) if site in self.sites else str(len(self.sites) + site)
        return path if path not in taken else str(max(len(self.sites), *map(int, taken)) + 1)

    def _refuse_labels_alone(self) -> None:
        for writer in self.fields.values():
            if not writer.keys:
                name, label = next(iter(writer.labels.items()))
                raise StorageError(
                    f"{describe(label.keys[0])} is one of label {name!r}, but its field has no image; a label is "
                    "stored with the image in which its objects were found."
                )

    def _label_axes(self, image: StackAxes) -> dict[str, LabelAxes]:
        """Axes of each label, the same in every field."""
        keys: dict[str, list[ImageKey]] = {}
        for writer in self.fields.values():
            for name, label in writer.labels.items():
                keys.setdefault(name, []).extend(label.keys)
        return {name: LabelAxes.of(found, image) for name, found in keys.items()}

    def _look(self, channel: int | None, labels: Mapping[int | None, str]) -> ChannelLook:
        seen = [writer.ranges[channel] for writer in self.fields.values() if channel in writer.ranges]
        return _look(channel, labels, seen)


@dataclass(frozen=True, slots=True)
class _Left:
    """What is said of one field once all its planes are known."""

    well: str
    site: int | None
    writer: FieldWriter
    axes: StackAxes
    label_axes: Mapping[str, LabelAxes]

    def absent(self) -> list[ImageKey]:
        """Planes of the image that were never written."""
        return _never_written(self.axes, self.well, self.site, self.writer.keys)

    def absent_of(self, name: str) -> list[ImageKey]:
        """The same of a label."""
        return _never_written(self.label_axes[name], self.well, self.site, self.writer.labels[name].keys)

    def image_attributes(self) -> dict[str, Any]:
        """Our own attributes of the image."""
        values = {
            Component.TIMEPOINT.value: self.axes.timepoints,
            Component.CHANNEL.value: self.axes.channels,
            Component.Z_INDEX.value: self.axes.z_indexes,
        }
        return {
            "well": self.well,
            "site": self.site,
            **values,
            "absent": [StackAxes.coordinate(key) for key in self.absent()],
            "collapsed": [name for name, numbers in {**values, "site": (self.site,)}.items() if numbers == (None,)],
        }

    def labels_attributes(self) -> dict[str, dict[str, Any]]:
        """Our own attributes of each label."""
        return {
            name: {
                "well": self.well,
                "site": self.site,
                Component.TIMEPOINT.value: self.label_axes[name].timepoints,
                Component.Z_INDEX.value: self.label_axes[name].z_indexes,
                "found_in_channel": self.label_axes[name].channel,
                "absent": [LabelAxes.coordinate(key) for key in self.absent_of(name)],
            }
            for name in self.writer.labels
        }


def write_field(
    folder: Path,
    images: Mapping[ImageKey, NDArray[Any]],
    *,
    name: str = "image",
    channel_labels: Mapping[int | None, str] | None = None,
    scale: PixelScale | None = None,
    options: ImageOptions = DEFAULT_OPTIONS,
) -> WrittenWell:
    """Write planes of one site as a stand-alone OME-Zarr image; its axes are those of the keys."""
    writer = FieldWriter(folder, options)
    for key, plane in images.items():
        writer.write(key, plane)
    axes, labels = StackAxes.of(writer.keys), channel_labels or {}
    looks = [
        _look(channel, labels, [writer.ranges[channel]] if channel in writer.ranges else [])
        for channel in axes.channels
    ]
    first = writer.keys[0]
    left = _Left(first.well, first.site, writer, axes, {})
    files = writer.finish(name, axes, _scale_of(axes, scale or PixelScale()), looks, left.image_attributes())
    return WrittenWell(tuple(files), tuple(left.absent()))


def _look(channel: int | None, labels: Mapping[int | None, str], seen: Collection[tuple[float, float]]) -> ChannelLook:
    """``seen`` are the dark and bright ends of fields; none if no pixel of the channel is a number."""
    return ChannelLook(
        label=labels.get(channel) or default_label(channel),
        low=min((low for low, _ in seen), default=0.0),
        high=max((high for _, high in seen), default=1.0),
    )


def default_label(channel: int | None) -> str:
    """What a channel without a name is called; None: all channels in one."""
    return "All channels" if channel is None else f"Channel {channel}"


def _never_written(
    axes: StackAxes | LabelAxes, well: str, site: int | None, keys: Collection[ImageKey]
) -> list[ImageKey]:
    written = {axes.coordinate(key) for key in keys}
    return [key for key in axes.keys(well, site) if axes.coordinate(key) not in written]


def _scale_of(axes: StackAxes, scale: PixelScale) -> PixelScale:
    """Collapsed planes have no distance."""
    return replace(scale, z_step_um=None) if axes.z_indexes == (None,) else scale


__all__ = [
    "FieldWriter",
    "ImageOptions",
    "WellWriter",
    "WrittenWell",
    "default_label",
    "open_plate",
    "refuse_other_version",
    "refuse_version",
    "write_field",
    "write_plate_groups",
]
