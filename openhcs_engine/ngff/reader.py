"""Reading an OME-Zarr plate that this engine wrote: wells, fields and arrays, no pixel before it is asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import NotAnOutputError, PlaneReadError, UnknownWellError
from openhcs_engine.model.wells import normalise_well, plate_order
from openhcs_engine.ngff.metadata import GROUP, OWN, StackAxes, well_path

Coordinate: TypeAlias = tuple[int | None, int | None, int | None]
"""(timepoint, channel, z_index)."""


def open_plate(folder: str | PathLike[str], wells: Collection[str] | None = None) -> PlateReader:
    """Open the plate in ``folder`` (an ``images.zarr``); reads one small file.

    Parameters
    ----------
    folder
        The plate's group, or the output folder that holds it as ``images.zarr``.
    wells
        Wells that count as written; default: those that have a group. A folder whose manifests decide gives its own.

    Raises
    ------
    NotAnOutputError
        If the folder is no OME-Zarr plate.
    """
    place = Path(folder)
    if _is_group(place / "images.zarr"):
        place /= "images.zarr"
    attributes = _attributes(place)
    listed = attributes.get("ome", {}).get("plate", {}).get("wells")
    if not isinstance(listed, list):
        raise NotAnOutputError(f"{place} is not an OME-Zarr plate (its {GROUP} lists no wells).", path=str(place))
    names = [normalise_well(str(well["path"]).replace("/", "")) for well in listed]
    there = [name for name in names if (name in wells if wells is not None else _is_written(place / well_path(name)))]
    return PlateReader(place, attributes, tuple(sorted(names, key=plate_order)), tuple(sorted(there, key=plate_order)))


@dataclass(frozen=True)
class PlateReader(Mapping[str, "WellReader"]):
    """The wells of a plate by name, in plate order."""

    folder: Path
    attributes: Mapping[str, Any]
    all_wells: tuple[str, ...]
    """Every well of the plate, written or not."""
    wells: tuple[str, ...]
    """Wells that are written."""

    def __getitem__(self, well: str) -> WellReader:
        name = normalise_well(well)
        if name not in self.wells:
            raise UnknownWellError(f"Well {name} is not written in {self.folder}.", well=name)
        place = self.folder / well_path(name)
        return WellReader(place, name, _attributes(place))

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
        place = self.folder / self._paths[site]
        return FieldReader(place, self.well, site, _attributes(place))

    def __iter__(self) -> Iterator[int | None]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


@dataclass(frozen=True)
class FieldReader:
    """One field; its metadata are read, its pixels are not."""

    folder: Path
    well: str
    site: int | None
    attributes: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """(t, c, z, y, x) at full size."""
        return self.array().shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return self.array().dtype

    def __getitem__(self, selection: Any) -> NDArray[Any]:  # Any: as NumPy takes it
        """Pixels at full size; see ``LazyArray``."""
        return self.array()[selection]

    @property
    def axes(self) -> StackAxes:
        """Which timepoint, channel and z each index of the array stands for."""
        own = self.attributes[OWN]
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
    def absent(self) -> frozenset[Coordinate]:
        """Planes that the array has room for and that do not exist."""
        return frozenset((t, c, z) for t, c, z in self.attributes[OWN]["absent"])

    def array(self, level: int = 0) -> LazyArray:
        """The array (t, c, z, y, x) at a resolution, 0 the full one; IndexError if there is no such level."""
        if not 0 <= level < self.levels:
            raise IndexError(f"Well {self.well}, site {self.site} has levels 0 to {self.levels - 1}, not {level}.")
        return LazyArray(self.folder / str(level), self._absence)

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
        t = _only(axes.timepoints, timepoint)
        c = _only(axes.channels, channel)
        z = _only(axes.z_indexes, z_index)
        if t is None or c is None or z is None or self._absence[t, c, z]:
            return None
        return np.asarray(self.array(level)[t, c, z])

    @cached_property
    def _absence(self) -> NDArray[np.bool_]:
        """True where a plane (t, c, z) does not exist."""
        missing = [coordinate in self.absent for coordinate in self.axes.coordinates()]
        return np.array(missing, bool).reshape(self.axes.shape)


@dataclass(frozen=True)
class LazyArray:
    """An array (t, c, z, y, x) on disk; indexing reads just what is asked for."""

    folder: Path
    absence: NDArray[np.bool_]
    """True where a plane (t, c, z) does not exist."""

    @cached_property
    def _document(self) -> dict[str, Any]:
        return _read_json(self.folder)

    @property
    def shape(self) -> tuple[int, ...]:
        """(t, c, z, y, x)."""
        return tuple(self._document["shape"])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return np.dtype(str(self._document["data_type"]))

    def __getitem__(self, selection: Any) -> NDArray[Any]:  # Any: integers, slices and ... as NumPy takes them
        """Pixels as an array; as a masked array if planes of the selection do not exist, never as zeros.

        Raises
        ------
        PlaneReadError
            If stored chunks are missing or damaged.
        """
        pixels = np.asarray(self._stored[selection])
        missing = np.broadcast_to(self.absence[..., None, None], self.shape)[selection]
        return np.ma.masked_array(pixels, missing) if missing.any() else pixels

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype=dtype)

    @cached_property
    def _stored(self) -> _Stored:
        return _Stored(self.folder)


class _Stored:
    """zarr's array, with its errors as ours."""

    def __init__(self, folder: Path) -> None:
        import zarr

        self.folder = folder
        self.array = zarr.open_array(str(folder), mode="r")

    def __getitem__(self, selection: Any) -> Any:
        try:
            return self.array[selection]
        except (ValueError, RuntimeError, OSError) as error:
            raise PlaneReadError(f"{self.folder} is damaged: {error}.", path=str(self.folder)) from error


def _only(values: tuple[int | None, ...], wanted: int | None) -> int | None:
    """Position of a value on an axis; without a wish, of its only value."""
    if wanted is None and len(values) == 1:
        return 0
    return values.index(wanted) if wanted in values else None


def _is_group(folder: Path) -> bool:
    return (folder / GROUP).is_file()


def _is_written(well: Path) -> bool:
    """Other programs that look for a well leave empty groups behind."""
    try:
        return b'"well"' in (well / GROUP).read_bytes()
    except OSError:
        return False


def _attributes(folder: Path) -> dict[str, Any]:
    attributes = _read_json(folder).get("attributes", {})
    return attributes if isinstance(attributes, dict) else {}


def _read_json(folder: Path) -> dict[str, Any]:
    try:
        content = msgspec.json.decode((folder / GROUP).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise NotAnOutputError(f"{folder} holds no readable {GROUP}: {error}.", path=str(folder)) from error
    return content


__all__ = ["FieldReader", "LazyArray", "PlateReader", "WellReader", "open_plate"]
