#!/usr/bin/env bash
# pycytominer 1.7.1: variance_threshold is an absolute variance of 1e-6. An intensity between 0 and 1 with a standard deviation
# of 0.0009 is dropped as constant, the same in grey values is kept; a feature with one value in 95 of 96 wells is kept.
# Guessed: a ratio of frequencies without a unit, as older versions had it.
# Bites: feature selection before normalisation depends on the unit of intensities.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pycytominer==1.7.1
"$folder/venv/bin/python" -W ignore - <<'PROGRAM'
from importlib.metadata import version

import numpy as np
import pandas as pd
import pycytominer

intensity = 0.1 + 0.0009 * np.resize([-1.0, 1.0], 96)
profiles = pd.DataFrame(
    {
        "Metadata_Well": np.arange(96),
        "Cells_Intensity_unit": intensity,
        "Cells_Intensity_grey": 65535 * intensity,
        "Cells_Children_Count": np.r_[1.0, np.zeros(95)],
    }
)
features = [name for name in profiles if name.startswith("Cells")]
kept = pycytominer.feature_select(profiles, features=features, operation="variance_threshold").columns.tolist()
print(f"pycytominer {version('pycytominer')} keeps {kept}")
assert kept == ["Metadata_Well", "Cells_Intensity_grey", "Cells_Children_Count"], kept
PROGRAM
