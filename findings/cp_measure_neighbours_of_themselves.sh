#!/usr/bin/env bash
# cp_measure 0.3.0: among neighbours of its own kind an object's FirstClosestObjectNumber is the object itself, and the
# nearest other one is the second; and with "Expand until adjacent" separate objects that lie side by side have 0
# neighbours, since the expanded objects are looked up in labels that were not. Guessed: the nearest other object, and
# the touching neighbours that CellProfiler counts after it expanded them.
# Bites: tables joined by the neighbour's number, and features of crowding, which are 0 on every plate without a word.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check cp-measure==0.3.0
"$folder/venv/bin/python" -W ignore - <<'PROGRAM'
from importlib.metadata import version

import numpy as np
from cp_measure.multimask.measureobjectneighbors import measureobjectneighbors

labels = np.zeros((40, 100), np.int32)
for number, left in enumerate((10, 24, 38, 70), start=1):
    labels[15:25, left : left + 10] = number
adjacent = measureobjectneighbors(labels, labels, distance_method="Adjacent")
expanded = measureobjectneighbors(labels, labels, distance_method="Expand until adjacent")
first = next(v for k, v in adjacent.items() if "FirstClosestObjectNumber" in k)
second = next(v for k, v in adjacent.items() if "SecondClosestObjectNumber" in k)
count = next(v for k, v in expanded.items() if "NumberOfNeighbors" in k)
print(f"cp_measure {version('cp-measure')}: closest {first}, second {second}, neighbours after expansion {count}")
assert list(first) == [1, 2, 3, 4], first
assert second[0] == 2 and second[3] == 3, second
assert list(count) == [0, 0, 0, 0], count
PROGRAM
