"""The plate as one small image: a tile a well, one channel, one grey scale. A viewer needs a handful of requests.

It lies in ``report/overview.zarr``, an OME-Zarr image of its own: no manifest lists it, and it can be made again from
the wells at any time.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import NotAnOutputError, OptionError
from openhcs_engine.files.atomic import remove
from openhcs_engine.files.links import refuse_links_below
from openhcs_engine.files.locks import locked
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.model.wells import row_and_column
from openhcs_engine.ngff.groups import version_of
from openhcs_engine.ngff.metadata import ChannelLook, PixelScale, least_step
from openhcs_engine.ngff.options import ImageOptions
from openhcs_engine.ngff.reading.reader import PlateReader
from openhcs_engine.ngff.stack_axes import StackAxes
from openhcs_engine.ngff.writing.field_writer import FieldWriter
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.layout import REPORT, WELLS, ZARR_IMAGES
from openhcs_engine.output.pictures.greyscale import as_type, scale_of
from openhcs_engine.output.pictures.mosaic import Mosaic
from openhcs_engine.output.pictures.previews import Preview
from openhcs_engine.output.preflight import output_errors
from openhcs_engine.output.reading.published_wells import PlateWells

OVERVIEW: Final = f"{REPORT}/overview.zarr"
"""Relative to the output folder."""
TILE_PX: Final = 64
"""Edge of a well's tile; 1536 wells are then 2048 x 3072 pixels, which still is one chunk."""
_GAP_PX: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What was drawn."""

    folder: Path
    """The OME-Zarr image."""
    channel: str
    """Label of the channel."""
    tiles: Mapping[str, tuple[int, int, int, int]]
    """(top, left, height, width) of each well that is drawn, px of the full resolution."""
    window: tuple[float, float]
    """Pixel values shown black and white, the same for all wells."""


def write_overview(folder: Path, channel: str | None = None) -> Overview | None:
    """Draw the published wells of an OME-Zarr output into ``report/overview.zarr``; an older picture goes in any case.

    Tiles are means of pixels and keep the pixel type of the images, so wells can be compared by value; wells of
    different types share one that holds all, and whole numbers of 64 bits become floats. Of the axes that are not
    drawn, the first time point and the middle plane stand for all, as in the wells' previews.

    Parameters
    ----------
    folder
        ``<output>/<plate_id>``.
    channel
        Label of the channel; None, or one that the images do not have: their first.

    Returns
    -------
    Overview or None
        None if there are no OME-Zarr images, or no well is published.

    Raises
    ------
    OutputPlaceError
        If the file system refuses.
    UnsafePathError
        If there is a link where the picture goes.
    """
    refuse_links_below(folder, REPORT)
    ngff = version_of(folder / ZARR_IMAGES)
    plate = PlateFolder(folder, "zarr").open_images() if ngff is not None else None
    canvas = _Canvas.of(plate, _previews(folder), channel) if plate is not None else None
    if plate is None or ngff is None or canvas is None:
        _remove_old(folder)
        return None
    tiles = canvas.tiles()
    whole, places = canvas.compose(tiles)
    window = _window(list(tiles.values()))
    with output_errors(folder, "writing the overview of the plate"):
        _store(folder, whole, canvas.channel, window, places, plate, ngff)
    return Overview(folder=folder / OVERVIEW, channel=canvas.channel, tiles=places, window=window)


def choose_overview(folder: Path, channel: str | None) -> Overview:
    """Draw the overview in a channel that a person chose; None is the first.

    Raises
    ------
    NotAnOutputError
        If there is no published OME-Zarr well.
    OptionError
        If the images do not have the channel.
    OutputPlaceError
        If the file system refuses.
    """
    known = channels_of_wells(folder)
    if channel is not None and known and channel not in known:
        raise OptionError(f"channel={channel!r} is not in these images (has: {', '.join(known)}).", option="channel")
    made = write_overview(folder, channel)
    if made is None:
        raise NotAnOutputError(
            f"{folder} holds no published OME-Zarr well to draw; give the output folder of a plate that was run with "
            "the backend zarr.",
            path=str(folder),
        )
    return made


def channels_of_wells(folder: Path) -> tuple[str, ...]:
    """Labels of the channels that an overview of an output can show; empty if no OME-Zarr well is published."""
    return tuple(dict.fromkeys(label for _, preview in _previews(folder) for label in preview.channels))


def _previews(folder: Path) -> Iterator[tuple[str, Preview]]:
    """Those of OME-Zarr wells that are not damaged, in plate order."""
    wells = PlateWells(folder, "zarr")
    for well, preview in wells.previews():
        if (manifest := wells.manifest(well)) is not None and manifest.backend == "zarr":
            yield well, preview


def _remove_old(folder: Path) -> None:
    """A picture of wells that are gone would be believed."""
    if (folder / OVERVIEW).exists():
        lock = locked(folder / WELLS) if (folder / WELLS).is_dir() else nullcontext()
        with output_errors(folder, "removing the overview of the plate"), lock:
            remove(folder / OVERVIEW)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Canvas:
    """What is drawn where."""

    channel: str
    mosaic: Mosaic
    """The sites of all wells; where it has one only, the first of each well stands for it."""
    first: tuple[int, int]
    """Row and column of the plate in the upper left corner."""
    size: tuple[int, int]
    """Rows and columns of wells."""
    dtype: np.dtype[Any]
    wells: Mapping[str, Preview]
    """Those that have the channel, and no other channel of them."""

    @classmethod
    def of(cls, plate: PlateReader, previews: Iterable[tuple[str, Preview]], channel: str | None) -> _Canvas | None:
        """The whole plate where it is mostly used, else the block that holds its wells; None if no well can be drawn.

        The channel is the one that is wanted if any well has it, else the first.
        """
        dtypes, sites, shown = {np.dtype(np.bool_)}, 0, dict[str, Preview]()
        first = ""
        for well, preview in previews:
            first = first or preview.channels[0]
            dtypes.add(preview.dtype)
            sites += len(preview.sites)
            drawn = preview.only(channel if channel in preview.channels else first)
            if drawn is not None:
                shown[well] = drawn
        if not shown:
            return None
        if channel is not None and any(channel in preview.channels for preview in shown.values()):
            shown = {well: preview for well, preview in shown.items() if channel in preview.channels}
        places = [row_and_column(well) for well in plate.all_wells]
        top, left = min(row for row, _ in places), min(column for _, column in places)
        size = 1 + max(row for row, _ in places) - top, 1 + max(column for _, column in places) - left
        numbers = sorted({site for preview in shown.values() for site in preview.sites if site is not None})
        return cls(
            channel=next(iter(shown.values())).channels[0],
            mosaic=Mosaic.fitting(numbers, TILE_PX, sites),
            first=(top, left),
            size=size,
            dtype=_common_type(dtypes),
            wells=shown,
        )

    def tiles(self) -> dict[str, NDArray[Any]]:
        """The sites of each well in rows, in the order of their numbers."""
        drawn = {well: preview.picture(0, TILE_PX - _GAP_PX, self.mosaic) for well, preview in self.wells.items()}
        return {well: tile for well, tile in drawn.items() if tile is not None}

    def compose(self, tiles: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], dict[str, tuple[int, int, int, int]]]:
        """All tiles on one plane, zeros between them and where no well is published; and where each lies."""
        whole = np.zeros((self.size[0] * TILE_PX, self.size[1] * TILE_PX), self.dtype)
        places = {}
        for well, tile in tiles.items():
            row, column = row_and_column(well)
            top, left = (row - self.first[0]) * TILE_PX, (column - self.first[1]) * TILE_PX
            places[well] = (top, left, *tile.shape)
            whole[top : top + tile.shape[0], left : left + tile.shape[1]] = as_type(tile, self.dtype)
        return whole, places


def _common_type(dtypes: Iterable[np.dtype[Any]]) -> np.dtype[Any]:
    found = np.result_type(*dtypes)
    # A mean is a float, and none is the largest number of 64 bits.
    return np.dtype(np.float64) if found.kind in "iu" and found.itemsize == 8 else found


def _window(tiles: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """Black is always darker than white, though all wells may be equal."""
    low, high = scale_of(tiles)
    return low, high if high > low else low + least_step(low)


def _store(
    folder: Path,
    whole: NDArray[Any],
    channel: str,
    window: tuple[float, float],
    places: Mapping[str, tuple[int, int, int, int]],
    plate: PlateReader,
    ngff: str,
) -> None:
    """Write it beside the old one, and take its place."""
    target = folder / OVERVIEW
    unfinished = target.with_name(f".overview-{uuid.uuid4().hex[:8]}")
    try:
        key = ImageKey("", None, None, None, None)
        axes = StackAxes.of([key])
        writer = FieldWriter(unfinished, ImageOptions(ngff=ngff, longest_chunk=4096))
        writer.write(key, whole)
        look = ChannelLook(label=channel, low=window[0], high=window[1], colour="FFFFFF")
        own = {
            "plate": plate.name,
            "wells": {
                well: dict(zip(("top", "left", "height", "width"), place, strict=True))
                for well, place in places.items()
            },
            "dark": [well for well in plate.all_wells if well not in places],
            "timepoint": axes.timepoints,
            "channel": axes.channels,
            "z_index": axes.z_indexes,
            "absent": [],
        }
        writer.finish(f"{plate.name}: {channel}", axes, PixelScale(), [look], own)
        with locked(folder / WELLS):
            remove(target)
            unfinished.rename(target)
    finally:
        remove(unfinished)


__all__ = ["OVERVIEW", "Overview", "channels_of_wells", "choose_overview", "write_overview"]
