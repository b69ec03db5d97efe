"""The picture of the page on stitching."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools import draw_stitching


def test_the_picture_shows_that_tiles_agree_where_they_were_refined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the overlap, magenta and green differ less on the right, where tiles lie as their images say."""
    monkeypatch.setattr(draw_stitching, "_PICTURE", tmp_path / "picture.png")
    draw_stitching.main()
    with Image.open(tmp_path / "picture.png") as picture:
        pixels = np.asarray(picture.convert("RGB"), np.float64)
    by_stage, refined = np.split(pixels, 2, axis=1)

    def difference(half: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
        both = (half[..., 0] > 0) & (half[..., 1] > 0) & (half.min(axis=2) < 255)
        return float(np.abs(half[..., 0] - half[..., 1])[both].mean())

    assert difference(refined) < 0.7 * difference(by_stage)
