"""Run tests again and again, each time in another order, while one core is kept busy; write down what failed.

``run_often.py --times 30 -- tests/dagster/test_live.py`` runs a file thirty times. What follows ``--`` goes to pytest;
without it, the whole suite runs. The summary, with the seed of each round that failed, is in ``often.json``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

REPOSITORY = Path(__file__).resolve().parent.parent


def keep_busy() -> None:
    """Use one core until the process is ended."""
    while True:
        pass


def run_once(seed: int, arguments: list[str], report: Path) -> dict[str, object]:
    """One round: its seed, its exit code, and the tests that failed."""
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", f"--randomly-seed={seed}", f"--junit-xml={report}"]
    started = time.monotonic()
    done = subprocess.run([*command, *arguments], cwd=REPOSITORY)
    failed = [
        f"{case.get('classname')}::{case.get('name')}"
        for case in (ElementTree.parse(report).iter("testcase") if report.exists() else ())  # noqa: S314 # our own file
        if case.find("failure") is not None or case.find("error") is not None
    ]
    return {"seed": seed, "exit": done.returncode, "seconds": round(time.monotonic() - started), "failed": failed}


def main() -> int:
    """All rounds; 0 if none failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5, help="rounds")
    parser.add_argument("--summary", type=Path, default=REPOSITORY / "often.json", help="where to write what failed")
    parser.add_argument("arguments", nargs="*", help="what pytest is given; after --")
    options = parser.parse_args()
    busy = multiprocessing.get_context("spawn").Process(target=keep_busy, daemon=True)
    busy.start()
    rounds = []
    try:
        for number in range(options.times):
            seed = random.SystemRandom().randrange(2**31)
            print(f"round {number + 1} of {options.times}: --randomly-seed={seed}", flush=True)
            rounds.append(run_once(seed, options.arguments, options.summary.with_suffix(".xml")))
            options.summary.write_text(json.dumps(rounds, indent=1))
    finally:
        busy.kill()
    failures = [each for each in rounds if each["exit"]]
    print(f"{len(rounds) - len(failures)} of {len(rounds)} rounds passed; see {options.summary}")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
