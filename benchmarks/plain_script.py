"""What a careful colleague would write without any engine: NumPy, tifffile, zarr and a process pool.

    python benchmarks/plain_script.py PLATE OUT [--codec default|engine] [--workers 2]

Every site of every channel: read the z planes, normalise the stack between its percentiles 1 and 99, project; mix the
channels; write an OME-Zarr image with three levels. It imports nothing of the engine.
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
import tifffile
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

Image = NDArray[np.uint16]
Sites = dict[int, dict[int, dict[int, Path]]]  # {site: {channel: {z: file}}}

LEVELS = 3
FILE_NAME = re.compile(r"_(?P<well>[A-Z]\d\d)_s(?P<site>\d+)_w(?P<channel>\d+)\.TIF$")


def main() -> None:
    """Process a plate, one task a well."""
    parser = argparse.ArgumentParser(description="The benchmark's work as a plain script.")
    parser.add_argument("plate", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--codec", choices=["default", "engine"], default="default")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):
        os.environ[f"{library}_NUM_THREADS"] = "1"  # for the workers, which start anew
    wells = find_files(options.plate)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=spawn) as pool:
        tasks = [pool.submit(process_well, well, sites, options.out, options.codec) for well, sites in wells.items()]
        for task in tasks:
            task.result()


def find_files(plate: Path) -> dict[str, Sites]:
    """Every file of the plate by well, site, channel and z."""
    wells: dict[str, Sites] = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    for folder in plate.glob("TimePoint_1/ZStep_*"):
        z = int(folder.name.removeprefix("ZStep_"))
        for path in folder.iterdir():
            if match := FILE_NAME.search(path.name):
                wells[match["well"]][int(match["site"])][int(match["channel"])][z] = path
    return {well: {site: dict(channels) for site, channels in sites.items()} for well, sites in sorted(wells.items())}


def process_well(well: str, sites: Sites, out: Path, codec: str) -> None:
    """All sites of one well."""
    for field, site in enumerate(sorted(sites)):
        projections = [project_channel(sites[site][channel]) for channel in sorted(sites[site])]
        composite = np.rint(np.mean(projections, axis=0)).astype(np.uint16)
        write_image(out / "images.zarr" / well[0] / well[1:] / str(field), composite, codec)


def project_channel(files: dict[int, Path]) -> Image:
    """Read the z planes of one channel, normalise them together, keep the brightest."""
    stack = np.stack([tifffile.imread(files[z]) for z in sorted(files)])
    low, high = np.percentile(stack, [1, 99])
    if low == high:
        return np.zeros(stack.shape[1:], np.uint16)
    scaled = np.clip(stack, low, high)  # float64, as low and high are
    scaled -= low
    scaled *= 65535.0
    scaled /= high - low
    normalized = np.rint(scaled, out=scaled).astype(np.uint16)
    projection: Image = normalized.max(axis=0)
    return projection


def write_image(path: Path, image: Image, codec: str) -> None:
    """One OME-Zarr image ``(t, c, z, y, x)`` with its pyramid."""
    group = zarr.create_group(path, attributes={"ome": {"version": "0.5", "multiscales": [multiscale()]}})
    for level in range(LEVELS):
        if level:
            image = halve(image)
        array = group.create_array(
            str(level),
            shape=(1, 1, 1, *image.shape),
            chunks=(1, 1, 1, *image.shape),
            dtype=image.dtype,
            compressors=compressors(codec),
            dimension_names=["t", "c", "z", "y", "x"],
        )
        array[0, 0, 0] = image


def halve(image: Image) -> Image:
    """The mean of every 2 x 2 pixels, halves upwards."""
    rows, columns = (edge // 2 * 2 for edge in image.shape)
    even = image[:rows, :columns].astype(np.uint32)
    total = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    halved: Image = ((total + 2) // 4).astype(np.uint16)
    return halved


def compressors(codec: str) -> Any:
    """zarr's own choice, or the engine's codec."""
    if codec == "default":
        return "auto"
    return BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")


def multiscale() -> dict[str, Any]:
    """NGFF metadata of the pyramid."""
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space"} for name in "zyx"]
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 1.0, 2.0**level, 2.0**level]}],
        }
        for level in range(LEVELS)
    ]
    return {"name": "composite", "axes": axes, "datasets": datasets}


if __name__ == "__main__":
    main()
