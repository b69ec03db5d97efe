"""What the controls of a plate say about its assay: Z′, SSMD, signal to background, signal window, CV.

Groups are given as the values of their wells; wells without a value (NaN, None) do not count. Which wells are controls
is for the plate map to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np
from numpy.typing import ArrayLike

from openhcs_engine.statistics.estimate import (
    Estimate,
    Values,
    all_equal,
    difference,
    median_absolute_deviation,
    present,
    standard_deviation,
    too_few,
)


def z_prime(negatives: ArrayLike, positives: ArrayLike) -> Estimate:
    """Z′ = 1 - 3 (SD₊ + SD₋) / \\|mean₊ - mean₋\\|: how far apart the controls are, beside their scatter.

    1 at most; 0.5 and more is called an excellent assay, and below 0 the controls overlap.

    Parameters
    ----------
    negatives, positives
        Values of the wells of each control.

    Returns
    -------
    Estimate
        Undefined with fewer than two wells of either control, equal means, or no scatter in both controls.

    Notes
    -----
    Standard deviations have n - 1 in the denominator.

    *Source*: J.-H. Zhang, T. D. Y. Chung, K. R. Oldenburg, J. Biomol. Screen. 4 (1999) 67–73.
    """
    return _of_controls(negatives, positives, _MOMENTS, _z_prime)


def robust_z_prime(negatives: ArrayLike, positives: ArrayLike) -> Estimate:
    """Z′ of medians and of MADs times 1.4826, which a single odd well does not change.

    Also undefined where more than half of a control's wells are equal while others are not: then the MAD is 0, and
    hides their scatter.

    *Source*: A. Birmingham et al., Nat. Methods 6 (2009) 569–575; the factor makes the MAD of a normal distribution its
    standard deviation.
    """
    return _of_controls(negatives, positives, _ROBUST, _z_prime)


def ssmd(negatives: ArrayLike, positives: ArrayLike) -> Estimate:
    """Strictly standardised mean difference: (mean₊ - mean₋) / √(SD₊² + SD₋²), above 0 where positives are higher.

    Its moment estimate for independent groups; undefined as ``z_prime`` is, but 0 where the means are equal.

    *Source*: X. D. Zhang, Genomics 89 (2007) 552–561.
    """
    return _of_controls(negatives, positives, _MOMENTS, _ssmd)


def robust_ssmd(negatives: ArrayLike, positives: ArrayLike) -> Estimate:
    """SSMD of medians and of MADs times 1.4826; undefined as ``robust_z_prime`` is, but 0 where medians are equal.

    *Source*: X. D. Zhang, Genomics 89 (2007) 552–561.
    """
    return _of_controls(negatives, positives, _ROBUST, _ssmd)


def signal_to_background(negatives: ArrayLike, positives: ArrayLike) -> Estimate:
    """Mean of the positives / mean of the negatives; undefined where the latter is not above 0, or a group is empty.

    *Source*: J.-H. Zhang et al., J. Biomol. Screen. 4 (1999) 67–73.
    """
    background, signal = present(negatives, "negatives"), present(positives, "positives")
    n = len(background), len(signal)
    if reason := too_few(background, "negatives", 1) or too_few(signal, "positives", 1):
        return Estimate.undefined(reason, *n)
    with np.errstate(all="ignore"):
        below, above = float(np.mean(background)), float(np.mean(signal))
    if not np.isfinite([below, above]).all():
        return Estimate.undefined("Some of the controls are infinite, or too large.", *n)
    if below <= 0:
        return Estimate.undefined(f"The mean of the negatives is {below:.4g}; a ratio needs one above 0.", *n)
    return Estimate.of(above / below, *n)


def signal_window(negatives: ArrayLike, positives: ArrayLike, replicates: int = 1) -> Estimate:
    """(mean_high - mean_low - 3 (SD_high + SD_low) / √r) / (SD_high / √r), for the control with the higher mean.

    Parameters
    ----------
    negatives, positives
        Values of the wells of each control; either may be the higher one.
    replicates
        r, wells of one sample in the screen.

    Returns
    -------
    Estimate
        Undefined with fewer than two wells of either control, equal means, or no scatter in the higher control.

    Notes
    -----
    *Source*: G. S. Sittampalam et al., J. Biomol. Screen. 2 (1997) 159–169; with replicates: Assay Guidance Manual,
    *HTS Assay Validation* (NCBI Bookshelf NBK83783).
    """
    if replicates < 1:
        raise ValueError(f"replicates={replicates}; a sample has at least one well.")

    def window(low: _Group, high: _Group) -> float | str:
        if low.centre > high.centre:
            low, high = high, low
        if high.spread == 0:
            return f"All {high.name} are equal, and the window is counted in their standard deviations."
        gap = difference(high.centre, low.centre)
        if gap == 0:
            return "Negatives and positives have the same mean."
        return (gap - 3 * (high.spread + low.spread) / sqrt(replicates)) / (high.spread / sqrt(replicates))

    return _of_controls(negatives, positives, _MOMENTS, window)


def cv(values: ArrayLike) -> Estimate:
    """Coefficient of variation in per cent: 100 SD / mean; undefined below two values, or with a mean not above 0."""
    group = present(values)
    if reason := too_few(group, "wells"):
        return Estimate.undefined(reason, len(group))
    with np.errstate(all="ignore"):
        mean = float(np.mean(group))
    if mean <= 0:
        return Estimate.undefined(f"The mean is {mean:.4g}; a share of it needs one above 0.", len(group))
    return Estimate.of(100 * standard_deviation(group) / mean, len(group))


@dataclass(frozen=True, slots=True)
class _Group:
    name: str
    centre: float
    spread: float


@dataclass(frozen=True, slots=True)
class _Law:
    """How centre and spread of a group are estimated."""

    centre: Callable[[Values], np.floating]
    spread: Callable[[Values], float]
    word: str


_MOMENTS = _Law(np.mean, standard_deviation, "mean")
_ROBUST = _Law(np.median, median_absolute_deviation, "median")


def _of_controls(
    negatives: ArrayLike, positives: ArrayLike, law: _Law, formula: Callable[[_Group, _Group], float | str]
) -> Estimate:
    """What a formula makes of centre and spread of both controls, or the first reason why it is undefined."""
    groups = {"negatives": present(negatives, "negatives"), "positives": present(positives, "positives")}
    n = tuple(len(values) for values in groups.values())
    for name, values in groups.items():
        if reason := too_few(values, name):
            return Estimate.undefined(reason, *n)
        if not np.isfinite(values).all():
            return Estimate.undefined(f"Some of the {name} are infinite.", *n)
    low, high = (_Group(name, float(law.centre(values)), law.spread(values)) for name, values in groups.items())
    for group in (low, high):
        if group.spread == 0 and not all_equal(groups[group.name]):
            return Estimate.undefined(f"More than half of the {group.name} are equal, so that their MAD is 0.", *n)
    if low.spread == high.spread == 0:
        return Estimate.undefined("All negatives are equal, and all positives, so that their scatter is unknown.", *n)
    result = formula(low, high)
    if isinstance(result, str):
        return Estimate.undefined(result, *n)
    return Estimate.of(result, *n)


def _z_prime(negatives: _Group, positives: _Group) -> float | str:
    gap = difference(positives.centre, negatives.centre)
    if gap == 0:
        return "Negatives and positives have the same centre."
    return 1 - 3 * (positives.spread + negatives.spread) / abs(gap)


def _ssmd(negatives: _Group, positives: _Group) -> float:
    return difference(positives.centre, negatives.centre) / hypot(positives.spread, negatives.spread)


__all__ = ["cv", "robust_ssmd", "robust_z_prime", "signal_to_background", "signal_window", "ssmd", "z_prime"]
