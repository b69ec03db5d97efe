"""Whole runs that are killed, that meet each other, or that run out of disk: no well is ever torn."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from openhcs_engine import PipelineOrchestrator
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.verification.verify import PLATE, verify
from openhcs_engine.pipeline import Pipeline, load_pipeline
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

REPO = Path(__file__).resolve().parents[3]
SPEC = SyntheticPlate(name="small", rows=2, columns=3, sites=2, z=2, shape=(64, 64))
WELLS = ("A01", "A02", "A03", "B01", "B02", "B03")
LAB = '''
import os
from pathlib import Path
from openhcs_engine import FunctionStep, Pipeline, VariableComponents
from openhcs_engine.functions import create_max_projection

def brighter(stack, by=1):
    return stack + by

def pipeline_of(by):
    return Pipeline([FunctionStep((brighter, {"by": by})),
                     FunctionStep(create_max_projection, variable_components=[VariableComponents.Z_INDEX])])

first, second = pipeline_of(1), pipeline_of(2)

def fill_or_free(stack):
    """The first well finds room; the second finds the disk filled; the third finds room again."""
    place = Path(os.environ["FULL"])
    counted = Path(os.environ["COUNTED"])
    calls = int(counted.read_text()) + 1 if counted.exists() else 1
    counted.write_text(str(calls))
    free = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
    if calls == 2:
        with (place / "filler").open("wb", buffering=0) as filler:  # the run's log takes space meanwhile, too
            filler.truncate(filler.write(bytes(free)) - 4096)
    elif calls == 3:
        (place / "filler").unlink()
    return stack

filling = Pipeline([FunctionStep(fill_or_free, variable_components=[
    VariableComponents.SITE, VariableComponents.CHANNEL, VariableComponents.Z_INDEX])])
'''


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six wells."""
    return write_imagexpress(tmp_path_factory.mktemp("plates") / "small", SPEC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the user stands: a folder with two pipelines that differ in a number."""
    (tmp_path / "lab_interrupted.py").write_text(LAB)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("lab_interrupted", None)


def start(folder: Path, plate: Path, pipeline: str, *more: str) -> subprocess.Popen[str]:
    """``openhcs run`` as a user starts it."""
    arguments = [
        plate,
        "--pipeline",
        f"lab_interrupted:{pipeline}",
        "--output",
        folder / "out",
        "--workers",
        "2",
        *more,
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "openhcs_engine.cli", "run", *map(str, arguments)],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(REPO)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def fingerprints(plate: Path, folder: Path, pipeline: str) -> dict[str, str]:
    """What the wells would be published with."""
    orchestrator = PipelineOrchestrator(plate, output=folder / "out").initialize()
    declared: Pipeline = load_pipeline(f"lab_interrupted:{pipeline}", search_path=[folder])
    return {well: context.fingerprint for well, context in orchestrator.compile_pipelines(declared).items()}


def kill_after(process: subprocess.Popen[str], changes: int, delay: float, with_workers: bool, output: Path) -> bool:
    """Kill a run some time after so many changes of its output, as ``kill -9`` does; False if it ended before."""
    seen = progress(output)
    while changes and not ended(process, 0.001):
        now = progress(output)
        changes -= now != seen
        seen = now
    if not ended(process, delay):
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for worker in workers if with_workers else ():
            with suppress(psutil.NoSuchProcess):  # its run is dead, and so it may have ended
                worker.kill()
        psutil.wait_procs(workers, timeout=240)  # those that outlive their run end by themselves
    process.communicate()
    return process.returncode != 0


def progress(output: Path) -> frozenset[str]:
    """What lies in the staging folders, and which wells are published."""
    found: set[str] = set()
    with suppress(FileNotFoundError):  # a folder is swept in this moment
        found.update(str(path) for path in output.glob(".staging/*/*"))
    for path in output.glob("wells/*.json"):
        with suppress(FileNotFoundError):  # replaced in this moment
            found.add(f"{path} {path.stat().st_mtime_ns}")
    return frozenset(found)


def ended(process: subprocess.Popen[str], within: float) -> bool:
    """True if the process ends within so many seconds."""
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        return False
    return True


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_killed_at_any_instant_leaves_whole_wells_and_a_rerun_finishes(folder: Path, plate: Path) -> None:
    """Twenty kills, with and without its workers: each well is old-complete, new-complete or absent, and none is torn.

    A run that ends before it is killed does not count. Between the kills nobody tidies up: every next run starts on
    what the one before left, and the last one finishes.
    """
    known = {name: fingerprints(plate, folder, name) for name in ("first", "second")}
    output = PlateFolder(folder / "out" / "small", "zarr")
    chance = random.Random(20260314)
    whole = start(folder, plate, "first")
    _, errors = whole.communicate()
    assert whole.returncode == 0, errors

    killed = number = 0
    while killed < 20:
        assert number < 60, "the runs were over before they could be killed"
        number += 1
        process = start(folder, plate, ("second", "first")[number % 2])
        changes, delay = chance.randint(0, 10), chance.uniform(0, 0.04)
        killed += kill_after(process, changes, delay, number % 3 != 0, output.folder)
        report = verify(output.folder)
        assert [damage for damage in report.damaged if damage.well != PLATE] == []
        for well in WELLS:
            manifest = output.published(well)
            assert (manifest is None) == (well in report.missing)
            assert manifest is None or manifest.fingerprint in {known["first"][well], known["second"][well]}

    last = start(folder, plate, "first")
    _, errors = last.communicate()
    assert last.returncode == 0, errors
    report = verify(output.folder)
    assert (report.whole, report.damaged, report.foreign) == (WELLS, (), ())
    assert all(output.published(well, known["first"][well]) for well in WELLS)
    left = {path.name for path in output.folder.iterdir()}
    assert ".staging" not in left and not list(output.folder.rglob(".tmp-*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(("first", "A01,A02,A03"), ("first", "B01,B02,B03")), (("first", ""), ("second", ""))],
    ids=["different wells", "same wells"],
)
def test_two_runs_on_one_plate_at_once(
    folder: Path, plate: Path, ours: tuple[str, str], theirs: tuple[str, str]
) -> None:
    """Both end well; no well is lost or torn, and each is wholly the one's or the other's."""
    known = {name: fingerprints(plate, folder, name) for name in ("first", "second")}
    runs = [start(folder, plate, name, *(("--wells", wells) if wells else ())) for name, wells in (ours, theirs)]
    for run in runs:
        _, errors = run.communicate()
        assert run.returncode == 0, errors
    report = verify(folder / "out" / "small")
    assert (report.whole, report.damaged, report.foreign) == (WELLS, (), ())
    output = PlateFolder(folder / "out" / "small", "zarr")
    for well in WELLS:
        manifest = output.published(well)
        assert manifest is not None
        assert manifest.fingerprint in {known[ours[0]][well], known[theirs[0]][well]}
    assert not (folder / "out" / "small" / ".staging").exists()


FULL = """
import json, os, subprocess, sys
from pathlib import Path

place, plate = Path(os.environ["FULL"]), sys.argv[1]
cli = [sys.executable, "-m", "openhcs_engine.cli"]
arguments = ["--pipeline", "lab_interrupted:filling", "--output", str(place)]
arguments += ["--workers", "1", "--wells", "A01,A02,A03"]
run = subprocess.run([*cli, "run", plate, *arguments], capture_output=True, text=True)
checked = subprocess.run([*cli, "verify", "--json", str(place / "small")], capture_output=True, text=True)
from openhcs_engine.output.folder.output import PlateFolder
images = PlateFolder(place / "small", "zarr").open_images()
means = {well: float(images[well][1].array(0)[0, 0, 0].mean()) for well in images}
print(json.dumps({"code": run.returncode, "told": run.stderr, "verify": json.loads(checked.stdout), "means": means,
                  "staged": (place / "small" / ".staging").exists()}))
"""


def test_a_full_disk_fails_the_well_that_found_it_full(folder: Path, plate: Path) -> None:
    """On a file system of 4 MB: the well fails with that sentence, leaves nothing, and the others stay readable."""
    place = folder / "disk"
    place.mkdir()
    mount = f"mount -t tmpfs -o size=4m none '{place}'"
    allowed = subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, text=True, check=False)
    if allowed.returncode:
        pytest.skip(f"no file system of a limited size can be mounted here: {allowed.stderr.strip()}")
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{mount} && exec '{sys.executable}' -c \"$SCRIPT\" '{plate}'"],
        cwd=folder, capture_output=True, text=True, check=False,
        env={
            **os.environ, "PYTHONPATH": str(REPO), "COLUMNS": "400",
            "SCRIPT": FULL, "FULL": str(place), "COUNTED": str(folder / "counted"),
        },
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["code"] == 1 and "Well A02: No space left on" in found["told"]
    assert "finished wells are kept" in found["told"]
    assert (found["verify"]["whole"], found["verify"]["missing"]) == (["A01", "A03"], ["A02"])
    assert found["verify"]["damaged"] == [] and found["verify"]["foreign"] == [] and not found["staged"]
    assert set(found["means"]) == {"A01", "A03"} and all(mean > 0 for mean in found["means"].values())
