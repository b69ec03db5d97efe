"""False discovery rates by Benjamini and Hochberg's own example, and replicates by Anscombe's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine.statistics import false_discovery_rates, replicate_correlation, two_sided_p

PAPER = [
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0,
]  # fmt: skip
"""The fifteen p values of Benjamini and Hochberg, J. R. Stat. Soc. B 57 (1995), section 3.2: four are significant at
a rate of 0.05, where Bonferroni's correction finds three."""
ANSCOMBE_X = [10.0, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]
ANSCOMBE_Y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]
"""F. J. Anscombe, Am. Stat. 27 (1973) 17–21, the first of the four: r = 0.816."""


def test_rates_are_those_of_the_paper() -> None:
    """The fourth is the last: 0.0095 · 15 / 4 = 0.0356, and the fifth 0.0603."""
    rates = false_discovery_rates(PAPER)

    assert int((rates.values <= 0.05).sum()) == 4
    np.testing.assert_allclose(rates.values[:5], [0.0015, 0.003, 0.0095, 0.035625, 0.0603], rtol=1e-12)
    assert rates.n == 15


def test_wells_without_a_p_value_count_as_no_test() -> None:
    """They change no other well's rate, wherever they stand."""
    holes: list[float | None] = [None, *PAPER[:7], float("nan"), *PAPER[7:]]

    rates = false_discovery_rates(holes)

    assert rates.n == 15
    assert np.isnan(rates.values[[0, 8]]).all()
    np.testing.assert_array_equal(np.delete(rates.values, [0, 8]), false_discovery_rates(PAPER).values)


@given(st.lists(st.floats(0, 1), max_size=50))
def test_rates_keep_the_order_and_are_not_below_p(p: list[float]) -> None:
    """A larger p value never has a smaller rate."""
    rates = false_discovery_rates(p).values

    assert (rates >= np.array(p)).all()
    assert (np.diff(rates[np.argsort(p)]) >= 0).all()


def test_no_p_values_have_no_rates_and_wrong_ones_are_refused() -> None:
    """Nothing to test is no error; a probability above 1 is."""
    assert false_discovery_rates([]).n == 0
    assert false_discovery_rates([None, None]).n == 0
    with pytest.raises(ValueError, match="below 0 or above 1"):
        false_discovery_rates([0.5, 1.01])


def test_p_values_of_scores_are_two_sided() -> None:
    """1.96 leaves 5 % on both sides together; a well without a score has none."""
    p = two_sided_p([1.959963984540054, -1.959963984540054, 0, None])

    np.testing.assert_allclose(p[:3], [0.05, 0.05, 1], rtol=1e-12)
    assert np.isnan(p[3])


def test_replicates_agree_as_anscombe_computed() -> None:
    """r = 0.816 to three digits; samples without a value in one replicate do not count."""
    assert replicate_correlation(ANSCOMBE_X, ANSCOMBE_Y).value == pytest.approx(0.81642, abs=5e-6)
    with_hole = replicate_correlation([*ANSCOMBE_X, None, 3.0], [*ANSCOMBE_Y, 99.0, None])
    assert with_hole == replicate_correlation(ANSCOMBE_X, ANSCOMBE_Y)
    assert with_hole.n == (11,)


def test_ranks_agree_where_values_bend() -> None:
    """Spearman's is 1 for any increasing function."""
    x = np.arange(1.0, 20)

    assert replicate_correlation(x, np.exp(x), "spearman").value == pytest.approx(1)
    bent = replicate_correlation(x, np.exp(x)).value
    assert bent is not None
    assert bent < 0.7


@pytest.mark.parametrize(
    ("first", "second", "part"),
    [
        ([1.0, 2], [1.0, 2], "At least 3 samples"),
        ([1.0, 1, 1], [1.0, 2, 3], "All values of the first replicate are equal"),
        ([1.0, 2, 3], [5.0, 5, 5], "All values of the second replicate are equal"),
        ([1.0, 2, np.inf], [1.0, 2, 3], "infinite"),
    ],
)
def test_agreement_of_few_or_equal_values_is_undefined(first: list[float], second: list[float], part: str) -> None:
    """With the reason, and no NaN."""
    result = replicate_correlation(first, second)

    assert result.value is None
    assert part in str(result.reason)


def test_other_methods_are_refused() -> None:
    """With those that there are."""
    with pytest.raises(ValueError, match="'pearson' or 'spearman'"):
        replicate_correlation([1.0], [1.0], "kendall")  # type: ignore[arg-type]
