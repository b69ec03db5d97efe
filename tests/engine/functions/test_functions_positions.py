"""Where tiles lie."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine.functions import generate_positions, stage_tile_positions, tile_positions
from openhcs_engine.functions.tiles.positions import nearly_square, positions_of_stack

TILES = np.arange(6 * 10 * 20, dtype=np.uint16).reshape(6, 10, 20)


def test_tiles_lie_row_by_row_from_the_top_left() -> None:
    """Two rows of three tiles of 10 x 20 pixels that share a tenth: 9 pixels down, 18 to the right."""
    assert tile_positions((2, 3), (10, 20), overlap=0.1).tolist() == [
        [0, 0], [0, 18], [0, 36],
        [9, 0], [9, 18], [9, 36],
    ]  # fmt: skip


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 0.9))
def test_neighbours_share_the_overlap(rows: int, columns: int, overlap: float) -> None:
    """One position a tile, the first at the origin, and neighbours as far apart as the overlap says."""
    positions = tile_positions((rows, columns), (64, 32), overlap).reshape(rows, columns, 2)

    assert positions[0, 0].tolist() == [0, 0]
    np.testing.assert_allclose(np.diff(positions[:, :, 0], axis=0), 64 * (1 - overlap))
    np.testing.assert_allclose(np.diff(positions[:, :, 1], axis=1), 32 * (1 - overlap))
    assert not np.diff(positions[:, :, 1], axis=0).any() and not np.diff(positions[:, :, 0], axis=1).any()


def test_the_pixels_stay_as_they_are() -> None:
    """The very same array: positions are what the function is about."""
    assert generate_positions(TILES)[0] is TILES
    assert generate_positions(TILES, grid_dimensions=[3, 2], overlap=0.2)[0] is TILES


def test_the_stack_gives_the_shape_of_its_tiles_and_their_number() -> None:
    """With the grid of the plate where it is known; otherwise the most nearly square one."""
    np.testing.assert_array_equal(positions_of_stack(TILES), tile_positions((2, 3), (10, 20), 0.1))
    np.testing.assert_array_equal(positions_of_stack(TILES, (6, 1), 0.0), tile_positions((6, 1), (10, 20), 0.0))


@given(st.integers(1, 400))
def test_the_most_nearly_square_grid_holds_all_tiles(tiles: int) -> None:
    """And no other grid that does is more nearly square."""
    rows, columns = nearly_square(tiles)

    assert rows * columns == tiles and rows <= columns
    assert not any(tiles % other == 0 for other in range(rows + 1, int(tiles**0.5) + 1))


def test_stage_positions_become_pixels() -> None:
    """From the topmost and the leftmost tile, y downwards, whichever way the stage's y grows."""
    stage_um = [[100.0, -50.0], [100.0, 50.0], [0.0, -50.0]]

    up = stage_tile_positions(stage_um, pixel_size_um=0.5, y_axis="up")
    down = stage_tile_positions(stage_um, pixel_size_um=0.5, y_axis="down")

    assert up.tolist() == [[0, 0], [0, 200], [200, 0]]
    assert down.tolist() == [[200, 0], [200, 200], [0, 0]]


@given(st.integers(1, 5), st.integers(1, 5), st.floats(0, 0.5), st.floats(0.1, 2), st.floats(-1e4, 1e4))
def test_a_stage_that_moved_in_a_grid_gives_the_positions_of_the_grid(
    rows: int, columns: int, overlap: float, pixel_um: float, origin_um: float
) -> None:
    """Both ways lead to the same positions."""
    grid = tile_positions((rows, columns), (64, 32), overlap)

    from_stage = stage_tile_positions(grid * pixel_um + origin_um, pixel_um, "down")

    np.testing.assert_allclose(from_stage, grid, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: generate_positions(TILES, (2, 2)),
            "6 tiles for a grid of 2 rows and 2 columns, which has 4 places",
        ),
        (lambda: generate_positions(TILES, (-2, -3)), "must be two whole numbers above 0: rows and columns"),
        (lambda: generate_positions(TILES, (1, 2, 3)), "must be two whole numbers above 0: rows and columns"),
        (lambda: generate_positions(TILES[0]), "generate_positions works on a stack (plane, y, x)"),
        (lambda: tile_positions((0, 3), (8, 8)), "must be two whole numbers above 0: rows and columns"),
        (lambda: tile_positions((1, 3), (8, 8), overlap=1.0), "overlap=1.0 must lie between 0 and 1, below 1"),
        (lambda: stage_tile_positions([1.0, 2.0], 0.5, "up"), "must be finite pairs (y, x)"),
        (lambda: stage_tile_positions([[1.0, np.nan]], 0.5, "up"), "must be finite pairs (y, x)"),
        (lambda: stage_tile_positions([[1.0, 2.0]], 0.0, "up"), "pixel_size_um=0.0 must be a finite number"),
        (
            lambda: stage_tile_positions([[1.0, 2.0]], 0.5, "left"),  # type: ignore[arg-type] # that it is wrong is the point
            "y_axis='left' is unknown (choose from up, down)",
        ),
    ],
)
def test_wrong_calls_are_answered_with_a_sentence(call: Callable[[], object], sentence: str) -> None:
    """ValueError says what would be right."""
    with pytest.raises(ValueError) as caught:
        call()

    assert sentence in str(caught.value)
