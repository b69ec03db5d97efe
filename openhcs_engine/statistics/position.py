"""What a well's place on the plate does to its value: rows, columns, the edge; median polish, B-scores, correction.

Wells are given by three arrays with one entry a well: value, row and column (whole numbers, counted from wherever the
caller counts). ``samples`` says which of them tell the effects; controls, which often fill whole columns and differ on
purpose, should not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openhcs_engine.statistics.discovery import false_discovery_rates
from openhcs_engine.statistics.estimate import (
    SD_OF_MAD,
    Values,
    all_equal,
    as_values,
    finite,
    median_absolute_deviation,
    read_only,
    same_length,
    too_few,
)

FEWEST_IN_LINE = 3
"""Samples that a row or column needs for its median to say something about it, rather than about one well."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MedianPolish:
    """value = overall + row effect + column effect + residual, all in the unit of the values."""

    overall: float | None
    """None where there is no polish."""
    rows: Mapping[int, float]
    """Effect of each row in which a sample has a value."""
    columns: Mapping[int, float]
    """Effect of each column in which a sample has a value."""
    residuals: Values
    """One a well, in the order given, also of wells that are no samples; NaN without a value, or an effect."""
    rounds: int
    converged: bool
    """Whether the sum of absolute residuals came to rest within the rounds that were allowed."""
    reason: str | None
    """A sentence that says why there is no polish; None if there is one."""
    n: int
    """Samples with a value."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BScores:
    """Residuals of a median polish, in robust standard deviations of the samples' residuals."""

    values: Values
    """One a well, in the order given; NaN where there is none."""
    spread: float | None
    """MAD of the samples' residuals times 1.4826, in the unit of the values."""
    converged: bool
    """Whether the polish came to rest; scores of one that did not depend on the number of its rounds."""
    reason: str | None
    """A sentence that says why no well has a score; None if they are defined."""
    n: int
    """Samples with a value."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Corrected:
    """Values without the effects of their rows and columns."""

    values: Values
    """One a well, in the order given, and in its unit; as they were where ``reason`` is not None."""
    used: NDArray[np.bool_]
    """Which wells told the effects, in the order given."""
    rows: Mapping[int, float]
    """What was subtracted from the wells of each row."""
    columns: Mapping[int, float]
    """What was subtracted from the wells of each column."""
    uncorrected_rows: tuple[int, ...]
    """Rows with too few samples to tell their effect: nothing was subtracted."""
    uncorrected_columns: tuple[int, ...]
    """Columns with too few samples to tell their effect: nothing was subtracted."""
    converged: bool
    reason: str | None
    """A sentence that says why nothing was corrected; None if it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineEffect:
    """Whether rows (or columns) differ."""

    effects: Mapping[int, float]
    """Median of each line with a value, minus the median of all wells, in the unit of the values."""
    p: float | None
    """Probability of differences as large between lines that are alike; None where it is undefined."""
    outstanding: tuple[int, ...]
    """Lines that differ from all others taken together, at a false discovery rate of 1 % among the lines."""
    reason: str | None
    """A sentence that says why there is no test; None if there is one."""
    n: int
    """Wells with a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeEffect:
    """Whether the wells at the plate's edge differ from those inside."""

    difference: float | None
    """Median at the edge minus median inside, in the unit of the values."""
    size: float | None
    """``difference`` in robust standard deviations of the inner wells; None where those have no scatter."""
    p: float | None
    """Probability of a difference as large between wells that are alike; None where it is undefined."""
    reason: str | None
    """A sentence that says why there is no test; None if there is one."""
    n: tuple[int, int]
    """Wells with a value at the edge, and inside."""


def median_polish(
    values: ArrayLike,
    rows: ArrayLike,
    columns: ArrayLike,
    *,
    samples: ArrayLike | None = None,
    eps: float = 0.01,
    rounds: int = 10,
) -> MedianPolish:
    """Tukey's median polish, row effects first, as R's ``medpolish`` does it without missing values.

    Parameters
    ----------
    values, rows, columns
        One entry a well; NaN or None where a well has no value.
    samples
        True for the wells that tell the effects; all by default.
    eps
        The polish has come to rest when the sum of absolute residuals changes by less than this share of it.
    rounds
        At most so many; a polish that did not come to rest says so.

    Returns
    -------
    MedianPolish
        Undefined with fewer than two rows or two columns in which a sample has a value, or with infinite values.

    Raises
    ------
    ValueError
        If a well is given twice, the arrays differ in length, or rows or columns are no whole numbers.

    Notes
    -----
    *Source*: J. W. Tukey, *Exploratory Data Analysis* (1977); R's ``stats::medpolish`` (eps 0.01, 10 rounds).
    """
    return _polish(_wells(values, rows, columns, samples), eps, rounds)


def _polish(wells: _Wells, eps: float = 0.01, rounds: int = 10) -> MedianPolish:
    n = int(wells.used.sum())
    grid = np.full((len(wells.row_names), len(wells.column_names)), np.nan)
    grid[wells.row[wells.used], wells.column[wells.used]] = wells.values[wells.used]
    lines = min(int((~np.isnan(grid)).any(axis=axis).sum()) for axis in (0, 1))
    if lines < 2:
        return _no_polish(wells, "A polish needs samples with a value in at least two rows and two columns.", n)
    if np.isinf(grid).any():
        return _no_polish(wells, "Some of the values are infinite.", n)
    overall, row_effects, column_effects = 0.0, np.zeros(grid.shape[0]), np.zeros(grid.shape[1])
    converged, previous, taken = False, 0.0, 0
    while taken < rounds and not converged:
        taken += 1
        change = _medians(grid, axis=1)
        grid, row_effects = grid - change[:, None], row_effects + change
        shift = float(np.nanmedian(column_effects))
        column_effects, overall = column_effects - shift, overall + shift
        change = _medians(grid, axis=0)
        grid, column_effects = grid - change, column_effects + change
        shift = float(np.nanmedian(row_effects))
        row_effects, overall = row_effects - shift, overall + shift
        total = float(np.nansum(np.abs(grid)))
        converged = total == 0 or abs(total - previous) < eps * total
        previous = total
    residuals = wells.values - (overall + row_effects[wells.row] + column_effects[wells.column])
    return MedianPolish(
        overall=overall,
        rows=_named(wells.row_names, row_effects),
        columns=_named(wells.column_names, column_effects),
        residuals=read_only(finite(residuals)),
        rounds=taken,
        converged=converged,
        reason=None,
        n=n,
    )


def b_scores(values: ArrayLike, rows: ArrayLike, columns: ArrayLike, *, samples: ArrayLike | None = None) -> BScores:
    """Residual of the median polish / (1.4826 MAD of the samples' residuals).

    Parameters and errors are those of ``median_polish``; also undefined where the MAD is 0.

    *Source*: C. Brideau et al., J. Biomol. Screen. 8 (2003) 634–647; N. Malo et al., Nat. Biotechnol. 24 (2006)
    167–175. The factor is that of R's ``mad``; Malo's formula is without it, and its scores are 1.4826 times as large.
    """
    wells = _wells(values, rows, columns, samples)
    polish = _polish(wells)
    nothing = read_only(np.full(len(polish.residuals), np.nan))
    if polish.reason is not None:
        return BScores(values=nothing, spread=None, converged=False, reason=polish.reason, n=polish.n)
    residuals = polish.residuals[wells.used]
    scale = max(float(np.max(np.abs(wells.values[wells.used]))), np.finfo(np.float64).tiny)
    spread = SD_OF_MAD * float(np.median(np.abs(residuals - np.median(residuals))))
    if spread <= 64 * np.finfo(np.float64).eps * scale:
        reason = "More than half of the residuals are equal, so that their MAD is 0."
        return BScores(values=nothing, spread=None, converged=polish.converged, reason=reason, n=polish.n)
    with np.errstate(all="ignore"):
        scores = read_only(finite(polish.residuals / spread))
    return BScores(values=scores, spread=spread, converged=polish.converged, reason=None, n=polish.n)


def correct_plate_effects(
    values: ArrayLike, rows: ArrayLike, columns: ArrayLike, *, samples: ArrayLike | None = None
) -> Corrected:
    """Subtract what the samples' row and column medians, polished, say about rows and columns; the level stays.

    A row or column with fewer than three samples with a value is not corrected, and named: a median of one or two wells
    would take their own effect for the plate's. Parameters and errors are those of ``median_polish``.
    """
    wells = _wells(values, rows, columns, samples)
    used = wells.used.copy()
    while True:  # without the wells of a short row, a column may become short
        in_row = np.bincount(wells.row[used], minlength=len(wells.row_names))
        in_column = np.bincount(wells.column[used], minlength=len(wells.column_names))
        kept = used & (in_row[wells.row] >= FEWEST_IN_LINE) & (in_column[wells.column] >= FEWEST_IN_LINE)
        if np.array_equal(kept, used):
            break
        used = kept
    polish = _polish(replace(wells, used=used))
    of_rows = np.array([polish.rows.get(name, 0.0) for name in wells.row_names])
    of_columns = np.array([polish.columns.get(name, 0.0) for name in wells.column_names])
    shifts = of_rows[wells.row] + of_columns[wells.column]
    return Corrected(
        values=read_only(finite(wells.values - shifts)),
        used=read_only(used),
        rows=polish.rows,
        columns=polish.columns,
        uncorrected_rows=tuple(name for name in wells.row_names if name not in polish.rows),
        uncorrected_columns=tuple(name for name in wells.column_names if name not in polish.columns),
        converged=polish.converged,
        reason=polish.reason,
    )


def row_effect(values: ArrayLike, rows: ArrayLike) -> LineEffect:
    """Whether the wells' rows differ: Kruskal and Wallis' test on ranks, which neither hits nor units change.

    Parameters
    ----------
    values, rows
        One entry a well: those of the samples, without a value NaN or None.

    Returns
    -------
    LineEffect
        Undefined with fewer than two rows of at least three wells with a value, or where all values are equal. Rows
        with fewer wells are in ``effects``, and not in the test.

    Notes
    -----
    Each row is compared with all others by Mann and Whitney's test, and Benjamini and Hochberg's rates are taken over
    the rows.

    *Source*: W. H. Kruskal, W. A. Wallis, J. Am. Stat. Assoc. 47 (1952) 583–621; the p value is that of χ².
    """
    return _line_effect(values, rows, "row")


def column_effect(values: ArrayLike, columns: ArrayLike) -> LineEffect:
    """Whether the wells' columns differ; as ``row_effect``."""
    return _line_effect(values, columns, "column")


def edge_effect(values: ArrayLike, at_edge: ArrayLike) -> EdgeEffect:
    """Whether wells at the plate's edge differ from those inside: Mann and Whitney's test, and the medians.

    Parameters
    ----------
    values
        One entry a well: those of the samples; without a value NaN or None.
    at_edge
        True for wells of the plate's first and last rows and columns.

    Returns
    -------
    EdgeEffect
        Undefined with fewer than three wells of either kind, or where all values are equal.

    Notes
    -----
    *Source*: H. B. Mann, D. R. Whitney, Ann. Math. Stat. 18 (1947) 50–60, as SciPy's ``mannwhitneyu`` computes it.
    """
    every = as_values(values)
    mask = _mask(at_edge, len(every), "at_edge")
    with_value = ~np.isnan(every)
    edge, inner = every[with_value & mask], every[with_value & ~mask]
    n = len(edge), len(inner)
    reason = (
        too_few(edge, "wells at the edge", FEWEST_IN_LINE)
        or too_few(inner, "inner wells", FEWEST_IN_LINE)
        or ("Some of the values are infinite." if np.isinf(every).any() else None)
    )
    if reason is None and all_equal(np.concatenate((edge, inner))):
        reason = "All values are equal."
    if reason is not None:
        return EdgeEffect(difference=None, size=None, p=None, reason=reason, n=n)
    from scipy.stats import mannwhitneyu

    difference = float(np.median(edge) - np.median(inner))
    spread = median_absolute_deviation(inner)
    return EdgeEffect(
        difference=difference,
        size=difference / spread if spread > 0 else None,
        p=float(mannwhitneyu(edge, inner).pvalue),
        reason=None,
        n=n,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Wells:
    values: Values
    row: NDArray[np.intp]
    """Of each well, its row's place in ``row_names``."""
    column: NDArray[np.intp]
    row_names: tuple[int, ...]
    column_names: tuple[int, ...]
    used: NDArray[np.bool_]
    """Samples with a value."""


def _wells(values: ArrayLike, rows: ArrayLike, columns: ArrayLike, samples: ArrayLike | None) -> _Wells:
    every = as_values(values)
    at_row, at_column = _whole(rows, "rows"), _whole(columns, "columns")
    same_length(values=every, rows=at_row, columns=at_column)
    row_names, row = np.unique(at_row, return_inverse=True)
    column_names, column = np.unique(at_column, return_inverse=True)
    places = row * max(len(column_names), 1) + column
    if len(np.unique(places)) < len(places):
        unique, counts = np.unique(places, return_counts=True)
        first = int(unique[counts > 1][0])
        where = f"row {row_names[first // len(column_names)]}, column {column_names[first % len(column_names)]}"
        raise ValueError(f"The well at {where} is given more than once.")
    asked = np.ones(len(every), bool) if samples is None else _mask(samples, len(every), "samples")
    return _Wells(
        values=every,
        row=row.astype(np.intp),
        column=column.astype(np.intp),
        row_names=tuple(int(name) for name in row_names),
        column_names=tuple(int(name) for name in column_names),
        used=asked & ~np.isnan(every),
    )


def _whole(lines: ArrayLike, name: str) -> NDArray[np.int64]:
    array = np.asarray(lines)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise ValueError(f"{name} are of type {array.dtype} and shape {array.shape}; give one whole number a well.")
    return array.astype(np.int64)


def _mask(wells: ArrayLike, count: int, name: str) -> NDArray[np.bool_]:
    array = np.asarray(wells)
    if array.size == 0:
        array = array.astype(bool)
    if array.dtype.kind != "b" or array.shape != (count,):
        raise ValueError(
            f"{name} is of type {array.dtype} and shape {array.shape}; give True or False for each of {count} wells."
        )
    return array


def _medians(grid: Values, axis: int) -> Values:
    """Medians of the lines, NaN for lines without a value."""
    medians = np.full(grid.shape[1 - axis], np.nan)
    some = ~np.isnan(grid).all(axis=axis)
    medians[some] = np.nanmedian(grid[some] if axis == 1 else grid[:, some], axis=axis)
    return medians


def _named(names: tuple[int, ...], effects: Values) -> Mapping[int, float]:
    return MappingProxyType(
        {name: float(each) for name, each in zip(names, effects, strict=True) if not np.isnan(each)}
    )


def _no_polish(wells: _Wells, reason: str, n: int) -> MedianPolish:
    nothing: Mapping[int, float] = MappingProxyType({})
    return MedianPolish(
        overall=None,
        rows=nothing,
        columns=nothing,
        residuals=read_only(np.full(len(wells.values), np.nan)),
        rounds=0,
        converged=False,
        reason=reason,
        n=n,
    )


def _line_effect(values: ArrayLike, lines: ArrayLike, word: str) -> LineEffect:
    every, at = as_values(values), _whole(lines, f"{word}s")
    same_length(values=every, lines=at)
    with_value = ~np.isnan(every)
    every, at = every[with_value], at[with_value]
    groups: dict[int, Values] = {int(line): every[at == line] for line in np.unique(at)}
    tested = {line: group for line, group in groups.items() if len(group) >= FEWEST_IN_LINE}
    effects: dict[int, float] = {}
    reason: str | None = None
    if np.isinf(every).any():
        reason = "Some of the values are infinite."
    elif len(every):
        middle = float(np.median(every))
        effects = {line: float(np.median(group)) - middle for line, group in groups.items()}
    if reason is None and len(tested) < 2:
        reason = (
            f"A test needs two {word}s of at least {FEWEST_IN_LINE} wells with a value, and there are {len(tested)}."
        )
    if reason is None and all_equal(np.concatenate(list(tested.values()))):
        reason = "All values are equal."
    if reason is not None:
        return LineEffect(effects=MappingProxyType(effects), p=None, outstanding=(), reason=reason, n=len(every))
    from scipy.stats import kruskal

    return LineEffect(
        effects=MappingProxyType(effects),
        p=float(kruskal(*tested.values()).pvalue),
        outstanding=_outstanding(tested),
        reason=None,
        n=len(every),
    )


def _outstanding(groups: Mapping[int, Values]) -> tuple[int, ...]:
    """Lines that differ from all others together, at a false discovery rate of 1 %."""
    from scipy.stats import mannwhitneyu

    def p(line: int) -> Any:
        others = np.concatenate([group for other, group in groups.items() if other != line])
        return mannwhitneyu(groups[line], others).pvalue

    rates = false_discovery_rates([p(line) for line in groups]).values
    return tuple(line for line, rate in zip(groups, rates, strict=True) if rate <= 0.01)


__all__ = [
    "BScores",
    "Corrected",
    "EdgeEffect",
    "LineEffect",
    "MedianPolish",
    "b_scores",
    "column_effect",
    "correct_plate_effects",
    "edge_effect",
    "median_polish",
    "row_effect",
]
