"""``openhcs run``: a well that is removed while the run goes on counts as failed in summary and exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

LAB = """
from pathlib import Path
from openhcs_engine import FunctionStep, Pipeline

def forget(stack, manifest):
    Path(manifest).unlink(missing_ok=True)
    return stack

pipeline = Pipeline([FunctionStep((forget, {"manifest": "results/plate/wells/A01.json"}))])
"""


def test_a_lost_well_is_counted_as_failed(tmp_path: Path) -> None:
    """The exit code is 1, the well is named with the remedy, and counted once."""
    write_imagexpress(tmp_path / "plate", SyntheticPlate(rows=1, columns=2, sites=1, z=1, shape=(64, 64)))
    (tmp_path / "forgetful.py").write_text(LAB)
    program = [sys.executable, "-c", "from openhcs_engine.cli.commands import openhcs; openhcs()"]
    given = ["run", "plate", "--pipeline", "forgetful:pipeline", "--output", "results", "--runner", "threads"]
    done = subprocess.run(
        [*program, *given, "--workers", "1"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "failed: Well A01: this run published it" in done.stderr and "Run the well again" in done.stderr
    assert "1 done, 1 failed" in done.stdout
