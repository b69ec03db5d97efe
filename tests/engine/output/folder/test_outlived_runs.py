"""A worker that outlives its killed run, and goes on writing after another run swept what it wrote."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.files import unfinished
from openhcs_engine.files.unfinished import SweptError, make_folders
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.ngff.options import ImageOptions
from openhcs_engine.output.bucket.output import PlateBucket
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.manifest import StagedWell, WellManifest
from openhcs_engine.output.tables.well import with_tables
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.output.writing.well_writer import stage_well, write_well
from openhcs_engine.vfs.intermediates import ScratchPlan, open_scratch
from tests.engine.outputs import make_images
from tests.engine.plate_outputs import context_at, prepared, published

REMOVED = (
    "Well A01: .* is missing or incomplete now: it was removed, .* by whom and when is not known. Run the well again"
)
FORMS = pytest.mark.parametrize(("backend", "ngff"), [("zarr", "0.5"), ("zarr", "0.4"), ("disk", "0.5")])


@pytest.fixture(params=["folder", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place for outputs that nobody else uses; unfinished wells of stores wait in a folder of this test, too."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return str(tmp_path / "out") if request.param == "folder" else f"memory://outlived/{uuid.uuid4().hex}"


def dead_staging(output: PlateOutput) -> Path:
    """The staging folder of a run that was killed: nobody holds its lock."""
    if isinstance(output, PlateBucket):
        staging = output.unfinished_place / unfinished.hidden_name() / "dead"
    else:
        staging = output.unfinished_place / ".staging" / "dead"
    staging.mkdir(parents=True)
    staging.parent.parent.chmod(0o700)
    return staging


def sweep(output: PlateOutput) -> None:
    """What the next run does first."""
    output.sweep()
    with output.staging("next"):
        pass


def unfinished_files(output: PlateOutput) -> list[Path]:
    """Everything that lies where wells wait."""
    top = output.unfinished_place if isinstance(output, PlateBucket) else output.unfinished_place / ".staging"
    return list(top.rglob("*"))


def write(output: PlateOutput, staging: Path, ngff: str, swept_before: int | None) -> tuple[StagedWell, WellManifest]:
    """Write a well, with labels and a table; another run sweeps before the plane of this number."""
    context = context_at(output.address.rpartition("/")[0], "A01", output.backend, "plan 2")
    images = make_images("A01", 5)

    def planes() -> Iterator[tuple[ImageKey, NDArray[np.uint16]]]:
        for number, image in enumerate(images.items()):
            if number == swept_before:
                sweep(output)
            yield image

    objects = [("nuclei", key, plane > 9) for key, plane in images.items() if key.channel == 1]
    with stage_well(staging, context) as stage:
        staged = stage.write_results(planes(), options=ImageOptions(ngff=ngff), objects=objects)
        staged = with_tables(staged, {"cells": {"area": [1, 2]}})
    return staged, WellManifest.of(context, staged, seconds=1.5, device="cpu:0")


def assert_old(output: PlateOutput) -> None:
    """The well that was published before is whole, and nothing of the worker is left."""
    report = verify(output.address)
    assert (report.whole, report.damaged, report.foreign) == (("A01",), (), ())
    found = output.published("A01")
    assert found is not None and found.fingerprint == context_at("/results", "A01", output.backend).fingerprint


@FORMS
@pytest.mark.parametrize("swept_before", [0, 1, 3])
def test_a_worker_whose_staging_was_swept_writes_no_more(root: str, backend: str, ngff: str, swept_before: int) -> None:
    """Whatever it has written: its next file fails its well with a sentence, and no folder is made again."""
    output = prepared(root, backend, ngff)
    published(output, "A01", ngff=ngff)
    staging = dead_staging(output)
    with pytest.raises(OutputPlaceError, match=REMOVED):
        write(output, staging, ngff, swept_before)
    assert unfinished_files(output) == []
    assert_old(output)


@FORMS
def test_a_staged_well_that_was_swept_is_not_published(root: str, backend: str, ngff: str) -> None:
    """Nor begins the worker another one in that folder."""
    output = prepared(root, backend, ngff)
    published(output, "A01", ngff=ngff)
    staging = dead_staging(output)
    staged, manifest = write(output, staging, ngff, None)
    sweep(output)
    with pytest.raises(OutputPlaceError, match=REMOVED):
        output.publish(staged, manifest)
    with pytest.raises(OutputPlaceError, match=REMOVED):
        write(output, staging, ngff, None)
    assert unfinished_files(output) == []
    assert_old(output)


@FORMS
def test_a_folder_that_was_made_again_is_no_staged_well(root: str, backend: str, ngff: str) -> None:
    """Whoever makes it, as a program that copies files does: it lacks the token, and goes with the next sweep."""
    output = prepared(root, backend, ngff)
    published(output, "A01", ngff=ngff)
    staged, manifest = write(output, dead_staging(output), ngff, None)
    last = staged.folder / staged.files[-1].path
    content = last.read_bytes()
    sweep(output)
    last.parent.mkdir(parents=True)
    last.write_bytes(content)
    with pytest.raises(OutputPlaceError, match=REMOVED):
        output.publish(staged, manifest)
    sweep(output)
    assert unfinished_files(output) == []
    assert_old(output)


def test_a_token_of_another_well_is_none(root: str) -> None:
    """Only the file that was written when the folder was made counts."""
    output = prepared(root)
    published(output, "A01")
    with output.staging("run") as staging:
        staged, manifest = write(output, staging, "0.5", None)
        (staged.folder / "token").write_text("another")
        with pytest.raises(OutputPlaceError, match=REMOVED):
            output.publish(staged, manifest)
    assert_old(output)


def test_what_is_swept_leaves_its_path_before_anything_of_it_is_deleted(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that writes in this very moment hinders no deletion, and finds all of its well or nothing."""
    output = prepared(root)
    published(output, "A01")
    staged, manifest = write(output, dead_staging(output), "0.5", None)
    rmtree, seen = shutil.rmtree, list[bool]()

    def watched(path: Path, *arguments: object, **named: object) -> None:
        if not seen:
            seen.append(staged.folder.exists())
            with pytest.raises(OutputPlaceError, match=REMOVED):
                output.publish(staged, manifest)
        rmtree(path, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(shutil, "rmtree", watched)
    sweep(output)
    assert seen == [False] and unfinished_files(output) == []
    assert_old(output)


@pytest.mark.parametrize("backend", ["disk", "zarr"])
@pytest.mark.parametrize("saved", [0, 1])
def test_intermediates_of_a_swept_run_are_not_made_again(root: str, backend: str, saved: int) -> None:
    """Neither by the next plane nor by the next well."""
    output = prepared(root)
    staging, plan = dead_staging(output), ScratchPlan(backend=backend)
    with pytest.raises(OutputPlaceError), open_scratch(plan, staging, "A01") as scratch:
        for number in range(saved + 1):
            if number == saved:
                sweep(output)
            scratch.save(f"step1/{number}", np.ones((2, 2), np.uint8))
    with pytest.raises(OutputPlaceError), open_scratch(plan, staging, "A02"):
        pass
    assert unfinished_files(output) == []


def test_folders_are_made_but_for_those_of_unfinished_writes(tmp_path: Path) -> None:
    """A missing one with such a name was swept; one that is there is used."""
    make_folders(tmp_path / "a" / "b" / "c")
    make_folders(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    for path in (".tmp-x", ".tmp-x/a/b", "new/.tmp-x/a"):
        with pytest.raises(SweptError):
            make_folders(tmp_path / path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    (tmp_path / ".tmp-x").mkdir()
    make_folders(tmp_path / ".tmp-x" / "a" / "b")
    assert (tmp_path / ".tmp-x" / "a" / "b").is_dir()


def test_other_errors_of_a_swept_well_stay_what_they_are(tmp_path: Path) -> None:
    """That its own function failed matters more."""
    output = prepared(str(tmp_path))
    staging = dead_staging(output)

    def failing() -> Iterator[tuple[ImageKey, NDArray[np.uint16]]]:
        sweep(output)
        raise ZeroDivisionError
        yield

    with pytest.raises(ZeroDivisionError):
        write_well(staging, context_at(str(tmp_path)), failing())


def test_a_run_with_nothing_to_do_removes_what_a_killed_one_staged(root: str) -> None:
    """Every run sweeps first, and one that finds all its wells unchanged stages none; living ones keep theirs."""
    output = prepared(root)
    published(output, "A01")
    with output.staging("alive") as staging:
        (dead_staging(output) / "rest").touch()
        output.sweep()
        assert staging.is_dir()
        assert [path for path in unfinished_files(output) if path.name in ("dead", "rest")] == []
