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
from openhcs_engine.statistics.estimate import SD_OF_MAD, Estimate, Values
from openhcs_engine.statistics.normalisation import Normalised, percent_of_control, robust_z_scores, z_scores

__all__ = [
    "SD_OF_MAD",
    "Estimate",
    "Normalised",
    "Values",
    "cv",
    "percent_of_control",
    "robust_ssmd",
    "robust_z_prime",
    "robust_z_scores",
    "signal_to_background",
    "signal_window",
    "ssmd",
    "z_prime",
    "z_scores",
]
