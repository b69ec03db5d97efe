"""Finding and reading a plate's index: time against the bare walk of its folder, and how it grows with the plate.

    python benchmarks/indexing.py [--repeat 7] [--wells 16x24] [--layouts imagexpress phenix cellvoyager] [--json FILE]

384 wells x 9 sites x 5 channels are 17,280 files; ImageXpress is measured with four times the sites, too. Everything
runs in this process, on a warm file cache, with the garbage collector as Python sets it. The walks and the index take
turns, so that a busy minute of the machine hits all of them.

Three walks are compared, the last two with what the first does:

- *scandir* asks each folder for its names and nothing else;
- *stat* asks for the size and time of every file as well, which the index leaves to the plan of the wells that need it;
- *least* does not, but what no reader of the format can leave out: of ImageXpress one match of every name, of the
  others one pass of expat over the XML, with nothing made of it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from xml.parsers import expat

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the repository, where this is run as a script

from benchmarks.revision import CACHE
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.synthetic import LAYOUTS, SyntheticPlate

CHANNELS = ("DAPI", "GFP", "Cy3", "Texas Red", "Cy5")
GROWTH = 4
DONE = "complete"
"""Beside the plate, written last: a plate without it was interrupted and is written again."""
_NAME = re.compile(r"(.*)_([A-Z]{1,2}[0-9]{1,2})(?:_s([0-9]+))?(?:_w([0-9]+))?\.tiff?", re.IGNORECASE)
_XML = (".xml", ".mlf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """Median seconds of each way to go through one plate folder."""

    layout: str
    sites: int
    planes: int
    scandir: float
    stat: float
    least: float
    index: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the plates that are not there yet, measure, print."""
    options = _parse(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=110)
    measured = []
    for layout in options.layouts:
        for factor in (1, GROWTH) if layout == "imagexpress" else (1,):
            plate = _prepare(layout, options.wells, options.sites * factor, options.cache, console)
            measured.append(measure(plate, layout, options.sites * factor, options.repeat))
    console.print(_table(measured))
    for line in growths(measured):
        console.print(line)
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in measured], indent=1))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time of a plate's index against the bare walk of its folder.")
    parser.add_argument("--layouts", nargs="+", choices=("imagexpress", "phenix", "cellvoyager"))
    parser.set_defaults(layouts=["imagexpress", "phenix", "cellvoyager"])
    parser.add_argument("--wells", type=_rows_and_columns, default=(16, 24), help="rows x columns, e.g. 16x24")
    parser.add_argument("--sites", type=int, default=9)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--cache", type=Path, default=CACHE / "indexing")
    parser.add_argument("--json", type=Path, help="write the medians to this file")
    return parser.parse_args(arguments)


def _rows_and_columns(text: str) -> tuple[int, int]:
    rows, columns = text.split("x")
    return int(rows), int(columns)


def _prepare(layout: str, wells: tuple[int, int], sites: int, cache: Path, console: Console) -> Path:
    """Write the plate unless it is there already."""
    folder = cache / f"{layout}-{wells[0]}x{wells[1]}x{sites}"
    if not (folder / DONE).exists():
        shutil.rmtree(folder, ignore_errors=True)
        spec = SyntheticPlate(
            rows=wells[0], columns=wells[1], sites=sites, channels=CHANNELS, z=1, shape=(32, 32), thumbnails=False
        )
        with console.status(f"Writing {folder.name}, once"):
            LAYOUTS[layout](folder / "plate", spec)
        (folder / DONE).touch()
    return folder / "plate"


def measure(plate: Path, layout: str, sites: int, repeat: int) -> Indexed:
    """Time all ways through one folder, in turns; the first turn only fills caches."""
    ways: dict[str, Callable[[Path], object]] = {
        "scandir": scandir_walk,
        "stat": stat_walk,
        "least": least_walk,
        "index": index_plate,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeat + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way(plate)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return Indexed(layout=layout, sites=sites, planes=index_plate(plate), **medians)


def index_plate(plate: Path) -> int:
    """List, detect and read: what a run does first. Returns the number of planes."""
    _, index = detect_microscope(plate).read_plate()
    return len(index)


def scandir_walk(plate: Path) -> int:
    """The number of files, as the folders themselves tell it."""
    return sum(1 for _ in _files(plate))


def stat_walk(plate: Path) -> int:
    """The bytes of all files."""
    return sum(entry.stat(follow_symlinks=False).st_size for entry in _files(plate))


def least_walk(plate: Path) -> int:
    """The number of files that are part of the plate, with one match of each name, or one pass over the records."""
    found = [(entry.name, entry.path) for entry in _files(plate)]
    records = [path for _, path in found if path.endswith(_XML)]
    for path in records:
        with Path(path).open("rb") as stream:
            expat.ParserCreate(namespace_separator="}").ParseFile(stream)
    return sum(1 for name, _ in found if records or _NAME.fullmatch(name))


def _files(plate: Path) -> Iterator[os.DirEntry[str]]:
    waiting = [str(plate)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    yield entry


def growths(measured: Sequence[Indexed]) -> list[str]:
    """How the times of one layout grow from its smaller to its larger plate, one line each."""
    lines = []
    for small, large in pairwise(measured):
        if small.layout == large.layout:
            factor = large.planes / small.planes
            lines.append(
                f"{small.layout}: {factor:.1f} times the planes take {large.index / small.index:.2f} times as long "
                f"(scandir {large.scandir / small.scandir:.2f}, stat {large.stat / small.stat:.2f})."
            )
    return lines


def _table(measured: Sequence[Indexed]) -> Table:
    table = Table(title="Milliseconds, medians", caption="index ÷: how many times as long as each of the walks")
    for heading in ("layout", "planes", "scandir", "stat", "least", "index", "÷ scandir", "÷ stat", "÷ least"):
        table.add_column(heading, justify="left" if heading == "layout" else "right", no_wrap=True)
    for one in measured:
        walks = (one.scandir, one.stat, one.least)
        table.add_row(
            f"{one.layout}, {one.sites} sites",
            f"{one.planes:,}",
            *(f"{1000 * seconds:.1f}" for seconds in (*walks, one.index)),
            *(f"{one.index / walk:.1f}" for walk in walks),
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
