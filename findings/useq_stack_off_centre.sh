#!/usr/bin/env bash
# useq-schema 0.9.2: a z stack 'around' the focus is not centred where the range is no multiple of the step, and ends
# below its top: range 5, step 2 is -2.5, -0.5, 1.5. A channel that takes no stack is then not in focus: with an even
# number of planes (range 3, step 1) it is taken at +0.5. Guessed: planes symmetric around 0, and the single one at 0.
# Bites: z positions computed from range and step, and the offset between channels with and without a stack.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check useq-schema==0.9.2
"$folder/venv/bin/python" -W ignore - <<'PROGRAM'
from importlib.metadata import version

import useq

uneven = list(useq.ZRangeAround(range=5, step=2))
single = [
    (event.index["z"], event.z_pos)
    for event in useq.MDASequence(channels=[{"config": "DAPI", "do_stack": False}], z_plan={"range": 3, "step": 1})
]
print(f"useq-schema {version('useq-schema')}: range 5, step 2: {uneven}; no stack of range 3, step 1: {single}")
assert uneven == [-2.5, -0.5, 1.5], uneven
assert single == [(2, 0.5)], single
PROGRAM
