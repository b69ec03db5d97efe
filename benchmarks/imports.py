"""What the engine costs before it works: seconds and memory of imports, and of a worker up to its first function.

    python benchmarks/imports.py [--repeat 5] [--workers numpy torch] [--json FILE]

Imports run in fresh processes; their seconds leave out the start of Python. A worker is a real one, of a run of one
well with two small planes; its seconds count from its own start until its first function is called, the reading of the
planes included. All take turns, so that a busy minute of the machine hits all of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the repository, where this is run as a script

from benchmarks.worker_probe import PROBES
from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator, VariableComponents
from openhcs_engine.memory import MemoryType
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

REPO = Path(__file__).resolve().parent.parent
STATEMENTS = {
    "import nothing": "",
    "import numpy": "import numpy",
    "import openhcs_engine": "import openhcs_engine",
    "import openhcs_engine.memory": "import openhcs_engine.memory",
    "what a user's script imports": "from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator",
}
_CHILD = """
from time import perf_counter
start = perf_counter()
{statement}
seconds = perf_counter() - start
import json, sys
from pathlib import Path
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
loaded = [name for name in {names} if name in sys.modules]
print(json.dumps(dict(seconds=seconds, mb=int(peak.split()[1]) * 1024 / 1e6, loaded=loaded)))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What was there before any work."""

    seconds: float
    mb: float
    """Highest resident memory until then."""
    loaded: tuple[str, ...]
    """Array libraries that were imported."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return 1 if something imported an array library that nobody named."""
    options = _parse(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=100)
    starts: dict[str, list[Start]] = {}
    with tempfile.TemporaryDirectory(prefix="openhcs-imports-") as folder, console.status("Measuring"):
        spec = SyntheticPlate(name="tiny", rows=1, columns=1, sites=1, channels=("DAPI",), z=2, shape=(64, 64))
        plate = write_imagexpress(Path(folder) / "tiny", spec)
        for turn in range(options.repeat):
            for name, statement in STATEMENTS.items():
                starts.setdefault(name, []).append(of_statement(statement))
            for library in options.workers:
                output = Path(folder) / f"{library}-{turn}"
                starts.setdefault(f"worker, functions in {library}", []).append(of_worker(library, plate, output))
    medians = {name: _median(runs) for name, runs in starts.items()}
    console.print(_table(medians))
    if options.json:
        options.json.write_text(json.dumps({name: asdict(start) for name, start in medians.items()}, indent=1))
    unasked = {name for name, start in medians.items() if not _expected(name) >= {*start.loaded}}
    for name in unasked:
        console.print(f"{name}: imported {', '.join(medians[name].loaded)}", style="red")
    return int(bool(unasked))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Seconds and memory of imports, and of workers' starts.")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--workers", nargs="+", choices=[*PROBES], default=[MemoryType.NUMPY, MemoryType.TORCH])
    parser.add_argument("--json", type=Path, help="write the medians to this file")
    return parser.parse_args(arguments)


def of_statement(statement: str) -> Start:
    """Run it in a fresh process."""
    code = _CHILD.format(statement=statement, names=[*map(str, MemoryType)])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO)
    return _start(done.stdout)


def of_worker(library: str, plate: Path, output: Path) -> Start:
    """Run one well in a worker process, and read what its function wrote down."""
    report = output.with_suffix(".json")
    step = FunctionStep(
        (PROBES[MemoryType(library)], {"path": str(report)}), variable_components=[VariableComponents.Z_INDEX]
    )
    orchestrator = PipelineOrchestrator(plate, output=output, device="cpu").initialize()
    contexts = orchestrator.compile_pipelines(pipeline := Pipeline([step]))
    (result,) = orchestrator.execute_compiled_plate(pipeline, contexts, max_workers=1).values()
    if result.error:
        raise RuntimeError(result.error)
    return _start(report.read_text())


def _start(line: str) -> Start:
    told = json.loads(line)
    return Start(seconds=told["seconds"], mb=told["mb"], loaded=tuple(told["loaded"]))


def _median(runs: Sequence[Start]) -> Start:
    return Start(
        seconds=statistics.median(run.seconds for run in runs),
        mb=statistics.median(run.mb for run in runs),
        loaded=runs[0].loaded,
    )


def _expected(name: str) -> set[str]:
    """NumPy, and what a worker's functions speak."""
    library = name.rpartition(" ")[2]
    # TensorFlow's converter to TFLite imports JAX if it is there.
    return {"numpy", library} | ({"jax"} if library == MemoryType.TENSORFLOW else set())


def _table(medians: dict[str, Start]) -> Table:
    base = medians["import numpy"]
    table = Table(title="Medians", caption="× numpy: beside a process that imports NumPy and nothing else")
    table.add_column("")
    for heading in ("seconds", "MB", "× numpy", "array libraries"):
        table.add_column(heading, justify="left" if heading == "array libraries" else "right", no_wrap=True)
    for name, start in medians.items():
        ratio, libraries = f"{start.mb / base.mb:.2f}", ", ".join(start.loaded) or "none"
        table.add_row(name, f"{start.seconds:.2f}", f"{start.mb:.0f}", ratio, libraries)
    return table


if __name__ == "__main__":
    sys.exit(main())
