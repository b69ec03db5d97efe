"""Values of wells beside those of a reference: z scores, robust z scores, percent of control."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from openhcs_engine.statistics.estimate import (
    Values,
    all_equal,
    as_values,
    finite,
    median_absolute_deviation,
    present,
    read_only,
    standard_deviation,
    too_few,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Normalised:
    """Values of wells on the scale of a reference."""

    values: Values
    """One a well, in the order given; NaN where the well has no value, and everywhere if they are undefined."""
    centre: float | None
    """Mean or median of the reference; None where it has none."""
    spread: float | None
    """Standard deviation, or MAD times 1.4826, of the reference; None where none is needed or known."""
    reason: str | None
    """A sentence that says why no well has a value; None if they are defined."""
    n: int
    """Wells of the reference with a value."""


def z_scores(values: ArrayLike, reference: ArrayLike) -> Normalised:
    """(value - mean) / SD, both of the reference: the negative controls, or all samples.

    Parameters
    ----------
    values
        One a well; NaN or None where there is none.
    reference
        Values of the wells that are the scale.

    Returns
    -------
    Normalised
        Undefined where the reference has fewer than two values, or all are equal.

    Notes
    -----
    The standard deviation has n - 1 in the denominator.

    *Source*: N. Malo et al., Nat. Biotechnol. 24 (2006) 167–175.
    """
    scale = present(reference, "reference")
    if reason := _no_scale(scale):
        return _undefined(values, reason, len(scale))
    return _normalised(values, float(np.mean(scale)), standard_deviation(scale), len(scale))


def robust_z_scores(values: ArrayLike, reference: ArrayLike) -> Normalised:
    """(value - median) / (1.4826 MAD), both of the reference, which a few odd wells do not change.

    Also undefined where more than half of the reference's values are equal, so that the MAD is 0. Arguments and result
    are those of ``z_scores``.

    *Source*: A. Birmingham et al., Nat. Methods 6 (2009) 569–575; the factor makes the MAD of a normal distribution its
    standard deviation.
    """
    scale = present(reference, "reference")
    if reason := _no_scale(scale):
        return _undefined(values, reason, len(scale))
    spread = median_absolute_deviation(scale)
    if spread == 0:
        return _undefined(
            values, "More than half of the reference wells are equal, so that their MAD is 0.", len(scale)
        )
    return _normalised(values, float(np.median(scale)), spread, len(scale))


def percent_of_control(values: ArrayLike, control: ArrayLike) -> Normalised:
    """100 value / mean of the control's wells; undefined where there are none, or their mean is not above 0.

    *Source*: N. Malo et al., Nat. Biotechnol. 24 (2006) 167–175.
    """
    scale = present(control, "control")
    if reason := too_few(scale, "control wells", 1) or _infinite(scale):
        return _undefined(values, reason, len(scale))
    mean = float(np.mean(scale))
    if not mean > 0:
        return _undefined(
            values, f"The mean of the control is {mean:.4g}; a share of it needs one above 0.", len(scale)
        )
    with np.errstate(all="ignore"):
        percent = 100 * (as_values(values) / mean)
    return Normalised(values=read_only(finite(percent)), centre=mean, spread=None, reason=None, n=len(scale))


def _no_scale(reference: Values) -> str | None:
    """Why these wells are no scale; None if they are."""
    if reason := too_few(reference, "reference wells") or _infinite(reference):
        return reason
    return "All reference wells are equal, so that they have no scatter." if all_equal(reference) else None


def _infinite(reference: Values) -> str | None:
    return None if np.isfinite(reference).all() else "Some of the reference wells are infinite."


def _normalised(values: ArrayLike, centre: float, spread: float, n: int) -> Normalised:
    with np.errstate(all="ignore"):
        scores = (as_values(values) - centre) / spread
    return Normalised(values=read_only(finite(scores)), centre=centre, spread=spread, reason=None, n=n)


def _undefined(values: ArrayLike, reason: str, n: int) -> Normalised:
    nothing = np.full(len(as_values(values)), np.nan)
    return Normalised(values=read_only(nothing), centre=None, spread=None, reason=reason, n=n)


__all__ = ["Normalised", "percent_of_control", "robust_z_scores", "z_scores"]
