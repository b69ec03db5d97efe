"""What controls say: values by hand and by Python's own ``statistics``, and what is undefined."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy.stats import median_abs_deviation

from openhcs_engine.statistics import (
    Estimate,
    cv,
    robust_ssmd,
    robust_z_prime,
    signal_to_background,
    signal_window,
    ssmd,
    z_prime,
)

OfControls = Callable[[ArrayLike, ArrayLike], Estimate]
OF_CONTROLS: tuple[OfControls, ...] = (
    z_prime,
    robust_z_prime,
    ssmd,
    robust_ssmd,
    signal_to_background,
    signal_window,
)
NEGATIVES, POSITIVES = [8.0, 10, 12], [97.0, 100, 103]
"""Means 10 and 100, standard deviations 2 and 3, MADs 2 and 3 before their factor: checked in the head."""


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (z_prime, 1 - 3 * (2 + 3) / 90),
        (robust_z_prime, 1 - 3 * 1.482602218505602 * (2 + 3) / 90),
        (ssmd, 90 / sqrt(4 + 9)),
        (robust_ssmd, 90 / (1.482602218505602 * sqrt(4 + 9))),
        (signal_to_background, 10),
        (signal_window, (90 - 3 * 5) / 3),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_numbers_of_controls_are_those_of_their_formulas(function: OfControls, expected: float) -> None:
    """Of two groups whose means and standard deviations are whole."""
    result = function(NEGATIVES, POSITIVES)

    assert result.value == pytest.approx(expected, rel=1e-14)
    assert (result.reason, result.n) == (None, (3, 3))


def test_moments_are_those_of_the_standard_library() -> None:
    """Z′, SSMD and CV of odd numbers, by Python's ``statistics``, which adds in fractions."""
    negatives, positives = [0.31, 0.29, 0.35, 0.27], [2.2, 1.9, 2.6, 2.1, 2.0]
    low, high = statistics.fmean(negatives), statistics.fmean(positives)
    below, above = statistics.stdev(negatives), statistics.stdev(positives)

    assert z_prime(negatives, positives).value == pytest.approx(1 - 3 * (below + above) / (high - low), rel=1e-12)
    assert ssmd(negatives, positives).value == pytest.approx((high - low) / sqrt(below**2 + above**2), rel=1e-12)
    assert cv(negatives).value == pytest.approx(100 * below / low, rel=1e-12)


def test_mads_have_the_factor_of_a_normal_distribution() -> None:
    """SciPy's ``median_abs_deviation`` has it only with ``scale="normal"``; without it, robust Z′ would look better."""
    negatives, positives = np.array([1.0, 2, 4, 7, 30]), np.array([90.0, 91, 95, 97, 99])
    gap = np.median(positives) - np.median(negatives)
    normal, bare = (
        1 - 3 * (median_abs_deviation(negatives, scale=scale) + median_abs_deviation(positives, scale=scale)) / gap
        for scale in ("normal", 1.0)
    )

    robust = robust_z_prime(negatives, positives).value

    assert robust == pytest.approx(normal, rel=1e-12)
    assert robust is not None and robust < bare


def test_a_robust_z_prime_does_not_move_with_one_odd_well() -> None:
    """A bubble in one control well makes Z′ worthless, and leaves its robust sister alone."""
    odd = [*POSITIVES[:2], 100_000.0]

    assert robust_z_prime(NEGATIVES, odd) == robust_z_prime(NEGATIVES, POSITIVES)
    assert z_prime(NEGATIVES, odd).value < 0 < z_prime(NEGATIVES, POSITIVES).value


def test_ssmd_has_a_sign_and_z_prime_none() -> None:
    """SSMD is above 0 where the positives are higher; Z′ and the window do not ask which control is."""
    assert ssmd(NEGATIVES, POSITIVES).value == -ssmd(POSITIVES, NEGATIVES).value > 0
    assert robust_ssmd(NEGATIVES, POSITIVES).value == -robust_ssmd(POSITIVES, NEGATIVES).value > 0
    assert z_prime(NEGATIVES, POSITIVES).value == z_prime(POSITIVES, NEGATIVES).value
    assert signal_window(NEGATIVES, POSITIVES).value == signal_window(POSITIVES, NEGATIVES).value


def test_equal_centres_are_an_ssmd_of_0() -> None:
    """No difference is a number of its own there, while Z′ divides by it."""
    assert ssmd([1, 3], [0, 4]).value == 0
    assert robust_ssmd([1, 2, 3], [0, 2, 4]).value == 0


def test_replicates_narrow_the_window() -> None:
    """The mean of r wells has a standard deviation smaller by √r."""
    assert signal_window(NEGATIVES, POSITIVES, replicates=4).value == pytest.approx((90 - 7.5) / 1.5)
    with pytest.raises(ValueError, match="replicates=0"):
        signal_window(NEGATIVES, POSITIVES, replicates=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Undefined:
    """Controls that leave a number undefined, and the words of the reason."""

    function: OfControls
    negatives: ArrayLike
    positives: ArrayLike
    says: str
    n: tuple[int, int]


SAME_CENTRE = "same centre"
UNDEFINED = [
    *(
        Undefined(
            function=function,
            negatives=[1.0, None, np.nan],
            positives=POSITIVES,
            says="At least 2 negatives with a value are needed, and there is 1.",
            n=(1, 3),
        )
        for function in OF_CONTROLS
        if function is not signal_to_background
    ),
    *(
        Undefined(function=function, negatives=NEGATIVES, positives=[], says="positives .* there is none", n=(3, 0))
        for function in OF_CONTROLS
    ),
    Undefined(function=z_prime, negatives=[1, 3], positives=[0, 4], says=SAME_CENTRE, n=(2, 2)),
    Undefined(function=robust_z_prime, negatives=[1, 2, 3], positives=[0, 2, 4], says=SAME_CENTRE, n=(3, 3)),
    Undefined(function=signal_window, negatives=[1, 3], positives=[0, 4], says="same mean", n=(2, 2)),
    *(
        Undefined(function=function, negatives=[1, 1], positives=[2, 2], says="scatter is unknown", n=(2, 2))
        for function in (z_prime, robust_z_prime, ssmd, robust_ssmd, signal_window)
    ),
    *(
        Undefined(
            function=function,
            negatives=[0, 0, 0, 1],
            positives=POSITIVES,
            says="More than half of the negatives are equal",
            n=(4, 3),
        )
        for function in (robust_z_prime, robust_ssmd)
    ),
    Undefined(function=signal_window, negatives=[1, 3], positives=[9, 9], says="All positives are equal", n=(2, 2)),
    Undefined(function=signal_to_background, negatives=[-1, 1], positives=[9], says="the negatives is 0", n=(2, 1)),
    *(
        Undefined(function=function, negatives=[1, np.inf], positives=POSITIVES, says="infinite", n=(2, 3))
        for function in OF_CONTROLS
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", UNDEFINED, ids=lambda case: f"{case.function.__name__}-{case.says[:20]}")
def test_what_is_undefined_has_a_reason_and_no_number(case: Undefined) -> None:
    """Neither 0 nor NaN nor infinite: None, a sentence, and how many wells had a value."""
    result = case.function(case.negatives, case.positives)

    assert result.value is None
    assert result.reason is not None and re.search(case.says, result.reason)
    assert result.n == case.n


def test_one_control_without_scatter_is_a_number() -> None:
    """A control that kills all cells has 0 of them in every well."""
    assert z_prime([90, 100, 110], [0, 0, 0]).value == pytest.approx(0.7)
    assert robust_z_prime([90, 100, 110], [0, 0, 0]).value == pytest.approx(1 - 0.3 * 1.482602218505602)


def test_rounding_is_no_scatter() -> None:
    """NumPy's standard deviation of three times 0.1 is 1.4e-17, which would make a Z′ of 1."""
    assert np.std([0.1] * 3, ddof=1) > 0
    assert z_prime([0.1] * 3, [0.2] * 3).value is None
    assert cv([0.1] * 3).value == 0


@pytest.mark.parametrize(
    ("values", "says"), [([1.0], "At least 2 wells"), ([-1.0, 1.0], "mean is 0"), ([-3.0, -4.0], "mean is -3.5")]
)
def test_a_cv_needs_two_wells_and_a_mean_above_0(values: list[float], says: str) -> None:
    """A share of nothing, or of something negative, is no number."""
    result = cv(values)

    assert result.value is None
    assert result.reason is not None and says in result.reason


def test_small_integers_do_not_wrap() -> None:
    """Counts of 32 bits, whose sums wrap in polars, are summed as float64."""
    counts = polars.Series("Count_Nuclei", [2**32 - 1, 2**32 - 3], dtype=polars.UInt32)

    assert counts.sum() != 2**33 - 4  # what would bite
    assert signal_to_background([1], counts).value == 2**32 - 2
    assert signal_to_background([1], np.array([250, 252], np.uint8)).value == 251


def test_nulls_of_tables_are_no_values() -> None:
    """A polars column with a null, and a list with None, are the same wells."""
    column = polars.Series([8.0, None, 10.0, 12.0])

    assert z_prime(column, POSITIVES) == z_prime([8, 10, None, 12], POSITIVES) == z_prime(NEGATIVES, POSITIVES)


@pytest.mark.parametrize("texts", [["8", "10"], [8, "10"], polars.Series(["8", "10"])])
def test_text_is_refused_even_if_it_looks_like_numbers(texts: ArrayLike) -> None:
    """NumPy would read "8" as 8: a column of text is somebody's mistake."""
    with pytest.raises(TypeError, match=r"negatives are of type .* give numbers"):
        z_prime(texts, POSITIVES)


def test_tables_of_values_are_refused() -> None:
    """One value a well, in one dimension."""
    with pytest.raises(ValueError, match=r"positives have the shape \(2, 2\)"):
        ssmd(NEGATIVES, [[1, 2], [3, 4]])


@pytest.mark.parametrize("function", OF_CONTROLS, ids=lambda function: function.__name__)
@given(groups=st.tuples(*[st.lists(st.none() | st.floats(), max_size=5)] * 2))
def test_there_is_a_finite_number_or_a_reason(function: OfControls, groups: tuple[list[float | None], ...]) -> None:
    """Of any values at all: never NaN, never infinite, never both."""
    result = function(*groups)

    assert (result.value is None) != (result.reason is None)
    assert result.value is None or isfinite(result.value)
    assert result.n == tuple(sum(value is not None and value == value for value in group) for group in groups)
