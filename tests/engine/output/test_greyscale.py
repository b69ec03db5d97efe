"""Small grey pictures: thumbnails, montages and the overview shrink and scale planes in one way."""

from __future__ import annotations

import numpy as np
import pytest

from openhcs_engine.output.pictures.greyscale import scale_of, shrink, to_grey
from openhcs_engine.output.pictures.mosaic import MOST_SITES, Mosaic


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "uint64", "float16", "float64"])
@pytest.mark.parametrize("shape", [(6, 6), (7, 5), (1, 40), (40, 1), (3, 2)])
def test_a_small_picture_keeps_the_mean(dtype: str, shape: tuple[int, int]) -> None:
    """Whatever its type and form, an even plane stays even, and no edge is longer than was asked for."""
    small = shrink(np.ones(shape, dtype), 3)
    assert max(small.shape) <= 3
    assert (small == 1).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_pixel_without_a_value_darkens_nothing_else(bad: float) -> None:
    """Means are of the finite pixels of a block; a block without any is 0, and the scale stays a scale."""
    plane = np.full((4, 4), 5, np.float32)
    plane[0, 0] = bad
    plane[2:, 2:] = bad
    small = shrink(plane, 2)
    np.testing.assert_array_equal(small, [[5, 5], [5, 0]])
    assert np.isfinite(scale_of([small])).all()
    assert to_grey(small, scale_of([small]))[0, 0] == 255


@pytest.mark.parametrize(
    ("sites", "side", "fields", "drawn"), [(9, 64, 9, 9), (36, 64, 36, 1), (4, 64, MOST_SITES + 1, 1)]
)
def test_all_sites_are_drawn_or_the_first(sites: int, side: int, fields: int, drawn: int) -> None:
    """Sites too small to show anything, or too many to read, give way to the first."""
    mosaic = Mosaic.fitting(tuple(range(sites)), side, fields)
    assert len(mosaic.sites) == drawn
    whole = mosaic.compose({site: np.full((8, 8), site) for site in mosaic.sites}, side)
    assert {int(value) for value in np.unique(whole)} == set(mosaic.sites)
