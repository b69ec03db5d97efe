#!/usr/bin/env bash
# py50 1.2.0: data that do not bend have an IC50 all the same: 8 doses at 100 ± 1 % give one within the doses, and an
# 'absolute' one equal to the lowest dose. The two tables disagree about the sign of the Hill slope of one curve.
# Guessed: empty, or an error for the flat compound; one sign. Bites: ranked lists of compounds with inactive ones on top.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check py50==1.2.0 'numpy<3'
"$folder/venv/bin/python" -W ignore - <<'PROGRAM'
from importlib.metadata import version

import numpy as np
import pandas as pd
from py50.calculator import Calculator

dose = np.array([1.0, 3, 10, 30, 100, 300, 1000, 3000])
noise = np.array([0.35, 0.82, 0.33, -1.3, 0.91, 0.45, -0.54, 0.58])
responses = {"flat": 100 + noise, "active": 100 / (1 + dose / 50)}
columns = {"name_col": "name", "concentration_col": "dose", "response_col": "response", "input_units": "nM"}
relative, absolute = {}, {}
for name, response in responses.items():
    table = pd.DataFrame({"name": name, "dose": dose, "response": response})
    relative[name] = Calculator(table).calculate_ic50(**columns).iloc[0]
    absolute[name] = Calculator(table).calculate_absolute_ic50(**columns).iloc[0]
print(f"py50 {version('py50')}: flat {relative['flat'].to_dict()}, {absolute['flat'].to_dict()}")
print("active:", relative["active"].to_dict(), absolute["active"].to_dict())
assert 1 <= relative["flat"]["ic50 (nM)"] <= 3000
assert absolute["flat"]["absolute ic50 (nM)"] == 1.0
assert round(relative["active"]["hill_slope"], 3) == -round(absolute["active"]["hill_slope"], 3) == 1.0
PROGRAM
