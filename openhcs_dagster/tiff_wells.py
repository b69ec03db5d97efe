"""A well that was written as OME-TIFF files, one a plane, read as the arrays of an OME-Zarr well."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import NotAnOutputError, PlaneReadError

_NAME: Final = re.compile(r"[A-Z]{1,2}\d\d_s(\d+)_w(\d+)_z(\d+)_t(\d+)\.ome\.tif")
_PLANES: Final = 3
"""Axes of an array before those of a plane."""
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

    @property
    def shape(self) -> tuple[int, ...]:
        """(t, c, z, y, x)."""
        return self.array().shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return self.array().dtype

    def __getitem__(self, selection: Any) -> NDArray[Any]:  # Any: as NumPy takes it
        """Pixels; see ``TiffArray``."""
        return self.array()[selection]

    def array(self, level: int = 0) -> TiffArray:
        """The pixels (t, c, z, y, x); IndexError for any level but 0."""
        if level != 0:
            raise IndexError(f"TIFF files have level 0 only, not {level}.")
        return TiffArray(self.files)


@dataclass(frozen=True)
class TiffArray:
    """An array (t, c, z, y, x) over files; indexing reads the files that are asked for."""

    files: Mapping[Coordinate, Path]

    @cached_property
    def _axes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(sorted(set(values))) for values in zip(*self.files, strict=True))

    @cached_property
    def _plane_kind(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape (y, x) and type of a plane, as the header of one file says."""
        return _describe(next(iter(self.files.values())))

    @property
    def shape(self) -> tuple[int, ...]:
        """(t, c, z, y, x)."""
        return (*(len(axis) for axis in self._axes), *self._plane_kind[0])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return self._plane_kind[1]

    def __getitem__(self, selection: Any) -> NDArray[Any]:  # Any: integers, slices and ... as NumPy takes them
        """Pixels as an array; as a masked array if planes of the selection have no file, never as zeros.

        Raises
        ------
        IndexError
            If it is not made of integers, slices and ``...``, or reaches beyond an axis.
        PlaneReadError
            If a file cannot be read.
        """
        places = self._spread(selection)
        outer = np.arange(np.prod(self.shape[:_PLANES])).reshape(self.shape[:_PLANES])[places[:_PLANES]]
        within = places[_PLANES:]
        planes = [self._plane(int(number), within) for number in np.ravel(outer)]
        if not planes:
            return np.empty((*np.shape(outer), *self._shape_within(within)), self.dtype)
        together = np.ma.stack if any(np.ma.isMaskedArray(plane) for plane in planes) else np.stack
        stack: NDArray[Any] = together(planes).reshape((*np.shape(outer), *planes[0].shape))
        return stack

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        pixels = self[...]
        if np.ma.isMaskedArray(pixels):
            raise PlaneReadError(
                "This array has planes that do not exist, and a plain array could not say so; index it with [...], "
                "which gives a masked array.",
                path=str(next(iter(self.files.values())).parent),
            )
        return np.asarray(pixels, dtype=dtype)

    def _spread(self, selection: Any) -> tuple[int | slice, ...]:
        """One integer or slice for each axis."""
        asked = selection if isinstance(selection, tuple) else (selection,)
        if not all(part is Ellipsis or isinstance(part, int | np.integer | slice) for part in asked):
            raise IndexError(f"These pixels are asked for by integers, slices and '...', not by {selection!r}.")
        rest = len(self.shape) - sum(part is not Ellipsis for part in asked)
        if rest < 0 or sum(part is Ellipsis for part in asked) > 1:
            raise IndexError(f"{selection!r} has too many places for the axes (t, c, z, y, x).")
        where = next((place for place, part in enumerate(asked) if part is Ellipsis), len(asked))
        return (*asked[:where], *(slice(None),) * rest, *asked[where + 1 :])

    def _plane(self, number: int, within: tuple[int | slice, ...]) -> NDArray[Any]:
        place = np.unravel_index(number, self.shape[:_PLANES])
        coordinate = tuple(axis[int(index)] for axis, index in zip(self._axes, place, strict=True))
        path = self.files.get(coordinate)  # type: ignore[arg-type] # three axes give three values
        if path is not None:
            return np.asarray(_read(path)[within])
        shape = self._shape_within(within)
        return np.ma.masked_array(np.zeros(shape, self.dtype), np.ones(shape, bool))

    def _shape_within(self, within: tuple[int | slice, ...]) -> tuple[int, ...]:
        return np.broadcast_to(False, self.shape[_PLANES:])[within].shape


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


def _describe(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            return page.shape, np.dtype(page.dtype or np.uint8)
    except (OSError, ValueError, IndexError, tifffile.TiffFileError) as error:
        raise PlaneReadError(f"{path} cannot be read: {error}.", path=str(path)) from error


def _channel_name(path: Path, channel: int) -> str:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        found = re.search(r'<Channel [^>]*Name="([^"]*)"', tiff.ome_metadata or "")
    return found[1] if found else f"Channel {channel}"
