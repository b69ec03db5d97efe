"""One field segmented and measured by the plain script and by our functions; as a command, the memory that it takes.

    python benchmarks/assay_sides.py script|ours PLANE.npy

prints resident memory in MB: after a first small field, which imports, and at its highest. Each side imports what it
needs and nothing of the other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the repository, where this is run as a script

from benchmarks.measure import peak_mb

Side = Literal["script", "ours"]
Labels = NDArray[Any]
SETTINGS: Final[Mapping[str, int]] = {"smoothing_px": 2, "minimum_area_px": 60}
"""The script's own."""


def by_script(plane: NDArray[Any]) -> tuple[Labels, Callable[[], object]]:
    """Labels ``(y, x)``, and how they are measured."""
    from benchmarks import assay_script

    labels = assay_script.segment(plane)
    return labels, lambda: assay_script.measure(labels, plane)


def by_ours(plane: NDArray[Any]) -> tuple[Labels, Callable[[], object]]:
    """The same by the functions of the pipeline."""
    from benchmarks.measuring import COLUMNS
    from openhcs_engine.functions import measure, segment_nuclei

    _, labels, _ = segment_nuclei(plane[None], **SETTINGS)
    return labels[0], lambda: measure(plane[None], labels, features=tuple(COLUMNS.values()))


SIDES: Final[Mapping[Side, Callable[[NDArray[Any]], tuple[Labels, Callable[[], object]]]]] = {
    "script": by_script,
    "ours": by_ours,
}


def main(side: Side, path: str) -> None:
    """Print both numbers."""
    small = np.zeros((64, 64), np.uint16)
    small[20:40, 20:40] = 1000
    SIDES[side](small)[1]()
    imports = peak_mb()
    plane = np.load(path)
    for _ in range(3):
        SIDES[side](plane)[1]()
    print(imports, peak_mb())


if __name__ == "__main__":
    main("ours" if sys.argv[1] == "ours" else "script", sys.argv[2])
