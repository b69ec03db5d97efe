"""How well two tiles agree where they overlap, for all shifts of a window at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.stack import Pixels

_SMOOTHING_PX: Final = 1.0
"""Sigma of the Gaussian that tiles are smoothed by, so that the peak is wide enough for a parabola."""
_BORDER_PX: Final = 3
"""Rim of an overlap in which smoothing reaches over a tile's border: three sigma."""
_ROUNDS: Final = 8
_SETTLED_PX: Final = 0.01
_ONE_DIRECTION: Final = 1e4
"""Condition of the gradients above which they all point the same way, and the shift across is unknown."""
_FURTHEST_PX: Final = 3
"""Pixels. How far from the best shift in whole pixels the finer one may lie."""
_FALSE_PEAKS: Final = 1e-3
"""How often the best shift of a window may be taken where the tiles have nothing in common."""
_FLAT: Final = 1e-9
"""Share of a strip's variance below which an overlap counts as constant: what is left there is rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The shift at which two tiles agree best."""

    shift: tuple[float, float]
    """``(y, x)`` in pixels from the first tile's top left corner to the second's."""
    correlation: float
    """Of the overlap at the nearest shift in whole pixels, from -1 to 1."""
    error: float
    """Standard error of the shift in pixels; infinite if it is known to a pixel only."""
    overlap: int
    """Pixels that the tiles have in common there."""
    significant: bool
    """False: as good a peak is found in tiles that have nothing in common."""
    at_edge: bool
    """True: the shift lies at the edge of the window, so that a better one may lie outside."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of the two strips that may overlap, and of the shifts between them."""

    first: slice
    second: slice
    shifts: NDArray[np.intp]
    """Of the tiles, in whole pixels."""
    offset: int
    """What is added to a shift of the tiles to have that of the strips."""

    @classmethod
    def of(cls, edge: int, nominal: int, window: int) -> _Axis:
        low, high = nominal - window, nominal + window
        first = slice(min(max(0, low), edge), max(0, min(edge, high + edge)))
        second = slice(min(max(0, -high), edge), max(0, min(edge, edge - low)))
        return cls(first, second, np.arange(low, high + 1), second.start - first.start)

    @property
    def lengths(self) -> tuple[int, int]:
        return self.first.stop - self.first.start, self.second.stop - self.second.start

    @property
    def strip_shifts(self) -> NDArray[np.intp]:
        return self.shifts + self.offset

    def padded(self) -> int:
        """The length at which a cyclic correlation equals the linear one for all shifts of the window."""
        one, other = self.lengths
        return int(max(self.strip_shifts[-1] + other, one - self.strip_shifts[0], one, other))

    def bounds(self) -> tuple[tuple[NDArray[np.intp], NDArray[np.intp]], tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Where the overlap begins and ends in either strip, for each shift; equal where there is none."""
        one, other = self.lengths
        start = np.clip(self.strip_shifts, 0, one)
        stop = np.maximum(np.clip(self.strip_shifts + other, 0, one), start)
        begin = np.clip(start - self.strip_shifts, 0, other)
        return (start, stop), (begin, begin + (stop - start))


def best_shift(first: Pixels, second: Pixels, offset: tuple[float, float], window: int) -> Peak | None:
    """Find the shift at which two tiles of one shape agree best.

    The score is the normalised correlation of the pixels that the tiles have in common at a shift, computed for all
    shifts of the window: products by FFT, sums over the overlaps by integral images. It does not depend on brightness
    and camera offset; a quadratic surface is taken from either strip before, which takes uneven light away. A
    significant peak inside the window is then settled to a fraction of a pixel.

    Parameters
    ----------
    first, second
        ``(y, x)``, any real dtype; never written to.
    offset
        ``(y, x)`` in pixels, where the second tile is expected in the first one's frame.
    window
        How far from there a shift may be, in pixels, along either axis.

    Returns
    -------
    Peak or None
        None if the tiles have no texture in common at any shift of the window.

    Notes
    -----
    Source: D. Padfield, "Masked object registration in the Fourier domain" (2012), with rectangles as masks. Whether a
    peak is significant: R. A. Fisher's z, with the number of independent pixels by M. S. Bartlett (1946).
    """
    from scipy import fft

    rows, columns = (
        _Axis.of(edge, round(expected), window) for edge, expected in zip(first.shape, offset, strict=True)
    )
    if 0 in (*rows.lengths, *columns.lengths):
        return None
    one = _prepared(first[rows.first, columns.first])
    other = _prepared(second[rows.second, columns.second])
    size = tuple(fft.next_fast_len(axis.padded(), real=True) for axis in (rows, columns))
    spectra = fft.rfft2(one, size), fft.rfft2(other, size)
    products = fft.irfft2(spectra[0] * spectra[1].conj(), size)[np.ix_(rows.strip_shifts, columns.strip_shifts)]

    (here_y, there_y), (here_x, there_x) = rows.bounds(), columns.bounds()
    count = np.multiply.outer(here_y[1] - here_y[0], here_x[1] - here_x[0])
    scores = _normalised(products, _sums(one, here_y, here_x), _sums(other, there_y, there_x), count)
    significant = _significant(scores, count / _pixels_an_independent_one(spectra, size))
    peak = _peak(np.where(significant, scores, -1.0), scores, count, rows.shifts, columns.shifts)
    return peak if peak is None or peak.at_edge or not peak.significant else _finer(peak, first, second)


def overlap_correlation(first: Pixels, second: Pixels, offset: tuple[float, float]) -> float:
    """Correlation of the pixels that two tiles have in common at an offset in pixels, rounded; NaN if undefined."""
    rows, columns = (_Axis.of(edge, round(shift), 0) for edge, shift in zip(first.shape, offset, strict=True))
    one = first[rows.first, columns.first].astype(np.float64)
    other = second[rows.second, columns.second].astype(np.float64)
    if not one.size or not np.ptp(one) or not np.ptp(other):
        return float("nan")
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _prepared(strip: Pixels) -> NDArray[np.float64]:
    """The strip, smoothed, without its quadratic surface; float64, because sums of squares are subtracted later."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(_finite(strip), _SMOOTHING_PX, mode="nearest").astype(np.float64)
    down, across = (_polynomials(edge) for edge in smooth.shape)
    weights = down.T @ smooth @ across
    weights[np.add.outer(np.arange(len(weights)), np.arange(weights.shape[1])) > 2] = 0
    return np.asarray(smooth - down @ weights @ across.T)


def _polynomials(edge: int) -> NDArray[np.float64]:
    """Orthonormal polynomials of degree 0, 1 and 2 along an edge, as columns."""
    powers = np.vander(np.linspace(-1, 1, edge), min(3, edge), increasing=True)
    return np.asarray(np.linalg.qr(powers)[0])


_Bounds = tuple[NDArray[np.intp], NDArray[np.intp]]


def _sums(strip: NDArray[np.float64], y: _Bounds, x: _Bounds) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and sum of squares of the strip's part of the overlap, for each shift ``(y, x)``."""
    return _rectangles(strip, y, x), _rectangles(strip * strip, y, x)


def _rectangles(strip: NDArray[np.float64], y: _Bounds, x: _Bounds) -> NDArray[np.float64]:
    integral = np.zeros((strip.shape[0] + 1, strip.shape[1] + 1))
    integral[1:, 1:] = strip.cumsum(axis=0).cumsum(axis=1)
    rows = integral[y[1]] - integral[y[0]]
    return np.asarray(rows[:, x[1]] - rows[:, x[0]])


def _normalised(
    products: NDArray[np.float64],
    one: tuple[NDArray[np.float64], NDArray[np.float64]],
    other: tuple[NDArray[np.float64], NDArray[np.float64]],
    count: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Correlation of each overlap; 0 where there is none, or nothing in it."""
    pixels = np.maximum(count, 1)
    variances = [squares - total * total / pixels for total, squares in (one, other)]
    least = float(np.finfo(np.float32).tiny)
    textured = [
        variance > max(_FLAT * float(squares.max()), least)
        for variance, (_, squares) in zip(variances, (one, other), strict=True)
    ]
    defined = textured[0] & textured[1] & (count > 1)
    below = np.sqrt(np.where(defined, variances[0], 1) * np.where(defined, variances[1], 1))
    return np.asarray(np.where(defined, np.clip((products - one[0] * other[0] / pixels) / below, -1, 1), 0.0))


def _pixels_an_independent_one(
    spectra: tuple[NDArray[np.complex128], NDArray[np.complex128]], size: tuple[int, ...]
) -> float:
    """How many pixels count as one, because neighbours resemble each other in both strips: at least 1."""
    one, other = (spectrum.real**2 + spectrum.imag**2 for spectrum in spectra)
    twice = np.full(one.shape[1], 2.0)  # a real transform leaves half of the frequencies out
    twice[0] = 1
    if size[1] % 2 == 0:
        twice[-1] = 1
    totals = float((one @ twice).sum()) * float((other @ twice).sum())
    if totals <= 0:
        return 1.0
    return max(1.0, size[0] * size[1] * float(((one * other) @ twice).sum()) / totals)


def _significant(scores: NDArray[np.float64], independent: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which scores are above the best that tiles with nothing in common reach in a window of this size."""
    largest = float(independent.max())
    shifts = scores.size * largest / max(1.0, float(scores.size), largest)
    needed = np.sqrt(2 * np.log(max(shifts, 1.0) / _FALSE_PEAKS))
    z = np.arctanh(np.clip(scores, -0.999999, 0.999999)) * np.sqrt(np.maximum(independent - 3, 0))
    return np.asarray(z >= needed)


def _peak(
    candidates: NDArray[np.float64],
    scores: NDArray[np.float64],
    count: NDArray[np.intp],
    down: NDArray[np.intp],
    across: NDArray[np.intp],
) -> Peak | None:
    significant = bool((candidates > 0).any())
    chosen = candidates if significant else scores
    y, x = (int(each) for each in np.unravel_index(int(chosen.argmax()), chosen.shape))
    if scores[y, x] <= 0:
        return None
    at_edge = y in (0, len(down) - 1) or x in (0, len(across) - 1)
    return Peak(
        shift=(float(down[y]), float(across[x])),
        correlation=float(scores[y, x]),
        error=float("inf"),
        overlap=int(count[y, x]),
        significant=significant,
        at_edge=at_edge,
    )


def _finer(peak: Peak, first: Pixels, second: Pixels) -> Peak:
    y, x = peak.shift
    settled = _settle(first, second, (int(y), int(x)))
    return peak if settled is None else replace(peak, shift=settled[0], error=settled[1])


def _settle(first: Pixels, second: Pixels, shift: tuple[int, int]) -> tuple[tuple[float, float], float] | None:
    """The shift to a fraction of a pixel, and its standard error in pixels; None if it is not determined.

    The maximum of the scores is drawn aside by what enters and leaves the overlap from shift to shift. Here the overlap
    is held, and one tile is moved over the other until what is left between them has no part along their gradients.

    Source: B. D. Lucas, T. Kanade, "An iterative image registration technique with an application to stereo vision"
    (1981), with the mean of both gradients, which noise in either does not draw aside.
    """
    whole, part = np.array(shift), np.zeros(2)
    for _ in range(_FURTHEST_PX + 1):
        if np.abs(whole - shift).max() > _FURTHEST_PX:
            return None
        found = _fraction(first, second, (int(whole[0]), int(whole[1])), part)
        if found is None:
            return None
        part, error = found
        step = np.rint(part).astype(int)
        if not step.any():
            return (float(whole[0] + part[0]), float(whole[1] + part[1])), error
        whole, part = whole + step, part - step
    return None


def _fraction(
    first: Pixels, second: Pixels, whole: tuple[int, int], part: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float] | None:
    """What a shift is more than its whole pixels, beginning with a guess, and the shift's standard error."""
    from scipy import ndimage

    rows, columns = (_Axis.of(edge, each, 0) for edge, each in zip(first.shape, whole, strict=True))
    if min(*rows.lengths, *columns.lengths) <= 2 * _BORDER_PX + 2:
        return None
    one, other = (
        ndimage.gaussian_filter(_finite(tile[along]), _SMOOTHING_PX, mode="nearest")
        for tile, along in ((first, (rows.first, columns.first)), (second, (rows.second, columns.second)))
    )
    inside = (slice(_BORDER_PX, -_BORDER_PX),) * 2
    spread = float(one[inside].std()), float(other[inside].std())
    if min(spread) <= 0:
        return None
    one, other = one / spread[0], other / spread[1]
    still = np.gradient(one)
    spline = ndimage.spline_filter(other, 3, output=np.float32, mode="nearest")
    for _ in range(_ROUNDS):
        moved = ndimage.shift(spline, part, order=3, mode="nearest", prefilter=False)
        slopes = np.gradient(moved)
        left = _without_plane((one - moved)[inside])
        # Products of both tiles' slopes: those of one with itself would count its noise as texture.
        curvature = np.array([[float(np.vdot(a[inside], b[inside])) for b in slopes] for a in still])
        curvature = (curvature + curvature.T) / 2
        low, high = np.linalg.eigvalsh(curvature)
        if low <= high / _ONE_DIRECTION:
            return None
        pull = [float(np.vdot((a + b)[inside], left)) / 2 for a, b in zip(still, slopes, strict=True)]
        step = -np.linalg.solve(curvature, pull)
        part = part + step
        if np.abs(step).max() < _SETTLED_PX or np.abs(part).max() > 1:
            break
    # Smoothing makes neighbours alike: so many pixels are worth one.
    variance = float(np.vdot(left, left)) / left.size * 4 * np.pi * _SMOOTHING_PX**2
    return part, float(np.sqrt(variance / low))


def _without_plane(strip: NDArray[np.float32]) -> NDArray[np.float32]:
    """The strip less the plane through it: light that differs is no texture."""
    level = strip - strip.mean()
    for axis, edge in enumerate(strip.shape):
        ramp = np.linspace(-1, 1, edge, dtype=np.float32)
        slope = level.mean(axis=1 - axis) @ ramp / (ramp @ ramp)
        level -= slope * (ramp[:, None] if axis == 0 else ramp)
    return np.asarray(level, np.float32)


def _finite(strip: Pixels) -> NDArray[np.float32]:
    """Single-precision pixels about 0; those that are not finite are the mean of the others."""
    pixels = strip.astype(np.float32)
    finite = np.isfinite(pixels)
    if not finite.all():
        pixels = np.where(finite, pixels, np.float32(pixels[finite].mean() if finite.any() else 0))
    return np.asarray(pixels - pixels.mean(), np.float32)


__all__ = ["Peak", "best_shift", "overlap_correlation"]
