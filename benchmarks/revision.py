"""Another commit of this repository, unpacked and installed into an environment of its own.

    python benchmarks/revision.py REF SCRIPT [--repeat 9] [-- options of the script]

runs a benchmark that knows ``--json`` as it is now and as it was at REF, in turns, and prints the ratio of each
number's medians. The environment sees all packages of the one that runs this: only the code of this repository differs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

REPO = Path(__file__).resolve().parent.parent
CACHE = Path(tempfile.gettempdir()) / "openhcs-benchmark"


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit whose commands can be called."""

    name: str
    """As it was asked for."""
    root: Path
    """The tree, beside nothing else of the repository."""
    python: Path
    """The interpreter of its environment; its commands lie beside it."""

    @property
    def environ(self) -> dict[str, str]:
        """One thread a process, and modules from its own tree alone."""
        one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
        return {**os.environ, **one_thread, "PYTHONPATH": str(self.root)}


NOW = Revision("now", REPO, Path(sys.executable))


def checked_out(ref: str, cache: Path) -> Revision:
    """Unpack a commit below ``cache`` and install it there, once; CalledProcessError if git or pip refuses."""
    sha = _output("git", "-C", str(REPO), "rev-parse", "--verify", f"{ref}^{{commit}}").strip()
    root = cache.absolute() / f"revision-{sha[:12]}"
    python = root / ".venv" / "bin" / "python"
    done = root / ".installed"
    if not done.is_file():
        root.mkdir(parents=True, exist_ok=True)
        archive = root / ".archive.tar"
        _output("git", "-C", str(REPO), "archive", "-o", str(archive), sha)
        _output("tar", "-xf", str(archive), "-C", str(root))
        archive.unlink()
        _output(sys.executable, "-m", "venv", "--without-pip", str(root / ".venv"))
        place = _output(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        # A path in a .pth file adds packages, but follows no .pth files there: the code of now stays out of sight.
        Path(place, "packages.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        _output(str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "-e", str(root))
        done.touch()
    return Revision(ref, root, python)


def numbers(document: object, path: str = "") -> Iterator[tuple[str, float]]:
    """All numbers of a JSON document with where they stand in it."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from numbers(value, f"{path}.{key}" if path else str(key))
    elif isinstance(document, list):
        for place, value in enumerate(document):
            yield from numbers(value, f"{path}[{place}]")
    elif isinstance(document, int | float) and not isinstance(document, bool):
        yield path, float(document)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def _run(revision: Revision, script: str, options: Sequence[str], document: Path) -> dict[str, float]:
    path = revision.root / "benchmarks" / f"{script.removesuffix('.py')}.py"
    command = [str(revision.python), str(path), *options, "--json", str(document)]
    subprocess.run(command, check=True, cwd=revision.root, env=revision.environ, stdout=subprocess.DEVNULL)
    return dict(numbers(json.loads(document.read_text())))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure in turns, and print medians and ratios."""
    parser = argparse.ArgumentParser(description="A benchmark as it is now, against another commit's.")
    parser.add_argument("ref", help="a commit, branch or tag")
    parser.add_argument("script", help="a benchmark that knows --json, such as indexing")
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("options", nargs="*", help="options of the script, after --")
    # Intermixed: else options of ours before the "--" would end the script's before they begin.
    options = parser.parse_intermixed_args(arguments)
    revisions = (checked_out(options.ref, options.cache), NOW)
    found: dict[str, list[dict[str, float]]] = {revision.name: [] for revision in revisions}
    with tempfile.TemporaryDirectory() as folder:
        for _ in track(range(options.repeat), description=options.script, transient=True):
            for revision in revisions:
                found[revision.name].append(_run(revision, options.script, options.options, Path(folder, "found.json")))
    table = Table(title=f"{options.script}: medians of {options.repeat}")
    for heading in ("number", options.ref, "now", "now / before"):
        table.add_column(heading, justify="left" if heading == "number" else "right")
    for key in found[NOW.name][0]:
        before, now = ([run[key] for run in found[name] if key in run] for name in (options.ref, NOW.name))
        if before and now:
            old, new = statistics.median(before), statistics.median(now)
            table.add_row(key, f"{old:.4g}", f"{new:.4g}", f"{new / old:.3f}" if old else "")
    Console(width=None if sys.stdout.isatty() else 124).print(table)


if __name__ == "__main__":
    main()
