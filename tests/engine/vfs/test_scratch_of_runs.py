"""Whole runs with scratch in a folder of the user's: stopped, killed, two at a time; nothing stays, nobody is hurt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from openhcs_engine.output.verification.verify import verify

REPO = Path(__file__).resolve().parents[3]
LAB = """
from openhcs_engine import FunctionStep, Pipeline
from tests.engine.intermediate_functions import Z, wait_for
from tests.engine.plates import add

quick = Pipeline([FunctionStep(add, variable_components=[Z]), FunctionStep(add, variable_components=[Z])])
waiting = Pipeline([quick[0], FunctionStep((wait_for, {"file": "go"}), variable_components=[Z])])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the user stands: a folder with two pipelines, one of which waits for a file ``go``."""
    (tmp_path / "lab_scratch.py").write_text(LAB)
    return tmp_path


def start(
    folder: Path, plate: Path, pipeline: str, output: str, *, intermediates: str = "disk"
) -> subprocess.Popen[str]:
    """``openhcs run`` of one well with its scratch in the folder ``fast``."""
    arguments = ["--pipeline", f"lab_scratch:{pipeline}", "--output", output, "--workers", "1", "--wells", "A01"]
    arguments += ["--intermediates", intermediates, "--scratch", "fast"]
    return subprocess.Popen(
        [sys.executable, "-m", "openhcs_engine.cli", "run", str(plate), *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(REPO)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for_planes(folder: Path, run: subprocess.Popen[str]) -> None:
    """Until a well keeps planes in the folder ``fast``."""
    while not any((folder / "fast").glob("openhcs-scratch/.tmp-*/*/step1/s*")):
        assert run.poll() is None, run.communicate()
        time.sleep(0.02)


def left_in(folder: Path) -> list[Path]:
    """Everything in the folder ``fast``."""
    return list((folder / "fast").iterdir())


def finish(run: subprocess.Popen[str]) -> None:
    """Wait for a run, which must end well."""
    _, errors = run.communicate(timeout=240)
    assert run.returncode == 0, errors


@pytest.mark.parametrize("intermediates", ["disk", "zarr"])
def test_ctrl_c_leaves_no_scratch(folder: Path, small_plate: Path, intermediates: str) -> None:
    """The well in work is killed with its worker, and what it held goes before the run ends."""
    run = start(folder, small_plate, "waiting", "out", intermediates=intermediates)
    wait_for_planes(folder, run)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=240)

    assert run.returncode == 130
    assert left_in(folder) == []


def test_scratch_of_a_killed_run_goes_with_the_next_one(folder: Path, small_plate: Path) -> None:
    """A run that is killed cannot tidy up; another one that is given the same folder does, whatever its plate."""
    run = start(folder, small_plate, "waiting", "out")
    wait_for_planes(folder, run)
    workers = psutil.Process(run.pid).children(recursive=True)
    run.kill()
    run.communicate()
    psutil.wait_procs(workers, timeout=240)  # they end by themselves once their run is gone
    assert left_in(folder) != []

    finish(start(folder, small_plate, "quick", "elsewhere"))

    assert left_in(folder) == []


def test_two_runs_share_one_scratch_folder(folder: Path, small_plate: Path) -> None:
    """One begins, sweeps and ends while the other holds planes there; both wells are whole, then nothing is left."""
    slow = start(folder, small_plate, "waiting", "slow")
    wait_for_planes(folder, slow)
    finish(start(folder, small_plate, "quick", "quick"))
    wait_for_planes(folder, slow)
    (folder / "go").touch()
    finish(slow)

    assert verify(folder / "slow" / "small").ok and verify(folder / "quick" / "small").ok
    assert left_in(folder) == []
