"""How well two tiles agree where they overlap, for all shifts of a window at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.stack import Pixels

_SMOOTHING_PX: Final = 1.0
"""Sigma of the Gaussian that tiles are smoothed by, so that the peak is wide enough for a parabola."""
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
    """Of the overlap at that shift, from -1 to 1."""
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
    and camera offset; a quadratic surface is taken from either strip before, which takes uneven light away.

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
    return _peak(np.where(significant, scores, -1.0), scores, count, rows.shifts, columns.shifts)


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

    pixels = strip.astype(np.float32)
    finite = np.isfinite(pixels)
    if not finite.all():
        pixels = np.where(finite, pixels, np.float32(pixels[finite].mean() if finite.any() else 0))
    pixels -= pixels.mean()
    smooth = ndimage.gaussian_filter(pixels, _SMOOTHING_PX, mode="nearest").astype(np.float64)
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
    part = (0.0, 0.0) if at_edge else _vertex(scores[y - 1 : y + 2, x - 1 : x + 2])
    return Peak(
        shift=(float(down[y]) + part[0], float(across[x]) + part[1]),
        correlation=float(scores[y, x]),
        overlap=int(count[y, x]),
        significant=significant,
        at_edge=at_edge,
    )


def _vertex(around: NDArray[np.float64]) -> tuple[float, float]:
    """Where the quadratic surface through 3 x 3 scores has its maximum, from the middle, at most half a pixel away."""
    step = np.array([-1.0, 0.0, 1.0])
    gradient = np.array([step @ around.sum(axis=1), around.sum(axis=0) @ step]) / 6
    curved = np.array([1.0, -2.0, 1.0])
    second = curved @ around.sum(axis=1) / 3, around.sum(axis=0) @ curved / 3
    mixed = float(step @ around @ step) / 4
    hessian = np.array([[second[0], mixed], [mixed, second[1]]])
    if not (hessian[0, 0] < 0 and np.linalg.det(hessian) > 0):
        return 0.0, 0.0
    y, x = np.clip(-np.linalg.solve(hessian, gradient), -0.5, 0.5)
    return float(y), float(x)


__all__ = ["Peak", "best_shift", "overlap_correlation"]
