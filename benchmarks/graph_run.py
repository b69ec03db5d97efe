"""The benchmark's plate through the Dagster graph, as a lab would do it by hand: register it, materialise it.

    python benchmarks/graph_run.py PLATE OUT [--pipeline module:attribute] [--workers 2]

Everything Dagster writes lies in a home of its own, ``OUT/dagster_home``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

PLATE_ID = "bench"


def main() -> None:
    """Run ``openhcs-dagster add`` and ``openhcs-dagster materialize``; end with the first failure's exit code."""
    parser = argparse.ArgumentParser(description="The benchmark's work as Dagster assets.")
    parser.add_argument("plate", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pipeline", default="benchmarks.pipelines:benchmark_pipeline")
    parser.add_argument("--workers", default="2")
    options = parser.parse_args()
    home = options.out.absolute() / "dagster_home"
    home.mkdir(parents=True)
    add = ["add", str(options.plate.absolute()), "--pipeline", options.pipeline, "--id", PLATE_ID]
    add += ["--output", str(options.out.absolute()), "--workers", options.workers]
    for arguments in (add, ["materialize", PLATE_ID]):
        command = [str(Path(sys.executable).with_name("openhcs-dagster")), *arguments]
        code = subprocess.run(command, env={**os.environ, "DAGSTER_HOME": str(home)}).returncode
        if code:
            sys.exit(code)


if __name__ == "__main__":
    main()
