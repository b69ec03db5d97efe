#!/usr/bin/env bash
# pycytominer 1.7.1: a feature that is equal in all control wells, normalised by mad_robustize, becomes 10^18 in the others
# (a difference of 2, divided by an epsilon of 1e-18). standardize and robustize divide by 1 instead.
# Guessed: NaN, or left out. Bites: counts and other features with ties in the controls dominate every distance.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pycytominer==1.7.1
"$folder/venv/bin/python" -W ignore - <<'PROGRAM'
from importlib.metadata import version

import pandas as pd
import pycytominer

profiles = pd.DataFrame(
    {
        "Metadata_Well": [f"A{number:02d}" for number in range(1, 9)],
        "Metadata_Role": ["negative"] * 5 + ["sample"] * 3,
        "Cells_Number_Neighbors": [5.0] * 5 + [7.0, 6.0, 5.0],
    }
)
seen = {}
for method in ("standardize", "robustize", "mad_robustize"):
    table = pycytominer.normalize(
        profiles,
        features=["Cells_Number_Neighbors"],
        meta_features=["Metadata_Well"],
        samples="Metadata_Role == 'negative'",
        method=method,
    )
    seen[method] = table["Cells_Number_Neighbors"].tolist()[5:]
print(f"pycytominer {version('pycytominer')}: {seen}")
assert seen["standardize"] == seen["robustize"] == [2.0, 1.0, 0.0]
assert [round(value / 1e18, 6) for value in seen["mad_robustize"]] == [2.0, 1.0, 0.0]
PROGRAM
