"""Whole runs into an object store that are killed, or that meet each other: no well is ever torn."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from openhcs_engine import PipelineOrchestrator
from openhcs_engine.output.bucket.objects import Bucket
from openhcs_engine.output.opening import open_output
from openhcs_engine.output.verification.verify import PLATE, verify
from openhcs_engine.pipeline import Pipeline, load_pipeline
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

REPO = Path(__file__).resolve().parents[4]
SPEC = SyntheticPlate(name="small", rows=2, columns=2, sites=2, z=2, shape=(64, 64))
WELLS = ("A01", "A02", "B01", "B02")
LAB = """
from openhcs_engine import FunctionStep, Pipeline
from openhcs_engine.memory import special_outputs

@special_outputs("cells")
def brighter(stack, by=1):
    return stack + by, [{"brightness": float(stack.mean()), "by": by}]

first, second = (Pipeline([FunctionStep((brighter, {"by": by}))]) for by in (1, 2))
"""


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four wells."""
    return write_imagexpress(tmp_path_factory.mktemp("plates") / "small", SPEC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the user stands: a folder with two pipelines that differ in a number."""
    (tmp_path / "lab_buckets.py").write_text(LAB)
    (tmp_path / "temporary").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("lab_buckets", None)


@pytest.fixture
def output(bucket: str) -> str:
    """A place in the bucket that nobody else uses."""
    return f"{bucket}/{uuid.uuid4().hex}"


def start(folder: Path, plate: Path, output: str, pipeline: str, *more: str) -> subprocess.Popen[str]:
    """``openhcs run`` as a user starts it."""
    arguments = ["--pipeline", f"lab_buckets:{pipeline}", "--output", output, "--workers", "2", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "openhcs_engine.cli", "run", str(plate), *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(REPO), "TMPDIR": str(folder / "temporary"), "COLUMNS": "400"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def fingerprints(plate: Path, folder: Path, output: str, pipeline: str) -> dict[str, str]:
    """What the wells would be published with."""
    orchestrator = PipelineOrchestrator(plate, output=output).initialize()
    declared: Pipeline = load_pipeline(f"lab_buckets:{pipeline}", search_path=[folder])
    return {well: context.fingerprint for well, context in orchestrator.compile_pipelines(declared).items()}


def kill_while_publishing(process: subprocess.Popen[str], bucket: Bucket, changes: int, with_workers: bool) -> bool:
    """Kill a run after so many changes of its objects, as ``kill -9`` does; False if it ended before."""
    seen = progress(bucket)
    while changes and not ended(process, 0.02):
        now = progress(bucket)
        changes -= now != seen
        seen = now
    if process.poll() is None:
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for worker in workers if with_workers else ():
            with suppress(psutil.NoSuchProcess):  # its run is dead, and so it may have ended
                worker.kill()
        psutil.wait_procs(workers, timeout=240)  # those that outlive their run end by themselves
    process.communicate()
    return process.returncode != 0


def ended(process: subprocess.Popen[str], within: float) -> bool:
    """True if the process ends within so many seconds."""
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        return False
    return True


def progress(bucket: Bucket) -> frozenset[tuple[str, int]]:
    """Every object of wells and of those who write them."""
    return frozenset((path, about.size) for path, about in bucket.objects().items() if not path.startswith("contexts/"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_killed_at_any_instant_leaves_whole_wells_and_a_rerun_finishes(
    folder: Path, plate: Path, output: str
) -> None:
    """Eight times, with and without its workers: each well is old-complete, new-complete or absent, and none is torn.

    Between the kills nobody tidies up. Every next run starts on what the one before left, and the last one finishes.
    """
    known = {name: fingerprints(plate, folder, output, name) for name in ("first", "second")}
    place = open_output(f"{output}/small")
    bucket, chance = Bucket(f"{output}/small"), random.Random(20260314)
    killed = 0
    for number in range(8):
        runner = ("threads", "threads", "processes")[number % 3]
        process = start(folder, plate, output, ("first", "second")[number % 2], "--runner", runner)
        killed += kill_while_publishing(process, bucket, chance.randint(2, 9), number % 2 == 0)
        if not place.files.is_output():
            continue
        report = verify(place.address)
        assert [damage for damage in report.damaged if damage.well != PLATE] == []
        assert report.foreign == ()
        for well in WELLS:
            manifest = place.published(well)
            assert (manifest is None) == (well in report.missing)
            assert manifest is None or manifest.fingerprint in {known["first"][well], known["second"][well]}
    assert killed >= 5, "the runs were over before they could be killed"

    last = start(folder, plate, output, "first")
    _, errors = last.communicate(timeout=240)
    assert last.returncode == 0, errors
    report = verify(place.address)
    assert (report.whole, report.damaged, report.foreign) == (WELLS, (), ())
    assert place.unchanged(known["first"]).keys() == set(WELLS)
    listed = {file.path for well in WELLS for file in place.published(well).files}
    left = {path for path in bucket.objects() if path.startswith(("images.zarr/", "tables/cells/", ".publishing/"))}
    groups = {"images.zarr/zarr.json", "images.zarr/A/zarr.json", "images.zarr/B/zarr.json"}
    assert left == listed | groups, "what the killed runs left must be gone"
    assert not list((folder / "temporary").rglob("*.zarr")), "nor may staged wells stay on this host"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(("first", "A01,A02"), ("first", "B01,B02")), (("first", ""), ("second", ""))],
    ids=["different wells", "same wells"],
)
def test_two_runs_on_one_plate_at_once(
    folder: Path, plate: Path, output: str, ours: tuple[str, str], theirs: tuple[str, str]
) -> None:
    """Both end well; no well is lost or torn, and each is wholly the one's or the other's."""
    known = {name: fingerprints(plate, folder, output, name) for name in ("first", "second")}
    runs = [
        start(folder, plate, output, name, *(("--wells", wells) if wells else ())) for name, wells in (ours, theirs)
    ]
    for run in runs:
        _, errors = run.communicate(timeout=240)
        assert run.returncode == 0, errors
    place = open_output(f"{output}/small")
    report = verify(place.address)
    assert (report.whole, report.damaged, report.foreign) == (WELLS, (), ())
    for well in WELLS:
        manifest = place.published(well)
        assert manifest is not None
        assert manifest.fingerprint in {known[ours[0]][well], known[theirs[0]][well]}
    assert Bucket(place.address).objects(".publishing") == {}
    logs = [path for path in Bucket(place.address).objects() if path.startswith("logs/")]
    assert len(logs) == 2
