"""How well and how fast tiles are placed, beside m2stitch: errors against the truth, and CPU times.

    pip install m2stitch==0.7.2
    python benchmarks/stitching.py [--rows 4] [--columns 4] [--repeat 3]

Both get the same planted tiles of 512 x 512 pixels with 10 % overlap, each up to 15 pixels away from where the stage
says, with noise and vignetting. What would be unfair to m2stitch is done for it: camera offset and background are
subtracted, without which its correlation falls; its axes are set by ``row_col_transpose=False``; and it gets the
stage's positions as its first guess. Both run in turns, in one process; it is CPU time, to which waiting for other
programs adds nothing. The claim is an error that is not larger, at 0.2 of the CPU time or less.
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import process_time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from openhcs_engine.functions.tiles.refinement import refine_positions

CLAIM: Final = 0.2
EDGE: Final = 512
OVERLAP: Final = 0.1
JITTER_PX: Final = 15.0
OFFSET: Final = 500
"""Of the camera, in grey levels."""
_MARGIN: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedTiles:
    """Tiles that were cut out of one scene, so that where each lies is known to a fraction of a pixel."""

    tiles: NDArray[np.uint16]
    """``(tile, y, x)``."""
    grid: NDArray[np.intp]
    """``(tile, (row, column))``."""
    stage: NDArray[np.float64]
    """``(tile, (y, x))`` in pixels, where the stage says they lie."""
    true: NDArray[np.float64]
    """The same, where they do."""

    def error_px(self, positions: NDArray[Any], members: NDArray[np.bool_]) -> float:
        """Root of the mean square distance of some tiles from the truth; where they all lie does not count."""
        away = (positions - self.true)[members]
        return float(np.sqrt(((away - away.mean(axis=0)) ** 2).sum(axis=1).mean()))


def scene(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Dots of sigma 2 and cells of sigma 8 pixels on an even background of 100."""
    made = np.full(shape, 100.0)
    for sigma in (2, 8):
        count = int(0.0015 * made.size) // sigma
        dots = np.zeros(shape)
        dots[rng.integers(0, shape[0], count), rng.integers(0, shape[1], count)] = rng.uniform(0.5, 1.5, count)
        made += ndimage.gaussian_filter(dots, sigma) * sigma**2 * 1200
    return made


def plant(
    rows: int,
    columns: int,
    *,
    seed: int,
    noise: float = 20.0,
    offset: float = OFFSET,
    empty: tuple[int, ...] = (),
    missing: tuple[int, ...] = (),
    overlap: float = OVERLAP,
    edge: int = EDGE,
) -> PlantedTiles:
    """Tiles in a grid, each up to 15 px off, with vignetting, noise and an offset; some empty, some missing."""
    rng = np.random.default_rng(seed)
    grid = np.indices((rows, columns)).reshape(2, -1).T
    stage = grid * (edge * (1 - overlap))
    true = stage + rng.uniform(-JITTER_PX, JITTER_PX, stage.shape)
    whole = scene(tuple(int(furthest) + edge + 2 * _MARGIN for furthest in stage.max(axis=0)), rng)
    y, x = np.mgrid[-1 : 1 : edge * 1j, -1 : 1 : edge * 1j]
    light = 1 - 0.1 * (y**2 + x**2)
    tiles = []
    for number, corner in enumerate(true + _MARGIN):
        at = np.floor(corner).astype(int)
        window = whole[at[0] - 4 : at[0] + edge + 5, at[1] - 4 : at[1] + edge + 5]
        tile = ndimage.shift(window, at - corner, order=3)[4 : 4 + edge, 4 : 4 + edge]
        lit = (100.0 if number in empty else tile) * light
        tiles.append((lit + offset + rng.normal(0, noise, light.shape)).round().astype(np.uint16))
    left = [number for number in range(len(stage)) if number not in missing]
    return PlantedTiles(
        tiles=np.stack([tiles[number] for number in left]), grid=grid[left], stage=stage[left], true=true[left]
    )


def by_m2stitch(planted: PlantedTiles) -> NDArray[np.float64]:
    """Positions ``(tile, (y, x))`` by m2stitch."""
    os.environ["TQDM_DISABLE"] = "1"
    peer: Any = importlib.import_module("m2stitch")
    found, _ = peer.stitch_images(
        planted.tiles - np.median(planted.tiles, axis=(1, 2), keepdims=True),
        rows=planted.grid[:, 0].tolist(),
        cols=planted.grid[:, 1].tolist(),
        position_initial_guess=planted.stage,
        row_col_transpose=False,
    )
    return np.asarray(found[["y_pos", "x_pos"]].to_numpy(np.float64))


def by_us(planted: PlantedTiles) -> NDArray[np.float64]:
    """Positions by ``refine_positions``."""
    return refine_positions(planted.tiles, planted.stage).positions


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Both on the same tiles."""

    theirs_s: float
    """Median CPU time of m2stitch."""
    ours_s: float
    ratio: float
    """Median of the turns' ratios."""
    theirs_px: float
    """Root of the mean square error."""
    ours_px: float
    stage_px: float
    """The same of the positions that both began with."""

    @property
    def holds(self) -> bool:
        """Whether the claim does."""
        return self.ours_px <= self.theirs_px and self.ratio <= CLAIM


def compare(
    planted: PlantedTiles, repeat: int, peer: Callable[[PlantedTiles], NDArray[np.float64]] = by_m2stitch
) -> Comparison:
    """Both in turns; each turn begins with the other one."""
    every = np.ones(len(planted.tiles), np.bool_)
    ways = peer, by_us
    errors = [planted.error_px(way(planted), every) for way in ways]  # which imports what they need
    times = []
    for turn in range(repeat):
        spent = [0.0, 0.0]
        for way in (0, 1) if turn % 2 else (1, 0):
            begin = process_time()
            ways[way](planted)
            spent[way] = process_time() - begin
        times.append((spent[0], spent[1]))
    theirs, ours = zip(*times, strict=True)
    return Comparison(
        theirs_s=median(theirs),
        ours_s=median(ours),
        ratio=median(ours_s / theirs_s for theirs_s, ours_s in times),
        theirs_px=errors[0],
        ours_px=errors[1],
        stage_px=planted.error_px(planted.stage, every),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=3, help="turns")
    parser.add_argument("--seed", type=int, default=1, help="of the planted tiles")
    chosen = parser.parse_args(arguments)
    found = compare(plant(chosen.rows, chosen.columns, seed=chosen.seed), chosen.repeat)
    print(f"{'':<10} {'CPU':>9} {'error':>9}")
    print(f"{'stage':<10} {'':>9} {found.stage_px:>6.3f} px")
    print(f"{'m2stitch':<10} {found.theirs_s:>7.2f} s {found.theirs_px:>6.3f} px")
    print(f"{'ours':<10} {found.ours_s:>7.2f} s {found.ours_px:>6.3f} px")
    print(f"ratio of CPU {found.ratio:.3f}{'' if found.holds else '; the claim does not hold'}")


if __name__ == "__main__":
    main()
