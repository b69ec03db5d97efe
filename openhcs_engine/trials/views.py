"""The views of a trial: raw planes are read once, and each result is looked at before the next replaces it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import OpenHCSError
from openhcs_engine.model.image_index import ImageIndex, ImagePlane
from openhcs_engine.model.plate import Plate
from openhcs_engine.ngff.reading.reader import FieldReader, LabelReader, WellReader, open_well
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.pictures.greyscale import Scale, scale_of, shrink
from openhcs_engine.output.tables.numbers import numbers_of, tables_of
from openhcs_engine.raw.array_plane import read_array_plane
from openhcs_engine.raw.plane import read_plane
from openhcs_engine.trials.pictures import LONGEST_PX, Colour, count_objects, grey_picture, outlines
from openhcs_engine.trials.trial import Cell, Layer, View

_COLOURS: Final[Sequence[Colour]] = ((255, 214, 0), (0, 229, 255), (255, 64, 160), (118, 255, 60), (255, 140, 0))
_CHANNELS_SHOWN: Final = 3
"""Of a pipeline without labels."""

Plane = NDArray[Any]
_RawKey = tuple[str, int, int | None]
"""Well, channel and z_index; None: the brightest of all."""


@dataclass(slots=True)
class Views:
    """Collects what is shown of some wells of a plate."""

    plate: Plate
    index: ImageIndex
    site: int | None
    _raw: dict[_RawKey, Plane | str] = field(default_factory=dict)
    """Planes, or why there is none."""
    _shown: dict[str, tuple[str, Plane]] = field(default_factory=dict)
    """Key of a picture → title of its view, and the plane no larger than a picture."""
    _overlays: dict[str, bytes] = field(default_factory=dict)
    colours: dict[str, Colour] = field(default_factory=dict)
    _channels: dict[int, None] = field(default_factory=dict)
    """Channels in which labels were found."""

    def cell(self, number: int, well: str, folder: Path, warnings: tuple[str, ...]) -> Cell:
        """What a published well shows; it is read now, for the next combination replaces it."""
        fields = open_well(folder / "images.zarr", well)
        shown = self._field(fields)
        names = {channel.index: channel.label for channel in self.plate.channels}
        manifest = PlateFolder(folder, "zarr").published(well)
        numbers = () if manifest is None else numbers_of(tables_of(folder, manifest), names)
        grouped: dict[int, list[LabelReader]] = {}
        for label in map(shown.label, shown.labels):
            channel = label.axes.channel
            if channel is None:  # found in several: over the one that the others lie on
                channel = next(iter(grouped), self.plate.channels[0].index)
            grouped.setdefault(channel, []).append(label)
        views = [self._over_raw(number, well, channel, labels, shown) for channel, labels in grouped.items()]
        return Cell(
            views=tuple(views) or self._results(number, well, shown),
            counts=_counts(fields),
            numbers=numbers,
            warnings=warnings,
        )

    def raw(self, wells: Sequence[str]) -> dict[str, tuple[View, ...]]:
        """The raw planes of each well, in the channels in which objects were found, or in the first ones."""
        channels = tuple(self._channels) or tuple(each.index for each in self.plate.channels[:_CHANNELS_SHOWN])
        views: dict[str, tuple[View, ...]] = {}
        for well in wells:
            known = {(key[1], key[2]) for key in self._raw if key[0] == well}
            wanted = [pair for pair in known if pair[0] in channels] or [(channel, None) for channel in channels]
            views[well] = tuple(self._raw_view(well, *pair) for pair in sorted(wanted, key=str))
        return views

    def pictures(self) -> tuple[dict[str, bytes], dict[str, Scale]]:
        """All pictures by key, planes of one title on one scale, and the scales."""
        titles = dict.fromkeys(title for title, _ in self._shown.values())
        scales = {
            title: scale_of(plane for of, plane in self._shown.values() if of == title and np.isfinite(plane).all())
            for title in titles
        }
        drawn = {key: grey_picture(plane, scales[title]) for key, (title, plane) in self._shown.items()}
        return drawn | self._overlays, scales

    def _field(self, fields: WellReader) -> FieldReader:
        """The site that is shown, or what stands for all of them."""
        return fields[self.site if self.site in fields else next(iter(fields))]

    def _over_raw(
        self, number: int, well: str, channel: int, labels: Sequence[LabelReader], image: FieldReader
    ) -> View:
        """Outlines over the raw plane that the objects were found in."""
        z_indexes = labels[0].axes.z_indexes
        middle = len(z_indexes) // 2
        planes = {label.name: np.asarray(label.array()[0, min(middle, _last_z(label))]) for label in labels}
        shape = next(iter(planes.values())).shape
        raw = self._plane(well, channel, z_indexes[middle])
        self._channels[channel] = None
        if isinstance(raw, np.ndarray) and raw.shape == shape:
            view = self._raw_view(well, channel, z_indexes[middle])
        else:
            view = self._result(number, well, image, 0, shape)
        layers = []
        for name, plane in planes.items():
            if plane.shape != shape:
                continue
            colour = self.colours.setdefault(name, _next_colour(self.colours))
            key = f"labels-{number}-{well}-{name}"
            self._overlays[key] = outlines(plane, colour)
            layers.append(Layer(labels=name, picture=key))
        return View(title=view.title, picture=view.picture, layers=tuple(layers), note=view.note)

    def _raw_view(self, well: str, channel: int, z_index: int | None) -> View:
        title = self.plate.channel(channel).label
        plane = self._plane(well, channel, z_index)
        if isinstance(plane, str):
            return View(title=title, picture=None, note=plane)
        return View(title=title, picture=self._show(f"raw-{well}-{channel}-{z_index}", title, plane))

    def _results(self, number: int, well: str, image: FieldReader) -> tuple[View, ...]:
        """The images that the last step left."""
        return tuple(
            self._result(number, well, image, channel)
            for channel in range(min(len(image.axes.channels), _CHANNELS_SHOWN))
        )

    def _result(
        self, number: int, well: str, image: FieldReader, channel: int, shape: tuple[int, ...] | None = None
    ) -> View:
        array = image.array()
        title = f"{image.channel_labels[channel]}, last step"
        plane = array[0, channel, array.shape[2] // 2]
        if shape is not None and plane.shape != shape:
            return View(
                title=title,
                picture=self._show(f"blank-{shape}", "blank", np.zeros(shape, np.uint8)),
                note="No image is as large as these labels; they are drawn over black.",
            )
        if np.ma.is_masked(plane):
            return View(title=title, picture=None, note="This plane does not exist.")
        return View(title=title, picture=self._show(f"result-{number}-{well}-{channel}", title, np.asarray(plane)))

    def _show(self, key: str, title: str, plane: Plane) -> str:
        if key not in self._shown:
            self._shown[key] = title, shrink(plane, LONGEST_PX) if max(plane.shape) > LONGEST_PX else plane
        return key

    def _plane(self, well: str, channel: int, z_index: int | None) -> Plane | str:
        key = well, channel, z_index
        if key not in self._raw:
            self._raw[key] = self._read(*key)
        return self._raw[key]

    def _read(self, well: str, channel: int, z_index: int | None) -> Plane | str:
        """A raw plane of the first time point, or the brightest of all planes of z; a sentence if there is none."""
        planes = [plane for plane in self.index.present() if (plane.key.well, plane.key.channel) == (well, channel)]
        sites = {plane.key.site for plane in planes}
        site = self.site if self.site in sites else min(sites, default=None, key=str)
        planes = [plane for plane in planes if plane.key.site == site]
        first = min((plane.key.timepoint for plane in planes), default=None, key=lambda each: each or 0)
        planes = [plane for plane in planes if plane.key.timepoint == first]
        wanted = [plane for plane in planes if z_index is None or plane.key.z_index in (z_index, None)]
        if not wanted:
            return "This plane does not exist."
        try:
            read = [_pixels(self.plate.root, plane) for plane in wanted]
            return read[0] if len(read) == 1 else np.maximum.reduce(read)
        except (OpenHCSError, OSError, ValueError) as error:  # planes of different sizes
            return f"No picture: {error}"


def _pixels(root: str, plane: ImagePlane) -> Plane:
    if plane.array_index is None:
        return read_plane(root, str(plane.path))
    return read_array_plane(root, str(plane.path), plane.array_index)


def _counts(fields: WellReader) -> tuple[tuple[str, int], ...]:
    """Objects of each name over all sites, planes and time points of a well."""
    counts: dict[str, int] = {}
    for image in fields.values():
        for label in map(image.label, image.labels):
            array = label.array()
            planes = (array[t, z] for t in range(array.shape[0]) for z in range(array.shape[1]))
            counts[label.name] = counts.get(label.name, 0) + sum(
                count_objects(np.ma.filled(plane, 0)) for plane in planes
            )
    return tuple(counts.items())


def _last_z(label: LabelReader) -> int:
    return len(label.axes.z_indexes) - 1


def _next_colour(used: Mapping[str, Colour]) -> Colour:
    colours = cycle(_COLOURS)
    return [next(colours) for _ in range(len(used) + 1)][-1]


__all__ = ["Views"]
