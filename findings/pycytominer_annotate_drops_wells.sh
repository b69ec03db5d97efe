#!/usr/bin/env bash
# pycytominer 1.7.1: annotate joins a plate map by text and keeps what both sides have. Wells that the map writes without
# the zero (A1 for A01) leave the profiles without a word; a well that the map names twice is two profiles afterwards.
# Guessed: all profiles stay, with empty annotations, or an error. Bites: control wells in column 1 to 9 vanish.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pycytominer==1.7.1
"$folder/venv/bin/python" -W ignore - <<'PROGRAM'
from importlib.metadata import version

import pandas as pd
import pycytominer

profiles = pd.DataFrame({"Metadata_Well": ["A01", "A02", "A10"], "Cells_Area": [1.0, 2.0, 3.0]})


def annotated(wells: list[str]) -> list[str]:
    plate_map = pd.DataFrame({"well_position": wells, "drug": ["DMSO"] * len(wells)})
    joined = pycytominer.annotate(profiles, platemap=plate_map, join_on=["Metadata_well_position", "Metadata_Well"])
    return joined["Metadata_Well"].tolist()


short, twice = annotated(["A1", "A2", "A10"]), annotated(["A01", "A01", "A02", "A10"])
print(f"pycytominer {version('pycytominer')}: without zeros {short}; A01 twice {twice}")
assert short == ["A10"], short
assert twice == ["A01", "A01", "A02", "A10"], twice
PROGRAM
