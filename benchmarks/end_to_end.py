"""The same work by a plain script, by the engine, and by the Dagster graph: time, CPU, memory, bytes, and equal pixels.

    python benchmarks/end_to_end.py [--repeat 5] [--plates 8x4x2x5 96x1x2x5] [--variants a a2 b c] [--json FILE]
    python benchmarks/end_to_end.py --against REF [--repeat 9]

Read TIFF → normalise every z stack between its percentiles → project → mix the channels → OME-Zarr with three levels.
Each variant runs as a process of its own, from start to exit, with two workers, without fsync, on a warm file cache.
The variants take turns, so that a busy minute of the machine hits all of them. With ``--against`` the engine and the
graph of another commit take their turns, too, each before that of now, from an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the repository, where this is run as a script

from benchmarks.measure import CommandFailedError, Cost, run_measured, stored
from benchmarks.pixels import differences, digests
from benchmarks.plates import NAME, PlateShape, write_plate
from benchmarks.revision import CACHE, NOW, Revision, checked_out

PIPELINE = "benchmarks.pipelines:benchmark_pipeline"
WORKERS = "2"
TABLE_WIDTH = 124
"""Columns of the table where the output is a file, which has no width of its own."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to do the work."""

    title: str
    command: tuple[str, ...]
    """``{plate}`` and ``{out}`` are filled in."""
    images: str
    """The OME-Zarr plate below the output folder."""
    revision: Revision = NOW


def _script(name: str, *options: str, revision: Revision = NOW) -> tuple[str, ...]:
    return (str(revision.python), str(revision.root / "benchmarks" / name), "{plate}", "{out}", *options)


def _engine(revision: Revision) -> Variant:
    """The command ``openhcs run``."""
    command = (str(revision.python.with_name("openhcs")), "run", "{plate}", "--pipeline", PIPELINE)
    return Variant("engine", (*command, "--output", "{out}", "--workers", WORKERS), f"{NAME}/images.zarr", revision)


def _graph(revision: Revision) -> Variant:
    """The commands ``openhcs-dagster add`` and ``materialize``."""
    command = _script("graph_run.py", "--pipeline", PIPELINE, "--workers", WORKERS, revision=revision)
    return Variant("Dagster graph", command, f"{NAME}/images.zarr", revision)


VARIANTS = {
    "a": Variant("plain script", _script("plain_script.py", "--workers", WORKERS), "images.zarr"),
    "a2": Variant(
        "script, our codec",
        _script("plain_script.py", "--workers", WORKERS, "--codec", "engine"),
        "images.zarr",
    ),
    "b": _engine(NOW),
    "c": _graph(NOW),
}
_OF_A_REVISION = {"b": _engine, "c": _graph}


def _chosen(names: Sequence[str], against: Revision | None) -> dict[str, Variant]:
    """The variants asked for; of another commit's those that have a twin of now, each before it."""
    chosen = {}
    for name in names:
        if against is not None and name in _OF_A_REVISION:
            chosen[f"{name}@{against.name}"] = _OF_A_REVISION[name](against)
        chosen[name] = VARIANTS[name]
    return chosen


@dataclass(frozen=True, slots=True)
class Comparison:
    """All runs on one plate."""

    shape: PlateShape
    variants: dict[str, Variant]
    runs: dict[str, list[Cost]]
    different: dict[str, list[str]]
    """By variant: levels whose pixels differ from the first variant's."""

    def median(self, variant: str) -> Cost:
        """The median of each number by itself."""
        runs = self.runs[variant]
        return Cost(**{name.name: statistics.median(getattr(run, name.name) for run in runs) for name in fields(Cost)})


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return 1 if any pixels differ."""
    options = _parse(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=TABLE_WIDTH)
    against = checked_out(options.against, options.cache) if options.against else None
    variants = _chosen(options.variants or (list(_OF_A_REVISION) if against else list(VARIANTS)), against)
    comparisons = []
    for text in options.plates:
        shape = PlateShape.parse(text, options.size)
        plate = _prepare(shape, options.cache, console)
        try:
            comparison = _compare(shape, plate, variants, options, console)
        except CommandFailedError as error:
            console.print(str(error), style="red", markup=False, highlight=False)
            return 1
        console.print(_table(comparison))
        for sentence in _against(comparison):
            console.print(sentence, highlight=False)
        comparisons.append(comparison)
    if options.json:
        options.json.write_text(json.dumps([_document(comparison) for comparison in comparisons], indent=1))
    return int(any(keys for comparison in comparisons for keys in comparison.different.values()))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Plain script, engine and Dagster graph on the same plates.")
    parser.add_argument("--plates", nargs="+", default=["8x4x2x5", "96x1x2x5"], help="wells x sites x channels x z")
    parser.add_argument("--size", type=int, default=1080, help="edge of a plane in pixels; three levels need 512")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, help="all, or b and c against a commit")
    parser.add_argument("--against", metavar="REF", help="another commit, whose engine and graph run, too")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--json", type=Path, help="write all runs to this file")
    return parser.parse_args(arguments)


def _prepare(shape: PlateShape, cache: Path, console: Console) -> Path:
    """Write the plate if need be, and read it once, so that every run finds it in the file cache."""
    folder = cache / shape.label
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"Writing plate {shape.label}, {shape.megabytes:.0f} MB", total=shape.planes)
        for planes in write_plate(folder, shape):
            progress.update(task, completed=planes)
    for path in (folder / NAME).rglob("*.TIF"):
        path.read_bytes()
    return folder / NAME


def _compare(
    shape: PlateShape, plate: Path, variants: dict[str, Variant], options: argparse.Namespace, console: Console
) -> Comparison:
    runs: dict[str, list[Cost]] = {name: [] for name in variants}
    pixels: dict[str, dict[str, str]] = {}
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=options.repeat * len(runs))
        for _ in range(options.repeat):
            for name in runs:
                progress.update(task, description=f"{shape.label}: {variants[name].title}")
                cost, found = _run_once(variants[name], plate, options.cache / f"output-{name}", name not in pixels)
                runs[name].append(cost)
                pixels.setdefault(name, found)
                progress.advance(task)
    first = next(iter(pixels.values()))
    expected = shape.wells * shape.sites * 3
    if len(first) != expected:
        raise CommandFailedError(f"{next(iter(variants))} stored {len(first)} levels of images, not {expected}.")
    return Comparison(shape, variants, runs, {name: differences(first, found) for name, found in pixels.items()})


def _run_once(variant: Variant, plate: Path, out: Path, with_pixels: bool) -> tuple[Cost, dict[str, str]]:
    """One run into a fresh folder; the clock stands while folders are removed and pixels compared."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    command = [part.format(plate=plate, out=out) for part in variant.command]
    cost = run_measured(command, variant.revision.environ, out.with_suffix(".log"), variant.revision.root)
    megabytes, files = stored(out / variant.images)
    found = digests(out / variant.images) if with_pixels else {}
    shutil.rmtree(out)
    return replace(cost, output_mb=megabytes, files=files), found


def _table(comparison: Comparison) -> Table:
    first = next(iter(comparison.runs))
    base = comparison.median(first)
    shape, repeats = comparison.shape, len(comparison.runs[first])
    title = (
        f"{shape.wells} wells × {shape.sites} sites × {shape.channels} channels × {shape.z_planes} z, "
        f"{shape.size}² uint16, {shape.megabytes:.0f} MB; medians of {repeats} (ratio to {first})"
    )
    caption = (
        "CPU: user + system of the process tree. Memory: resident, sampled; all = the tree's sum, which counts shared "
        "pages for each process, one = the largest process."
    )
    table = Table(title=title, caption=caption)
    table.add_column("variant", no_wrap=True)
    for heading in ("wall s", "min–max", "CPU s", "MB all", "MB one", "output MB", "files"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("pixels")
    for name, runs in comparison.runs.items():
        cost = comparison.median(name)
        walls = [run.wall_s for run in runs]
        table.add_row(
            f"({name}) {comparison.variants[name].title}",
            _with_ratio(cost.wall_s, base.wall_s, 2),
            f"{min(walls):.1f}–{max(walls):.1f}",
            _with_ratio(cost.cpu_s, base.cpu_s, 2),
            _with_ratio(cost.tree_mb, base.tree_mb, 0),
            _with_ratio(cost.process_mb, base.process_mb, 0),
            _with_ratio(cost.output_mb, base.output_mb, 1),
            f"{cost.files:.0f}",
            _verdict(comparison.different[name]),
        )
    return table


def _against(comparison: Comparison) -> Iterator[str]:
    """What each variant of another commit is to its twin of now."""
    for name, variant in comparison.variants.items():
        if variant.revision is not NOW:
            before, now = comparison.median(name), comparison.median(name.partition("@")[0])
            yield (
                f"{variant.title}, {variant.revision.name} → now: CPU × {now.cpu_s / before.cpu_s:.3f}, "
                f"wall × {now.wall_s / before.wall_s:.3f}, memory × {now.tree_mb / before.tree_mb:.3f} "
                f"(largest process × {now.process_mb / before.process_mb:.3f})"
            )


def _with_ratio(value: float, base: float, digits: int) -> str:
    return f"{value:.{digits}f} ({value / base:.2f})"


def _verdict(different: list[str]) -> str:
    if not different:
        return "[green]equal"
    return f"[red]{len(different)} differ, first {different[0]}"


def _document(comparison: Comparison) -> dict[str, object]:
    return {
        "plate": asdict(comparison.shape),
        "runs": {name: [asdict(run) for run in runs] for name, runs in comparison.runs.items()},
        "medians": {name: asdict(comparison.median(name)) for name in comparison.runs},
        "different": comparison.different,
    }


if __name__ == "__main__":
    sys.exit(main())
