"""Counting and measuring nuclei beside a plain script: CPU, memory, equal counts, equal pixels.

    python benchmarks/assay.py [--repeat 7] [--wells 96] [--sizes 190 500] [--size 1080] [--diameter 28] [--no-run]

First the fields: the same planted nuclei segmented and measured by ``assay_script.py`` and by ``segment_nuclei`` and
``measure``, in turns; the medians of the turns' ratios of CPU time are printed, and in fresh processes the memory. A
field is a channel of 16 bits; 190 nuclei lie apart, 500 come in pairs whose centres are 1.7 mean radii apart. Then, as
processes of their own from start to exit with two workers: the script and ``openhcs run`` on a plate of 2 channels.

Claims: at most 0.2 of the script's CPU at 190 nuclei, 0.3 at 500; 0.1 for measuring alone; 0.3 for the whole run; equal
counts, Dice of the foreground 0.995, 99.5 % of the objects matched; memory at most 0.9, above the imports 0.5.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the repository, where this is run as a script

from benchmarks.assay_sides import SIDES, Labels, Side
from benchmarks.measure import Cost, run_measured
from benchmarks.revision import CACHE, NOW
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.synthetic import SyntheticImages, SyntheticPlate, SyntheticScene, write_imagexpress

CROWDED: Final = 300
"""From so many nuclei a field of 1080 x 1080 on they come in pairs."""
CLAIMS: Final = {"apart": 0.2, "crowded": 0.3, "measuring": 0.1, "run": 0.3, "memory": 0.9, "above imports": 0.5}
PIPELINE: Final = "benchmarks.pipelines:assay_pipeline"


def field_spec(objects: int, size: int, *, wells: int = 1, channels: int = 1) -> SyntheticPlate:
    """A plate whose sites have so many nuclei for each 1080 x 1080 pixels."""
    is_crowded = objects >= CROWDED
    scene = SyntheticScene(touching=1.7 if is_crowded else None, radius_px=13 if is_crowded else 14)
    columns = min(wells, 12)
    return SyntheticPlate(
        name="assay",
        rows=-(-wells // columns),
        columns=columns,
        sites=1,
        z=1,
        channels=("DAPI", "GFP")[:channels],
        shape=(size, size),
        objects_per_megapixel=round(objects / 1.1664),
        negative_columns=(),
        positive_columns=(),
        thumbnails=False,
        scene=scene,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldResult:
    """Both sides on one kind of field."""

    planted: int
    script_s: float
    ours_s: float
    ratio: float
    """Median of the turns' ratios: segmentation and measuring."""
    measuring: float
    """Of measuring alone."""
    counts: tuple[int, int]
    """The script's and ours."""
    dice: float
    matched: float
    """Share of the script's objects that one of ours overlaps by more than half of their union."""


def compare_field(plane: NDArray[Any], planted: int, repeat: int) -> FieldResult:
    """Both in turns; CPU time, to which waiting for other programs adds nothing."""
    spent: list[dict[Side, tuple[float, float]]] = []
    labels: dict[Side, Labels] = {}
    for turn in range(repeat + 1):
        now: dict[Side, tuple[float, float]] = {}
        sides: tuple[Side, Side] = ("script", "ours") if turn % 2 else ("ours", "script")
        for side in sides:
            begin = process_time()
            labels[side], measure = SIDES[side](plane)
            middle = process_time()
            measure()
            now[side] = (middle - begin, process_time() - middle)
        spent.append(now)
    spent = spent[1:]  # the first turn imports
    whole = [(sum(now["script"]), sum(now["ours"])) for now in spent]
    return FieldResult(
        planted=planted,
        script_s=median(script for script, _ in whole),
        ours_s=median(ours for _, ours in whole),
        ratio=median(ours / script for script, ours in whole),
        measuring=median(now["ours"][1] / now["script"][1] for now in spent),
        counts=(len(np.unique(labels["script"])) - 1, len(np.unique(labels["ours"])) - 1),
        dice=dice(labels["script"], labels["ours"]),
        matched=matched(labels["script"], labels["ours"]),
    )


def dice(first: Labels, second: Labels) -> float:
    """Of the foregrounds; 1 where both are empty."""
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * np.count_nonzero((first > 0) & (second > 0)) / total if total else 1.0


def matched(first: Labels, second: Labels) -> float:
    """Share of the first's objects with an intersection over union above 0.5 with one of the second; 1 without any."""
    both = (first > 0) & (second > 0)
    pairs, shared = np.unique(np.stack([first[both], second[both]]).astype(np.int64), axis=1, return_counts=True)
    areas = [np.bincount(labels.ravel().astype(np.int64)) for labels in (first, second)]
    union = areas[0][pairs[0]] + areas[1][pairs[1]] - shared
    objects = np.count_nonzero(areas[0][1:])
    return np.count_nonzero(2 * shared > union) / objects if objects else 1.0


def memory_of(side: Side, plane: NDArray[Any], folder: Path) -> tuple[float, float]:
    """Resident memory of a process of its own, MB: after a small field, which imports, and at its highest."""
    path = folder / "assay-plane.npy"
    np.save(path, plane)
    command = [str(NOW.python), str(NOW.root / "benchmarks" / "assay_sides.py"), side, str(path)]
    printed = subprocess.run(command, env=NOW.environ, cwd=NOW.root, check=True, capture_output=True, text=True).stdout
    imports, peak = (float(number) for number in printed.split())
    path.unlink()
    return imports, peak


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """Both as commands on one plate."""

    script: Cost
    ours: Cost
    different: int
    """Wells that have another count."""


def compare_runs(wells: int, objects: int, size: int, cache: Path, diameter: int | None = None) -> RunResult:
    """Write the plate if need be, read it once, and run both into fresh folders."""
    plate = cache / f"assay-{wells}x{objects}-{size}" / "assay"
    done = plate.with_name("complete")
    if not done.exists():
        shutil.rmtree(plate.parent, ignore_errors=True)
        write_imagexpress(plate, field_spec(objects, size, wells=wells, channels=2))
        done.touch()
    for path in plate.rglob("*.tif"):
        path.read_bytes()
    out = cache / "assay-output"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    table = out / "script.parquet"
    script = [
        str(NOW.python),
        str(NOW.root / "benchmarks" / "assay_script.py"),
        str(plate),
        str(table),
        "--workers",
        "2",
    ]
    ours = [str(NOW.python.with_name("openhcs")), "run", str(plate), "--pipeline", PIPELINE]
    ours += ["--output", str(out), "--workers", "2"]
    ours += [] if diameter is None else ["--set", f"segment_nuclei.diameter_px={diameter}"]
    costs = [run_measured(command, NOW.environ, cache / "assay.log", NOW.root) for command in (script, ours)]
    counts = [
        dict(pl.read_parquet(path).group_by("well").len().iter_rows())
        for path in (table, out / "assay" / "tables" / "nuclei.parquet")
    ]
    different = sum(counts[0].get(well) != counts[1].get(well) for well in counts[0].keys() | counts[1].keys())
    shutil.rmtree(out)
    return RunResult(script=costs[0], ours=costs[1], different=different)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 1 if counts differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=7, help="turns of a field")
    parser.add_argument("--sizes", type=int, nargs="+", default=[190, 500], help="nuclei for each 1080 x 1080 pixels")
    parser.add_argument("--size", type=int, default=1080, help="pixels of an edge")
    parser.add_argument("--wells", type=int, default=96, help="of the plate for the whole run")
    parser.add_argument("--diameter", type=int, help="of nuclei in the whole run; else each plane's is estimated")
    parser.add_argument("--no-run", action="store_true", help="the fields alone")
    parser.add_argument("--cache", type=Path, default=CACHE)
    chosen = parser.parse_args(arguments)
    chosen.cache.mkdir(parents=True, exist_ok=True)
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    differ = 0
    for objects in chosen.sizes:
        images = SyntheticImages(field_spec(objects, chosen.size))
        plane = images.plane(ImageKey("A01", 1, 1, 1, 1))
        found = compare_field(plane, len(images.objects("A01", 1)), chosen.repeat)
        differ += found.counts[0] != found.counts[1]
        print(*_of_field(found, "crowded" if objects >= CROWDED else "apart"), sep="\n")
        print(_of_memory(*(memory_of(side, plane, chosen.cache) for side in SIDES)))
    if not chosen.no_run:
        run = compare_runs(chosen.wells, chosen.sizes[0], chosen.size, chosen.cache, chosen.diameter)
        differ += run.different
        print(f"{chosen.wells} wells, whole runs:", *_of_run(run), sep="\n")
    return int(differ > 0)


def _of_field(found: FieldResult, kind: str) -> Iterator[str]:
    yield f"{found.planted} nuclei, {kind}: script {found.script_s:.3f} CPU-s, ours {found.ours_s:.3f}"
    yield f"  segmenting and measuring {_judged(found.ratio, kind)}; {_judged(found.measuring, 'measuring')}"
    yield f"  counts {found.counts[0]} and {found.counts[1]}; Dice {found.dice:.4f}; matched {found.matched:.4f}"


def _of_memory(script: tuple[float, float], ours: tuple[float, float]) -> str:
    above = (ours[1] - ours[0]) / max(script[1] - script[0], 0.1)
    return (
        f"  memory: script {script[1]:.0f} MB, of which imports {script[0]:.0f}; ours {ours[1]:.0f}, {ours[0]:.0f}: "
        f"{_judged(ours[1] / script[1], 'memory')}; {_judged(above, 'above imports')}"
    )


def _of_run(run: RunResult) -> Iterator[str]:
    for side, cost in (("script", run.script), ("ours", run.ours)):
        yield f"  {side}: {cost.cpu_s:.1f} CPU-s, {cost.wall_s:.1f} s, largest process {cost.process_mb:.0f} MB"
    yield f"  {_judged(run.ours.cpu_s / run.script.cpu_s, 'run')}; wells with another count: {run.different}"


def _judged(ratio: float, claim: str) -> str:
    """A ratio, and whether it keeps its claim."""
    return f"{claim} {ratio:.3f} ({'at most' if ratio <= CLAIMS[claim] else 'ABOVE'} {CLAIMS[claim]})"


if __name__ == "__main__":
    sys.exit(main())
