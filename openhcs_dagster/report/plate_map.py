"""A picture of a plate: lettered rows, numbered columns, and in each well's cell what the caller draws there.

Drawn with Pillow: the same pictures cost matplotlib two seconds of a processor, most of it before the first line.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageChops, ImageDraw, ImageFont

from openhcs_dagster.report.colours import heat_colour
from openhcs_engine.model.wells import row_letters

if TYPE_CHECKING:
    from openhcs_dagster.report.summary import Layout
    from openhcs_engine.output.pictures.greyscale import Grey

Place = tuple[int, int]
"""Row and column of a well in the drawing, from 0."""

MARGIN_PX: Final = 26
"""Room for the letters of rows and the numbers of columns."""
INK: Final = "#5b6775"
"""Colour of letters and numbers."""
FINER: Final = 4
"""Circles are drawn this much larger, then shrunk, so that their edges are smooth."""


class PlateCanvas:
    """A white picture with a cell of ``(height, width)`` pixels a well."""

    def __init__(
        self, layout: Layout, cell: tuple[int, int], *, right: int = 0, below: int = 0, coloured: bool = True
    ) -> None:
        self._layout = layout
        self._cell = cell
        self._size = layout.columns * cell[1], layout.rows * cell[0]
        whole = (MARGIN_PX + self._size[0] + right, MARGIN_PX + self._size[1] + below)
        self._image = Image.new("RGB" if coloured else "L", whole, "white")
        self._draw = ImageDraw.Draw(self._image)
        self._label_wells()

    def pixels(self, grey: Grey) -> None:
        """Lay a picture of all cells below what is drawn later."""
        self._image.paste(Image.fromarray(grey), (MARGIN_PX, MARGIN_PX))

    def circle(self, place: Place, colour: str, *, hatched: bool = False) -> None:
        """Fill a well; its outline shows a white one, too."""
        side = min(self._cell)
        left, top = self._corner(place)
        self._image.paste(INK, (left, top), _disc(side, hatched=False))
        self._image.paste(colour, (left + 1, top + 1), _disc(side - 2, hatched=False))
        if hatched:
            self._image.paste("#ffffff", (left + 1, top + 1), _disc(side - 2, hatched=True))

    def square(self, place: Place, colour: str) -> None:
        """Fill a cell."""
        left, top = self._corner(place)
        self._draw.rectangle((left, top, left + self._cell[1] - 2, top + self._cell[0] - 2), fill=colour)

    def frame(self, place: Place, colour: str) -> None:
        """Draw a line around a cell."""
        left, top = self._corner(place)
        self._draw.rectangle((left, top, left + self._cell[1] - 2, top + self._cell[0] - 2), outline=colour, width=2)

    def cross(self, place: Place, colour: str) -> None:
        """Cross out a cell in which there is nothing."""
        left, top = self._corner(place)
        x, y, arm = left + self._cell[1] // 2, top + self._cell[0] // 2, max(2, min(self._cell) // 8)
        self._draw.line((x - arm, y - arm, x + arm, y + arm), fill=colour, width=2)
        self._draw.line((x - arm, y + arm, x + arm, y - arm), fill=colour, width=2)

    def legend(self, entries: list[tuple[str, str]]) -> None:
        """Write colours and what they mean in a line below the plate."""
        x, y = float(MARGIN_PX), MARGIN_PX + self._size[1] + 14
        for colour, text in entries:
            self._draw.ellipse((x, y - 5, x + 10, y + 5), fill=colour, outline=INK)
            self._draw.text((x + 16, y), text, fill=INK, font=_font(12), anchor="lm")
            x += 16 + self._draw.textlength(text, font=_font(12)) + 18

    def scale(self, longest: float, unit: str) -> None:
        """Draw the colours of 0 to ``longest`` at the right, where there is room for it."""
        left, top, height = MARGIN_PX + self._size[0] + 14, MARGIN_PX, self._size[1]
        for y in range(height):
            self._draw.line((left, top + y, left + 12, top + y), fill=heat_colour(1 - y / max(1, height - 1)))
        for part in (0.0, 0.5, 1.0):
            text = f"{longest * part:.3g} {unit}"
            y = top + round((1 - part) * (height - 1))
            self._draw.text((left + 18, min(max(y, top + 6), top + height - 6)), text, INK, _font(11), "lm")

    def png(self) -> bytes:
        """The picture as a file."""
        file = io.BytesIO()
        self._image.save(file, "PNG")
        return file.getvalue()

    def _corner(self, place: Place) -> tuple[int, int]:
        row, column = place
        return MARGIN_PX + column * self._cell[1], MARGIN_PX + row * self._cell[0]

    def _label_wells(self) -> None:
        height, width = self._cell
        every = 1 if width >= 14 else 4  # numbers of two digits must not run into each other
        for column in range(0, self._layout.columns, every):
            number = str(self._layout.first_column + column + 1)
            self._draw.text((MARGIN_PX + (column + 0.5) * width, 14), number, INK, _font(11), "mm")
        for row in range(0, self._layout.rows, 1 if height >= 11 else 4):
            letters = row_letters(self._layout.first_row + row)
            self._draw.text((12, MARGIN_PX + (row + 0.5) * height), letters, INK, _font(11), "mm")


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@lru_cache(maxsize=8)
def _disc(side: int, *, hatched: bool) -> Image.Image:
    """How much of each pixel of a cell is covered by a well, or by the stripes of a failed one."""
    large, gap = side * FINER, side * FINER * 0.08
    disc = Image.new("L", (large, large), 0)
    ImageDraw.Draw(disc).ellipse((gap, gap, large - gap, large - gap), fill=255)
    if hatched:
        stripes, pitch = Image.new("L", disc.size, 0), max(FINER * 3, large // 6)
        for start in range(-large, large, pitch):
            ImageDraw.Draw(stripes).line((start, large, start + large, 0), fill=255, width=pitch // 4)
        disc = ImageChops.multiply(disc, stripes)
    return disc.resize((side, side), Image.Resampling.BOX)


__all__ = ["MARGIN_PX", "PlateCanvas"]
