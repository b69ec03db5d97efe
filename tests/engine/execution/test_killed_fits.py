"""A run that is killed at each moment of a fit: what is published is whole, and the next run goes on from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from openhcs_engine.files.unfinished import is_unfinished
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

REPO = Path(__file__).resolve().parents[3]
LAB = '''
import os, time
from pathlib import Path
from openhcs_engine import FunctionStep, Pipeline, PlateStep, Sample
from openhcs_engine.memory import numpy, special_inputs
from openhcs_engine.output.folder import fits

def wait(moment):
    """Says that the moment is there, and waits to be killed."""
    if os.environ.get("MOMENT") == moment:
        Path(os.environ["REACHED"]).touch()
        time.sleep(120)

def replace_path(*paths, _real=fits.replace_path):
    wait("before it is published")
    _real(*paths)
    wait("after it is published")

@numpy
def mean(images):
    """The mean of the sample."""
    fits.replace_path = replace_path
    with open(os.environ["COUNTED"], "a") as file:
        file.write("fitted\\n")
    wait("while it is fitted")
    return sum(image.astype("float32") for image in images) / len(images)

@numpy
@special_inputs("field")
def less(stack, field):
    wait("while wells use it")
    return stack - (field > 1e9)

pipeline = Pipeline([PlateStep(mean, name="field", sample=Sample(images=4, minimum=2)), FunctionStep(less)])
'''


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two wells of two sites."""
    spec = SyntheticPlate(name="small", rows=1, columns=2, sites=2, z=1, channels=("DAPI",), shape=(32, 32))
    return write_imagexpress(tmp_path_factory.mktemp("plates") / "small", spec)


def start(folder: Path, plate: Path, moment: str = "") -> subprocess.Popen[str]:
    """``openhcs run`` as a user starts it."""
    command = ["run", plate, "--pipeline", "lab_fits:pipeline", "--output", folder / "out", "--workers", "1"]
    own = {"MOMENT": moment, "REACHED": str(folder / "reached"), "COUNTED": str(folder / "counted")}
    return subprocess.Popen(
        [sys.executable, "-m", "openhcs_engine.cli", *map(str, command)],
        cwd=folder, env={**os.environ, **own, "PYTHONPATH": str(REPO)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "is_there"),
    [
        ("while it is fitted", False),
        ("before it is published", False),
        ("after it is published", True),
        ("while wells use it", True),
    ],
)
def test_a_run_that_is_killed_leaves_a_whole_fit_or_none(
    plate: Path, tmp_path: Path, moment: str, is_there: bool
) -> None:
    """One that is there is used by the next run, one that is not is made; nothing is left beside it."""
    (tmp_path / "lab_fits.py").write_text(LAB)
    run = start(tmp_path, plate, moment)
    until = time.monotonic() + 200
    while not (tmp_path / "reached").exists():
        assert run.poll() is None and time.monotonic() < until, run.communicate()[0]
        time.sleep(0.05)
    workers = psutil.Process(run.pid).children(recursive=True)
    run.kill()
    run.communicate()
    psutil.wait_procs(workers, timeout=100)  # they end by themselves when their run is gone

    fits = tmp_path / "out" / "small" / "fits" / "field"
    records = list(fits.glob("[!.]*/fit.json"))
    assert len(records) == is_there
    for record in records:
        for file in json.loads(record.read_text())["files"]:
            assert (tmp_path / "out" / "small" / file["path"]).stat().st_size == file["size"]

    again = start(tmp_path, plate)
    printed = again.communicate(timeout=200)[0]
    assert again.returncode == 0, printed
    assert (tmp_path / "counted").read_text().split() == ["fitted"] * (1 if is_there else 2)
    assert len(list(fits.glob("*/fit.json"))) == 1 and not any(is_unfinished(path.name) for path in fits.iterdir())
    report = verify(tmp_path / "out" / "small")
    assert report.ok and not report.foreign and report.whole == ("A01", "A02")
