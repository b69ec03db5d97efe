"""Storing and reading one well, against a bare zarr script with the same codec, chunks, shards and resolutions.

    python benchmarks/storage.py [--repeat 7] [--sites 4] [--channels 2] [--z 2] [--size 2048] [--json FILE]

*Ours* is everything that happens to a finished well: its pyramid, compression, metadata and checksums, and publishing
it in the plate's folder. *Script* makes the same arrays with zarr-python, straight in their place, with the same mean
of 2 x 2 pixels. Both get planes from memory and use one thread, and neither waits for the disk; what it would cost to
wait is measured after each turn, by the same call for both. What the checksums cost is measured by itself and taken
off, as zarr has none here. Ours and the script take turns, so that a busy minute of the machine hits both; of each the
fastest turn counts, since nothing makes a turn faster than it is.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import google_crc32c
import numpy as np
import zarr
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from zarr.codecs import BloscCodec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the repository, where this is run as a script

from benchmarks.plain_script import halve
from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator
from openhcs_engine.functions import create_max_projection
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.ngff.reading.reader import open_well
from openhcs_engine.output.folder.fsync import flush_tree
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.manifest import WellManifest
from openhcs_engine.output.writing.well_writer import write_well
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

LEVELS = 3
CHUNK = 512
WELL = "A01"
Images = dict[ImageKey, NDArray[np.uint16]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WellShape:
    """What is stored."""

    sites: int = 4
    channels: int = 2
    z: int = 2
    size: int = 2048

    @property
    def megabytes(self) -> float:
        """Of pixels, the pyramid left out."""
        return self.sites * self.channels * self.z * self.size**2 * 2 / 1e6


@dataclass(slots=True)
class Times:
    """Seconds of every turn, by what was done."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def take(self, name: str, work: Callable[[], object]) -> None:
        """Do and time it once more."""
        start = time.perf_counter()
        work()
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)

    def best(self, name: str) -> float:
        """The fastest turn."""
        return min(self.seconds[name])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The fastest seconds of everything."""

    megabytes: float
    ours_write: float
    """With checksums, without fsync."""
    checksums: float
    script_write: float
    ours_fsync: float
    """What fsync adds."""
    script_fsync: float
    ours_read: float
    script_read: float

    @property
    def write_ratio(self) -> float:
        """Ours over the script's, checksums left out."""
        return (self.ours_write - self.checksums) / self.script_write

    @property
    def read_ratio(self) -> float:
        """Ours over the script's."""
        return self.ours_read / self.script_read


def make_images(shape: WellShape) -> Images:
    """Planes as a camera gives them: shot noise on a background, and some brighter blocks."""
    rng = np.random.default_rng(7)
    background = rng.poisson(250, (shape.size, shape.size))
    images = {}
    for site in range(1, shape.sites + 1):
        for channel in range(1, shape.channels + 1):
            for z in range(1, shape.z + 1):
                plane = np.roll(background, rng.integers(0, shape.size, 2), (0, 1))
                plane[:: 8 + site, :: 5 + channel] += rng.integers(0, 4000)
                images[ImageKey(WELL, site, channel, z, 1)] = plane.astype(np.uint16)
    return images


def make_context(folder: Path) -> ProcessingContext:
    """A context of a small plate; what is written for it comes from memory."""
    plate = write_imagexpress(
        folder / "raw", SyntheticPlate(name="bench", rows=1, columns=1, sites=1, z=1, shape=(32, 32))
    )
    orchestrator = PipelineOrchestrator(plate, output=folder / "out").initialize()
    return orchestrator.compile_pipelines(Pipeline([FunctionStep(create_max_projection)]))[WELL]


def write_ours(context: ProcessingContext, images: Images) -> WellManifest:
    """One well, staged and published."""
    folder = PlateFolder(context.output.folder, "zarr")
    with folder.staging("bench") as staging:
        staged = write_well(staging, context, images.items())
        manifest = WellManifest.of(context, staged, seconds=0.0, device="cpu")
        folder.publish(staged, manifest)
    return manifest


def write_script(folder: Path, images: Images) -> None:
    """The same arrays, as anybody would write them."""
    for site in sorted({key.site for key in images}, key=lambda site: site or 0):
        planes = {(key.channel, key.z_index): plane for key, plane in images.items() if key.site == site}
        channels, depths = sorted({key[0] for key in planes}), sorted({key[1] for key in planes})  # type: ignore[type-var]
        group = zarr.create_group(folder / str(site), attributes={"ome": {"version": "0.5"}})
        for level in range(LEVELS):
            if level:
                planes = {key: halve(plane) for key, plane in planes.items()}
            stack = np.array([[[planes[channel, z] for z in depths] for channel in channels]])
            edges = [min(CHUNK, edge) for edge in stack.shape[-2:]]
            array = group.create_array(
                str(level),
                shape=stack.shape,
                shards=stack.shape,
                chunks=(1, 1, 1, *edges),
                dtype=stack.dtype,
                compressors=BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
                config={"write_empty_chunks": True},
            )
            array[...] = stack


def read_ours(context: ProcessingContext) -> list[NDArray[np.uint16]]:
    """Every plane of the full resolution, by our reader."""
    well = open_well(context.output.folder / "images.zarr", WELL)
    return [np.asarray(field.array(0)[...]) for field in well.values()]


def read_script(folder: Path) -> list[NDArray[np.uint16]]:
    """The same by zarr."""
    return [np.asarray(zarr.open_array(site / "0", mode="r")[...]) for site in sorted(folder.iterdir())]


def measure(shape: WellShape, repeat: int, folder: Path) -> Stored:
    """Let ours and the script take turns."""
    images, context, times = make_images(shape), make_context(folder), Times()
    output, script = PlateFolder(context.output.folder, "zarr"), folder / "script"
    output.prepare(context.plate)
    stored = output.well_folder(WELL)
    for _ in range(repeat):
        output.drop(WELL)
        times.take("ours", lambda: write_ours(context, images))
        times.take("ours fsync", lambda: flush_tree(stored))
        shutil.rmtree(script, ignore_errors=True)
        times.take("script", lambda: write_script(script, images))
        times.take("script fsync", lambda: flush_tree(script))
        contents = [path.read_bytes() for path in stored.rglob("*") if path.is_file()]
        times.take("checksums", lambda contents=contents: [google_crc32c.value(part) for part in contents])  # type: ignore[misc]
        times.take("read ours", lambda: read_ours(context))
        times.take("read script", lambda: read_script(script))
    _compare(read_ours(context), read_script(script))
    return Stored(
        megabytes=shape.megabytes,
        ours_write=times.best("ours"),
        checksums=times.best("checksums"),
        script_write=times.best("script"),
        ours_fsync=times.best("ours fsync"),
        script_fsync=times.best("script fsync"),
        ours_read=times.best("read ours"),
        script_read=times.best("read script"),
    )


def _compare(ours: list[NDArray[np.uint16]], theirs: list[NDArray[np.uint16]]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


def one_thread() -> None:
    """Neither side may use more: a run has a worker for every core."""
    zarr.config.set({"threading.max_workers": 1, "async.concurrency": 1})
    os.environ["BLOSC_NTHREADS"] = "1"
    from numcodecs import blosc

    blosc.set_nthreads(1)
    blosc.use_threads = False


def show(stored: Stored) -> None:
    """For people."""
    table = Table("one well", "ours, s", "script, s", "ratio", title=f"{stored.megabytes:.0f} MB of pixels")
    plain = stored.ours_write - stored.checksums
    table.add_row(
        "write, checksums excluded", f"{plain:.3f}", f"{stored.script_write:.3f}", f"{stored.write_ratio:.2f}"
    )
    table.add_row("checksums", f"+{stored.checksums:.3f}", "none", "")
    table.add_row("fsync", f"+{stored.ours_fsync:.3f}", f"+{stored.script_fsync:.3f}", "")
    table.add_row("read", f"{stored.ours_read:.3f}", f"{stored.script_read:.3f}", f"{stored.read_ratio:.2f}")
    Console().print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="One well, ours and by a bare zarr script.")
    parser.add_argument("--repeat", type=int, default=7)
    for name, default in asdict(WellShape()).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--folder", type=Path, help="Where to write; default: the system's place for temporary files.")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    one_thread()
    shape = WellShape(sites=options.sites, channels=options.channels, z=options.z, size=options.size)
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        stored = measure(shape, options.repeat, Path(place))
    show(stored)
    if options.json:
        ratios = {"write_ratio": stored.write_ratio, "read_ratio": stored.read_ratio}
        options.json.write_text(json.dumps({**asdict(stored), **ratios}, indent=1))


if __name__ == "__main__":
    main()
