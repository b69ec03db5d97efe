"""What a careful colleague would write to count and measure nuclei: scikit-image, SciPy, tifffile and a process pool.

    python benchmarks/assay_script.py PLATE TABLE.parquet [--workers 2]

The nuclei are those of the first channel; all channels are measured. It imports nothing of the engine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, distance_transform_edt
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label, regionprops_table
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import clear_border, watershed

Plane = NDArray[Any]
Labels = NDArray[Any]

FILE_NAME = re.compile(r"_(?P<well>[A-Z]\d\d)_s(?P<site>\d+)_w(?P<channel>\d+)\.tif$")
SMALLEST_PX = 60
PROPERTIES = (
    "label",
    "area",
    "bbox",
    "centroid",
    "eccentricity",
    "axis_major_length",
    "axis_minor_length",
    "perimeter",
    "solidity",
    "extent",
    "equivalent_diameter_area",
    "euler_number",
    "intensity_mean",
    "intensity_min",
    "intensity_max",
    "intensity_std",
)
"""20 columns for one channel."""


def segment(plane: Plane) -> Labels:
    """Numbers of the nuclei of one plane ``(y, x)``."""
    smooth = gaussian(plane.astype(np.float32), sigma=2, preserve_range=True)
    inside = binary_fill_holes(smooth > threshold_otsu(smooth))
    depth = distance_transform_edt(inside)
    # Rounded, since the reconstruction leaves noise by which one plateau would be several peaks.
    peaks = local_maxima(np.round(reconstruction(depth - 1, depth), 6)) & inside
    labels = watershed(-depth, label(peaks), mask=inside)
    sizes = np.bincount(labels.ravel())
    labels[sizes[labels] < SMALLEST_PX] = 0
    cleared: Labels = clear_border(labels)
    return cleared


def measure(labels: Labels, planes: Plane) -> dict[str, Any]:
    """A row a nucleus; ``planes`` is ``(y, x)`` of one channel, or ``(y, x, channel)``."""
    columns: dict[str, Any] = regionprops_table(labels, planes, properties=PROPERTIES)
    return columns


def process_site(well: str, site: int, files: list[Path]) -> dict[str, Any]:
    """All rows of one site."""
    planes = [tifffile.imread(path) for path in files]
    columns = measure(segment(planes[0]), np.stack(planes, axis=-1))
    rows = len(columns["label"])
    return {"well": [well] * rows, "site": [site] * rows, **columns}


def main() -> None:
    """Process a plate, one task a site."""
    parser = argparse.ArgumentParser(description="The assay as a plain script.")
    parser.add_argument("plate", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):
        os.environ[f"{library}_NUM_THREADS"] = "1"  # for the workers, which start anew
    sites: dict[tuple[str, int], dict[int, Path]] = defaultdict(dict)
    for path in (options.plate / "TimePoint_1" / "ZStep_1").iterdir():
        if found := FILE_NAME.search(path.name):
            sites[found["well"], int(found["site"])][int(found["channel"])] = path
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=spawn) as pool:
        tasks = [
            pool.submit(process_site, well, site, [files[channel] for channel in sorted(files)])
            for (well, site), files in sorted(sites.items())
        ]
        tables = [pa.table(task.result()) for task in tasks]
    pq.write_table(pa.concat_tables(tables, promote_options="permissive"), options.table)


if __name__ == "__main__":
    main()
