"""A map of a plate so small that Dagster's UI shows it at once, not behind a link."""

from __future__ import annotations

import base64
import io
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from openhcs_dagster.report.pictures import COLOURS
from openhcs_dagster.report.summary import PlateSummary, WellState
from openhcs_engine.model.wells import row_letters

INLINE: Final = 1000
"""Characters; the UI hides markdown that is as long or longer behind "[Show Markdown]"."""
MARGIN_PX: Final = 16
"""Room for letters of rows and numbers of columns."""
_INK: Final = "#5b6775"
_STATES: Final = tuple(WellState)


def glance(summary: PlateSummary) -> str | None:
    """Markdown with a square a well, and how many are in which state; None if the plate has too many wells for it."""
    told = ", ".join(f"{count} {state}" for state, count in summary.counts.items() if count)
    for labelled in (True, False):
        picture = base64.b64encode(_draw(summary, labelled=labelled)).decode()
        text = f"![{told}](data:image/png;base64,{picture})\n\n{told}"
        if len(text) < INLINE:
            return text
    return None


def _draw(summary: PlateSummary, *, labelled: bool) -> bytes:
    """A picture of few colours without soft edges: some hundred bytes."""
    layout, margin = summary.layout, MARGIN_PX if labelled else 0
    side = max(6, min(20, 360 // layout.columns))
    image = Image.new("P", (margin + layout.columns * side, margin + layout.rows * side), 0)
    colours = ["#ffffff", _INK, *(COLOURS[state] for state in _STATES)]
    image.putpalette(b"".join(bytes.fromhex(colour[1:]) for colour in colours))
    draw = ImageDraw.Draw(image)
    draw.fontmode = "1"
    if labelled:
        font = ImageFont.load_default(10)
        for column in range(layout.columns):
            draw.text((margin + (column + 0.5) * side, 7), str(layout.first_column + column + 1), 1, font, "mm")
        for row in range(layout.rows):
            draw.text((7, margin + (row + 0.5) * side), row_letters(layout.first_row + row), 1, font, "mm")
    for well in summary.wells:
        row, column = layout.place(well.well)
        left, top = margin + column * side, margin + row * side
        draw.rectangle((left, top, left + side - 2, top + side - 2), fill=2 + _STATES.index(well.state))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True, bits=4)
    return file.getvalue()


__all__ = ["INLINE", "glance"]
