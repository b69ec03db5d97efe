"""Draw docs/images/stitching.png: two tiles where the stage stood, and where their images say that they lie.

``python -m tools.draw_stitching`` writes it. One tile is shown in magenta, the other in green, so that what both show
at the same position is grey.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from benchmarks.stitching import EDGE, PlantedTiles, plant
from openhcs_engine.functions.tiles.refinement import refine_positions

_PICTURE: Final = Path(__file__).resolve().parents[1] / "docs" / "images" / "stitching.png"
_SHOWN: Final = (220, 200)
"""Rows and columns around the overlap that are shown."""
_ZOOM: Final = 2
_GAP: Final = 12
_TITLE: Final = 22


def overlay(planted: PlantedTiles, shift: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The first tile in magenta, the second one at a shift in green, around the overlap ``(y, x, colour)``."""
    low, high = np.percentile(planted.tiles[:2], (1, 99.7))
    grey = (np.clip((planted.tiles[:2] - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    canvas = np.zeros((EDGE + 100, 2 * EDGE + 100, 3), np.uint8)
    canvas[50 : 50 + EDGE, 50 : 50 + EDGE, [0, 2]] = grey[0][..., None]
    y, x = np.rint(shift).astype(int) + 50
    canvas[y : y + EDGE, x : x + EDGE, 1] = grey[1]
    middle = (x + 50 + EDGE) // 2
    top = 50 + EDGE // 2 - _SHOWN[0] // 2
    return canvas[top : top + _SHOWN[0], middle - _SHOWN[1] // 2 : middle + _SHOWN[1] // 2]


def main() -> None:
    """Draw both side by side."""
    planted = plant(1, 2, seed=12)
    refined = refine_positions(planted.tiles, planted.stage)
    (pair,) = refined.pairs
    assert pair.correlation is not None  # the planted tiles overlap
    images = {
        "where the stage stood": overlay(planted, planted.stage[1] - planted.stage[0]),
        f"refined, correlation {pair.correlation:.2f}": overlay(planted, refined.positions[1] - refined.positions[0]),
    }
    height, width = (edge * _ZOOM for edge in _SHOWN)
    sheet = Image.new("RGB", (2 * width + _GAP, height + _TITLE), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (title, image) in enumerate(images.items()):
        left = number * (width + _GAP)
        draw.text((left, 4), title, fill="black")
        sheet.paste(Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST), (left, _TITLE))
    sheet.save(_PICTURE, optimize=True)


if __name__ == "__main__":
    main()
