"""Pictures of plates: what is drawn where, in which colour."""

from __future__ import annotations

import io
import itertools

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from openhcs_dagster.report.colours import heat_colour
from openhcs_dagster.report.plate_map import MARGIN_PX, PlateCanvas
from openhcs_dagster.report.summary import Layout

SIDE = 40
PLATE = Layout(first_row=0, first_column=0, rows=8, columns=12)


def cell(canvas: PlateCanvas, row: int, column: int, side: int = SIDE) -> NDArray[np.uint8]:
    """The pixels (y, x, rgb) of one well."""
    pixels = np.asarray(Image.open(io.BytesIO(canvas.png())).convert("RGB"))
    top, left = MARGIN_PX + row * side, MARGIN_PX + column * side
    return pixels[top : top + side, left : left + side]


def test_a_well_is_drawn_in_its_own_cell() -> None:
    """The middle of the well has its colour, its neighbours stay white."""
    canvas = PlateCanvas(PLATE, (SIDE, SIDE))

    canvas.circle((2, 5), "#2f9e68")

    assert tuple(cell(canvas, 2, 5)[SIDE // 2, SIDE // 2]) == (0x2F, 0x9E, 0x68)
    assert (cell(canvas, 2, 4) == 255).all()
    assert (cell(canvas, 3, 5) == 255).all()


def test_a_hatched_well_has_stripes() -> None:
    """Failed wells are told apart without colours, too."""
    canvas = PlateCanvas(PLATE, (SIDE, SIDE))

    canvas.circle((0, 0), "#c93b3b")
    canvas.circle((0, 1), "#c93b3b", hatched=True)

    inner = slice(SIDE // 4, -SIDE // 4)
    assert len(np.unique(cell(canvas, 0, 0)[inner, inner].reshape(-1, 3), axis=0)) == 1
    assert cell(canvas, 0, 1)[inner, inner].reshape(-1, 3)[:, 1].std() > 20


def test_pixels_are_neither_enlarged_nor_shrunk() -> None:
    """A montage's pixel is a pixel of the picture."""
    grey = np.random.default_rng(1).integers(0, 255, (8 * 9, 12 * 11), np.uint8)
    canvas = PlateCanvas(PLATE, (9, 11), coloured=False)

    canvas.pixels(grey)

    shown = np.asarray(Image.open(io.BytesIO(canvas.png())))
    np.testing.assert_array_equal(shown[MARGIN_PX:, MARGIN_PX:], grey)


def test_marks_change_the_cell_they_mean_alone() -> None:
    """A frame leaves the middle of its cell as it was, a cross marks it."""
    canvas = PlateCanvas(PLATE, (SIDE, SIDE))

    canvas.frame((1, 1), "#e0a426")
    canvas.cross((1, 3), "#c93b3b")

    assert (cell(canvas, 1, 1)[SIDE // 2, SIDE // 2] == 255).all()
    assert tuple(cell(canvas, 1, 1)[0, SIDE // 2]) == (0xE0, 0xA4, 0x26)
    assert tuple(cell(canvas, 1, 3)[SIDE // 2, SIDE // 2]) == (0xC9, 0x3B, 0x3B)
    assert (cell(canvas, 1, 2) == 255).all()


def test_a_plate_of_1536_wells_is_drawn_and_labelled() -> None:
    """Rows to AF: there is ink left of the first and of the last labelled row."""
    canvas = PlateCanvas(Layout(first_row=0, first_column=0, rows=32, columns=48), (20, 20), right=10)

    pixels = np.asarray(Image.open(io.BytesIO(canvas.png())).convert("L"))

    assert pixels.shape == (MARGIN_PX + 32 * 20, MARGIN_PX + 48 * 20 + 10)
    for row in (0, 31):
        assert pixels[MARGIN_PX + row * 20 : MARGIN_PX + row * 20 + 20, :MARGIN_PX].min() < 160


def test_more_is_brighter_in_a_heat_map() -> None:
    """From dark violet to yellow, ever brighter; what is beyond the ends is as the ends."""
    grey = [np.dot([0.299, 0.587, 0.114], _rgb(heat_colour(part))) for part in np.linspace(0, 1, 50)]

    assert heat_colour(0) == heat_colour(-1) == "#440154"
    assert heat_colour(1) == heat_colour(2) == "#fde725"
    assert all(low < high for low, high in itertools.pairwise(grey))


def _rgb(colour: str) -> list[int]:
    return [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
