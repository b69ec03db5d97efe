#!/usr/bin/env bash
# useq-schema 0.9.2: random points of a well plate, with a seed, lie at the same offsets in every well.
# Guessed: the seed makes the plate repeatable, and each well has points of its own.
# Bites: what depends on the position in a well (edges, meniscus, illumination) is sampled at a few spots only.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check useq-schema==0.9.2
"$folder/venv/bin/python" -W ignore - <<'PROGRAM'
from importlib.metadata import version

import useq

plan = useq.WellPlatePlan(
    plate="96-well",
    a1_center_xy=(0, 0),
    selected_wells=([0, 0, 3], [0, 1, 5]),
    well_points_plan=useq.RandomPoints(num_points=2, max_width=1000, max_height=1000, random_seed=3),
)
offsets = {}
for position in plan:
    well = position.name.split("_")[0]
    row, column = "ABCDEFGH".index(well[0]), int(well[1:]) - 1
    offsets.setdefault(well, []).append((round(position.x - 9000 * column, 3), round(position.y + 9000 * row, 3)))
print(f"useq-schema {version('useq-schema')}: {offsets}")
assert sorted(offsets) == ["A1", "A2", "D6"]
assert offsets["A1"] == offsets["A2"] == offsets["D6"] and offsets["A1"][0] != offsets["A1"][1]
PROGRAM
