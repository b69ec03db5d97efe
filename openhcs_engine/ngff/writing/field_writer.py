"""Writing one field of a well: its image and its labels, plane by plane, all resolutions in one pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import PixelValueError, PlaneMismatchError, StorageError
from openhcs_engine.files.atomic import StoredFile
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.ngff.groups import write_group
from openhcs_engine.ngff.metadata import (
    ChannelLook,
    PixelScale,
    image_attributes,
    label_attributes,
    labels_attributes,
)
from openhcs_engine.ngff.options import DEFAULT_OPTIONS, ImageOptions
from openhcs_engine.ngff.stack_axes import LABEL_TYPE, Coordinate, LabelAxes, StackAxes
from openhcs_engine.ngff.tiles import PlaneForm
from openhcs_engine.ngff.writing.chunk_files import ChunkFileWriter
from openhcs_engine.ngff.writing.pyramid import every_second, halve, level_shapes
from openhcs_engine.ngff.writing.shards import ShardWriter

_LABEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
_SAMPLE: Final = 4096
"""Pixels of a plane's smallest level that enter its percentiles."""


class ArrayWriter(Protocol):
    """What a version of zarr offers to write one array."""

    form: PlaneForm

    def add(self, coordinate: Coordinate, plane: NDArray[Any]) -> None:
        """Write one plane ``(y, x)``."""

    def finish(self, stack: tuple[int, ...], coordinates: Sequence[Coordinate]) -> list[StoredFile]:
        """Put the planes in order and write the array's metadata."""


_WRITERS: Final[Mapping[str, Callable[[Path, PlaneForm, str], ArrayWriter]]] = {
    "0.5": ShardWriter,
    "0.4": ChunkFileWriter,
}


@dataclass(slots=True)
class Pyramid:
    """An array and its smaller copies. All planes share shape and dtype."""

    folder: Path
    options: ImageOptions
    names: str
    """Axes, e.g. ``tczyx``."""
    smaller: Callable[[NDArray[Any]], NDArray[Any]]
    """Makes the next resolution of a plane."""
    levels: list[ArrayWriter] = field(default_factory=list)

    @property
    def form(self) -> PlaneForm:
        """Of the full size."""
        return self.levels[0].form

    def add(self, coordinate: Coordinate, plane: NDArray[Any], described: str) -> NDArray[Any]:
        """Write a plane at every resolution; return the smallest. PlaneMismatchError if it is of another kind."""
        if not self.levels:
            self.expect((plane.shape[0], plane.shape[1]), plane.dtype)
        if plane.shape != self.form.shape or plane.dtype != self.form.dtype:
            raise PlaneMismatchError(
                f"{described} has {plane.shape} pixels of {plane.dtype}, but the planes before it have "
                f"{self.form.shape} of {self.form.dtype}; one field holds planes of one kind. Bring them to the same "
                "size and type in a step.",
                path=str(self.folder),
            )
        level = plane
        for number, writer in enumerate(self.levels):
            level = self.smaller(level) if number else plane
            writer.add(coordinate, level)
        return level

    def finish(self, axes: StackAxes | LabelAxes) -> list[StoredFile]:
        """Write what is known at the end; files are relative to the folder."""
        return [
            replace(file, path=f"{number}/{file.path}")
            for number, writer in enumerate(self.levels)
            for file in writer.finish(axes.shape, axes.coordinates())
        ]

    def expect(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        """Make room for planes of a shape and type; the first plane does so unasked."""
        shapes = level_shapes(shape, self.options.levels)
        self.levels = [
            _WRITERS[self.options.ngff](self.folder / str(number), PlaneForm.of(shape, dtype, self.options), self.names)
            for number, shape in enumerate(shapes)
        ]


@dataclass(slots=True)
class LabelWriter:
    """One label of a field: an array (t, z, y, x) of object numbers, 0 where there is none."""

    name: str
    pixels: Pyramid
    keys: list[ImageKey] = field(default_factory=list)

    def write(self, key: ImageKey, plane: NDArray[Any]) -> None:
        """Append one plane; see ``FieldWriter.write_label`` for what is refused."""
        described = f"{describe(key)}, label {self.name!r}:"
        if any(key == known for known in self.keys):
            raise StorageError(f"{described} this plane was written twice; every plane of a label is written once.")
        if self.keys and key.channel != self.keys[0].channel:
            raise StorageError(
                f"{described} a label has no channel axis, and its planes before are of channel "
                f"{self.keys[0].channel}; give the objects of each channel a name of their own."
            )
        self.pixels.add(LabelAxes.coordinate(key), _as_label(plane, described), described)
        self.keys.append(key)

    def finish(self, axes: LabelAxes, scale: PixelScale, ngff: str, own: Mapping[str, Any]) -> list[StoredFile]:
        """Write the array's and the group's metadata."""
        attributes = label_attributes(self.name, levels=len(self.pixels.levels), scale=scale, own=own)
        return [*self.pixels.finish(axes), *write_group(self.pixels.folder, "", attributes, ngff)]


@dataclass(slots=True)
class FieldWriter:
    """One field: an array (t, c, z, y, x), its smaller copies, and labels below ``labels/``."""

    folder: Path
    options: ImageOptions = DEFAULT_OPTIONS
    keys: list[ImageKey] = field(default_factory=list)
    ranges: dict[int | None, tuple[float, float]] = field(default_factory=dict)
    """Dark and bright end of each channel's finite pixels, on the smallest level; none where no pixel is finite."""
    labels: dict[str, LabelWriter] = field(default_factory=dict)
    _pixels: Pyramid = field(init=False)

    def __post_init__(self) -> None:
        self._pixels = Pyramid(self.folder, self.options, StackAxes.names, halve)

    def expect(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        """Say what planes will be like, before the first or if none exists; ``shape`` is (y, x)."""
        self._pixels.expect(shape, dtype)

    def write(self, key: ImageKey, plane: NDArray[Any]) -> NDArray[Any]:
        """Append one plane ``(y, x)`` in every resolution; return the smallest.

        Raises
        ------
        PlaneMismatchError
            If it differs in shape or dtype from the first plane, or is no image.
        StorageError
            If a plane of this coordinate was written before.
        """
        _refuse_other_than_planes(plane, "biuf", f"{describe(key)}:")
        if key in self.keys:
            raise StorageError(f"{describe(key)} was written twice; every plane of a well is written once.")
        smallest = self._pixels.add(StackAxes.coordinate(key), plane, describe(key))
        self._note_range(key, smallest)
        self.keys.append(key)
        return smallest

    def write_label(self, name: str, key: ImageKey, plane: NDArray[Any]) -> None:
        """Append one plane ``(y, x)`` of object numbers, 0 for none, to the label ``name``; stored as uint32.

        Raises
        ------
        PlaneMismatchError
            If it holds no whole numbers, or differs in shape from the label's first plane.
        PixelValueError
            If a number is negative or above 4,294,967,295.
        StorageError
            If the plane was written before, is of another channel than the label's first, or the name is no file name.
        """
        if name not in self.labels:
            if not _LABEL_NAME.fullmatch(name):
                raise StorageError(
                    f"{name!r} cannot be the name of a label; use letters, digits, '_', '.' and '-', starting with a "
                    "letter or digit."
                )
            folder = self.folder / "labels" / name
            self.labels[name] = LabelWriter(name, Pyramid(folder, self.options, LabelAxes.names, every_second))
        self.labels[name].write(key, plane)

    def finish(
        self,
        name: str,
        axes: StackAxes,
        scale: PixelScale,
        looks: Sequence[ChannelLook],
        own: Mapping[str, Any],
    ) -> list[StoredFile]:
        """Write the indexes and the metadata; planes of ``axes`` that were never written stay absent."""
        files = self._pixels.finish(axes)
        levels, dtype = len(self._pixels.levels), self._pixels.form.dtype
        attributes = image_attributes(name, levels=levels, scale=scale, channels=looks, dtype=dtype, own=own)
        return [*files, *write_group(self.folder, "", attributes, self.options.ngff)]

    def finish_labels(
        self, axes: Mapping[str, LabelAxes], scale: PixelScale, own: Mapping[str, Mapping[str, Any]]
    ) -> list[StoredFile]:
        """Write the metadata of the labels, each with its axes and what is kept beside ``ome``; none is fine.

        Raises
        ------
        PlaneMismatchError
            If a label has another size than the image.
        """
        files: list[StoredFile] = []
        for name, label in self.labels.items():
            self._refuse_other_size(label)
            size = replace(scale, z_step_um=None) if axes[name].z_indexes == (None,) else scale
            written = label.finish(axes[name], size, self.options.ngff, own[name])
            files += [replace(file, path=f"labels/{name}/{file.path}") for file in written]
        if files:
            files += write_group(self.folder, "labels", labels_attributes(list(self.labels)), self.options.ngff)
        return files

    def _refuse_other_size(self, label: LabelWriter) -> None:
        size, expected = label.pixels.form.shape, self._pixels.form.shape
        if size != expected:
            raise PlaneMismatchError(
                f"{describe(label.keys[0])}, label {label.name!r}: its planes have {size} pixels, but those of the "
                f"image {expected}; a label lies on its image pixel by pixel.",
                path=str(self.folder),
            )

    def _note_range(self, key: ImageKey, smallest: NDArray[Any]) -> None:
        sample = smallest.reshape(-1)[:: max(1, smallest.size // _SAMPLE)]
        values = sample.astype(np.float64)
        values = values[np.isfinite(values)]
        if not values.size:
            return
        low, high = (float(value) for value in np.percentile(values, (0.1, 99.9)))
        before = self.ranges.get(key.channel, (low, high))
        self.ranges[key.channel] = min(low, before[0]), max(high, before[1])


def _as_label(plane: NDArray[Any], described: str) -> NDArray[np.uint32]:
    _refuse_other_than_planes(plane, "biu", described)
    if plane.dtype.kind == "i" or plane.dtype.itemsize > LABEL_TYPE.itemsize:
        low, high = int(plane.min()), int(plane.max())
        if low < 0 or high > np.iinfo(LABEL_TYPE).max:
            raise PixelValueError(
                f"{described} objects have the numbers {low} to {high}; they are counted from 1 to "
                f"{np.iinfo(LABEL_TYPE).max}, and 0 is where there is none."
            )
    return plane.astype(LABEL_TYPE)


def _refuse_other_than_planes(plane: NDArray[Any], kinds: str, described: str) -> None:
    if plane.ndim != 2 or plane.size == 0 or plane.dtype.kind not in kinds:
        wanted = "of whole numbers, floats or booleans" if "f" in kinds else "of whole numbers or booleans"
        raise PlaneMismatchError(
            f"{described} an image of shape {plane.shape} and type {plane.dtype} cannot be stored; a plane is (y, x), "
            f"{wanted}.",
            path="",
        )


def describe(key: ImageKey) -> str:
    """A plane as errors name it."""
    place = f"site {key.site}, channel {key.channel}, z {key.z_index}, time {key.timepoint}"
    return f"Well {key.well}: the plane of {place}"


__all__ = ["FieldWriter", "LabelWriter", "describe"]
