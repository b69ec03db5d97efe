"""What somebody removes or replaces while a run goes on is found at its end: no missing well counts as done."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator
from openhcs_engine.errors import StorageError
from openhcs_engine.execution.results import WellResult, WellStatus
from openhcs_engine.memory.stack import Array
from openhcs_engine.output.bucket.objects import Bucket
from openhcs_engine.output.bucket.output import PlateBucket
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.image_sets import KnownManifests
from openhcs_engine.output.opening import open_output
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.engine.plate_outputs import change, contents
from tests.engine.plates import add, explode

WELLS = ("A01", "A02", "B01", "B02")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plate of 2 x 2 wells."""
    spec = SyntheticPlate(rows=2, columns=2, sites=1, channels=("DAPI",), z=1, shape=(64, 64))
    return write_imagexpress(tmp_path_factory.mktemp("raw") / "plate", spec)


@pytest.fixture(params=["folder", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for outputs that nobody else uses."""
    return str(tmp_path / "results") if request.param == "folder" else f"memory://outputs/{uuid.uuid4().hex}"


def run(
    raw: Path,
    root: str | Path,
    meanwhile: Callable[[PlateOutput], object] = lambda output: None,
    *,
    by: int = 1,
    backend: str = "zarr",
    wells: str | None = None,
    at: int = len(WELLS),
    notes: list[str] | None = None,
) -> list[WellResult]:
    """Everything that a run yields; ``meanwhile`` happens after so many results."""
    pipeline = Pipeline([FunctionStep((add, {"amount": by}))])
    orchestrator = PipelineOrchestrator(raw, output=root, runner="threads", backend=backend).initialize()
    contexts = orchestrator.compile_pipelines(pipeline, well_filter=wells)
    results = []
    for result in orchestrator.execute(pipeline, contexts, 1, (notes if notes is not None else []).append):
        results.append(result)
        if len(results) == at:
            meanwhile(open_output(f"{root}/plate", backend))
    return results


def last(results: list[WellResult]) -> dict[str, WellStatus]:
    """How each well ended."""
    return {result.well: result.status for result in results}


def remove(output: PlateOutput, prefix: str = "") -> None:
    """Remove everything below a path of an output."""
    if isinstance(output, PlateBucket):
        output.bucket.remove([path for path in contents(output) if path.startswith(prefix)])
    else:
        target = Path(output.address) / prefix
        shutil.rmtree(target) if target.is_dir() else target.unlink()


def replace_by_older(output: PlateOutput) -> None:
    """A02 becomes the one of an output that another plan made before, with all its files."""
    before = open_output(f"{output.address.removesuffix('/plate')}/before/plate", output.backend)
    remove(output, f"{images(output)}/{'A/02' if output.backend == 'zarr' else 'A02'}")
    for path, content in contents(before).items():
        if "A/02/" in path or "A02" in path:
            change(output, path, content)


def images(output: PlateOutput) -> str:
    return "images.zarr" if output.backend == "zarr" else "images"


@dataclass(frozen=True)
class Loss:
    """What happens to an output while its run goes on."""

    name: str
    happens: Callable[[PlateOutput], object]
    lost: tuple[str, ...]
    says: str
    """In the sentence of each lost well."""

    def __str__(self) -> str:
        return self.name


LOSSES = [
    Loss("everything removed", remove, WELLS, "is missing"),
    Loss("all manifests removed", lambda output: remove(output, "wells/"), WELLS, ".json in "),
    Loss("one manifest removed", lambda output: remove(output, "wells/A02.json"), ("A02",), "wells/A02.json"),
    Loss("images of one well removed", lambda o: remove(o, "images.zarr/A/02/"), ("A02",), "zarr/A/02 is missing"),
    Loss("all images removed", lambda output: remove(output, "images.zarr/"), WELLS, "images.zarr/"),
    Loss(
        "one file removed",
        lambda output: change(output, "images.zarr/A/02/zarr.json", None),
        ("A02",),
        "images.zarr/A/02/zarr.json is missing",
    ),
    Loss(
        "one file shortened",
        lambda output: change(output, "images.zarr/A/02/zarr.json", b"{"),
        ("A02",),
        "images.zarr/A/02/zarr.json is missing or damaged",
    ),
    Loss("a manifest that is none", lambda output: change(output, "wells/A02.json", b"{"), ("A02",), "cannot be read"),
    Loss(
        "another well's manifest",
        lambda output: change(output, "wells/A02.json", contents(output)["wells/A01.json"]),
        ("A02",),
        "cannot be read",
    ),
    Loss("a well of an older output in its place", replace_by_older, ("A02",), "is now an older one of run "),
]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_what_is_lost_while_a_run_goes_on_fails_at_its_end(raw: Path, root: str, loss: Loss) -> None:
    """Such a well is yielded again, as failed, with a sentence on where and what to do; the others stay done."""
    if loss.happens is replace_by_older:
        run(raw, f"{root}/before", by=2)
    results = run(raw, root, loss.happens)

    assert [result.status for result in results[:4]] == [WellStatus.DONE] * 4
    assert [result.well for result in results[4:]] == list(loss.lost)
    for result in results[4:]:
        assert result.status is WellStatus.FAILED and not result.success and result.store_path is None
        told = str(result.error)
        assert told.startswith(f"Well {result.well}: this run published it, but ") and "Run the well again" in told
        assert loss.says in told and f"{root}/plate" in told
    again = last(run(raw, root))
    assert again == {well: WellStatus.DONE if well in loss.lost else WellStatus.UNCHANGED for well in WELLS}
    assert verify(f"{root}/plate").ok


def test_objects_of_a_store_are_looked_for_too(raw: Path, bucket: str) -> None:
    """Behind s3:// as in a folder: a manifest, and images below a manifest that is there."""
    root = f"{bucket}/{uuid.uuid4().hex}"

    def remove_some(output: PlateOutput) -> None:
        remove(output, "wells/A01.json")
        remove(output, "images.zarr/A/02/")

    results = run(raw, root, remove_some, wells="A01,A02,B01", at=3)
    assert last(results) == {"A01": WellStatus.FAILED, "A02": WellStatus.FAILED, "B01": WellStatus.DONE}
    assert all(f"{root}/plate" in str(result.error) for result in results[3:])


def test_files_of_tiff_wells_are_looked_for_too(raw: Path, tmp_path: Path) -> None:
    """Whatever form the output has."""
    results = run(raw, tmp_path, lambda output: remove(output, "images/A02"), backend="disk")
    assert last(results)["A02"] is WellStatus.FAILED and "images/A02 is missing" in str(results[-1].error)
    assert len(results) == 5


def test_a_folder_that_was_renamed_with_an_empty_one_in_its_place(raw: Path, tmp_path: Path) -> None:
    """The wells are in the renamed one, not where they were asked for; the log of the run says so there."""
    root = tmp_path / "results"

    def swap(output: PlateOutput) -> None:
        root.rename(tmp_path / "elsewhere")
        root.mkdir()

    results = run(raw, root, swap)
    assert last(results) == dict.fromkeys(WELLS, WellStatus.FAILED)
    log = "".join(path.read_text() for path in (root / "plate/logs").glob("*.log"))
    assert "== A02: failed" in log and "0 done" in log and "4 failed" in log
    assert verify(root / "plate").missing == WELLS


def test_a_well_that_was_unchanged_is_compared_as_well(raw: Path, root: str) -> None:
    """A run that computes nothing also says what is there: a manifest that goes meanwhile makes its well fail."""
    run(raw, root)
    results = run(raw, root, lambda output: remove(output, "wells/A02.json"))
    assert [result.status for result in results[:4]] == [WellStatus.UNCHANGED] * 4
    (lost,) = results[4:]
    assert (lost.well, lost.status) == ("A02", WellStatus.FAILED)
    assert "it was published when this run began" in str(lost.error)


def test_the_version_that_a_run_replaced_is_a_loss_when_it_comes_back(raw: Path, root: str) -> None:
    """As from a copy that somebody had made before: the run's own version is not there."""
    run(raw, root, by=2)
    before = contents(open_output(f"{root}/plate"))

    def put_back(output: PlateOutput) -> None:
        for path, content in before.items():
            if "A02" in path or "A/02/" in path:
                change(output, path, content)

    results = run(raw, root, put_back)
    assert last(results) == {**dict.fromkeys(WELLS, WellStatus.DONE), "A02": WellStatus.FAILED}


def test_a_newer_version_of_another_run_is_no_loss_and_is_told(raw: Path, root: str) -> None:
    """Whoever comes later with another plan may replace a well; the first run says so, and does not fail."""
    notes: list[str] = []
    results = run(raw, root, lambda output: run(raw, root, by=2, wells="A02,B01"), notes=notes)
    assert last(results) == dict.fromkeys(WELLS, WellStatus.DONE)
    (note,) = notes
    assert "A02, B01" in note and "run 20" in note and f"{root}/plate" in note


def test_the_same_version_by_another_run_is_not_worth_a_word(raw: Path, root: str) -> None:
    """It has the same pixels."""

    def drop_and_run(output: PlateOutput) -> None:
        output.drop("A02")
        run(raw, root, wells="A02")

    notes: list[str] = []
    results = run(raw, root, drop_and_run, notes=notes)
    assert last(results) == dict.fromkeys(WELLS, WellStatus.DONE) and len(results) == 4 and notes == []


def test_a_well_that_failed_is_not_lost(raw: Path, tmp_path: Path) -> None:
    """It says once why."""
    pipeline = Pipeline([FunctionStep(explode)])
    orchestrator = PipelineOrchestrator(raw, output=tmp_path, runner="threads").initialize()
    results = list(orchestrator.execute(pipeline, orchestrator.compile_pipelines(pipeline), 1))
    assert [result.status for result in results] == [WellStatus.FAILED] * 4


def test_results_by_well_are_the_last_ones(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``execute_compiled_plate`` returns one result a well: the well that was lost has failed."""
    present = PlateFolder.present

    def after_a_loss(output: PlateFolder, known: KnownManifests) -> object:
        remove(output, "wells/A02.json")
        return present(output, known)

    monkeypatch.setattr(PlateFolder, "present", after_a_loss)
    pipeline = Pipeline([FunctionStep((add, {"amount": 1}))])
    orchestrator = PipelineOrchestrator(raw, output=tmp_path, runner="threads").initialize()
    results = orchestrator.execute_compiled_plate(pipeline, orchestrator.compile_pipelines(pipeline), 1)
    assert [*results] == list(WELLS)
    assert [well for well, result in results.items() if not result["success"]] == ["A02"]


def test_tables_that_cannot_be_made_do_not_hide_what_was_lost(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are noted; without a lost well they are an error, as ever."""

    def fail(output: PlateFolder) -> object:
        raise StorageError("no tables today")

    monkeypatch.setattr(PlateFolder, "make_tables", fail)
    notes: list[str] = []
    results = run(raw, tmp_path, lambda output: remove(output, "wells/A02.json"), notes=notes)
    assert last(results)["A02"] is WellStatus.FAILED
    assert len(notes) == 1 and "no tables today" in notes[0]
    with pytest.raises(StorageError):
        run(raw, tmp_path)


def test_the_end_of_a_run_lists_once_and_reads_no_manifest_again(
    raw: Path, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was listed while the run went on is known; of the others sizes are asked for."""
    run(raw, root)
    output, known = open_output(f"{root}/plate"), KnownManifests()
    assert {*output.present(known)} == {*WELLS}
    listings = list[str]()
    found = Bucket.objects

    def listing(bucket: Bucket, prefix: str = "") -> object:
        listings.append(prefix)
        return found(bucket, prefix)

    def no_reading(*given: object) -> object:
        raise AssertionError("a manifest was read again")

    monkeypatch.setattr(Bucket, "objects", listing)
    monkeypatch.setattr(Bucket, "read", no_reading)
    monkeypatch.setattr(PlateFolder, "_manifest", no_reading)
    again = open_output(f"{root}/plate").present(known)
    assert {*again} == {*WELLS} and not any(each.lacking for each in again.values())
    assert listings == ([] if "://" not in root else [""])


def test_a_well_that_is_replaced_between_listing_and_reading_is_looked_at_again(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a store nothing can be locked: files of a manifest that is newer than the listing are no loss."""
    root = f"memory://outputs/{uuid.uuid4().hex}"
    run(raw, root)
    output = open_output(f"{root}/plate")
    manifests = PlateBucket._manifests
    once = iter([True])

    def after_another_run(bucket: PlateBucket, wells: list[str]) -> object:
        if next(once, False):
            run(raw, root, by=2, wells="A02")
        return manifests(bucket, wells)

    monkeypatch.setattr(PlateBucket, "_manifests", after_another_run)
    present = output.present(KnownManifests())
    assert {*present} == {*WELLS} and not any(each.lacking for each in present.values())


def forget(stack: Array, manifest: str) -> Array:
    """Removes the manifest of a well that is published already."""
    Path(manifest).unlink(missing_ok=True)
    return stack


def test_a_run_in_processes_finds_its_losses(raw: Path, tmp_path: Path) -> None:
    """Whoever runs the wells; here their own function removes what was published before."""
    pipeline = Pipeline([FunctionStep((forget, {"manifest": str(tmp_path / "plate/wells/A01.json")}))])
    orchestrator = PipelineOrchestrator(raw, output=tmp_path).initialize()
    contexts = orchestrator.compile_pipelines(pipeline, well_filter="A01,A02")
    results = list(orchestrator.execute(pipeline, contexts, 1))
    assert last(results) == {"A01": WellStatus.FAILED, "A02": WellStatus.DONE} and len(results) == 3


@pytest.mark.parametrize("runner", ["threads", "processes"])
@pytest.mark.parametrize("path", [".", ".staging"])
def test_a_well_that_was_not_published_when_its_files_were_removed_blames_nobody(
    raw: Path, tmp_path: Path, runner: str, path: str
) -> None:
    """No other run was there: its sentence names the folder that is missing and the remedy."""
    lost = tmp_path / "results" / "plate" / path
    pipeline = Pipeline([FunctionStep((remove_once, {"folder": str(lost), "once": str(tmp_path / "once")}))])
    orchestrator = PipelineOrchestrator(raw, output=tmp_path / "results", runner=runner).initialize()
    contexts = orchestrator.compile_pipelines(pipeline, well_filter="A01")
    (result,) = orchestrator.execute(pipeline, contexts, 1)
    assert result.status is WellStatus.FAILED and (tmp_path / "once").exists()
    told = str(result.error)
    assert told.startswith("Well A01: ") and ".staging" in told
    assert "was removed" in told and "by whom and when is not known. Run the well again" in told
    assert "another run" not in told


def remove_once(stack: Array, folder: str, once: str) -> Array:
    """Removes a folder, the first time."""
    if not Path(once).exists():
        Path(once).touch()
        shutil.rmtree(folder)
    return stack


def test_wells_that_a_killed_run_published_and_did_not_list_are_listed_by_the_next(raw: Path, root: str) -> None:
    """Verification says so; the next run lists them, though it finds everything unchanged."""
    run(raw, root)
    output = open_output(f"{root}/plate")
    right = contents(output)["images.zarr/zarr.json"]
    run(raw, f"{root}/fewer", wells="A01,B01", at=0)
    fewer = contents(open_output(f"{root}/fewer/plate"))["images.zarr/zarr.json"]
    for left, says in ((fewer, "A02, B02"), (None, "missing")):
        change(output, "images.zarr/zarr.json", left)
        (damage,) = verify(output.address).damaged
        assert damage.well == "plate" and says in damage.reasons[0] and "next run writes it" in damage.reasons[0]
        assert last(run(raw, root)) == dict.fromkeys(WELLS, WellStatus.UNCHANGED)
        assert contents(open_output(output.address))["images.zarr/zarr.json"] == right and verify(output.address).ok
