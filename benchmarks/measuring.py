"""What measuring objects costs beside scikit-image: CPU time of ``measure``, divided by that of ``regionprops_table``.

    python benchmarks/measuring.py [--objects 190] [--size 1080] [--repeat 21]

Both measure the same planted nuclei in one channel of 16 bits, in turns, and each turn begins with the other one, so
that a busy moment of the machine hits both; it is CPU time, to which waiting for other programs adds nothing. Printed
are the medians, and the medians of the turns' ratios: for the same 20 columns of shape and intensity, and for all
columns that ``measure`` makes by default. The claim is at most 0.1 for the same columns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import process_time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions import measure

CLAIM: Final = 0.1
COLUMNS: Final = {
    "label": "Number_Object_Number",
    "area": "AreaShape_Area",
    "bbox-0": "AreaShape_BoundingBoxMinimum_Y",
    "bbox-1": "AreaShape_BoundingBoxMinimum_X",
    "bbox-2": "AreaShape_BoundingBoxMaximum_Y",
    "bbox-3": "AreaShape_BoundingBoxMaximum_X",
    "centroid-0": "AreaShape_Center_Y",
    "centroid-1": "AreaShape_Center_X",
    "eccentricity": "AreaShape_Eccentricity",
    "axis_major_length": "AreaShape_MajorAxisLength",
    "axis_minor_length": "AreaShape_MinorAxisLength",
    "perimeter": "AreaShape_Perimeter",
    "solidity": "AreaShape_Solidity",
    "extent": "AreaShape_Extent",
    "equivalent_diameter_area": "AreaShape_EquivalentDiameter",
    "euler_number": "AreaShape_EulerNumber",
    "intensity_mean": "Intensity_MeanIntensity",
    "intensity_min": "Intensity_MinIntensity",
    "intensity_max": "Intensity_MaxIntensity",
    "intensity_std": "Intensity_StdIntensity",
}
"""The script's columns, and what they are called in ours."""
_PROPERTIES: Final = tuple(dict.fromkeys(name.partition("-")[0] for name in COLUMNS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """One way to measure, beside the script."""

    script_s: float
    """Median of ``regionprops_table``."""
    ours_s: float
    ratio: float
    """Median of the turns' ratios."""


def plant(objects: int, size: int, seed: int = 0) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
    """Labels and pixels ``(y, x)`` of elliptic nuclei of about 600 pixels on a jittered grid, some of which touch."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((size, size), np.uint32)
    edge = int(np.ceil(np.sqrt(objects)))
    step = size / edge
    for number, place in enumerate(rng.permutation(edge * edge)[:objects], 1):
        middle = (np.array(divmod(place, edge)) + 0.5) * step + rng.uniform(-0.2, 0.2, 2) * step
        major, ratio, turn = rng.uniform(12, 18), rng.uniform(0.6, 1), rng.uniform(0, np.pi)
        top, left = np.maximum(middle.astype(int) - 19, 0)
        y, x = np.mgrid[top : min(top + 39, size), left : min(left + 39, size)]
        down, across = y - middle[0], x - middle[1]
        along, aside = across * np.cos(turn) + down * np.sin(turn), down * np.cos(turn) - across * np.sin(turn)
        inside = (along / major) ** 2 + (aside / (major * ratio)) ** 2 <= 1
        labels[y[inside], x[inside]] = number
    return labels, (rng.poisson(200, labels.shape) + 1000 * (labels > 0)).astype(np.uint16)


def by_script(labels: NDArray[Any], plane: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The script's columns."""
    from skimage.measure import regionprops_table  # who takes COLUMNS alone does not need it

    found: dict[str, NDArray[Any]] = regionprops_table(labels, plane, properties=_PROPERTIES)
    return found


def compare(labels: NDArray[Any], plane: NDArray[Any], repeat: int, **parameters: Any) -> Ratio:
    """Both in turns."""
    stack, label_stack = plane[None], labels[None]
    ways: tuple[Callable[[], object], Callable[[], object]] = (
        lambda: by_script(labels, plane),
        lambda: measure(stack, label_stack, **parameters),
    )
    times: list[tuple[float, float]] = []
    for turn in range(repeat + 1):
        spent = [0.0, 0.0]
        for way in (0, 1) if turn % 2 else (1, 0):
            begin = process_time()
            ways[way]()
            spent[way] = process_time() - begin
        times.append((spent[0], spent[1]))
    times = times[1:]  # the first one imports
    script, ours = zip(*times, strict=True)
    return Ratio(script_s=median(script), ours_s=median(ours), ratio=median(b / a for a, b in times))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=190)
    parser.add_argument("--size", type=int, default=1080, help="pixels of an edge")
    parser.add_argument("--repeat", type=int, default=21, help="turns")
    chosen = parser.parse_args(arguments)
    labels, plane = plant(chosen.objects, chosen.size)
    print(f"{'columns':<10} {'script':>10} {'ours':>10} {'ratio':>7}")
    for title, parameters in (("the same", {"features": tuple(COLUMNS.values())}), ("default", {})):
        found = compare(labels, plane, chosen.repeat, **parameters)
        above = f"  above {CLAIM}" if title == "the same" and found.ratio > CLAIM else ""
        print(f"{title:<10} {found.script_s * 1e3:>7.1f} ms {found.ours_s * 1e3:>7.1f} ms {found.ratio:>7.3f}{above}")


if __name__ == "__main__":
    main()
