"""Values beside a reference: equal to SciPy's, and undefined where the reference is no scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy.stats import median_abs_deviation, zmap

from openhcs_engine.statistics import Normalised, percent_of_control, robust_z_scores, z_scores

Normalise = Callable[[ArrayLike, ArrayLike], Normalised]
ALL: tuple[Normalise, ...] = (z_scores, robust_z_scores, percent_of_control)
VALUES, REFERENCE = [3.0, None, 9.0, np.nan], [2.0, 4.0, np.nan, 6.0, 12.0]


def test_z_scores_are_those_of_scipy() -> None:
    """``zmap`` with n - 1; wells without a value stay so, and the reference counts those with one."""
    result = z_scores(VALUES, REFERENCE)

    expected = zmap([3.0, np.nan, 9.0, np.nan], [2.0, 4.0, 6.0, 12.0], ddof=1)
    np.testing.assert_allclose(result.values, expected, rtol=1e-14)
    assert (result.centre, result.n, result.reason) == (6.0, 4, None)


def test_robust_z_scores_are_of_medians_and_scaled_mads() -> None:
    """SciPy's MAD with ``scale="normal"``."""
    result = robust_z_scores(VALUES, REFERENCE)

    spread = median_abs_deviation([2.0, 4.0, 6.0, 12.0], scale="normal")
    np.testing.assert_allclose(result.values, [(3 - 5) / spread, np.nan, (9 - 5) / spread, np.nan], rtol=1e-9)
    assert result.spread == pytest.approx(spread, rel=1e-9)


def test_percent_of_control_is_of_the_mean() -> None:
    """100 where a well equals the control's mean."""
    result = percent_of_control([6.0, 3.0, None], REFERENCE)

    np.testing.assert_array_equal(result.values, [100.0, 50.0, np.nan])
    assert (result.centre, result.spread) == (6.0, None)


@pytest.mark.parametrize(
    ("normalise", "reference", "says"),
    [
        (z_scores, [5.0, None], "At least 2 reference wells with a value are needed, and there is 1."),
        (robust_z_scores, [], "there is none"),
        (z_scores, [0.1, 0.1, 0.1], "All reference wells are equal"),
        (robust_z_scores, [7, 7], "All reference wells are equal"),
        (robust_z_scores, [0, 0, 0, 5], "More than half of the reference wells are equal"),
        (z_scores, [1, 2, -np.inf], "infinite"),
        (percent_of_control, [None], "At least 1 control wells"),
        (percent_of_control, [-2, 2], "The mean of the control is 0"),
        (percent_of_control, [-2], "The mean of the control is -2"),
    ],
)
def test_a_reference_that_is_no_scale_leaves_all_wells_without_a_value(
    normalise: Normalise, reference: ArrayLike, says: str
) -> None:
    """Not 0, and not 10^18 as with an epsilon in the denominator."""
    result = normalise([1.0, 2.0], reference)

    assert result.reason is not None and says in result.reason
    assert np.isnan(result.values).all() and len(result.values) == 2
    assert (result.centre, result.spread) == (None, None)


@pytest.mark.parametrize("normalise", ALL, ids=lambda function: function.__name__)
@given(values=st.lists(st.none() | st.floats()), reference=st.lists(st.none() | st.floats(), max_size=5))
def test_scores_are_finite_or_no_value(
    normalise: Normalise, values: list[float | None], reference: list[float | None]
) -> None:
    """Of any values at all; and a reason stands for all of them."""
    result = normalise(values, reference)

    assert len(result.values) == len(values)
    assert not np.isinf(result.values).any()
    assert (result.centre is None) == (result.reason is not None)


@given(
    reference=st.lists(st.integers(-1000, 1000), min_size=2, unique=True),
    scale=st.integers(1, 50),
    shift=st.integers(-1000, 1000),
)
def test_scores_do_not_know_the_unit(reference: list[int], scale: int, shift: int) -> None:
    """The same plate in other units, from another zero, has the same scores."""
    changed = [scale * value + shift for value in reference]

    np.testing.assert_allclose(z_scores(changed, changed).values, z_scores(reference, reference).values, atol=1e-9)


def test_scores_cannot_be_written_into() -> None:
    """A result is a value: who wants to change it takes a copy."""
    with pytest.raises(ValueError, match="read-only"):
        z_scores([1.0], [1, 2]).values[0] = 3
