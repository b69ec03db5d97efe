"""A well that was written as OME-TIFF files, one a plane, read as the arrays of an OME-Zarr well."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import NotAnOutputError, PlaneMismatchError, PlaneReadError
from openhcs_engine.files.present import find
from openhcs_engine.model.system_errors import explained
from openhcs_engine.ngff.reading.lazy_array import LazyField, LazyPlanes
from openhcs_engine.ngff.tiles import Window
from openhcs_engine.raw.plane import Header, read_header, read_plane
from openhcs_engine.vfs.tiff_codec import read_ome

_NAME: Final = re.compile(r"[A-Z]{1,2}\d\d_s(\d+)_w(\d+)_z(\d+)_t(\d+)\.ome\.tif")
Coordinate = tuple[int, int, int]
"""(timepoint, channel, z index) as the file names say them."""


@dataclass(frozen=True)
class TiffField(LazyField):
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


class TiffArray(LazyPlanes):
    """An array (t, c, z, y, x) over files; indexing reads the files that are asked for."""

    def __init__(self, files: Mapping[Coordinate, Path]) -> None:
        self.files = files

    @property
    def absence(self) -> NDArray[np.bool_]:
        return self._reader.absence

    @cached_property
    def _reader(self) -> _TiffPlanes:
        return _TiffPlanes(self.files)

    @property
    def _place(self) -> Path:
        return next(iter(self.files.values())).parent


@dataclass(frozen=True)
class _TiffPlanes:
    """Reads planes of files by their places on the axes."""

    files: Mapping[Coordinate, Path]

    @cached_property
    def axes(self) -> tuple[tuple[int, ...], ...]:
        """Time points, channels and z indexes that have a file."""
        return tuple(tuple(sorted(set(values))) for values in zip(*self.files, strict=True))

    @cached_property
    def absence(self) -> NDArray[np.bool_]:
        """True where a plane has no file."""
        sizes = [len(axis) for axis in self.axes]
        return np.array([place not in self.files for place in product(*self.axes)]).reshape(sizes)

    @cached_property
    def _headers(self) -> tuple[Header, ...]:
        """Shape (y, x) and type of a plane of each channel."""
        first = {channel: path for (_, channel, _), path in sorted(self.files.items(), reverse=True)}
        return tuple(read_header(first[channel]) for channel in sorted(first))

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.absence.shape, *self._headers[0][0])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest type that holds the pixels of every channel."""
        return np.result_type(*(dtype for _, dtype in self._headers))

    def plane(self, place: tuple[int, ...], window: Window) -> NDArray[Any]:
        timepoint, channel, z_index = (axis[index] for axis, index in zip(self.axes, place, strict=True))
        path = self.files[timepoint, channel, z_index]
        plane = read_plane(path.parent, path.name)
        if plane.shape != self._headers[0][0]:
            raise PlaneMismatchError(
                f"{path.name} has {plane.shape} pixels, but other planes of its well have {self._headers[0][0]}; one "
                "array cannot hold both. Read the files one by one.",
                path=str(path),
            )
        return plane[window]


def open_tiff_well(folder: Path) -> dict[int | None, TiffField]:
    """The fields of a well by site. NotAnOutputError if the folder holds no planes."""
    sites: dict[int, dict[Coordinate, Path]] = {}
    for path in find(folder, "*.ome.tif"):
        if match := _NAME.fullmatch(path.name):
            site, channel, z_index, timepoint = map(int, match.groups())
            sites.setdefault(site, {})[timepoint, channel, z_index] = path
    if not sites:
        raise NotAnOutputError(f"{folder} holds no planes of a well.", path=str(folder))
    return {site: TiffField(files) for site, files in sorted(sites.items())}


def _channel_name(path: Path, channel: int) -> str:
    """As the file's OME-XML says."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            document = tiff.ome_metadata
        name = read_ome(document).channel if document else None
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        raise PlaneReadError(f"{path} cannot be read: {explained(error)}.", path=str(path)) from error
    return name or f"Channel {channel}"
