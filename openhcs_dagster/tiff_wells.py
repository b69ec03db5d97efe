"""A well that was written as OME-TIFF files, one a plane, read as the arrays of an OME-Zarr well."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import NotAnOutputError, PlaneReadError

_NAME: Final = re.compile(r"[A-Z]{1,2}\d\d_s(\d+)_w(\d+)_z(\d+)_t(\d+)\.ome\.tif")
Coordinate = tuple[int, int, int]
"""(timepoint, channel, z index) as the file names say them."""


@dataclass(frozen=True)
class TiffField:
    """One site of a well."""

    files: Mapping[Coordinate, Path]

    @property
    def channel_labels(self) -> tuple[str, ...]:
        """Names of the channels, as their first files say."""
        first = {channel: path for (_, channel, _), path in sorted(self.files.items(), reverse=True)}
        return tuple(_channel_name(first[channel], channel) for channel in sorted(first))

    @property
    def levels(self) -> int:
        """One: the full resolution."""
        return 1

    def array(self, level: int = 0) -> TiffArray:
        """The pixels (t, c, z, y, x); IndexError for any level but 0."""
        if level != 0:
            raise IndexError(f"TIFF files have level 0 only, not {level}.")
        return TiffArray(self.files)


@dataclass(frozen=True)
class TiffArray:
    """An array (t, c, z, y, x) over files; indexing reads the files that are asked for."""

    files: Mapping[Coordinate, Path]

    @property
    def _axes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(sorted(set(values))) for values in zip(*self.files, strict=True))

    @property
    def shape(self) -> tuple[int, ...]:
        """(t, c, z, y, x)."""
        return (*(len(axis) for axis in self._axes), *_read(next(iter(self.files.values()))).shape)

    def __getitem__(self, selection: Any) -> NDArray[Any]:  # Any: integers, slices and ... as NumPy takes them
        """Pixels; masked where a plane has no file."""
        wanted = selection if isinstance(selection, tuple) else (selection,)
        if len(wanted) == 3 and all(isinstance(part, int) for part in wanted):
            return self._plane(wanted)
        outer = tuple(len(axis) for axis in self._axes)
        planes = np.ma.stack([self._plane(place) for place in np.ndindex(outer)])
        whole: NDArray[Any] = planes.reshape(*outer, *planes.shape[1:])
        pixels: NDArray[Any] = whole[selection] if np.ma.is_masked(whole) else np.asarray(whole)[selection]
        return pixels

    def _plane(self, place: tuple[int, ...]) -> NDArray[Any]:
        coordinate = tuple(axis[index] for axis, index in zip(self._axes, place, strict=True))
        path = self.files.get(coordinate)  # type: ignore[arg-type] # three axes give three values
        if path is not None:
            return _read(path)
        some = _read(next(iter(self.files.values())))
        return np.ma.masked_array(np.zeros_like(some), np.ones(some.shape, bool))


def open_tiff_well(folder: Path) -> dict[int | None, TiffField]:
    """The fields of a well by site. NotAnOutputError if the folder holds no planes."""
    sites: dict[int, dict[Coordinate, Path]] = {}
    for path in sorted(folder.glob("*.ome.tif")):
        if match := _NAME.fullmatch(path.name):
            site, channel, z_index, timepoint = map(int, match.groups())
            sites.setdefault(site, {})[timepoint, channel, z_index] = path
    if not sites:
        raise NotAnOutputError(f"{folder} holds no planes of a well.", path=str(folder))
    return {site: TiffField(files) for site, files in sorted(sites.items())}


def _read(path: Path) -> NDArray[Any]:
    import tifffile

    try:
        return np.asarray(tifffile.imread(path))
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        raise PlaneReadError(f"{path} cannot be read: {error}.", path=str(path)) from error


def _channel_name(path: Path, channel: int) -> str:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        found = re.search(r'<Channel [^>]*Name="([^"]*)"', tiff.ome_metadata or "")
    return found[1] if found else f"Channel {channel}"
