"""Dose response by R's published fit, by planted curves, and by data that determine nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import t

from openhcs_engine.statistics import fit_dose_response

CHICK = {0: 42, 2: 51, 4: 59, 6: 64, 8: 76, 10: 93, 12: 106, 14: 125, 16: 149, 18: 171, 20: 199, 21: 205}
"""Weight in g by age in days of chick 1 of R's ``ChickWeight`` (M. Crowder, D. Hand, *Analysis of Repeated Measures*,
1990), to which R's documentation of ``SSfpl`` fits the same curve."""
DOSES = np.repeat(np.logspace(-3, 3, 8), 3)


def curve(bottom: float, top: float, ec50: float, slope: float) -> NDArray[np.float64]:
    """Responses at ``DOSES``, without scatter."""
    return np.asarray(bottom + (top - bottom) / (1 + (ec50 / DOSES) ** slope))


def scattered(responses: NDArray[np.float64], sd: float = 0.03, seed: int = 3) -> NDArray[np.float64]:
    """The same with normal scatter."""
    return responses + np.random.default_rng(seed).normal(0, sd, len(responses))


def test_estimates_and_errors_are_those_of_r() -> None:
    """``summary(nls(weight ~ SSfpl(Time, A, B, xmid, scal), Chick.1))`` prints these; age stands for log10 dose."""
    fit = fit_dose_response([10.0**age for age in CHICK], [float(weight) for weight in CHICK.values()])

    assert fit.curve is not None
    half = t.ppf(0.975, 12 - 4)
    for interval, estimate, error in (
        (fit.curve.bottom, 27.453, 6.601),
        (fit.curve.top, 348.971, 57.899),
        (fit.curve.log10_ec50, 19.391, 2.194),
    ):
        assert interval.value == pytest.approx(estimate, abs=1e-3)
        assert (interval.high - interval.value) / half == pytest.approx(error, abs=1e-3)
        assert interval.value - interval.low == pytest.approx(interval.high - interval.value)
    assert 1 / (fit.curve.slope.value * np.log(10)) == pytest.approx(6.673, abs=1e-3)
    assert (fit.n, fit.doses, fit.left_out) == (12, 12, 0)


@settings(max_examples=25)
@given(st.floats(-100, 100), st.floats(0.01, 1000), st.floats(-1.5, 1.5), st.floats(0.6, 2.0), st.booleans())
def test_a_curve_without_scatter_comes_back(
    bottom: float, height: float, log_ec50: float, slope: float, falls: bool
) -> None:
    """In any unit, rising or falling; the error is not exactly 0."""
    signed = -slope if falls else slope
    responses = curve(bottom, bottom + height, 10**log_ec50, signed)

    fit = fit_dose_response(DOSES, responses)

    assert fit.curve is not None
    assert fit.curve.log10_ec50.value == pytest.approx(log_ec50, abs=1e-4)
    assert fit.curve.slope.value == pytest.approx(signed, rel=1e-3)
    assert fit.curve.bottom.value == pytest.approx(bottom, abs=1e-3 * height)
    assert fit.curve.top.value == pytest.approx(bottom + height, abs=1e-3 * height)
    np.testing.assert_allclose(fit.curve.at(DOSES), responses, atol=1e-4 * height)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of 200 plates, 95 % ± 4.6 % (three standard errors) of the intervals of log10 EC50 hold the planted one."""
    exact = curve(0.0, 1.0, 2.0, 1.2)
    held = 0
    for seed in range(200):
        fit = fit_dose_response(DOSES, scattered(exact, 0.05, seed))
        assert fit.curve is not None
        held += fit.curve.log10_ec50.low <= np.log10(2.0) <= fit.curve.log10_ec50.high

    assert 0.904 <= held / 200 <= 0.996


def test_a_wider_confidence_has_wider_intervals_about_the_same_value() -> None:
    """By the ratio of Student's quantiles."""
    responses = scattered(curve(0.0, 1.0, 2.0, 1.2))
    narrow, wide = (fit_dose_response(DOSES, responses, confidence).curve for confidence in (0.8, 0.99))

    assert narrow is not None
    assert wide is not None
    assert narrow.ec50.value == wide.ec50.value
    widths = [each.slope.high - each.slope.value for each in (narrow, wide)]
    freedom = len(DOSES) - 4
    assert widths[1] / widths[0] == pytest.approx(t.ppf(0.995, freedom) / t.ppf(0.9, freedom))


@pytest.mark.parametrize(
    ("responses", "part"),
    [
        (scattered(np.zeros(24)), "do not change with the dose"),
        (scattered(np.log10(DOSES)), "Undetermined"),
        (scattered((DOSES > 1) * 1.0), "a step between two doses fits as well"),
        ((DOSES > 1) * 1.0, "on the slope"),
        (scattered(curve(0, 1, 1e5, 1.0), 0.002), "Undetermined"),
        (np.full(24, 7.0), "all responses are equal"),
        (np.full(24, 0.1) * 3 - 0.3, "all responses are equal"),
    ],
    ids=["scatter", "line", "step", "exact step", "one plateau", "equal", "rounding"],
)
def test_data_that_do_not_bend_have_no_curve(responses: NDArray[np.float64], part: str) -> None:
    """And so no error of 0, which a bounded fit of the same data reports."""
    fit = fit_dose_response(DOSES, responses)

    assert fit.curve is None
    assert part in str(fit.reason)
    assert fit.n == 24


def test_wells_at_dose_0_are_left_out_and_counted() -> None:
    """Their logarithm is no number; the other wells' curve is as it was."""
    responses = scattered(curve(0.0, 1.0, 2.0, 1.2))

    without = fit_dose_response(DOSES, responses)
    with_zero = fit_dose_response([0.0, 0.0, *DOSES, None], [9.0, -9.0, *responses, 5.0])

    assert with_zero.curve == without.curve
    assert (with_zero.n, with_zero.left_out) == (24, 2)


@pytest.mark.parametrize(
    ("doses", "part"),
    [
        ([1.0] * 6, "there is 1 dose"),
        ([1.0, 1, 2, 2, 3, 3], "there are 3 doses"),
        ([0.0] * 6, "there are 0 doses, without 6 wells at dose 0"),
        ([1.0, 2, 3, 4, 0, 0], "4 wells leave nothing over"),
        ([], "there are 0 doses"),
    ],
)
def test_too_few_doses_are_undetermined(doses: list[float], part: str) -> None:
    """Four parameters of three doses, or errors of four wells, are no numbers."""
    fit = fit_dose_response(doses, np.linspace(0, 1, len(doses)))

    assert fit.curve is None
    assert part in str(fit.reason)


def test_negative_and_infinite_doses_are_refused() -> None:
    """They are mistakes of a plate map, and no measurements."""
    with pytest.raises(ValueError, match="dose -1 is below 0"):
        fit_dose_response([1.0, -1.0], [0.0, 1.0])
    with pytest.raises(ValueError, match="infinite"):
        fit_dose_response([1.0, np.inf], [0.0, 1.0])
    with pytest.raises(ValueError, match="between 0 and 1"):
        fit_dose_response([1.0], [1.0], confidence=95)
    with pytest.raises(TypeError, match="give numbers"):
        fit_dose_response(["1 nM"], [1.0])


def test_the_order_of_wells_does_not_matter() -> None:
    """Nor do units: doses in nM have an EC50 a thousand times as large."""
    responses = scattered(curve(0.0, 1.0, 2.0, 1.2))
    order = np.random.default_rng(1).permutation(len(DOSES))

    one = fit_dose_response(DOSES, responses).curve
    other = fit_dose_response(1000 * DOSES[order], responses[order]).curve

    assert one is not None
    assert other is not None
    assert other.ec50.value == pytest.approx(1000 * one.ec50.value, rel=1e-5)
    assert other.slope.value == pytest.approx(one.slope.value, rel=1e-5)
