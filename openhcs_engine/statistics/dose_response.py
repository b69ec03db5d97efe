"""Four-parameter logistic curves over log dose with confidence intervals, or the reason why the data tell none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openhcs_engine.model.wording import counted
from openhcs_engine.statistics.estimate import Values, all_equal, as_values, same_length

PARAMETERS: Final = 4
ON_SLOPE: Final = (0.01, 0.99)
"""Between these shares of the way from one plateau to the other, a dose says something about midpoint and slope."""
_STEEPEST: Final = 100.0


class Interval(NamedTuple):
    """A fitted parameter and its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """response = bottom + (top - bottom) / (1 + (EC50 / dose)^slope), bottom ≤ top; slope < 0 where it falls."""

    bottom: Interval
    """Lower plateau, in the unit of the responses."""
    top: Interval
    """Upper plateau, in the unit of the responses."""
    log10_ec50: Interval
    """Decadic logarithm of the dose half way between the plateaus, in the unit of the doses."""
    slope: Interval
    """Hill slope: above 0 where responses rise with the dose."""
    r_squared: float
    """1 - residual sum of squares / sum of squares about the mean."""

    @property
    def ec50(self) -> Interval:
        """Dose half way between the plateaus; its interval is that of its logarithm."""
        return Interval(*(10.0**each for each in self.log10_ec50))

    def at(self, doses: ArrayLike) -> Values:
        """Responses at doses above 0, in the shape of the doses."""
        share = _share(np.log10(np.asarray(doses, np.float64)), self.log10_ec50.value, abs(self.slope.value))
        low, high = self.bottom.value, self.top.value
        if self.slope.value < 0:
            low, high = high, low
        curve: Values = low + (high - low) * share
        return curve


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseResponse:
    """A curve, or the reason why there is none."""

    curve: Curve | None
    reason: str | None
    """A sentence that says what the data do not determine; None if there is a curve."""
    n: int
    """Wells that were used: those with a response, and a dose above 0."""
    doses: int
    """Different doses among them."""
    left_out: int
    """Wells with a response at dose 0, which has no logarithm."""


def fit_dose_response(doses: ArrayLike, responses: ArrayLike, confidence: float = 0.95) -> DoseResponse:
    """Fit a logistic curve with four parameters to responses over the logarithm of the dose, by least squares.

    Parameters
    ----------
    doses
        One a well, in one unit, 0 or more; NaN or None where the well has none. Wells at dose 0 are left out, and
        counted.
    responses
        One a well; NaN or None where there is none.
    confidence
        Of the intervals, which are symmetric on the scale of bottom, top, log10 EC50 and slope.

    Returns
    -------
    DoseResponse
        *Undetermined*, with the reason instead of a curve, where

        - there are fewer than four different doses, or fewer than five wells: no parameter would have an error;
        - all responses are equal, or the curve does not explain them better than their mean does (F test at 5 %): the
          data do not bend;
        - the midpoint lies outside the doses, or its interval is wider than they are: a plateau is missing;
        - fewer than two doses lie on the slope, between 1 and 99 % of the way, or a step from one dose to the next
          explains the responses as well (F test at 5 %): so would any steeper curve;
        - the Jacobian's rank is short.

    Raises
    ------
    ValueError
        If a dose is below 0, a dose or response is infinite, the arrays differ in length, or the confidence is not
        between 0 and 1.

    Notes
    -----
    For given midpoint and slope the plateaus are linear, so that the fit searches two parameters from a grid of
    starting values, and needs no bounds: bounded fits report an error of 0 for what the data do not determine.
    Intervals are those of the linearised model, with Student's t.

    *Source*: Assay Guidance Manual, *Assay Operations for SAR Support* (NCBI Bookshelf NBK91994); G. H. Golub,
    V. Pereyra, SIAM J. Numer. Anal. 10 (1973) 413–432, for the search.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}; give a share between 0 and 1, such as 0.95.")
    dose, response = as_values(doses, "doses"), as_values(responses, "responses")
    same_length(doses=dose, responses=response)
    wells = ~np.isnan(dose) & ~np.isnan(response)
    dose, response = dose[wells], response[wells]
    if np.isinf(dose).any() or np.isinf(response).any():
        raise ValueError("Some doses or responses are infinite.")
    if (dose < 0).any():
        raise ValueError(f"The dose {dose.min():g} is below 0.")
    above = dose > 0
    left_out = int((~above).sum())
    x, y = np.log10(dose[above]), response[above]
    different = np.unique(x)
    fitted = _undetermined(different, y, left_out) or _fit(x, y, different, confidence)
    curve, reason = (fitted, None) if isinstance(fitted, Curve) else (None, fitted)
    return DoseResponse(curve=curve, reason=reason, n=len(y), doses=len(different), left_out=left_out)


def _undetermined(different: Values, y: Values, left_out: int) -> str | None:
    """What can be said before a fit."""
    without = f", without {counted(left_out, 'well')} at dose 0, which has no logarithm" if left_out else ""
    if len(different) < PARAMETERS:
        doses = counted(len(different), "dose")
        return f"Undetermined: a curve has {PARAMETERS} parameters, and there {_are(len(different))} {doses}{without}."
    if len(y) <= PARAMETERS:
        wells = counted(len(y), "well")
        return f"Undetermined: {wells} leave nothing over to tell errors of {PARAMETERS} parameters from{without}."
    return "Undetermined: all responses are equal." if all_equal(y) else None


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _fit(x: Values, y: Values, different: Values, confidence: float) -> Curve | str:
    from scipy.optimize import least_squares
    from scipy.stats import f as f_distribution
    from scipy.stats import t as t_distribution

    offset, scale = float(np.min(y)), float(np.ptp(y))
    unit = (y - offset) / scale

    def residuals(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        midpoint, log_slope = parameters
        return _plateaus(x, unit, float(midpoint), _slope(log_slope))[1]

    span = float(np.ptp(different))
    starts = [
        np.array([midpoint, np.log(slope)])
        for midpoint in np.linspace(different[0], different[-1], 9)
        for slope in np.array([1.0, 3.0, 9.0]) * (2 / span)
    ]
    starts.sort(key=lambda start: float(np.sum(residuals(start) ** 2)))
    tried = [least_squares(residuals, start, method="lm", x_scale=(span, 1.0), max_nfev=400) for start in starts[:4]]
    midpoint, log_slope = min(tried, key=lambda each: float(each.cost)).x
    midpoint, slope = float(midpoint), _slope(log_slope)

    share = _share(different, midpoint, slope)
    on_slope = int(((share > ON_SLOPE[0]) & (share < ON_SLOPE[1])).sum())
    (low, high), residual = _plateaus(x, unit, midpoint, slope)
    missed = float(np.sum(residual**2))
    about_mean = float(np.sum((unit - unit.mean()) ** 2))
    freedom = len(y) - PARAMETERS
    explained = max(about_mean - missed, 0.0) / (PARAMETERS - 1)
    if missed > 0 and f_distribution.sf(explained / (missed / freedom), PARAMETERS - 1, freedom) > 0.05:
        return "Undetermined: the responses do not change with the dose by more than they scatter."
    if not different[0] <= midpoint <= different[-1]:
        return "Undetermined: the midpoint of the best curve lies outside the doses, so that a plateau is missing."
    if on_slope < 2:
        on = "one dose lies" if on_slope else "no dose lies"
        return f"Undetermined: {on} on the slope between the plateaus, so that steeper curves fit as well."
    saved = max(_step(x, unit, different) - missed, 0.0) / (PARAMETERS - 2)
    if missed > 0 and f_distribution.sf(saved / (missed / freedom), PARAMETERS - 2, freedom) > 0.05:
        return "Undetermined: a step between two doses fits as well, so that the slope has no upper bound."
    at = _share(x, midpoint, slope)
    bend = (high - low) * at * (1 - at) * np.log(10)
    jacobian = np.column_stack([1 - at, at, -slope * bend * span, (x - midpoint) * slope * bend])
    if np.linalg.matrix_rank(jacobian, rtol=1e-6) < PARAMETERS:
        return "Undetermined: the data do not tell all four parameters (the rank of the Jacobian is short)."
    covariance = np.linalg.inv(jacobian.T @ jacobian) * missed / freedom
    widths = t_distribution.ppf(0.5 + confidence / 2, freedom) * np.sqrt(np.diag(covariance))
    widths *= np.array([scale, scale, span, slope])
    if not np.isfinite(widths).all() or 2 * widths[2] > span:
        return "Undetermined: the interval of the midpoint is wider than the range of the doses."
    first, last = (_interval(offset + scale * value, width) for value, width in ((low, widths[0]), (high, widths[1])))
    falls = high < low
    return Curve(
        bottom=last if falls else first,
        top=first if falls else last,
        log10_ec50=_interval(midpoint, widths[2]),
        slope=_interval(-slope if falls else slope, widths[3]),
        r_squared=1 - missed / about_mean,
    )


def _step(x: Values, y: Values, different: Values) -> float:
    """Residual sum of squares of the best step: one plateau up to a dose, another one above it."""
    splits = (x <= dose for dose in different[:-1])
    return min(sum(float(np.sum((part - part.mean()) ** 2)) for part in (y[below], y[~below])) for below in splits)


def _interval(value: float, width: float) -> Interval:
    return Interval(value, value - float(width), value + float(width))


def _share(x: NDArray[np.float64], midpoint: float, slope: float) -> NDArray[np.float64]:
    """How far from the plateau at low doses to that at high ones, 0 to 1."""
    from scipy.special import expit

    share: NDArray[np.float64] = expit(np.log(10) * slope * (x - midpoint))
    return share


def _slope(log_slope: float) -> float:
    return float(np.exp(np.clip(log_slope, -10.0, np.log(_STEEPEST))))


def _plateaus(x: Values, y: Values, midpoint: float, slope: float) -> tuple[tuple[float, float], Values]:
    """The plateaus at low and at high doses that fit best, which is a linear problem, and what they leave."""
    share = _share(x, midpoint, slope)
    design = np.column_stack([1 - share, share])
    low, high = (float(each) for each in np.linalg.lstsq(design, y, rcond=None)[0])
    missed: Values = design @ np.array([low, high]) - y
    return (low, high), missed


__all__ = ["Curve", "DoseResponse", "Interval", "fit_dose_response"]
