"""Where the sites of a well lie, by what their images have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openhcs_engine.functions.any_library import any_library
from openhcs_engine.functions.stack import Pixels, require_stack
from openhcs_engine.functions.tiles.correlation import best_shift
from openhcs_engine.functions.tiles.placement import MeasuredShift, place_tiles
from openhcs_engine.functions.tiles.positions import stage_tile_positions
from openhcs_engine.memory import checked_by, numpy, special_inputs, special_outputs

if TYPE_CHECKING:
    import pyarrow as pa

_NAME: Final = "refine_tile_positions"
_ASIDE: Final = 0.5
"""How far aside a neighbour may lie, as a share of the way to it: tiles further aside are neighbours by a corner."""

_LEAST_PX: Final = 0.1
"""What is added to the standard error of each shift."""
_MOST_PX: Final = 1.0
"""The largest standard error that counts: the best shift in whole pixels is as good."""


class PairOutcome(StrEnum):
    """What became of two tiles that overlap by the stage's positions."""

    ACCEPTED = "accepted"
    """Their shift counts."""
    NO_TEXTURE = "no texture"
    """One of them is constant where they may overlap."""
    POOR = "poor correlation"
    """Their best shift correlates less than asked for."""
    CHANCE = "no better than chance"
    """So good a shift is found in images that have nothing in common."""
    EDGE = "at the edge of the window"
    """The best shift may lie further away than was looked for."""
    CONTRADICTED = "contradicts the others"
    """The shifts of the other pairs say otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePair:
    """Two tiles that overlap by the stage's positions, as indexes into the stack."""

    first: int
    second: int
    stage_shift: tuple[float, float]
    """``(y, x)`` in pixels, from the first tile to the second, by the stage."""
    shift: tuple[float, float] | None
    """The same by their images; None without texture."""
    correlation: float | None
    """Of the overlap at that shift, after smoothing and without its uneven light."""
    error: float | None
    """Standard error of that shift in pixels; infinite if it is known to a pixel only."""
    outcome: PairOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinedPositions:
    """Where tiles lie, and how that is known."""

    positions: NDArray[np.float64]
    """``(tile, (y, x))`` in pixels, in the frame of the stage positions that were given."""
    groups: tuple[int, ...]
    """The group of each tile: 1 is the largest one that accepted pairs connect; 0, a tile that none connects."""
    pairs: tuple[TilePair, ...]
    """All that overlap by the stage's positions."""

    def remark(self, tile: int) -> str | None:
        """Why a tile does not lie where the images of the largest group say; None: it does."""
        own = [pair for pair in self.pairs if tile in (pair.first, pair.second)]
        if not self.pairs:
            return "the tiles do not overlap; all lie where the stage stood"
        if not own:
            return "overlaps with no other tile; lies where the stage stood"
        if self.groups[tile] == 0:
            why = ", ".join(dict.fromkeys(pair.outcome.value for pair in own))
            return f"no pair was accepted ({why}); lies where the stage stood"
        if self.groups[tile] > 1:
            return f"belongs to group {self.groups[tile]}, which lies to the others as the stage stood"
        return None


def refine_positions(
    tiles: Sequence[Pixels] | Pixels, stage: ArrayLike, *, window_px: int = 40, minimum_correlation: float = 0.5
) -> RefinedPositions:
    """Refine stage positions by the shifts at which overlapping tiles agree best.

    Parameters
    ----------
    tiles
        Images ``(y, x)`` of one shape and of any real dtype; never written to. Each is asked for by its index, at most
        once a pair, so that they need not lie in memory together.
    stage
        ``(tile, (y, x))`` in pixels, y downwards: the top left corners, as of ``stage_tile_positions``.
    window_px
        How far from the stage's shift two tiles may lie, in pixels, along either axis.
    minimum_correlation
        From where a pair is accepted, above 0 to 1.

    Returns
    -------
    RefinedPositions
        Tiles that no accepted pair connects keep the stage's position.

    Raises
    ------
    ValueError
        If positions and tiles are not as many, or not finite, or a parameter is out of range.

    Notes
    -----
    Pairs are neighbours along an axis, never by a corner. The shifts of accepted pairs are fitted by least squares,
    weighted by their errors, as in M. Emmenlauer et al., "XuvTools" (2009) and Y. Yu, H. Peng, "Automated high speed
    stitching of large 3D microscopic images" (2011).
    """
    for _, sentence in _refusals(window_px, minimum_correlation):
        raise ValueError(sentence)
    expected = np.array(stage, np.float64)
    if expected.shape != (len(tiles), 2) or not np.isfinite(expected).all():
        raise ValueError(f"{_NAME} got {len(tiles)} tiles, and needs a finite pair (y, x) in pixels for each of them.")
    shape = (tiles[0].shape[0], tiles[0].shape[1])
    measured = [
        _measure(tiles, first, second, expected, window_px, minimum_correlation)
        for first, second in neighbours(expected, shape)
    ]
    accepted = [number for number, pair in enumerate(measured) if pair.outcome is PairOutcome.ACCEPTED]
    placed = place_tiles(expected, [_as_shift(measured[number]) for number in accepted])
    contradicted = {accepted[number] for number in placed.contradicted}
    pairs = tuple(
        replace(pair, outcome=PairOutcome.CONTRADICTED) if number in contradicted else pair
        for number, pair in enumerate(measured)
    )
    return RefinedPositions(positions=placed.positions, groups=tuple(placed.groups.tolist()), pairs=pairs)


def neighbours(positions: NDArray[np.float64], shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Pairs of tiles of one shape that overlap and lie beside or below one another, not by a corner."""
    edges = np.array(shape, np.float64)
    apart = np.abs(positions[None] - positions[:, None]) / edges
    overlap = (apart < 1).all(axis=2) & (apart * edges <= edges - 1).all(axis=2)
    beside = apart.min(axis=2) <= _ASIDE * apart.max(axis=2)
    return [(int(first), int(second)) for first, second in np.argwhere(np.triu(overlap & beside, 1))]


def _measure(
    tiles: Sequence[Pixels] | Pixels,
    first: int,
    second: int,
    stage: NDArray[np.float64],
    window: int,
    minimum: float,
) -> TilePair:
    y, x = (float(each) for each in stage[second] - stage[first])
    peak = best_shift(tiles[first], tiles[second], (y, x), window)
    if peak is None:
        outcome = PairOutcome.NO_TEXTURE
    elif not peak.significant:
        outcome = PairOutcome.CHANCE
    elif peak.correlation < minimum:
        outcome = PairOutcome.POOR
    else:
        outcome = PairOutcome.EDGE if peak.at_edge else PairOutcome.ACCEPTED
    return TilePair(
        first=first,
        second=second,
        stage_shift=(y, x),
        shift=None if peak is None else peak.shift,
        correlation=None if peak is None else peak.correlation,
        error=None if peak is None else peak.error,
        outcome=outcome,
    )


def _as_shift(pair: TilePair) -> MeasuredShift:
    assert pair.shift is not None and pair.error is not None  # it was accepted
    # No shift is believed to less than a tenth of a pixel, nor is one in whole pixels worse than that.
    return MeasuredShift(pair.first, pair.second, pair.shift, 1 / (_LEAST_PX**2 + min(pair.error, _MOST_PX) ** 2))


def _refusals(
    window_px: Any = 40, minimum_correlation: Any = 0.5, y_axis: Any = None, **unused: object
) -> Iterator[tuple[str, str]]:
    if isinstance(window_px, bool) or not isinstance(window_px, int) or window_px < 1:
        yield "window_px", f"window_px={window_px!r} must be a whole number of pixels, at least 1."
    number = isinstance(minimum_correlation, int | float) and not isinstance(minimum_correlation, bool)
    if not (number and 0 < minimum_correlation <= 1):
        yield "minimum_correlation", f"minimum_correlation={minimum_correlation!r} must lie above 0, at most at 1."
    if y_axis not in (None, "up", "down"):
        yield "y_axis", f"y_axis={y_axis!r} is unknown (choose from up, down)."


@checked_by(_refusals)
@numpy
@special_outputs("positions", ("tile_pairs", "table"), ("tiles", "table"))
@special_inputs("stage_positions", "pixel_size", "plane_keys", "stage_frame")
@any_library
def refine_tile_positions(
    stack: Pixels,
    stage_positions: ArrayLike,
    pixel_size: float,
    stage_frame: Mapping[str, str],
    plane_keys: Sequence[Mapping[str, int | None]] | None = None,
    window_px: int = 40,
    minimum_correlation: float = 0.5,
) -> tuple[Pixels, NDArray[np.float64], pa.Table, pa.Table]:
    """Find where the sites of a well lie, from the stage and from what neighbours have in common.

    In a pipeline, let the stack run along the sites of one channel; its positions serve the others. The engine gives
    what the plate says of the stage, and keeps three tables a well: ``positions``, ``tile_pairs`` and ``tiles``.

    Parameters
    ----------
    stack
        ``(site, y, x)``, any real dtype; never written to.
    stage_positions
        ``(site, (y, x))`` in µm: the centre of each tile in the stage's frame.
    pixel_size
        Edge of a pixel in the specimen, in µm.
    stage_frame
        ``y_axis`` says where the stage's y grows, as seen in the images: ``up`` or ``down``.
    plane_keys
        Given by the engine: the coordinates of the planes, which name the sites.
    window_px
        How far from the stage's shift two neighbours may lie, in pixels, along either axis.
    minimum_correlation
        From where a pair of neighbours counts, above 0 to 1.

    Returns
    -------
    tuple
        ``stack`` itself; the positions, float64 ``(site, (y, x))`` in pixels, y downwards, of the top left corners: the
        topmost tile has y = 0, the leftmost one x = 0, as of ``stage_tile_positions``. Then a table of all pairs that
        overlap by the stage: ``site_a``, ``site_b``, ``stage_y_px``, ``stage_x_px``, ``y_px``, ``x_px`` (from a to b),
        ``correlation``, ``outcome``. And one of the tiles: ``site``, ``group`` (1 the largest one that accepted pairs
        connect, 0 none), ``remark`` (why it does not lie as the largest group's images say, or null).

    Raises
    ------
    ValueError
        If a position is missing, the pixel size is not above 0, or a parameter is out of range.
    """
    require_stack(stack, _NAME)
    stage = stage_tile_positions(stage_positions, pixel_size, stage_frame["y_axis"])  # type: ignore[arg-type]  # it checks
    refined = refine_positions(stack, stage, window_px=window_px, minimum_correlation=minimum_correlation)
    sites = list(range(1, len(stack) + 1)) if plane_keys is None else [key["site"] for key in plane_keys]
    in_mosaic = refined.positions - refined.positions.min(axis=0)
    return stack, in_mosaic, _table_of_pairs(refined.pairs, sites), _table_of_tiles(refined, sites)


def _table_of_pairs(pairs: Sequence[TilePair], sites: Sequence[int | None]) -> pa.Table:
    import pyarrow as pa

    return pa.table(
        {
            "site_a": pa.array([sites[pair.first] for pair in pairs], pa.int64()),
            "site_b": pa.array([sites[pair.second] for pair in pairs], pa.int64()),
            "stage_y_px": pa.array([pair.stage_shift[0] for pair in pairs], pa.float64()),
            "stage_x_px": pa.array([pair.stage_shift[1] for pair in pairs], pa.float64()),
            "y_px": pa.array([pair.shift and pair.shift[0] for pair in pairs], pa.float64()),
            "x_px": pa.array([pair.shift and pair.shift[1] for pair in pairs], pa.float64()),
            "correlation": pa.array([pair.correlation for pair in pairs], pa.float64()),
            "outcome": pa.array([pair.outcome.value for pair in pairs], pa.string()),
        }
    )


def _table_of_tiles(refined: RefinedPositions, sites: Sequence[int | None]) -> pa.Table:
    import pyarrow as pa

    return pa.table(
        {
            "site": pa.array(sites, pa.int64()),
            "group": pa.array(refined.groups, pa.int64()),
            "remark": pa.array([refined.remark(number) for number in range(len(sites))], pa.string()),
        }
    )


__all__ = ["PairOutcome", "RefinedPositions", "TilePair", "neighbours", "refine_positions", "refine_tile_positions"]
