"""Where the foreground of an image begins, and whether it has one."""

from __future__ import annotations

from itertools import pairwise
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Threshold: TypeAlias = Literal["otsu", "local"] | float
Smooth: TypeAlias = NDArray[np.float32]

METHODS: Final = ("otsu", "local")
FIT: Final = "fit"
"""In place of a threshold: the one that was fitted for the plate."""
_BINS: Final = 256
"""As many as scikit-image's ``threshold_otsu`` takes."""
_CONTRAST: Final = 5.0
"""Distance of the classes' means in standard deviations of the background. Otsu's method cuts noise in halves whose
means are 2.7 apart, and an even gradient in halves 3.5 apart."""
_SEPARATION: Final = 0.85
"""Share of the variance that lies between the classes: 0.64 of noise, 0.75 of an even gradient."""
_FLOOR: Final = 6.0
"""Standard deviations above the background that the noise of millions of pixels does not reach."""
_SD_OF_QUARTILES: Final = 1.349
"""Quartiles of a normal distribution are so many standard deviations apart."""
_TILES: Final = 8
_SMALLEST_TILE: Final = 32
_LOW: Final = 0.2
"""Share of a tile's pixels that count as its background."""


def foreground_threshold(smooth: Smooth) -> float | None:
    """Otsu's threshold, or where so few pixels are foreground that it would cut the background: a threshold above it.

    Parameters
    ----------
    smooth
        A smoothed image, finite.

    Returns
    -------
    float or None
        Foreground lies above it. None: nothing stands out of the background; an image of one value has none, either.

    Notes
    -----
    Otsu's method divides whatever it gets, an empty image through the middle of its noise. It is believed if the means
    of its classes are five standard deviations of the darker class apart, or if nearly all variance lies between them.
    Otherwise the foreground, if there is one, is rare: it begins six standard deviations above the median, and the
    threshold is where Otsu's condition holds next above that: half-way between the classes' means.

    *Source:* N. Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. SMC 9 (1979);
    T. W. Ridler and S. Calvard, IEEE Trans. SMC 8 (1978).
    """
    low, high = float(smooth.min()), float(smooth.max())
    if not low < high:
        return None
    counts, centres = _histogram(smooth, low, high)
    threshold = _otsu(counts, centres)
    if threshold is not None and _stands_out(counts, centres, threshold):
        return threshold
    return _above_noise(smooth, counts, centres)


def local_background(smooth: Smooth, diameter_px: float | None) -> Smooth:
    """What lies under the objects of an image, from the darkest fifth of tiles five diameters wide.

    Parameters
    ----------
    diameter_px
        Of the objects; None: unknown, tiles are an eighth of the image.
    """
    from scipy import ndimage

    edge = min(smooth.shape) / _TILES if diameter_px is None else 5 * diameter_px
    counts = [max(1, round(side / max(edge, _SMALLEST_TILE))) for side in smooth.shape]
    rows, columns = (
        np.linspace(0, side, count + 1).astype(int) for side, count in zip(smooth.shape, counts, strict=True)
    )
    tiles = np.array(
        [
            [np.quantile(smooth[top:bottom:2, left:right:2], _LOW) for left, right in pairwise(columns)]
            for top, bottom in pairwise(rows)
        ],
        np.float32,
    )
    steady = ndimage.median_filter(tiles, 3, mode="nearest") if min(tiles.shape) >= 3 else tiles
    zoom = [side / count for side, count in zip(smooth.shape, counts, strict=True)]
    background: Smooth = ndimage.zoom(steady, zoom, order=1, mode="nearest", grid_mode=True)
    return background


def _histogram(smooth: Smooth, low: float, high: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Counts in even bins from the darkest to the brightest pixel, and the bins' centres."""
    scale = _BINS / (high - low)
    bins = ((smooth - np.float32(low)) * np.float32(scale)).astype(np.uint16)
    counts = np.bincount(bins.ravel(), minlength=_BINS + 1)
    counts[_BINS - 1] += counts[_BINS:].sum()  # the brightest pixel is of the last bin
    centres = low + (np.arange(_BINS, dtype=np.float64) + 0.5) / scale
    return counts[:_BINS].astype(np.float64), np.asarray(centres, np.float64)


def _otsu(counts: NDArray[np.float64], centres: NDArray[np.float64]) -> float | None:
    between = _between(counts, centres)
    best = int(np.argmax(between))
    return float(centres[best]) if between[best] > 0 else None


def _between(counts: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance between the classes for each threshold but the last, times the squared number of pixels."""
    below, above = np.cumsum(counts)[:-1], np.cumsum(counts[::-1])[::-1][1:]
    weighted = counts * centres
    first = np.cumsum(weighted)[:-1] / np.maximum(below, 1)
    second = np.cumsum(weighted[::-1])[::-1][1:] / np.maximum(above, 1)
    return np.asarray(below * above * (first - second) ** 2)


def _stands_out(counts: NDArray[np.float64], centres: NDArray[np.float64], threshold: float) -> bool:
    dark = centres <= threshold
    total, mean = counts.sum(), np.average(centres, weights=counts)
    means = [np.average(centres[side], weights=counts[side]) for side in (dark, ~dark)]
    cumulated = np.cumsum(counts[dark])
    lower, upper = np.searchsorted(cumulated, [0.25 * cumulated[-1], 0.75 * cumulated[-1]])
    width = centres[1] - centres[0]
    spread = max(float(centres[upper] - centres[lower]), float(width)) / _SD_OF_QUARTILES
    if means[1] - means[0] >= _CONTRAST * spread:
        return True
    variance = np.average((centres - mean) ** 2, weights=counts)
    share = cumulated[-1] / total
    return bool(share * (1 - share) * (means[1] - means[0]) ** 2 >= _SEPARATION * variance)


def _above_noise(smooth: Smooth, counts: NDArray[np.float64], centres: NDArray[np.float64]) -> float | None:
    """Where rare foreground begins."""
    lower, middle = np.quantile(smooth[::3, ::3], [0.16, 0.5])  # the dark half knows of no foreground
    threshold = float(middle + _FLOOR * (middle - lower))
    for _ in range(_BINS):
        bright = centres > threshold
        if not counts[bright].any() or not counts[~bright].any():
            return None
        means = [np.average(centres[side], weights=counts[side]) for side in (~bright, bright)]
        further = float(sum(means) / 2)
        if further <= threshold:
            return threshold
        threshold = further
    return threshold


__all__ = ["FIT", "METHODS", "Smooth", "Threshold", "foreground_threshold", "local_background"]
