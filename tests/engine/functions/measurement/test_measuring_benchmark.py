"""The benchmark of measuring compares like with like."""

from __future__ import annotations

import numpy as np

from benchmarks import measuring
from openhcs_engine.functions import measure


def test_the_script_and_we_measure_the_same_20_columns() -> None:
    """Of the planted nuclei, value for value; each has its number, and all of them are there."""
    labels, plane = measuring.plant(objects=30, size=220)
    theirs = measuring.by_script(labels, plane)
    _, table = measure(plane[None], labels[None], features=tuple(measuring.COLUMNS.values()))

    assert len(measuring.COLUMNS) == len(theirs) == 20 and set(theirs) == set(measuring.COLUMNS)
    assert table.num_columns == 21 and table.num_rows == 30  # with the column ``object``
    for name, column in measuring.COLUMNS.items():
        ours = f"Nuclei_{column}_1" if column.startswith("Intensity") else f"Nuclei_{column}"
        np.testing.assert_allclose(table.column(ours).to_numpy(), theirs[name], rtol=1e-6)


def test_both_are_timed_in_turns() -> None:
    """Each turn gives a ratio of positive times."""
    labels, plane = measuring.plant(objects=4, size=90)
    found = measuring.compare(labels, plane, 2, features="AreaShape_Area")

    assert found.script_s > 0 and found.ours_s > 0 and found.ratio > 0
