#!/usr/bin/env bash
# pint 0.25.3: a decimal comma is dropped from a quantity. '1,5 uM' is 15 micromolar and '0,25 nM' is 0, without a word.
# Guessed: a parse error, or 1.5. Bites: doses of a plate map written where decimals have commas are ten times too high.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pint==0.25.3
"$folder/venv/bin/python" -W ignore - <<'PROGRAM'
import pint

quantity = pint.UnitRegistry().Quantity
seen = {text: str(quantity(text)) for text in ("1.5 uM", "1,5 uM", "0,25 nM", "1,000 uM")}
print(f"pint {pint.__version__}: {seen}")
assert seen == {
    "1.5 uM": "1.5 micromolar",
    "1,5 uM": "15 micromolar",
    "0,25 nM": "0 nanomolar",
    "1,000 uM": "1000 micromolar",
}, seen
PROGRAM
