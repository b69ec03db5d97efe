"""Reading an OME-Zarr plate that this engine wrote: wells, fields and arrays, no pixel before it is asked for."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import NotAnOutputError, UnknownWellError
from openhcs_engine.files.address import is_remote, open_raw
from openhcs_engine.model.wells import normalise_well
from openhcs_engine.ngff.groups import read_attributes, version_of
from openhcs_engine.ngff.metadata import OWN, well_path
from openhcs_engine.ngff.nodes import ATTRIBUTES_V2, NODE_V3
from openhcs_engine.ngff.plate_group import PlateGroup, in_plate_order
from openhcs_engine.ngff.reading.lazy_array import LazyArray, LazyField
from openhcs_engine.ngff.stack_axes import Coordinate, LabelAxes, StackAxes


def open_plate(folder: str | PathLike[str], wells: Collection[str] | None = None) -> PlateReader:
    """Open the plate in ``folder`` (an ``images.zarr``); reads one small file.

    Parameters
    ----------
    folder
        The plate's group, or the output folder that holds it as ``images.zarr``; or the URL of either.
    wells
        Wells that count as written; default: those whose group lists images. A folder whose manifests decide
        gives its own.

    Raises
    ------
    NotAnOutputError
        If the folder is no OME-Zarr plate.
    """
    path = _as_path(folder)
    if version_of(path / "images.zarr") is not None:
        path /= "images.zarr"
    attributes = read_attributes(path)
    listed = attributes.get("ome", {}).get("plate", {}).get("wells")
    if not isinstance(listed, list):
        raise NotAnOutputError(f"{path} is not an OME-Zarr plate (its group lists no wells).", path=str(path))
    names = {normalise_well(str(well["path"]).replace("/", "")) for well in listed}
    if wells is None:
        wells = [name for name in names if _is_written(f"{path}/{well_path(name)}")]
    own = PlateGroup.read(attributes, "")
    known = () if own is None else (*own.own.wells, *(own.own.asked or ()))
    return PlateReader(path, attributes, in_plate_order((*names, *known, *wells)), in_plate_order(wells))


def _as_path(folder: str | PathLike[str]) -> Path:
    if not is_remote(os.fspath(folder)):
        return Path(folder)
    from upath import UPath

    # It has all of Path that reading takes. Listings are not kept: runs replace wells meanwhile.
    return cast(Path, UPath(folder, use_listings_cache=False))


def open_well(folder: Path, well: str) -> WellReader:
    """Open one well of the plate in ``folder``, by its canonical name; reads the well's own file and no other.

    Raises
    ------
    NotAnOutputError
        If it is not written.
    """
    path = folder / well_path(well)
    return WellReader(path, well, read_attributes(path))


@dataclass(frozen=True)
class PlateReader(Mapping[str, "WellReader"]):
    """The wells of a plate by name, in plate order."""

    folder: Path
    attributes: Mapping[str, Any]
    all_wells: tuple[str, ...]
    """Wells of the raw plate, and those that were asked for or are written."""
    wells: tuple[str, ...]
    """Wells that are written."""

    def __getitem__(self, well: str) -> WellReader:
        name = normalise_well(well)
        if name not in self.wells:
            raise UnknownWellError(f"Well {name} is not written in {self.folder}.", well=name)
        return open_well(self.folder, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.wells)

    def __len__(self) -> int:
        return len(self.wells)

    @property
    def name(self) -> str:
        """The instrument's name of the plate."""
        return str(self.attributes["ome"]["plate"]["name"])


@dataclass(frozen=True)
class WellReader(Mapping[int | None, "FieldReader"]):
    """The fields of one well by site, in the plate's order; None is a collapsed site."""

    folder: Path
    well: str
    attributes: Mapping[str, Any]

    @cached_property
    def _paths(self) -> dict[int | None, str]:
        images = self.attributes["ome"]["well"]["images"]
        sites = self.attributes.get(OWN, {}).get("sites", range(len(images)))
        return {site: str(image["path"]) for site, image in zip(sites, images, strict=True)}

    def __getitem__(self, site: int | None) -> FieldReader:
        path = self.folder / self._paths[site]
        return FieldReader(path, self.well, site, read_attributes(path))

    def __iter__(self) -> Iterator[int | None]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


@dataclass(frozen=True)
class LabelReader:
    """One label of a field: object numbers, 0 where there is none; its pixels are read where they are indexed."""

    folder: Path
    well: str
    site: int | None
    attributes: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As it was written."""
        return self.folder.name

    @property
    def axes(self) -> LabelAxes:
        """Which timepoint and z each index of the array stands for."""
        own = _own(self.folder, self.attributes)
        return LabelAxes(
            timepoints=tuple(own["timepoint"]), z_indexes=tuple(own["z_index"]), channel=own["found_in_channel"]
        )

    @property
    def levels(self) -> int:
        """Number of resolutions."""
        return len(self.attributes["ome"]["multiscales"][0]["datasets"])

    @property
    def absent(self) -> frozenset[Coordinate]:
        """Planes (timepoint, z_index) that the array has room for and that do not exist."""
        return frozenset(tuple(coordinate) for coordinate in _own(self.folder, self.attributes)["absent"])

    def array(self, level: int = 0) -> LazyArray:
        """The array (t, z, y, x) at a resolution, 0 the full one; IndexError if there is no such level."""
        return _level_array(self, level)

    def plane(self, *, z_index: int | None = None, timepoint: int | None = None, level: int = 0) -> NDArray[Any] | None:
        """One plane ``(y, x)`` by the vendor's numbers; None if it does not exist.

        A number may be left out where the axis has one value.
        """
        axes = self.axes
        return _plane(self.array(level), (axes.timepoints, axes.z_indexes), (timepoint, z_index))


@dataclass(frozen=True)
class FieldReader(LazyField):
    """One field; its metadata are read, its pixels are not."""

    folder: Path
    well: str
    site: int | None
    attributes: Mapping[str, Any]

    @property
    def axes(self) -> StackAxes:
        """Which timepoint, channel and z each index of the array stands for."""
        own = _own(self.folder, self.attributes)
        return StackAxes(
            timepoints=tuple(own["timepoint"]), channels=tuple(own["channel"]), z_indexes=tuple(own["z_index"])
        )

    @property
    def channel_labels(self) -> tuple[str, ...]:
        """Names of the channels, in the array's order."""
        return tuple(channel["label"] for channel in self.attributes["ome"]["omero"]["channels"])

    @property
    def pixel_size_um(self) -> float | None:
        """Edge of a pixel of level 0, µm; None where the plate does not say."""
        size: float | None = self.attributes[OWN]["pixel_size_um"]
        return size

    @property
    def z_step_um(self) -> float | None:
        """Distance of planes, µm; None where it is unknown or z was collapsed."""
        step: float | None = self.attributes[OWN]["z_step_um"]
        return step

    @property
    def levels(self) -> int:
        """Number of resolutions."""
        return len(self.attributes["ome"]["multiscales"][0]["datasets"])

    @property
    def time_step_s(self) -> float | None:
        """Time between neighbouring time points, s; None where the plate does not say."""
        step: float | None = self.attributes[OWN].get("time_step_s")
        return step

    @property
    def absent(self) -> frozenset[Coordinate]:
        """Planes (timepoint, channel, z_index) that the array has room for and that do not exist."""
        return frozenset(tuple(coordinate) for coordinate in self.attributes[OWN]["absent"])

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels; reads one small file."""
        if version_of(self.folder / "labels") is None:
            return ()
        return tuple(read_attributes(self.folder / "labels").get("ome", {}).get("labels", ()))

    def label(self, name: str) -> LabelReader:
        """One of the labels; its metadata are read, its pixels are not. KeyError if there is none of the name."""
        if name not in self.labels:
            known = ", ".join(self.labels) or "none"
            raise KeyError(f"Well {self.well}, site {self.site} has no label {name!r} (has: {known}).")
        path = self.folder / "labels" / name
        return LabelReader(path, self.well, self.site, read_attributes(path))

    def array(self, level: int = 0) -> LazyArray:
        """The array (t, c, z, y, x) at a resolution, 0 the full one; IndexError if there is no such level."""
        return _level_array(self, level)

    def plane(
        self,
        *,
        channel: int | None = None,
        z_index: int | None = None,
        timepoint: int | None = None,
        level: int = 0,
    ) -> NDArray[Any] | None:
        """One plane ``(y, x)`` by the vendor's numbers; None if it does not exist.

        A number may be left out where the axis has one value.
        """
        axes = self.axes
        values = axes.timepoints, axes.channels, axes.z_indexes
        return _plane(self.array(level), values, (timepoint, channel, z_index))


Reader = TypeVar("Reader", FieldReader, LabelReader)


def _level_array(reader: Reader, level: int) -> LazyArray:
    if not 0 <= level < reader.levels:
        raise IndexError(f"Well {reader.well}, site {reader.site} has levels 0 to {reader.levels - 1}, not {level}.")
    axes, absent = reader.axes, reader.absent
    missing = [coordinate in absent for coordinate in axes.coordinates()]
    return LazyArray(reader.folder / str(level), np.array(missing, bool).reshape(axes.shape))


def _plane(
    array: LazyArray, axes: tuple[tuple[int | None, ...], ...], wanted: tuple[int | None, ...]
) -> NDArray[Any] | None:
    position = tuple(_only(values, value) for values, value in zip(axes, wanted, strict=True))
    if None in position or array.absence[position]:
        return None
    return array[position]


def _only(values: tuple[int | None, ...], wanted: int | None) -> int | None:
    """Position of a value on an axis; without a wish, of its only value."""
    if wanted is None and len(values) == 1:
        return 0
    return values.index(wanted) if wanted in values else None


def _own(folder: Path, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    own = attributes.get(OWN)
    if not isinstance(own, Mapping):
        raise NotAnOutputError(
            f"{folder} was written by another program: what its time points, channels and planes are is not said.",
            path=str(folder),
        )
    return own


def _open(folder: str, name: str) -> BinaryIO:
    if is_remote(folder):
        return open_raw(folder, name)
    return open(f"{folder}/{name}", "rb", buffering=0)  # noqa: PTH123 # 384 of them: no Path objects


def _is_written(well: str) -> bool:
    """Earlier versions left groups without images, other programs leave groups without anything."""
    for name in (NODE_V3, ATTRIBUTES_V2):
        try:
            with _open(well, name) as file:
                return b'"path"' in file.read()
        except OSError:
            continue
    return False


__all__ = ["FieldReader", "LabelReader", "LazyArray", "PlateReader", "WellReader", "open_plate", "open_well"]
