"""Light, field and offset of the images' background, told apart from objects.

An image is ``offset + level * field * (1 + objects) + noise``: one number a camera, one number an image, one a pixel.
The field's mean is 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.illumination.squares import Floats, enlarged, filled, means_of_squares

_LOW: Final = 1 / 3
"""Quantile that lies in the background as long as objects cover less than two thirds."""
_ABOVE: Final = 3.0
_BELOW: Final = 4.0
"""Standard deviations of the background's noise beyond which a pixel is an object, or damaged."""
_AROUND: Final = 11
"""Pixels of the coarse field around each whose median it is compared with."""
_LEAST_ABOVE: Final = 0.05
"""Share by which a pixel of the coarse field lies above that median, if it is an object."""
_SPARSE: Final = 13
"""Every how many pixels the share of objects is counted."""
_COARSE_ROUNDS: Final = 4
_ROUNDS: Final = 2
"""How often objects are told apart: in squares of two by two pixels, then in pixels."""
_TURNS: Final = 3
"""How often levels, offset and field are fitted in turn, with the same objects."""
_GROUPS: Final = 8
"""Groups of images that are left out in turn, to see how far the offset depends on them."""
_NOTHING: Final = 1e-5
"""Share of the largest weight that rounding may leave of none."""
_DARKEST: Final = 0.01
"""Share of the pixels that may be darker, by noise, than the darkest background."""
_LIMIT: Final = 0.98
"""Of what was searched, beyond which the best offset is no best one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What the images' background says."""

    levels: NDArray[np.float64]
    """Of the images, above the offset, in counts."""
    field: Floats
    """``(y, x)``, mean 1; that of the surroundings where no image shows its background."""
    offset: float
    """In counts."""
    is_background: NDArray[np.bool_]
    """``(image, y, x)``."""
    covered: float
    """Share of the pixels that lie in objects."""


@dataclass(frozen=True, slots=True)
class Offset:
    """An offset that was fitted."""

    value: float
    error: float
    """One standard error, by leaving out groups of images, in counts."""
    at_limit: bool
    """The best offset lies at an end of what was searched: from minus the darkest background to that."""


def fit_background(images: Floats, offset: float | None) -> tuple[Background, Offset | None]:
    """Fit levels, field and, unless it is given, offset on images ``(image, y, x)`` with even edges."""
    coarse = np.stack([means_of_squares(image, 2) for image in images])
    known = 0.0 if offset is None else offset
    found = _begin(coarse, known)
    for number in range(_COARSE_ROUNDS):
        # Objects must be known a little before an offset can be fitted beside the field.
        found, _ = _round(coarse, found, known if number == 0 else offset)
    found = replace(found, field=enlarged(found.field, 2))
    for _ in range(_ROUNDS):
        found, sums = _round(images, found, offset, smooth=True)
    return found, None if offset is not None else _judged(sums, found)


def _begin(images: Floats, offset: float) -> Background:
    """Levels and field by low quantiles, which few objects reach."""
    flat = images.reshape(len(images), -1) - np.float32(offset)
    field = np.ones(flat.shape[1], np.float32)
    levels = np.ones(len(flat), np.float32)
    for _ in range(2):
        levels = np.maximum(_low(flat / field), np.float32(1e-3))
        field = _low(np.ascontiguousarray((flat / levels[:, None]).T))
        field /= field.mean()
        np.maximum(field, np.float32(0.01), out=field)
    shown = np.ones(images.shape, np.bool_)
    return Background(
        levels=levels.astype(np.float64),
        field=_without_objects(field.reshape(images.shape[1:])),
        offset=offset,
        is_background=shown,
        covered=0.0,
    )


def _without_objects(field: Floats) -> Floats:
    """A first field without what only objects add where they cover most of the images; dust takes light away."""
    from scipy.ndimage import median_filter

    around = median_filter(field, _AROUND, mode="nearest")
    above = field / around - 1
    limit = max(_LEAST_ABOVE, 6 * float(np.median(np.abs(above))))
    return filled(field, above < limit)


def _low(rows: Floats) -> Floats:
    position = int(rows.shape[1] * _LOW)
    low: Floats = np.partition(rows, position, axis=1)[:, position]
    return low


def _round(
    images: Floats, found: Background, offset: float | None, *, smooth: bool = False
) -> tuple[Background, _Sums]:
    """Tell objects apart with what was found, and fit again what is left."""
    weights, covered = _background(images, found, smooth=smooth)
    sums = _Sums(images, weights, found.levels)
    totals, field, dark = found.levels + found.offset, found.field.ravel(), found.offset
    for _ in range(_TURNS):
        totals = dark + sums.levels(field, dark, totals - dark)
        moments = sums.moments(totals)
        if offset is None:
            dark = _best_offset(moments, totals.min())
        field = filled(moments.field(dark).reshape(images.shape[1:]), moments.known.reshape(images.shape[1:])).ravel()
        mean = float(field.mean())
        field = field / np.float32(mean)
        totals = dark + (totals - dark) * mean
    again = Background(
        levels=totals - dark,
        field=field.reshape(images.shape[1:]),
        offset=dark,
        is_background=weights,
        covered=covered,
    )
    return again, sums


def _background(images: Floats, found: Background, *, smooth: bool) -> tuple[NDArray[np.bool_], float]:
    """Pixels that are background within the noise of each image, and the share of pixels that are objects.

    Smooth means of neighbours find dimmer objects, and their rims, which no larger distance from objects would do as
    well: what is lost of the background is lost of the field where objects are many.
    """
    # In this unit the noise of photons is the same everywhere, and no pixel of the lens' edge is lost for being noisy.
    root = np.sqrt(found.field)
    residual = images - np.float32(found.offset)
    residual *= 1 / root
    residual *= (1 / found.levels).astype(np.float32)[:, None, None]
    residual -= root
    share = _mode_and_noise(residual.reshape(len(residual), -1)[:, ::_SPARSE])[2]
    if smooth:
        residual = _mean_of_neighbours(residual)
    middle, noise, _ = _mode_and_noise(residual.reshape(len(residual), -1)[:, ::3])
    background = residual < (middle + _ABOVE * noise)[:, None, None]
    background &= residual > (middle - _BELOW * noise)[:, None, None]
    return background, 1 - share


def _mode_and_noise(values: Floats) -> tuple[Floats, Floats, float]:
    """Of each row, the middle of its densest quarter, and the noise by what lies below; and twice the share of that.

    Objects lie above, so that below the middle is half of the background.
    """
    ordered = np.sort(values, axis=1)
    quarter = ordered.shape[1] // 4
    start = np.argmin(ordered[:, quarter:] - ordered[:, :-quarter], axis=1)
    rows = np.arange(len(ordered))
    below = start + quarter // 2
    middle = ordered[rows, below]
    noise = (middle - ordered[rows, below // 2]) / np.float32(0.6745)
    return middle, np.maximum(noise, np.float32(1e-6)), min(1.0, 2 * float(below.mean()) / ordered.shape[1])


def _mean_of_neighbours(images: Floats) -> Floats:
    """Means of 3 x 3 pixels; beyond the border, the nearest one counts."""
    rows = images.copy()
    rows[:, 1:] += images[:, :-1]
    rows[:, :-1] += images[:, 1:]
    rows[:, [0, -1]] += images[:, [0, -1]]
    means = rows.copy()
    means[:, :, 1:] += rows[:, :, :-1]
    means[:, :, :-1] += rows[:, :, 1:]
    means[:, :, [0, -1]] += rows[:, :, [0, -1]]
    means *= np.float32(1 / 9)
    return means


class _Sums:
    """Weighted sums over the images' background, from which all is fitted.

    Without BLAS, whose threads would cost more than they gain on arrays of this size.
    """

    def __init__(self, images: Floats, weights: NDArray[np.bool_], levels: NDArray[np.float64]) -> None:
        flat = weights.reshape(len(weights), -1)
        self.weights = flat * (1 / levels).astype(np.float32)[:, None]  # the noise of photons grows with the light
        self.pixels = self.weights * images.reshape(len(images), -1)

    def levels(self, field: Floats, offset: float, before: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of each image, above the offset; an image that shows no background keeps its own."""
        light = _over_pixels(self.pixels, field) - offset * _over_pixels(self.weights, field)
        norm = _over_pixels(self.weights, np.square(field))
        levels = light / np.where(norm > 0, norm, 1)
        return np.where((norm > 0) & (levels > 0), levels, before)

    def moments(self, totals: NDArray[np.float64], images: slice = slice(None)) -> _Moments:
        """Per pixel, of all images or a part; ``totals`` are the levels with the offset."""
        weights, pixels, t = self.weights[images], self.pixels[images], totals[images].astype(np.float32)
        return _Moments(
            w=np.add.reduce(weights, axis=0),
            wt=_over_images(t, weights),
            wtt=_over_images(t * t, weights),
            p=np.add.reduce(pixels, axis=0),
            pt=_over_images(t, pixels),
        )


def _over_pixels(rows: Floats, factors: Floats) -> NDArray[np.float64]:
    totals: Floats = np.einsum("kp,p->k", rows, factors)
    return totals.astype(np.float64)


def _over_images(factors: Floats, rows: Floats) -> Floats:
    total: Floats = np.einsum("k,kp->p", factors, rows)
    return total


@dataclass(frozen=True, slots=True)
class _Moments:
    """Sums over images, each ``(pixel,)``: of weights w, totals t and pixels p."""

    w: Floats
    wt: Floats
    wtt: Floats
    p: Floats
    pt: Floats

    def without(self, part: _Moments) -> _Moments:
        """The sums over the other images."""
        return _Moments(*(getattr(self, name) - getattr(part, name) for name in ("w", "wt", "wtt", "p", "pt")))

    def field(self, offset: float) -> Floats:
        """Light at each pixel over the light of its images, where it is known."""
        dark = np.float32(offset)
        with np.errstate(invalid="ignore", divide="ignore"):
            field = (self.p - dark * self.w) / (self.wt - dark * self.w)
        return np.maximum(field, np.float32(0.01))

    @property
    def known(self) -> NDArray[np.bool_]:
        """Pixels that are background in an image."""
        known: NDArray[np.bool_] = self.w > _NOTHING * self.w.max()
        return known

    def offset_limits(self, darkest: float) -> tuple[float, float]:
        """Between minus and plus what the darkest pixels of the darkest image hold: no background lies below an
        offset."""
        shares = self.field(0.0)[self.known]
        limit = darkest * float(np.quantile(shares, _DARKEST)) if len(shares) else darkest
        return -limit, limit

    def explained(self) -> tuple[NDArray[np.float64], ...]:
        """Coefficients of ``explains``, in double precision: its terms cancel each other."""
        w, wt, wtt = (each.astype(np.float64) for each in (self.w, self.wt, self.wtt))
        return self.p - wt, self.pt - wtt, w, wt, wtt


def _best_offset(moments: _Moments, darkest: float) -> float:
    """The offset with which the field explains most of what pixels differ from their images' mean levels.

    ``p - t = (field - 1) (t - offset)``: the field that fits best at each pixel is eliminated, one number is left.
    """
    from scipy.optimize import minimize_scalar

    above, above_t, w, wt, wtt = moments.explained()

    def unexplained(offset: float) -> float:
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.square(above_t - offset * above) / (wtt - offset * (2 * wt - offset * w))
        return -float(np.nansum(share))

    limits = moments.offset_limits(darkest)
    best = minimize_scalar(unexplained, bounds=limits, method="bounded", options={"xatol": 0.02})
    return float(best.x)


def _judged(sums: _Sums, found: Background) -> Offset:
    """How well the images tell the offset: what becomes of it without each eighth of them."""
    totals = found.levels + found.offset
    whole = sums.moments(totals)
    low, high = whole.offset_limits(float(totals.min()))
    parts = (slice(group, None, _GROUPS) for group in range(min(_GROUPS, len(totals))))
    without = [_best_offset(whole.without(sums.moments(totals, part)), totals.min()) for part in parts]
    spread = np.asarray(without) - np.mean(without)
    error = float(np.sqrt((1 - 1 / len(spread)) * np.square(spread).sum()))
    return Offset(found.offset, error, not _LIMIT * low < found.offset < _LIMIT * high)


__all__ = ["Background", "Offset", "fit_background"]
