"""Labels whose objects have every awkward shape, and what cp_measure 0.3.0 made of them.

``python -m tests.engine.functions.measurement.planted`` writes ``cp_measure.json`` anew where cp_measure is installed.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STORED = Path(__file__).with_name("cp_measure.json")

Labels = NDArray[np.uint32]


def awkward() -> Labels:
    """A square, a pixel, lines, a ring, a bow of corners, objects that touch each other and the image's border."""
    labels = np.zeros((64, 60), np.uint32)
    labels[0:5, 0:5] = 1
    labels[10, 10] = 2
    labels[20, 5:25] = 3
    labels[30:50, 40] = 4
    labels[30:40, 10:30] = 5
    labels[33:36, 15:18] = 0
    labels[50, 50] = labels[51, 51] = labels[52, 50] = 6
    labels[60:, 57:] = 7
    labels[55:60, 0:30] = 8
    for step in range(9):
        labels[40 + step, 2 + step] = 9
    y, x = np.mgrid[:64, :60]
    labels[(y - 12) ** 2 + (x - 40) ** 2 <= 81] = 10
    labels[((y - 12) ** 2 + (x - 40) ** 2 <= 81) & (x > 42)] = 11
    labels[((y - 47) / 7) ** 2 + ((x - 24) / 3.5) ** 2 <= 1] = 12
    labels[2:6, 20:26] = labels[8:10, 20:23] = 13  # of two parts, with empty rows between
    return labels


def pixels(shape: tuple[int, int] = (64, 60)) -> NDArray[np.uint16]:
    """Camera counts without two of a kind, so that the brightest pixel is one."""
    return (
        np.random.default_rng(5).permutation(np.arange(shape[0] * shape[1]) * 16 + 7).reshape(shape).astype(np.uint16)
    )


def by_cp_measure(labels: NDArray[Any], plane: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Shape, intensity and location of objects by cp_measure, by our columns' names without objects and channel."""
    from cp_measure.bulk import get_core_measurements

    core = get_core_measurements()
    whole, values = labels.astype(np.int64), plane.astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shape = {**core["sizeshape"](whole, None), **core["feret"](whole, None)}
        return {f"AreaShape_{name}": each for name, each in shape.items()} | core["intensity"](whole, values)


def main() -> None:
    """Write what cp_measure makes of the awkward objects."""
    from openhcs_engine.functions.measurement.columns import MEASUREMENTS

    ours = {each.key for each in MEASUREMENTS}
    found = by_cp_measure(awkward(), pixels())
    kept = {
        name: [None if not np.isfinite(v) else v for v in values.tolist()]
        for name, values in found.items()
        if name in ours
    }
    STORED.write_text(json.dumps(kept, indent=0) + "\n")


if __name__ == "__main__":
    main()
