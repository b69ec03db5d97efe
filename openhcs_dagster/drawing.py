"""Pictures of a plate: which wells are done, how long they took, what they look like."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from openhcs_dagster.grey import Grey, Scale, scale_of, shrink, to_grey, write_scales
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
MAX_TILE_PX: Final = 112
"""Longest edge of a well in a montage, pixels."""
MONTAGE_PX: Final = 960
"""Longest edge of a montage, where its wells are many."""
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
    tiles = _tiles(summary.layout, wells)
    scales = {channel: scale_of(of_channel.values()) for channel, of_channel in tiles.items()}
    write_scales(report_folder(summary.entry), scales)
    timed = any(well.seconds is not None for well in summary.wells)
    return PlatePictures(
        status=_status(summary),
        seconds=_seconds(summary) if timed else None,
        montages={channel: _montage(summary, of_channel, scales[channel]) for channel, of_channel in tiles.items()},
        scales={
            channel: f"First site. Black is {_number(dark)}, white is {_number(bright)} for all wells."
            for channel, (dark, bright) in scales.items()
        },
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _tiles(layout: Layout, wells: PlateWells) -> dict[str, dict[str, Any]]:
    """By channel and well, the first site's smallest image, shrunk to a tile."""
    side = max(8, min(MAX_TILE_PX, MONTAGE_PX // max(layout.columns, layout.rows)))
    tiles: dict[str, dict[str, Any]] = {}
    for well, planes in wells.small_planes(side):
        for channel, plane in planes.items():
            tiles.setdefault(channel, {})[well] = shrink(plane, side)
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
    figure, axes = _plate_axes(layout)
    image = axes.imshow(values, cmap="viridis", vmin=0)
    bar = figure.colorbar(image, ax=axes, label="s", fraction=0.03, pad=0.02)
    bar.outline.set_visible(False)  # type: ignore[operator,unused-ignore] # matplotlib's own types differ by version
    return _png(figure)


def _montage(summary: PlateSummary, tiles: Mapping[str, Any], scale: Scale) -> bytes:
    layout = summary.layout
    height, width = (max(tile.shape[axis] for tile in tiles.values()) for axis in (0, 1))
    canvas: Grey = np.full((layout.rows * (height + 1), layout.columns * (width + 1)), 32, np.uint8)
    for well, tile in tiles.items():
        row, column = layout.place(well)
        top, left = row * (height + 1), column * (width + 1)
        canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = to_grey(tile, scale)
    figure, axes = _plate_axes(layout, aspect=(height + 1) / (width + 1), cell=max(0.2, (width + 1) / DPI))
    extent = (-0.5, layout.columns - 0.5, layout.rows - 0.5, -0.5)
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="antialiased", aspect="auto")
    for absent in summary.wells:
        if absent.well not in tiles:
            row, column = layout.place(absent.well)
            axes.text(column, row, "×", color=COLOURS[absent.state], ha="center", va="center", fontsize=14)
    return _png(figure)


def _plate_axes(layout: Layout, aspect: float = 1.0, cell: float | None = None) -> tuple[Figure, Axes]:
    """Axes with wells at whole numbers, lettered rows and numbered columns; ``cell`` is a well's width in inches."""
    # Figure without pyplot: no backend, no state, safe in any thread.
    from matplotlib.figure import Figure

    width = max(0.26, min(0.72, 10 / layout.columns)) if cell is None else cell
    size = (layout.columns * width + 0.9, layout.rows * width * aspect + 0.7)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlim(-0.5, layout.columns - 0.5)
    axes.set_ylim(layout.rows - 0.5, -0.5)
    axes.set_aspect(aspect)
    axes.set_xticks(range(layout.columns), [str(layout.first_column + column + 1) for column in range(layout.columns)])
    axes.set_yticks(range(layout.rows), [row_letters(layout.first_row + row) for row in range(layout.rows)])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=8, labelcolor="#5b6775")
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure, axes


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor="white")
    return file.getvalue()
