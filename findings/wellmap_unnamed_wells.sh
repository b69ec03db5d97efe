#!/usr/bin/env bash
# wellmap 3.5.2: a row and two columns of a layout, A with 1 and 3, give three wells. A2, which nothing names, is there
# with NaN where its column would say something. Guessed: wells are where a named row meets a named column.
# Bites: a layout with an empty column counts wells that were never filled, as samples without a dose.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check wellmap==3.5.2
"$folder/venv/bin/python" -W ignore - <<'PROGRAM'
import tempfile
from importlib.metadata import version
from pathlib import Path

import wellmap

layout = Path(tempfile.mkdtemp()) / "layout.toml"
layout.write_text("[row.A]\ndrug = 'x'\n[col.1]\ndose = 1.0\n[col.3]\ndose = 3.0\n")
wells = wellmap.load(layout).set_index("well")
print(f"wellmap {version('wellmap')}:", wells[["drug", "dose"]].to_dict("index"))
assert sorted(wells.index) == ["A1", "A2", "A3"], list(wells.index)
assert wells.loc["A2", "drug"] == "x" and wells["dose"].isna().to_dict() == {"A1": False, "A2": True, "A3": False}
PROGRAM
