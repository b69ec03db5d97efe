"""What a night costs in which nothing is to do: plates that are compared with their plans, in seconds and CPU seconds.

    python benchmarks/plate_comparison.py [--plates 300] [--wells 6] [--pipelines 1] [--peers 10]
                                           [--repeat 1] [--json FILE]

The plates are links to one, registered and processed. Some of them are also compared each by a process of its own that
starts from nothing, two at a time as in the nightly comparison; the ratio is that of the CPU seconds of one plate.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the repository, where this is run as a script

from openhcs_dagster.automation.staleness import Verdict, compare_plates
from openhcs_dagster.catalogue.catalogue import Catalogue, CatalogueEntry
from openhcs_dagster.catalogue.registration import register
from openhcs_engine import PipelineOrchestrator
from openhcs_engine.pipeline.load import load_pipeline
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

REPO = Path(__file__).resolve().parent.parent
PIPELINE = """
from openhcs_engine import FunctionStep, Pipeline, VariableComponents
from openhcs_engine.functions import create_max_projection, stack_percentile_normalize

pipeline = Pipeline([FunctionStep(
    [stack_percentile_normalize, create_max_projection], name="Project",
    variable_components=[VariableComponents.Z_INDEX],
)])
"""
_PEER = """
import sys
from pathlib import Path
from openhcs_dagster.catalogue.catalogue import Catalogue
from openhcs_dagster.automation.staleness import wells_now
assert not wells_now(Catalogue(Path(sys.argv[1])).read(sys.argv[2])).due
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """What comparing some plates took."""

    plates: int
    seconds: float
    cpu_s: float
    """Of all processes together."""
    load: float
    """Of the machine when it began: processes that wanted to run, in the minute before."""

    @property
    def cpu_ms_a_plate(self) -> float:
        """CPU time of one plate."""
        return self.cpu_s / self.plates * 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a plate was not current."""
    options = _parse(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=100)
    nights: dict[str, list[Night]] = {"the survey": [], "a process a plate": []}
    with tempfile.TemporaryDirectory(prefix="openhcs-survey-") as folder, console.status("Measuring"):
        catalogue = write_plates(Path(folder), options.plates, options.wells, options.pipelines)
        entries = catalogue.list().entries
        for _ in range(options.repeat):
            verdicts: list[Verdict] = []
            nights["the survey"].append(
                measure(lambda: verdicts.extend(compare_plates(entries, budget_s=3600)), len(entries))  # noqa: B023 # called now
            )
            if wrong := [verdict for verdict in verdicts if verdict.reason != "All its wells are current."]:
                console.print(*wrong[:5], sep="\n", style="red")
                return 1
            peers = entries[: options.peers]
            nights["a process a plate"].append(measure(lambda: _ask_each(catalogue, peers), len(peers)))  # noqa: B023
    console.print(_table(nights))
    if options.json:
        options.json.write_text(json.dumps({name: [asdict(each) for each in runs] for name, runs in nights.items()}))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Seconds of a night in which nothing is to do.")
    parser.add_argument("--plates", type=int, default=300)
    parser.add_argument("--wells", type=int, default=6, help="of each plate, at most 24")
    parser.add_argument("--pipelines", type=int, default=1, help="modules that the plates share")
    parser.add_argument("--peers", type=int, default=10, help="plates that are compared by a process of their own")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write all nights to this file")
    return parser.parse_args(arguments)


def write_plates(folder: Path, plates: int, wells: int, pipelines: int) -> Catalogue:
    """Write and process one plate a pipeline, and link the others to it."""
    catalogue, lab, out = Catalogue(folder / "plates"), folder / "lab", folder / "out"
    lab.mkdir()
    firsts = []
    for number in range(pipelines):
        (lab / f"lab_{number}.py").write_text(PIPELINE)
        spec = SyntheticPlate(name=f"first{number}", rows=1, columns=wells, sites=1, z=2, shape=(32, 32))
        firsts.append(write_imagexpress(folder / "firsts" / f"first{number}", spec))
    for number in range(plates):
        module = f"lab_{number % pipelines}"
        entry = register(
            catalogue,
            _linked(firsts[number % pipelines], folder / "raw" / f"P{number:04d}"),
            pipeline=f"{module}:pipeline",
            output=out,
            search_path=[lab],
        )
        if number < pipelines:
            _process(entry)
        else:
            _linked(out / f"P{number % pipelines:04d}", out / entry.id)
    return catalogue


def _linked(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target, copy_function=os.link))


def _process(entry: CatalogueEntry) -> None:
    orchestrator = PipelineOrchestrator(entry.folder, output=entry.output, plate_id=entry.id, runner="threads")
    pipeline = load_pipeline(entry.pipeline, entry.search_path)
    orchestrator.initialize()
    results = orchestrator.execute_compiled_plate(pipeline, orchestrator.compile_pipelines(pipeline), max_workers=2)
    assert all(result.success for result in results.values())


def _ask_each(catalogue: Catalogue, entries: Sequence[CatalogueEntry]) -> None:
    def ask(entry: CatalogueEntry) -> None:
        command = [sys.executable, "-c", _PEER, str(catalogue.folder), entry.id]
        subprocess.run(command, check=True, cwd=REPO)

    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(ask, entries))


def measure(work: Callable[[], None], plates: int) -> Night:
    """Wall time, and CPU time of this process and of those that it started."""
    load, begun, cpu = os.getloadavg()[0], time.perf_counter(), _cpu_s()
    work()
    return Night(plates=plates, seconds=time.perf_counter() - begun, cpu_s=_cpu_s() - cpu, load=load)


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _table(nights: dict[str, list[Night]]) -> Table:
    table = Table(title="Nights in which nothing is to do")
    for heading in ("", "plates", "seconds", "CPU s", "CPU ms a plate", "ratio", "load before"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    peer = nights["a process a plate"]
    for name, runs in nights.items():
        for run, beside in zip(runs, peer, strict=True):
            table.add_row(
                name, str(run.plates), f"{run.seconds:.1f}", f"{run.cpu_s:.1f}", f"{run.cpu_ms_a_plate:.0f}",
                f"{run.cpu_ms_a_plate / beside.cpu_ms_a_plate:.2f}", f"{run.load:.1f}",
            )  # fmt: skip
    return table


if __name__ == "__main__":
    sys.exit(main())
