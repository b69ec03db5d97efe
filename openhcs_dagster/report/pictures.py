"""Pictures of a plate: which wells are done, how long they took, what they look like."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from openhcs_dagster.report.colours import heat_colour
from openhcs_dagster.report.conditions import RoleColours
from openhcs_dagster.report.plate_map import PlateCanvas
from openhcs_dagster.report.summary import Layout, PlateSummary, WellState, report_folder
from openhcs_engine.output.pictures.greyscale import Grey, Scale, scale_of, to_grey, write_scales
from openhcs_engine.output.pictures.mosaic import Mosaic
from openhcs_engine.output.pictures.previews import PREVIEW_PX
from openhcs_engine.output.reading.published_wells import PlateWells

COLOURS: Final[Mapping[WellState, str]] = {
    WellState.DONE: "#00795a",
    WellState.UNCHANGED: "#63bfa0",
    WellState.MADE_BEFORE: "#7fa8e0",
    WellState.STALE: "#eda100",
    WellState.FAILED: "#a3200d",
    WellState.MISSING: "#c3c9d1",
}
"""Any two differ for people who see no green, too: a test simulates it."""
MONTAGE_PX: Final = 1040
"""Width of a montage, where its wells are many: that of the page."""
WELL_PX: Final = 128
"""A montage's wells are enlarged towards this where their previews are smaller and the page has room."""
LEGEND_PX: Final = 560
"""Width in which the line below a map fits."""
CONTENTS_LEGEND_PX: Final = 820
"""The same of the map of contents, whose line is longer."""
HEAT_PX: Final = 430
"""Width of a heat map's cells together: it stands beside another map and must not be shrunk there. Twice that where a
plate has so many columns that each map has the page's width."""
SYMBOL_PX: Final = (20, 60)
"""Smallest and largest edge of a well that is drawn as a symbol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatePictures:
    """PNG images of one plate."""

    status: bytes
    seconds: bytes | None
    """None if no well was computed yet."""
    montages: Mapping[str, bytes]
    """By channel."""
    scales: Mapping[str, str]
    """By channel, what black and white mean."""
    plate_map: bytes | None = None
    """What was in the wells; None if no plate map says."""


def draw(summary: PlateSummary, wells: PlateWells) -> PlatePictures:
    """Draw the plate, and keep its grey scales for later thumbnails."""
    side = _tile_side(summary.layout)
    mosaic = Mosaic.of(summary.plate, side, len(summary.wells))
    tiles = _tiles(wells, side, mosaic)
    scales = {channel: scale_of(of_channel.values()) for channel, of_channel in tiles.items()}
    write_scales(report_folder(summary.entry), scales)
    return PlatePictures(
        status=_status(summary),
        seconds=_seconds(summary),
        plate_map=_plate_map(summary) if summary.conditions else None,
        montages={channel: _montage(summary, of_channel, scales[channel]) for channel, of_channel in tiles.items()},
        scales={
            channel: f"{_sites(mosaic)}. Black is {number(dark)}, white is {number(bright)} for all wells."
            for channel, (dark, bright) in scales.items()
        },
    )


def within(pictures: Mapping[str, bytes], limit: int) -> Mapping[str, bytes]:
    """The pictures, as JPEG of the best quality that takes at most ``limit`` bytes together if PNG takes more."""
    shown = pictures
    for quality, share in ((90, 1.0), (75, 1.0), (60, 1.0), (60, 0.7), (60, 0.5), (50, 0.35), (40, 0.25)):
        if sum(map(len, shown.values())) <= limit:
            break
        shown = {name: _jpeg(content, quality, share) for name, content in pictures.items()}
    return shown


def _jpeg(content: bytes, quality: int, share: float) -> bytes:
    file = io.BytesIO()
    image = Image.open(io.BytesIO(content))
    size = round(image.width * share), round(image.height * share)
    (image if share == 1 else image.resize(size)).convert("RGB").save(file, "JPEG", quality=quality)
    return file.getvalue()


def number(value: float) -> str:
    """A number as people write it: 62,629 and 0.0123, never 6.263e+04."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.1e}"


def duration(seconds: float) -> str:
    """A time as people say it: 5.3 s, 12 min 5 s, 3 h 4 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{hours:,} h {left} min"


def _sites(mosaic: Mosaic) -> str:
    drawn = len(mosaic.sites)
    return f"All {drawn} sites of each well, by number" if drawn > 1 else "First site of each well"


def _tile_side(layout: Layout) -> int:
    return max(8, min(PREVIEW_PX, MONTAGE_PX // layout.columns))


def _tiles(wells: PlateWells, side: int, mosaic: Mosaic) -> dict[str, dict[str, Any]]:
    """By channel and well, a small picture."""
    tiles: dict[str, dict[str, Any]] = {}
    for well, preview in wells.previews():
        for channel, plane in preview.pictures(side, mosaic).items():
            tiles.setdefault(channel, {})[well] = plane
    return tiles


def _status(summary: PlateSummary) -> bytes:
    canvas = _symbols(summary.layout)
    for well in summary.wells:
        canvas.circle(summary.layout.place(well.well), COLOURS[well.state], hatched=well.state is WellState.FAILED)
    canvas.legend([(COLOURS[state], f"{state} ({count})") for state, count in summary.counts.items() if count])
    return canvas.png()


def _plate_map(summary: PlateSummary) -> bytes:
    wells = list(summary.conditions.values())
    colours, canvas = RoleColours.of(wells), _symbols(summary.layout, CONTENTS_LEGEND_PX)
    for well, conditions in summary.conditions.items():
        canvas.circle(summary.layout.place(well), colours.colour(conditions))
    canvas.legend(colours.legend(wells))
    return canvas.png()


def _symbols(layout: Layout, legend_px: int = LEGEND_PX) -> PlateCanvas:
    """A map with room for a line of words below it."""
    side = _square(layout)
    return PlateCanvas(layout, side, right=max(20, legend_px - layout.columns * side[1]), below=30)


def _square(layout: Layout) -> tuple[int, int]:
    """A cell of a map in which a well is a symbol."""
    side = max(SYMBOL_PX[0], min(SYMBOL_PX[1], 980 // layout.columns))
    return side, side


def _seconds(summary: PlateSummary) -> bytes | None:
    timed = {well.well: well.seconds for well in summary.wells if well.seconds is not None}
    if not timed:
        return None
    longest = max(timed.values())
    unit, length = _unit(longest)
    side = max(8, min(38, HEAT_PX * (2 if summary.layout.is_wide else 1) // summary.layout.columns))
    canvas = PlateCanvas(summary.layout, (side, side), right=90)
    for well, seconds in timed.items():
        canvas.square(summary.layout.place(well), heat_colour(seconds / max(longest, 1e-9)))
    canvas.scale(longest / length, unit)
    return canvas.png()


def _unit(longest_s: float) -> tuple[str, float]:
    if longest_s < 180:
        return "s", 1.0
    return ("min", 60.0) if longest_s < 3 * 3600 else ("h", 3600.0)


def _montage(summary: PlateSummary, tiles: Mapping[str, Any], scale: Scale) -> bytes:
    layout = summary.layout
    longest = max(max(tile.shape) for tile in tiles.values())
    times = max(1, min(WELL_PX, MONTAGE_PX // layout.columns - 2) // longest)
    tiles = {well: tile.repeat(times, axis=0).repeat(times, axis=1) for well, tile in tiles.items()}
    height, width = (max(tile.shape[axis] for tile in tiles.values()) + 2 for axis in (0, 1))
    grey: Grey = np.full((layout.rows * height, layout.columns * width), 32, np.uint8)
    for well, tile in tiles.items():
        row, column = layout.place(well)
        top, left = row * height, column * width
        grey[top : top + tile.shape[0], left : left + tile.shape[1]] = to_grey(tile, scale)
    canvas = PlateCanvas(layout, (height, width), coloured=bool(summary.not_current))
    canvas.pixels(grey)
    for bad in summary.not_current:
        # A frame around what is of another plan, or older than a failure; a cross where there is no picture.
        mark = canvas.frame if bad.well in tiles else canvas.cross
        mark(layout.place(bad.well), COLOURS[bad.state])
    return canvas.png()
