"""One site of a scene as pixels, and what is known of each object that it shows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.model.wells import row_and_column
from openhcs_engine.synthetic.light import light
from openhcs_engine.synthetic.planting import Frame, PlantedObject, Spot, frame, plant
from openhcs_engine.synthetic.plate import SyntheticPlate
from openhcs_engine.synthetic.scene import BODY, SyntheticScene

OFFSET: Final = 100.0
"""Counts of the camera without light."""
BACKGROUND: Final = (255.0, 345.0)
"""Counts of an image's background in even light: 300, 15 % more or less."""
SPOT_SIGMA: Final = 1.2
"""Standard deviation of a spot, in pixels."""
_READ_NOISE: Final = 6.0
_FOCUS_DEPTH: Final = 1.5
"""z steps after which an object has lost 20 % of its peak."""
_SOFTNESS: Final = 1.5
"""Pixels over which an outline rises from dark to bright; in its middle it is half as bright."""
_FAINT: Final = 0.15
"""Brightness of bodies in channels after the second, in that of their peak."""

Image = NDArray[np.float32]
Labels = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crop:
    """What one object adds to the pixels of a site, between 0 and 1."""

    planted: PlantedObject
    window: tuple[slice, slice]
    nucleus: Image
    body: Image
    spots: Image
    """In counts."""
    is_cut: bool
    """True: a part of the nucleus lies outside the site."""
    is_cell_cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenNucleus:
    """A nucleus of which a site shows at least one pixel."""

    planted: PlantedObject
    y: float
    """Centre of the planted outline, in pixels from the middle of the site's top left pixel; may lie outside."""
    x: float
    area_px: int
    """Pixels that the site shows."""
    is_cut: bool
    """True: the site lacks a part of it."""
    is_at_border: bool
    """True: it has a pixel in the first or last row or column, as all that are cut; border rules drop it."""
    means: tuple[float, ...]
    """Over its pixels, one a channel: counts above the background in focus, even light, without noise."""
    cell_area_px: int | None
    """Of nucleus and body; None without cells."""
    is_cell_cut: bool | None
    cytoplasm_means: tuple[float | None, ...]
    """As ``means``, over the cell's pixels that are not the nucleus'; empty without cells, None without a pixel."""


class SiteDrawing:
    """The objects of one site, drawn once for all its planes."""

    def __init__(self, spec: SyntheticPlate, scene: SyntheticScene, well: str, site: int) -> None:
        self.spec, self.scene, self.well, self.site = spec, scene, well, site
        self.frame: Frame = frame(spec, scene, well, site)
        self.nuclei: Labels = np.zeros(spec.shape, np.uint32)
        """Numbers of nuclei ``(y, x)``; 0 is background."""
        self.bodies: Labels = np.zeros(spec.shape, np.uint32)
        """Numbers of cells ``(y, x)``, nuclei included; empty without cells."""
        self._crops = tuple(self._drawn(plant(spec, scene, well, site)))

    def nuclei_seen(self) -> tuple[SeenNucleus, ...]:
        """What is known of each nucleus of which the site shows a pixel, by number."""
        count = 1 + max((crop.planted.number for crop in self._crops), default=0)
        cytoplasm = np.where(self.nuclei == 0, self.bodies, 0)
        areas, cell_areas = (np.bincount(labels.ravel(), minlength=count) for labels in (self.nuclei, self.bodies))
        signals = [self.signal(channel, None) for channel in range(len(self.spec.channels))]
        means, cytoplasm_means = (
            [_means(labels, signal, count) for signal in signals] for labels in (self.nuclei, cytoplasm)
        )
        border = {
            int(number)
            for line in (self.nuclei[0], self.nuclei[-1], self.nuclei[:, 0], self.nuclei[:, -1])
            for number in np.unique(line)
        }
        cells = self.scene.cells
        return tuple(
            SeenNucleus(
                planted=crop.planted,
                y=crop.planted.outline.y - self.frame.top,
                x=crop.planted.outline.x - self.frame.left,
                area_px=int(areas[number]),
                is_cut=crop.is_cut,
                is_at_border=number in border,
                means=tuple(float(mean[number]) for mean in means),
                cell_area_px=int(cell_areas[number]) if cells else None,
                is_cell_cut=crop.is_cell_cut if cells else None,
                cytoplasm_means=tuple(_or_none(mean[number]) for mean in cytoplasm_means) if cells else (),
            )
            for crop in self._crops
            if areas[number := crop.planted.number]
        )

    def spots_seen(self) -> Iterator[tuple[PlantedObject, int, Spot]]:
        """Spots whose centre lies in the site, with their cell and their number in it, from 1."""
        height, width = self.spec.shape
        for crop in self._crops:
            for number, spot in enumerate(crop.planted.spots, 1):
                y, x = spot.y - self.frame.top, spot.x - self.frame.left
                if -0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5:
                    yield crop.planted, number, replace(spot, y=y, x=x)

    def signal(self, channel: int, z_index: int | None) -> Image:
        """Counts above the background in even light ``(y, x)``, without noise; None: each object in focus."""
        pixels = np.zeros(self.spec.shape, np.float32)
        has_spots = self.scene.cells and channel == len(self.spec.channels) - 1
        for crop in self._crops:
            drawn = crop.planted.peaks[channel] * self._shape(crop, channel)
            if has_spots:
                drawn += crop.spots
            if z_index is not None:
                drawn *= math.exp(-0.5 * ((z_index - crop.planted.z_index) / _FOCUS_DEPTH) ** 2)
            np.maximum(pixels[crop.window], drawn, out=pixels[crop.window])
        return pixels

    def background(self, channel: int) -> float:
        """Counts of the background in even light, above the camera's offset."""
        generator = np.random.default_rng([self.spec.seed, 5, *row_and_column(self.well), self.site, channel])
        return round(float(generator.uniform(*BACKGROUND)), 1)

    def plane(self, key: ImageKey) -> NDArray[np.uint16]:
        """One plane ``(y, x)`` with the light and the noise of its exposure."""
        channel, timepoint, z_index = (key.channel or 1) - 1, key.timepoint or 1, key.z_index or 1
        row, column = row_and_column(self.well)
        seed = [self.spec.seed, 6, row, column, self.site, channel, z_index, timepoint]
        pixels = self.signal(channel, z_index)
        pixels += self.background(channel)
        pixels *= light(self.spec.seed, self.scene.vignette, self.spec.shape, channel)
        noise = np.random.default_rng(seed).standard_normal(pixels.shape, dtype=np.float32)
        noise *= np.sqrt(pixels + _READ_NOISE**2)
        pixels += noise
        pixels += OFFSET
        return np.clip(pixels, 0, 65535).round().astype(np.uint16)

    def _shape(self, crop: _Crop, channel: int) -> Image:
        """Brightness of an object in a channel, in its peak."""
        if not self.scene.cells or channel == 0:
            return crop.nucleus.copy()
        if channel == 1:
            return crop.body + ((crop.planted.ratio or 1) - 1) * crop.nucleus
        return _FAINT * crop.body

    def _drawn(self, planted: tuple[PlantedObject, ...]) -> Iterator[_Crop]:
        """Objects whose crop reaches into the site; their pixels are entered into the label images."""
        height, width = self.spec.shape
        nearest = np.full(self.spec.shape, np.inf)
        for found in planted:
            outline = found.outline
            y, x = outline.y - self.frame.top, outline.x - self.frame.left
            reach = math.ceil(outline.semi_major * (BODY if self.scene.cells else 1)) + 2
            top, left = math.floor(y) - reach, math.floor(x) - reach
            rows = slice(max(0, top), min(height, top + 2 * reach + 2))
            columns = slice(max(0, left), min(width, left + 2 * reach + 2))
            if rows.start >= rows.stop or columns.start >= columns.stop:
                continue
            window = rows, columns
            down, across = (np.arange(begin, begin + 2 * reach + 2, dtype=np.float64) for begin in (top, left))
            whole = outline.radius_at(down[:, None] + self.frame.top, across[None] + self.frame.left)
            shown = (rows.start - top, rows.stop - top), (columns.start - left, columns.stop - left)
            radius = whole[slice(*shown[0]), slice(*shown[1])]
            is_nearest = radius < nearest[window]  # of two that overlap, a pixel belongs to the nearer one
            nearest[window][is_nearest] = radius[is_nearest]
            for labels, size in ((self.nuclei, 1.0), *(((self.bodies, BODY),) if self.scene.cells else ())):
                labels[window][is_nearest & (radius <= size)] = found.number
            slope = outline.mean_radius / _SOFTNESS
            spots = np.zeros(radius.shape, np.float32)
            for spot in found.spots:
                spots += _point(spot, rows, self.frame.top, columns, self.frame.left)
            yield _Crop(
                planted=found,
                window=window,
                nucleus=_soft((1 - radius) * slope),
                body=_soft((BODY - radius) * slope) if self.scene.cells else spots,
                spots=spots,
                is_cut=bool(np.count_nonzero(whole <= 1) > np.count_nonzero(radius <= 1)),
                is_cell_cut=bool(np.count_nonzero(whole <= BODY) > np.count_nonzero(radius <= BODY)),
            )


def _point(spot: Spot, rows: slice, top: float, columns: slice, left: float) -> Image:
    """A Gaussian in the pixels of a window; both offsets are those of the site in its scene."""
    down = np.arange(rows.start, rows.stop)[:, None] + top - spot.y
    across = np.arange(columns.start, columns.stop)[None] + left - spot.x
    return (spot.peak * np.exp(-0.5 * (down**2 + across**2) / SPOT_SIGMA**2)).astype(np.float32)


def _means(labels: Labels, signal: Image, count: int) -> NDArray[np.float64]:
    """Mean of each label's pixels; NaN without a pixel."""
    flat = labels.ravel()
    areas = np.bincount(flat, minlength=count)
    sums = np.bincount(flat, weights=signal.ravel(), minlength=count)
    means: NDArray[np.float64] = np.divide(sums, areas, out=np.full(count, np.nan), where=areas > 0)
    return means


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _soft(distance: NDArray[np.float64]) -> Image:
    """From 0 outside to 1 inside; half where the distance from the outline is 0."""
    return np.clip(0.5 + distance, 0, 1).astype(np.float32)


@lru_cache(maxsize=2)
def draw(spec: SyntheticPlate, well: str, site: int) -> SiteDrawing:
    """The drawing of a site, kept for its next plane.

    Raises
    ------
    ValueError
        If the spec has no scene.
    """
    if spec.scene is None:
        raise ValueError("This plate shows spots; give it a scene (SyntheticPlate(scene=SyntheticScene())).")
    return SiteDrawing(spec, spec.scene, well, site)
