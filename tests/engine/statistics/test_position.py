"""Rows, columns and edges: R's example of the median polish, planted effects, and what is undefined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from openhcs_engine.statistics import (
    SD_OF_MAD,
    b_scores,
    column_effect,
    correct_plate_effects,
    edge_effect,
    median_polish,
    row_effect,
)

DEATHS = np.array([[14, 15, 14], [7, 4, 7], [8, 2, 10], [15, 9, 10], [0, 2, 0]], float)
"""Deaths by sport parachuting by experience (rows) and year, the example of R's ``medpolish``, from Velleman and
Hoaglin, *ABC of EDA* (1981), p. 224."""
Grid = NDArray[np.float64]


def lines(grid: Grid) -> tuple[Grid, NDArray[np.intp], NDArray[np.intp]]:
    """Values, rows and columns of a grid, one entry a well."""
    rows, columns = np.indices(grid.shape)
    return grid.ravel(), rows.ravel(), columns.ravel()


def scatter(shape: tuple[int, int] = (16, 24), seed: int = 5) -> Grid:
    """A plate of normal values with mean 100 and standard deviation 5."""
    return np.random.default_rng(seed).normal(100, 5, shape)


def test_the_polish_is_that_of_r() -> None:
    """Overall, effects and residuals that ``example(medpolish)`` prints."""
    polish = median_polish(*lines(DEATHS))

    assert (polish.overall, polish.converged, polish.rounds, polish.n) == (8, True, 2, 15)
    assert list(polish.rows.values()) == [6, -1, 0, 2, -8]
    assert list(polish.columns.values()) == [0, -1, 0]
    assert polish.residuals.reshape(5, 3).tolist() == [[0, 2, 0], [0, -2, 0], [0, -5, 2], [5, 0, 0], [0, 3, 0]]


def test_rows_come_first() -> None:
    """Columns first would leave other residuals, as those of the table on its side show."""
    rows_first = median_polish(*lines(DEATHS)).residuals.reshape(5, 3)
    columns_first = median_polish(*lines(DEATHS.T)).residuals.reshape(3, 5).T

    assert rows_first.tolist() != columns_first.tolist()


@given(
    st.lists(st.integers(-50, 50), min_size=2, max_size=8),
    st.lists(st.integers(-50, 50), min_size=2, max_size=8),
    st.integers(-1000, 1000),
)
def test_sums_of_row_and_column_effects_leave_no_residual(rows: list[int], columns: list[int], level: int) -> None:
    """Of whole numbers, so that nothing is rounding but halves; the effects have the differences that were planted."""
    grid = level + np.add.outer(np.array(rows, float), np.array(columns, float))

    polish = median_polish(*lines(grid))

    assert polish.converged
    assert not polish.residuals.any()
    assert polish.rows[1] - polish.rows[0] == rows[1] - rows[0]
    assert polish.columns[1] - polish.columns[0] == columns[1] - columns[0]


def test_a_polish_that_does_not_come_to_rest_says_so() -> None:
    """After one round the sum of residuals has nothing to be compared with, unless it is 0."""
    assert not median_polish(*lines(DEATHS), rounds=1).converged
    assert median_polish(*lines(DEATHS), eps=1e-12, rounds=50).converged


def test_wells_without_a_value_are_as_wells_that_are_not_there() -> None:
    """NaN and None do not pull medians, and have no residual."""
    values, rows, columns = lines(DEATHS)
    holes = np.array([0, 7])
    present = np.setdiff1d(np.arange(15), holes)
    with_none = [None if well in holes else value for well, value in enumerate(values)]

    whole = median_polish(with_none, rows, columns)
    fewer = median_polish(values[present], rows[present], columns[present])

    assert np.isnan(whole.residuals[holes]).all()
    np.testing.assert_array_equal(whole.residuals[present], fewer.residuals)
    assert (whole.n, whole.overall) == (13, fewer.overall)


def test_wells_that_are_no_samples_have_residuals_and_change_nothing() -> None:
    """A control that is a hundred times as bright leaves the samples' residuals as they are."""
    grid = scatter()
    samples = np.ones(grid.shape, bool)
    samples[3, 4] = False
    bright = grid.copy()
    bright[3, 4] += 1e4

    before = median_polish(*lines(grid), samples=samples.ravel()).residuals
    after = median_polish(*lines(bright), samples=samples.ravel()).residuals

    change = (after - before).reshape(grid.shape)
    assert change[3, 4] == pytest.approx(1e4)
    assert not change[samples].any()


def test_b_scores_are_residuals_in_robust_standard_deviations() -> None:
    """Of R's example: the MAD of its residuals about their median 0 is 0; of scatter it is near the planted one."""
    assert b_scores(*lines(DEATHS)).reason == "More than half of the residuals are equal, so that their MAD is 0."

    grid = scatter()
    scores = b_scores(*lines(grid))
    residuals = median_polish(*lines(grid)).residuals
    spread = SD_OF_MAD * np.median(np.abs(residuals - np.median(residuals)))
    assert scores.spread == pytest.approx(spread, rel=1e-12)
    assert scores.spread == pytest.approx(5, rel=0.25)  # a polish takes some of the scatter
    np.testing.assert_allclose(scores.values, residuals / spread, rtol=1e-12)
    assert scores.converged


def test_b_scores_without_scatter_are_undefined_though_rounding_leaves_residuals() -> None:
    """Sums of 0.1 and 0.7 are not exact; a score of what is left would be a number made of nothing."""
    grid = np.add.outer(np.arange(8) * 0.1, np.arange(12) * 0.7)

    scores = b_scores(*lines(grid))

    assert np.isnan(scores.values).all()
    assert scores.reason is not None


def test_a_planted_stripe_is_taken_away_and_a_planted_hit_stays() -> None:
    """Column 6 was given 40 too much, row 2 20 too little; one well is 60 above the others."""
    clean = scatter()
    clean[8, 10] += 60
    grid = clean.copy()
    grid[:, 6] += 40
    grid[2] -= 20

    corrected = correct_plate_effects(*lines(grid))

    assert corrected.columns[6] - corrected.columns[7] == pytest.approx(40, abs=6)
    assert corrected.rows[2] - corrected.rows[3] == pytest.approx(-20, abs=6)
    after = corrected.values.reshape(grid.shape)
    assert abs(np.median(after[:, 6]) - np.median(after)) < 1
    assert after[8, 10] - np.median(after) > 50
    assert corrected.used.all()


def test_columns_of_controls_are_left_as_they_are_and_named() -> None:
    """Controls fill columns 0 and 23; with two samples in column 22, it has too few as well."""
    grid = scatter()
    samples = np.ones(grid.shape, bool)
    samples[:, [0, 23]] = False
    samples[2:, 22] = False
    grid[:, 0] += 500

    corrected = correct_plate_effects(*lines(grid), samples=samples.ravel())

    assert corrected.uncorrected_columns == (0, 22, 23)
    assert corrected.uncorrected_rows == ()
    assert corrected.used.reshape(grid.shape).any(axis=0).tolist() == [0 < column < 22 for column in range(24)]
    shifted = (grid - corrected.values.reshape(grid.shape))[:, 0]
    np.testing.assert_allclose(shifted, [corrected.rows[row] for row in range(16)], atol=1e-9)


def test_a_plate_of_one_row_is_not_corrected() -> None:
    """Its values come back as they were, with the reason."""
    values = np.arange(12.0)

    corrected = correct_plate_effects(values, np.zeros(12, int), np.arange(12))

    assert corrected.reason is not None
    np.testing.assert_array_equal(corrected.values, values)
    assert not corrected.used.any()


def test_a_stripe_is_named_and_rows_are_not() -> None:
    """A column of a dispenser's blocked tip stands out; without it nothing does."""
    grid = scatter()
    values, rows, columns = lines(grid)
    clean = column_effect(values, columns)
    grid[:, 17] -= 15
    values = grid.ravel()

    stripe = column_effect(values, columns)

    assert clean.p is not None
    assert clean.p > 0.01
    assert clean.outstanding == ()
    assert stripe.outstanding == (17,)
    assert stripe.p is not None
    assert stripe.p < 0.01
    assert stripe.effects[17] == pytest.approx(-15, abs=4)
    assert row_effect(values, rows).outstanding == ()


@given(st.integers(0, 2**32 - 1))
def test_tests_of_rows_do_not_depend_on_units(seed: int) -> None:
    """They are made of ranks, which an increasing function keeps."""
    values, rows, _ = lines(scatter((8, 12), seed))
    one, other = row_effect(values, rows), row_effect(np.exp(values / 50) + 3, rows)

    assert one.p == other.p
    assert one.outstanding == other.outstanding


def test_the_edge_effect_has_the_planted_sign_and_size() -> None:
    """The outermost wells are 10, which is two standard deviations, brighter."""
    grid = scatter()
    edge = np.ones(grid.shape, bool)
    edge[1:-1, 1:-1] = False
    calm = edge_effect(grid.ravel(), edge.ravel())
    grid[edge] += 10

    bright = edge_effect(grid.ravel(), edge.ravel())

    assert calm.p is not None
    assert calm.p > 0.01
    assert bright.difference == pytest.approx(10, abs=2)
    assert bright.size == pytest.approx(2, abs=0.5)
    assert bright.p is not None
    assert bright.p < 1e-9
    assert bright.n == (76, 308)


def test_inner_wells_without_scatter_give_a_difference_and_no_size() -> None:
    """Half of them are equal; a size in units of 0 would be infinite."""
    effect = edge_effect([5.0, 6, 7, 1, 1, 1, 2], [True] * 3 + [False] * 4)

    assert (effect.difference, effect.size, effect.reason) == (5, None, None)


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ([1.0, 1, 1, 1, 1, 1], "equal"),
        ([1.0, 2, None, 4, 5, 6], "At least 3 wells at the edge"),
        ([1.0, 2, 3, 4, np.inf, 6], "infinite"),
    ],
)
def test_what_position_does_to_few_equal_or_infinite_values_is_undefined(values: list[float | None], part: str) -> None:
    """A reason stands instead of a probability."""
    edge = [True] * 3 + [False] * 3
    effect = edge_effect(values, edge)
    rows = row_effect(values, [0, 0, 0, 1, 1, 1])

    assert effect.p is None
    assert part in str(effect.reason)
    assert rows.p is None
    assert rows.reason is not None


def test_an_infinite_value_has_no_polish() -> None:
    """Its row's median may still be finite, and the others' residuals would look right."""
    grid = DEATHS.copy()
    grid[0, 0] = np.inf

    assert median_polish(*lines(grid)).reason == "Some of the values are infinite."


def test_wells_given_twice_and_arrays_of_several_lengths_are_refused() -> None:
    """The second value of a well would silently replace the first."""
    with pytest.raises(ValueError, match="row 3, column 4 is given more than once"):
        median_polish([1.0, 2, 3], [3, 0, 3], [4, 0, 4])
    with pytest.raises(ValueError, match="lengths differ"):
        median_polish([1.0, 2, 3], [0, 1], [0, 1, 2])
    with pytest.raises(ValueError, match="whole number"):
        median_polish([1.0, 2], [0.5, 1], [0, 1])
    with pytest.raises(ValueError, match="True or False"):
        edge_effect([1.0, 2], [0, 1])


def test_a_plate_without_wells_is_undefined() -> None:
    """Not an error of NumPy's."""
    assert median_polish([], [], []).reason is not None
    assert b_scores([], [], []).reason is not None
    assert correct_plate_effects([], [], []).reason is not None
    assert row_effect([], []).reason is not None
    assert edge_effect([], []).reason is not None
