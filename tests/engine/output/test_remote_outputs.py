"""Whole runs into object stores: run, verify, run again, and read the result back."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from pathlib import Path

import numpy as np
import pytest
import zarr
from fsspec.implementations.memory import MemoryFileSystem

from openhcs_engine import FunctionStep, Materialize, Pipeline, PipelineOrchestrator, VariableComponents
from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.execution.results import WellResult, WellStatus
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.microscopes.file_names.handler import pattern_handler
from openhcs_engine.ngff.options import ImageOptions
from openhcs_engine.ngff.reading.reader import open_plate
from openhcs_engine.output.bucket.objects import Bucket
from openhcs_engine.output.bucket.output import PlateBucket
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.plan.context import OutputPlan
from openhcs_engine.raw.plane import read_plane
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.engine.ngff_judges import judged_by_models
from tests.engine.plates import add, make_plate

WELLS = ("A01", "A02", "B01")
NAMES = r"(?P<well>[A-Z]\d\d)_s(?P<site>\d+)_w(?P<channel>\d)_z(?P<z>\d+)_t(?P<timepoint>\d+)\.ome\.tif"
DONE, UNCHANGED = {WellStatus.DONE}, {WellStatus.UNCHANGED}


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four wells."""
    spec = SyntheticPlate(name="small", rows=2, columns=2, sites=2, z=2, shape=(40, 48))
    return write_imagexpress(tmp_path_factory.mktemp("plates") / "small", spec)


@pytest.fixture(params=["memory", "s3"])
def root(request: pytest.FixtureRequest) -> str:
    """A URL that nobody else uses."""
    start = "memory://runs" if request.param == "memory" else request.getfixturevalue("bucket")
    return f"{start}/{uuid.uuid4().hex}"


def run(
    plate: Path, output: str | Path, amount: int = 1, ngff: str = "0.5", **options: object
) -> dict[str, WellResult]:
    """Run three wells in threads."""
    kept = {"materialize": Materialize(sub_folder="bright")} if options.pop("kept", False) else {}
    step = FunctionStep((add, {"amount": amount}), **kept)
    pipeline = Pipeline([step, FunctionStep(add, variable_components=[VariableComponents.Z_INDEX])])
    orchestrator = PipelineOrchestrator(
        plate, output=output, runner="threads", images=ImageOptions(ngff=ngff), **options
    ).initialize()
    contexts = orchestrator.compile_pipelines(pipeline, well_filter=WELLS)
    return orchestrator.execute_compiled_plate(pipeline, contexts, max_workers=2)


def statuses(results: dict[str, WellResult]) -> set[WellStatus]:
    """What became of the wells."""
    assert {well: result.error for well, result in results.items()} == dict.fromkeys(WELLS)
    return {result.status for result in results.values()}


@pytest.mark.parametrize(("backend", "ngff"), [("zarr", "0.5"), ("zarr", "0.4"), ("disk", "0.5")])
def test_a_run_is_verified_and_not_repeated(plate: Path, root: str, backend: str, ngff: str) -> None:
    """A changed parameter makes a new version of each well; of the old one nothing is left."""
    address = f"{root}/small"
    results = run(plate, root, ngff=ngff, backend=backend)
    assert statuses(results) == DONE
    assert all(result.store_path.startswith(f"{address}/images") for result in results.values())
    assert verify(address).whole == WELLS and verify(address).ok and verify(address).foreign == ()
    first = set(Bucket(address).objects())

    assert statuses(run(plate, root, ngff=ngff, backend=backend)) == UNCHANGED
    assert {path for path in Bucket(address).objects() if not path.startswith("logs/")} == {
        path for path in first if not path.startswith("logs/")
    }

    assert statuses(run(plate, root, amount=2, ngff=ngff, backend=backend)) == DONE
    second = set(Bucket(address).objects())
    assert verify(address).ok and verify(address).foreign == ()
    assert len(second) == len(first) + 3, "one more plan, and two more logs"
    images = {path for path in first if "/v" in path}
    assert images and not images & second


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_the_result_is_a_plate_again(plate: Path, root: str, tmp_path: Path, ngff: str) -> None:
    """Through the microscope's reader, our own and zarr's, with the pixels of the same run into a folder."""
    for output in (root, tmp_path):
        assert statuses(run(plate, output, ngff=ngff)) == DONE
    url = f"{root}/small"
    here, there = open_plate(tmp_path / "small"), open_plate(url)
    assert there.wells == here.wells == WELLS
    for well, reader in here.items():
        group = zarr.open_group(f"{url}/images.zarr/{well[:1]}/{well[1:]}", mode="r")
        for number, site in enumerate(reader):
            pixels = np.asarray(reader[site].array())
            assert np.array_equal(np.asarray(there[well][site].array()), pixels)
            attributes = dict(group.attrs)
            listed = attributes.get("ome", attributes)["well"]["images"][number]["path"]
            assert listed.isalnum() and np.array_equal(group[f"{listed}/0"][...], pixels)
    read, index = detect_microscope(url).read_plate()
    local, expected = detect_microscope(tmp_path / "small").read_plate()
    assert (read.wells, read.sites, read.channels, read.warnings) == (
        local.wells,
        local.sites,
        local.channels,
        local.warnings,
    )
    assert [plane.key for plane in index] == [plane.key for plane in expected]


def test_the_result_is_the_next_runs_input(plate: Path, bucket: str, tmp_path: Path) -> None:
    """Its pixels go through another pipeline, from the store into a folder."""
    root = f"{bucket}/{uuid.uuid4().hex}"
    run(plate, root, amount=3)
    orchestrator = PipelineOrchestrator(f"{root}/small", output=tmp_path, runner="threads").initialize()
    pipeline = Pipeline([FunctionStep(add)])
    results = orchestrator.execute_compiled_plate(pipeline, orchestrator.compile_pipelines(pipeline), max_workers=1)
    assert statuses(results) == DONE
    before, after = open_plate(f"{root}/small"), open_plate(tmp_path / orchestrator.plate.plate_id)
    for well in WELLS:
        assert np.array_equal(np.asarray(after[well][2].array()), np.asarray(before[well][2].array()) + 1)


def test_tiff_files_are_a_plate_again(plate: Path, bucket: str, tmp_path: Path) -> None:
    """By their names, as those in a folder; each version's lie in a folder of their own."""
    root = f"{bucket}/{uuid.uuid4().hex}"
    for output in (root, tmp_path):
        run(plate, output, backend="disk")
    handler = [pattern_handler(pattern=NAMES)]
    _, there = detect_microscope(f"{root}/small/images", handler).read_plate()
    _, here = detect_microscope(str(tmp_path / "small" / "images"), handler).read_plate()
    assert len(there) == len(here) == 3 * 2 * 2 * 2
    for remote, local in zip(there, here, strict=True):
        assert remote.key == local.key and remote.path and local.path
        assert np.array_equal(
            read_plane(f"{root}/small/images", remote.path), read_plane(tmp_path / "small/images", local.path)
        )


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_the_plate_is_valid_where_it_lies(plate: Path, bucket: str, ngff: str) -> None:
    """The reference models of OME-Zarr open plate, wells and images from the store."""
    root = f"{bucket}/{uuid.uuid4().hex}"
    run(plate, root, ngff=ngff)
    judged = judged_by_models(f"{root}/small/images.zarr", ngff)
    assert judged["wells"] >= len(WELLS) and judged["images"] >= len(WELLS)


def test_what_steps_keep_is_published_with_the_well(plate: Path, root: str) -> None:
    """Under the same token, in a set of images of its own, and replaced with it."""
    for amount in (1, 2):
        assert statuses(run(plate, root, amount=amount, kept=True)) == DONE
        report = verify(f"{root}/small")
        assert report.ok and report.foreign == ()
    raw = open_plate(f"{root}/small/bright.zarr")
    whole = open_plate(f"{root}/small")
    assert np.array_equal(np.asarray(raw["A01"][1].array()) + 1, np.asarray(whole["A01"][1].array()))


def test_every_run_leaves_its_log(plate: Path, root: str) -> None:
    """One that fails, too: with the sentence that says why."""
    run(plate, root)
    pipeline = Pipeline([FunctionStep((add, {"amount": 4}))])
    orchestrator = PipelineOrchestrator(plate, output=root, runner="threads").initialize()
    contexts = orchestrator.compile_pipelines(pipeline, well_filter=WELLS)
    results = orchestrator.execute(pipeline, contexts, 1)
    next(results)
    results.close()
    bucket = Bucket(f"{root}/small")
    logs = sorted(bucket.read(f"logs/{name}").decode() for name in bucket.names("logs"))
    assert len(logs) == 2 and all("== A01" in log for log in logs)
    assert sum("run stopped: 1 done" in log for log in logs) == sum("run ended: 3 done" in log for log in logs) == 1


def test_memory_is_this_process_alone(plate: Path) -> None:
    """Worker processes would write into memories of their own: threads run, and the results say so."""
    pipeline = Pipeline([FunctionStep(add)])
    url = f"memory://runs/{uuid.uuid4().hex}"
    orchestrator = PipelineOrchestrator(plate, output=url, runner="processes").initialize()
    contexts = orchestrator.compile_pipelines(pipeline, well_filter=WELLS)
    results = orchestrator.execute_compiled_plate(pipeline, contexts, max_workers=2)
    assert statuses(results) == DONE and verify(f"{url}/small").ok
    assert all(any("lives in the memory of this process alone" in note for note in r.notes) for r in results.values())


def test_a_plan_knows_a_url_by_its_address_alone() -> None:
    """A Path would destroy it; what needs a folder is refused with a sentence."""
    plan = OutputPlan(root="s3://bucket/results/", plate_id="P1", backend="zarr")
    assert plan.address == "s3://bucket/results/P1"
    with pytest.raises(OutputPlaceError, match=r"s3://bucket/results/P1 is a URL.*needs a folder"):
        _ = plan.folder
    assert OutputPlan(root="/results", plate_id="P1", backend="zarr").address == "/results/P1"


def test_importing_the_engine_loads_no_store() -> None:
    """Neither s3fs nor fsspec, which take a second."""
    code = (
        "import sys, openhcs_engine; print([name for name in ('s3fs', 'fsspec', 'aiobotocore') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_run_that_has_only_begun_is_no_stranger() -> None:
    """Its groups are there before its plan; images of other programs without a plan are refused."""
    ours, foreign = (PlateBucket.at(f"memory://begun/{uuid.uuid4().hex}") for _ in range(2))
    ours.prepare(make_plate()[0])
    foreign.bucket.put("images.zarr/zarr.json", b'{"zarr_format": 3, "node_type": "group", "attributes": {"ome": {}}}')

    PlateBucket.at(ours.address).check_usable("/raw/P1")
    with pytest.raises(OutputPlaceError, match=r"images\.zarr of something else"):
        foreign.check_usable("/raw/P1")


def test_wells_in_threads_take_turns_in_the_memory_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody writes while one lists: fsspec's own dictionary would change under it."""
    bucket = Bucket(f"memory://shared/{uuid.uuid4().hex}")
    written = threading.Event()

    def put() -> None:
        bucket.put("wells/A01.json", b"{}")
        written.set()

    other = threading.Thread(target=put)

    def find(*_: object, **__: object) -> dict[str, object]:
        other.start()
        assert not written.wait(0.2)
        return {}

    monkeypatch.setattr(MemoryFileSystem, "find", find)
    assert bucket.objects("wells") == {}
    other.join()
    assert written.is_set()
