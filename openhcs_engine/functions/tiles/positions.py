"""Where the sites of a well lie, in pixels of one common image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openhcs_engine.functions.any_library import any_library
from openhcs_engine.functions.stack import Pixels, require_stack
from openhcs_engine.memory import numpy, special_inputs, special_outputs

_NAME: Final = "generate_positions"


@numpy
@special_outputs("positions")
@special_inputs("grid_dimensions")
@any_library
def generate_positions(
    stack: Pixels, grid_dimensions: Sequence[int] | None = None, overlap: float = 0.1
) -> tuple[Pixels, NDArray[np.float64]]:
    """Compute where the tiles of a stack lie in a well, from the grid in which they were acquired.

    In a pipeline the positions are a side output of the name ``positions``, and the grid is the plate's own unless the
    step gives another one.

    Parameters
    ----------
    stack
        ``(site, y, x)``, the tiles in rows from the top left; any real dtype; never written to.
    grid_dimensions
        Rows and columns of the grid. None: the most nearly square grid that the tiles fill, not higher than wide.
    overlap
        Share of its edge that a tile has in common with its neighbour, from 0 to below 1.

    Returns
    -------
    tuple
        ``stack`` itself, and the positions, float64 ``(site, (y, x))`` in pixels, as of :func:`tile_positions`.

    Raises
    ------
    ValueError
        If the tiles do not fill the grid, or the overlap is out of range.
    """
    require_stack(stack, _NAME)
    return stack, positions_of_stack(stack, grid_dimensions, overlap)


def positions_of_stack(
    stack: Pixels, grid_dimensions: Sequence[int] | None = None, overlap: float = 0.1
) -> NDArray[np.float64]:
    """Positions ``(site, (y, x))`` in pixels, of the tiles of a stack ``(site, y, x)``; as ``generate_positions``."""
    tiles = len(stack)
    rows, columns = _grid(nearly_square(tiles) if grid_dimensions is None else grid_dimensions)
    if rows * columns != tiles:
        raise ValueError(
            f"{_NAME} got a stack of {tiles} tiles for a grid of {rows} rows and {columns} columns, which has "
            f"{rows * columns} places; let the stack run along the sites (variable_components), and give the grid's "
            "rows and columns as grid_dimensions."
        )
    return tile_positions((rows, columns), stack.shape[1:], overlap)


def tile_positions(grid_dimensions: Sequence[int], shape: Sequence[int], overlap: float = 0.1) -> NDArray[np.float64]:
    """Positions of tiles that were acquired in a regular grid, row by row from the top left.

    Parameters
    ----------
    grid_dimensions
        Rows and columns of the grid.
    shape
        ``(y, x)`` of a tile in pixels.
    overlap
        Share of its edge that a tile has in common with its neighbour, from 0 to below 1.

    Returns
    -------
    ndarray
        float64 ``(site, (y, x))``: the top left corner of each tile in pixels, the first one at (0, 0), y downwards.
        Neighbours are ``(1 - overlap)`` tile edges apart.

    Raises
    ------
    ValueError
        If the grid has no places, or the overlap is out of range.
    """
    rows, columns = _grid(grid_dimensions)
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap={overlap} must lie between 0 and 1, below 1; it is a share of a tile's edge.")
    places = np.indices((rows, columns), dtype=np.float64).reshape(2, -1).T
    return places * (np.asarray(shape, np.float64) * (1 - overlap))


def stage_tile_positions(
    stage_um: ArrayLike, pixel_size_um: float, y_axis: Literal["up", "down"]
) -> NDArray[np.float64]:
    """Positions of tiles from where the stage stood.

    Parameters
    ----------
    stage_um
        ``(site, (y, x))`` in µm: the centre of each tile in the stage's frame. All tiles have the same shape.
    pixel_size_um
        Edge of a pixel in the specimen, in µm, above 0.
    y_axis
        Where the stage's y grows, as seen in the images.

    Returns
    -------
    ndarray
        float64 ``(site, (y, x))``: the top left corner of each tile in pixels, y downwards; the topmost tile has y = 0,
        the leftmost one x = 0.

    Raises
    ------
    ValueError
        If the positions are no finite pairs, the pixel size is not above 0, or the axis is unknown.
    """
    centres = np.array(stage_um, np.float64)
    if centres.ndim != 2 or centres.shape[1:] != (2,) or not len(centres) or not np.isfinite(centres).all():
        raise ValueError("Stage positions must be finite pairs (y, x) in µm, one a site.")
    if not (math.isfinite(pixel_size_um) and pixel_size_um > 0):
        raise ValueError(f"pixel_size_um={pixel_size_um} must be a finite number of µm above 0.")
    if y_axis not in ("up", "down"):
        raise ValueError(f"y_axis={y_axis!r} is unknown (choose from up, down).")
    if y_axis == "up":
        centres[:, 0] *= -1
    centres -= centres.min(axis=0)
    return centres / pixel_size_um


def nearly_square(tiles: int) -> tuple[int, int]:
    """Rows and columns of the most nearly square grid with so many places, not higher than wide: 6 tiles, (2, 3)."""
    rows = next(count for count in range(math.isqrt(tiles), 0, -1) if tiles % count == 0)
    return rows, tiles // rows


def _grid(dimensions: Sequence[int]) -> tuple[int, int]:
    counts = tuple(dimensions)
    if len(counts) != 2 or any(not 1 <= count < math.inf or count != int(count) for count in counts):
        raise ValueError(f"grid_dimensions={dimensions} must be two whole numbers above 0: rows and columns.")
    return int(counts[0]), int(counts[1])
