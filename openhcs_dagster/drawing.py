"""Pictures of a plate: which wells are done, how long they took, what they look like."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from openhcs_dagster.grey import Grey, Scale, scale_of, to_grey, write_scales
from openhcs_dagster.mosaic import Mosaic
from openhcs_dagster.report import Layout, PlateSummary, WellState, report_folder
from openhcs_dagster.wells import PlateWells
from openhcs_engine.model.wells import row_letters

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final[Mapping[WellState, str]] = {
    WellState.DONE: "#2f9e68",
    WellState.UNCHANGED: "#7cc4a0",
    WellState.STALE: "#e0a426",
    WellState.FAILED: "#c93b3b",
    WellState.MISSING: "#b4bcc6",
}
MAX_TILE_PX: Final = 160
"""Longest edge of a well in a montage, pixels."""
MONTAGE_PX: Final = 1040
"""Width of a montage, where its wells are many: that of the page."""
MARGIN_PX: Final = 26
"""Room for the letters of rows and the numbers of columns."""
DPI: Final = 100


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


def draw(summary: PlateSummary, wells: PlateWells) -> PlatePictures:
    """Draw the plate, and keep its grey scales for later thumbnails."""
    side = _tile_side(summary.layout)
    mosaic = Mosaic.of(summary.plate, side, len(summary.wells))
    tiles = _tiles(wells, side, mosaic)
    scales = {channel: scale_of(of_channel.values()) for channel, of_channel in tiles.items()}
    write_scales(report_folder(summary.entry), scales)
    timed = any(well.seconds is not None for well in summary.wells)
    return PlatePictures(
        status=_status(summary),
        seconds=_seconds(summary) if timed else None,
        montages={channel: _montage(summary, of_channel, scales[channel]) for channel, of_channel in tiles.items()},
        scales={
            channel: f"{_sites(mosaic)}. Black is {number(dark)}, white is {number(bright)} for all wells."
            for channel, (dark, bright) in scales.items()
        },
    )


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
    return max(8, min(MAX_TILE_PX, MONTAGE_PX // layout.columns))


def _tiles(wells: PlateWells, side: int, mosaic: Mosaic) -> dict[str, dict[str, Any]]:
    """By channel and well, a small picture."""
    tiles: dict[str, dict[str, Any]] = {}
    for well in wells:
        for channel, plane in wells.small(well, side, mosaic).items():
            tiles.setdefault(channel, {})[well] = plane
    return tiles


def _status(summary: PlateSummary) -> bytes:
    from matplotlib.patches import Circle, Patch

    figure, axes = _plate_axes(summary.layout)
    for well in summary.wells:
        row, column = summary.layout.place(well.well)
        hatch = "////" if well.state is WellState.FAILED else None
        axes.add_patch(
            Circle((column, row), 0.42, facecolor=COLOURS[well.state], edgecolor="white", linewidth=0, hatch=hatch)
        )
    shown = [(state, count) for state, count in summary.counts.items() if count]
    handles = [Patch(facecolor=COLOURS[state], label=f"{state} ({count})") for state, count in shown]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, -0.02), ncols=5, frameon=False, fontsize=9)
    return _png(figure)


def _seconds(summary: PlateSummary) -> bytes:
    layout = summary.layout
    values = np.full((layout.rows, layout.columns), np.nan)
    for well in summary.wells:
        if well.seconds is not None:
            values[layout.place(well.well)] = well.seconds
    unit, length = _unit(float(np.nanmax(values)))
    figure, axes = _plate_axes(layout)
    image = axes.imshow(values / length, cmap="viridis", vmin=0)
    bar = figure.colorbar(image, ax=axes, label=unit, fraction=0.03, pad=0.02)
    bar.outline.set_visible(False)  # type: ignore[operator,unused-ignore] # matplotlib's own types differ by version
    return _png(figure)


def _unit(longest_s: float) -> tuple[str, float]:
    if longest_s < 180:
        return "s", 1.0
    return ("min", 60.0) if longest_s < 3 * 3600 else ("h", 3600.0)


def _montage(summary: PlateSummary, tiles: Mapping[str, Any], scale: Scale) -> bytes:
    layout = summary.layout
    height, width = (max(tile.shape[axis] for tile in tiles.values()) + 2 for axis in (0, 1))
    canvas: Grey = np.full((layout.rows * height, layout.columns * width), 32, np.uint8)
    for well, tile in tiles.items():
        row, column = layout.place(well)
        top, left = row * height, column * width
        canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = to_grey(tile, scale)
    figure, axes = _pixel_axes(layout, canvas)
    for bad in summary.not_current:
        _mark(axes, layout.place(bad.well), COLOURS[bad.state], has_picture=bad.well in tiles)
    return _png(figure)


def _mark(axes: Axes, place: tuple[int, int], colour: str, *, has_picture: bool) -> None:
    """A cross where there is no picture; a frame around one that is of another plan, or older than a failure."""
    from matplotlib.patches import Rectangle

    row, column = place
    if has_picture:
        axes.add_patch(Rectangle((column - 0.49, row - 0.49), 0.97, 0.97, fill=False, edgecolor=colour, linewidth=1.5))
    else:
        axes.text(column, row, "×", color=colour, ha="center", va="center", fontsize=14)


def _pixel_axes(layout: Layout, canvas: Grey) -> tuple[Figure, Axes]:
    """A picture of a plate, its pixels neither enlarged nor shrunk."""
    from matplotlib.figure import Figure

    height, width = canvas.shape
    whole_height, whole_width = height + MARGIN_PX, width + MARGIN_PX
    figure = Figure(figsize=(whole_width / DPI, whole_height / DPI), dpi=DPI)
    axes = figure.add_axes((MARGIN_PX / whole_width, 0, width / whole_width, height / whole_height))
    extent = (-0.5, layout.columns - 0.5, layout.rows - 0.5, -0.5)
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="nearest", aspect="auto")
    _label_wells(axes, layout)
    return figure, axes


def _plate_axes(layout: Layout) -> tuple[Figure, Axes]:
    """Axes with wells at whole numbers, lettered rows and numbered columns."""
    # Figure without pyplot: no backend, no state, safe in any thread.
    from matplotlib.figure import Figure

    width = max(0.26, min(0.72, 10 / layout.columns))
    figure = Figure(figsize=(layout.columns * width + 0.9, layout.rows * width + 0.7), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlim(-0.5, layout.columns - 0.5)
    axes.set_ylim(layout.rows - 0.5, -0.5)
    axes.set_aspect(1.0)
    _label_wells(axes, layout)
    return figure, axes


def _label_wells(axes: Axes, layout: Layout) -> None:
    axes.set_xticks(range(layout.columns), [str(layout.first_column + column + 1) for column in range(layout.columns)])
    axes.set_yticks(range(layout.rows), [row_letters(layout.first_row + row) for row in range(layout.rows)])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=8, labelcolor="#5b6775")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor="white")
    return file.getvalue()
