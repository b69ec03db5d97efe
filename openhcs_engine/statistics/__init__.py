"""From the wells' numbers to a judgement: controls, normalisation, position effects, dose response, hits.

Pure functions on arrays with one value a well, and the rows and columns of the wells beside them; each has its formula
and source in its docstring. NaN and None are *no value*, in and out; a number that is undefined is None with a sentence
that says why. Nothing here reads a file, a plate map (``model``) or a table of measurements (``output``), decides which
wells are controls, or draws. SciPy is imported by the functions that need it, when they are called.
"""

from __future__ import annotations

from openhcs_engine.statistics.controls import (
    cv,
    robust_ssmd,
    robust_z_prime,
    signal_to_background,
    signal_window,
    ssmd,
    z_prime,
)
from openhcs_engine.statistics.discovery import (
    DiscoveryRates,
    false_discovery_rates,
    replicate_correlation,
    two_sided_p,
)
from openhcs_engine.statistics.dose_response import Curve, DoseResponse, Interval, fit_dose_response
from openhcs_engine.statistics.estimate import SD_OF_MAD, Estimate, Values
from openhcs_engine.statistics.normalisation import Normalised, percent_of_control, robust_z_scores, z_scores
from openhcs_engine.statistics.position import (
    BScores,
    Corrected,
    EdgeEffect,
    LineEffect,
    MedianPolish,
    b_scores,
    column_effect,
    correct_plate_effects,
    edge_effect,
    median_polish,
    row_effect,
)

__all__ = [
    "SD_OF_MAD",
    "BScores",
    "Corrected",
    "Curve",
    "DiscoveryRates",
    "DoseResponse",
    "EdgeEffect",
    "Estimate",
    "Interval",
    "LineEffect",
    "MedianPolish",
    "Normalised",
    "Values",
    "b_scores",
    "column_effect",
    "correct_plate_effects",
    "cv",
    "edge_effect",
    "false_discovery_rates",
    "fit_dose_response",
    "median_polish",
    "percent_of_control",
    "replicate_correlation",
    "robust_ssmd",
    "robust_z_prime",
    "robust_z_scores",
    "row_effect",
    "signal_to_background",
    "signal_window",
    "ssmd",
    "two_sided_p",
    "z_prime",
    "z_scores",
]
