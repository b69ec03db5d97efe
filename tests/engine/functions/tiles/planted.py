"""Tiles cut out of one scene, so that where each lies is known to a fraction of a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

EDGE = 512
OVERLAP = 0.1
JITTER_PX = 15.0
_MARGIN = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedTiles:
    """Tiles, where the stage says they lie, and where they do."""

    tiles: NDArray[np.uint16]
    stage: NDArray[np.float64]
    true: NDArray[np.float64]

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
    offset: float = 500.0,
    empty: tuple[int, ...] = (),
    missing: tuple[int, ...] = (),
    overlap: float = OVERLAP,
) -> PlantedTiles:
    """Tiles in a grid, each up to 15 px off, with vignetting, noise and an offset; some empty, some missing."""
    rng = np.random.default_rng(seed)
    stage = np.indices((rows, columns)).reshape(2, -1).T * (EDGE * (1 - overlap))
    true = stage + rng.uniform(-JITTER_PX, JITTER_PX, stage.shape)
    whole = scene(tuple(int(edge) + EDGE + 2 * _MARGIN for edge in stage.max(axis=0)), rng)
    y, x = np.mgrid[-1 : 1 : EDGE * 1j, -1 : 1 : EDGE * 1j]
    light = 1 - 0.1 * (y**2 + x**2)
    tiles = []
    for number, corner in enumerate(true + _MARGIN):
        at = np.floor(corner).astype(int)
        window = whole[at[0] - 4 : at[0] + EDGE + 5, at[1] - 4 : at[1] + EDGE + 5]
        tile = ndimage.shift(window, at - corner, order=3)[4 : 4 + EDGE, 4 : 4 + EDGE]
        lit = (100.0 if number in empty else tile) * light
        tiles.append((lit + offset + rng.normal(0, noise, light.shape)).round().astype(np.uint16))
    left = [number for number in range(len(stage)) if number not in missing]
    return PlantedTiles(tiles=np.stack([tiles[number] for number in left]), stage=stage[left], true=true[left])


__all__ = ["EDGE", "JITTER_PX", "PlantedTiles", "plant", "scene"]
