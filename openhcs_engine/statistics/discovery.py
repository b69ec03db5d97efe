"""Which wells are hits: probabilities of scores, false discovery rates, agreement of replicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from openhcs_engine.statistics.estimate import Estimate, Values, all_equal, as_values, read_only, same_length, too_few


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DiscoveryRates:
    """False discovery rates of wells: among those with a rate of at most 0.05, 5 % are expected to be no hits."""

    values: Values
    """One a well, in the order given; NaN where the well has no p value."""
    n: int
    """Wells with a p value: the number of tests that the rates count."""


def two_sided_p(scores: ArrayLike) -> Values:
    """Probability of a score as far from 0 among wells that do nothing, whose scores are normal with SD 1.

    Parameters
    ----------
    scores
        z scores, robust z scores or B-scores, one a well; NaN or None where there is none, and NaN comes back.
    """
    from scipy.special import ndtr

    return read_only(2 * np.asarray(ndtr(-np.abs(as_values(scores, "scores"))), np.float64))


def false_discovery_rates(p_values: ArrayLike) -> DiscoveryRates:
    """Benjamini and Hochberg's adjusted p values over the wells that have one.

    Parameters
    ----------
    p_values
        One a well, from 0 to 1; NaN or None where there is none: such wells count as no test.

    Raises
    ------
    ValueError
        If a p value is below 0 or above 1.

    Notes
    -----
    *Source*: Y. Benjamini, Y. Hochberg, J. R. Stat. Soc. B 57 (1995) 289–300, as SciPy's ``false_discovery_control``
    computes it, which refuses NaN.
    """
    from scipy.stats import false_discovery_control

    p = as_values(p_values, "p_values")
    tested = ~np.isnan(p)
    if ((p[tested] < 0) | (p[tested] > 1)).any():
        raise ValueError("Some p values are below 0 or above 1.")
    rates = np.full(len(p), np.nan)
    if tested.any():
        rates[tested] = false_discovery_control(p[tested])
    return DiscoveryRates(values=read_only(rates), n=int(tested.sum()))


def replicate_correlation(
    first: ArrayLike, second: ArrayLike, method: Literal["pearson", "spearman"] = "pearson"
) -> Estimate:
    """Correlation of the same samples' values in two replicates, over the samples that have a value in both.

    Parameters
    ----------
    first, second
        One entry a sample, in the same order; NaN or None where there is no value.
    method
        ``pearson``, of the values, or ``spearman``, of their ranks.

    Returns
    -------
    Estimate
        From -1 to 1; undefined with fewer than three samples, or where all values of a replicate are equal.

    Raises
    ------
    ValueError
        If the replicates differ in length, or the method is another.
    """
    if method not in ("pearson", "spearman"):
        raise ValueError(f"method={method!r}; give 'pearson' or 'spearman'.")
    one, other = as_values(first, "first"), as_values(second, "second")
    same_length(first=one, second=other)
    both = ~np.isnan(one) & ~np.isnan(other)
    one, other = one[both], other[both]
    n = len(one)
    if reason := too_few(one, "samples of both replicates", 3):
        return Estimate.undefined(reason, n)
    for values, name in ((one, "first"), (other, "second")):
        if not np.isfinite(values).all():
            return Estimate.undefined(f"Some values of the {name} replicate are infinite.", n)
        if all_equal(values):
            return Estimate.undefined(f"All values of the {name} replicate are equal.", n)
    from scipy.stats import pearsonr, spearmanr

    return Estimate.of(float((pearsonr if method == "pearson" else spearmanr)(one, other).statistic), n)


__all__ = ["DiscoveryRates", "false_discovery_rates", "replicate_correlation", "two_sided_p"]
