"""Replacing a published well on a drive that fails, or by a process that dies: the old well is never lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator, VariableComponents
from openhcs_engine.errors import OutputPlaceError, UnsafePathError
from openhcs_engine.execution.results import WellResult, WellStatus
from openhcs_engine.functions import create_max_projection
from openhcs_engine.ngff.options import ImageOptions
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.manifest import StagedWell, WellManifest
from openhcs_engine.output.tables.well import with_tables
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.output.writing.well_writer import stage_well
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.engine.outputs import all_files, list_wells, make_context, make_images, open_folder
from tests.engine.plate_outputs import prepared

CALLS = ("rename", "replace", "mkdir", "fsync")
"""System calls of a publishing that may fail."""
MKDIR, FSYNC = os.mkdir, os.fsync
EVER = 10_000


class KilledError(BaseException):
    """The process is dead: no call of it has an effect any more, and nothing catches this."""


@dataclass
class Drive:
    """A drive whose n-th call fails, or all calls from the n-th on."""

    number: int
    error: Callable[[], BaseException]
    failing: int = EVER
    calls: int = 0

    def call(self, real: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Count, then fail or do it.

        Where a folder is there already none is made; and a staged well's many files are flushed by one function.
        """
        is_made = real is MKDIR and Path(arguments[0]).is_dir()
        is_staged = real is FSYNC and "/.staging/" in str(Path(f"/proc/self/fd/{arguments[0]}").readlink())
        if not is_made and not (is_staged and self.calls):
            self.calls += 1
            if self.number <= self.calls < self.number + self.failing:
                raise self.error()
        return None if real is FSYNC else real(*arguments, **named)  # tests need not wait for a disk

    @property
    def has_failed(self) -> bool:
        """False if the drive was asked less often."""
        return self.calls >= self.number


def broken() -> OSError:
    return OSError(errno.EIO, os.strerror(errno.EIO), "/drive/file")


@contextmanager
def on(drive: Drive) -> Iterator[None]:
    """Do what follows on this drive."""
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            real = getattr(os, name)
            patch.setattr(os, name, lambda *given, _real=real, **named: drive.call(_real, *given, **named))
        yield


@dataclass(frozen=True)
class Layout:
    """What a well is replaced with."""

    name: str
    before: str
    after: str
    ngff: str = "0.5"

    def __str__(self) -> str:
        return self.name


LAYOUTS = (
    Layout("OME-Zarr 0.5", "zarr", "zarr"),
    Layout("OME-Zarr 0.4", "zarr", "zarr", "0.4"),
    Layout("OME-TIFF", "disk", "disk"),
    Layout("OME-TIFF in place of OME-Zarr", "zarr", "disk"),
)
layouts = pytest.mark.parametrize("layout", LAYOUTS, ids=str)


def staged_well(folder: PlateFolder, staging: Path, seed: int, ngff: str) -> tuple[StagedWell, WellManifest]:
    """Well A01 with images, labels and tables, one of which only new wells have."""
    context = make_context(folder.folder.parent, "A01", folder.backend, f"plan {seed}")
    images = make_images("A01", seed)
    objects = [("nuclei", key, plane > 9) for key, plane in images.items() if key.channel == 1]
    with stage_well(staging, context) as stage:
        staged = stage.write_results(images.items(), options=ImageOptions(ngff=ngff), objects=objects)
        tables = {"cells": {"area": [seed, 2]}, **({"spots": {"area": [seed]}} if seed else {})}
        staged = with_tables(staged, tables)
    return staged, WellManifest.of(context, staged, seconds=1.5, device="cpu:0")


def published_well(root: Path, layout: Layout) -> WellManifest:
    """The old version of the well in an output of its own."""
    folder = prepared(str(root), layout.before, layout.ngff)
    assert isinstance(folder, PlateFolder)
    with folder.staging("old") as staging:
        staged, manifest = staged_well(folder, staging, 0, layout.ngff)
        folder.publish(staged, manifest)
    list_wells(folder, layout.ngff)
    return manifest


def files_of(folder: PlateFolder) -> dict[str, bytes]:
    """Every file of the output with its content."""
    return {path: (folder.folder / path).read_bytes() for path in all_files(folder.folder)}


def assert_old(folder: PlateFolder, old: WellManifest, before: dict[str, bytes]) -> None:
    """The well is what it was, byte by byte, and nothing else is there."""
    assert files_of(folder) == before
    assert folder.published("A01") == old
    report = verify(folder.folder)
    assert (report.whole, report.damaged, report.foreign) == (("A01",), (), ())
    assert not (folder.folder / ".replaced").exists()


def assert_new(folder: PlateFolder, new: WellManifest, ngff: str) -> None:
    """The well is the new one, and nothing of the old one is left after a sweep."""
    assert folder.published("A01") == new
    folder.sweep()
    list_wells(folder, ngff)
    report = verify(folder.folder)
    assert (report.whole, report.damaged, report.foreign) == (("A01",), (), ())
    assert not (folder.folder / ".replaced").exists()


@layouts
def test_an_error_at_any_step_of_a_publishing_puts_the_old_well_back(tmp_path: Path, layout: Layout) -> None:
    """Every rename, new folder and flush of it, one after another: images, labels, tables, manifest are as before."""
    old = published_well(tmp_path, layout)
    folder = replace(PlateFolder(tmp_path / "P1", layout.after), fsync=True)
    before = files_of(folder)
    with folder.staging("new") as staging:
        staged, new = staged_well(folder, staging, 1, layout.ngff)
        before |= {path: content for path, content in files_of(folder).items() if path.startswith(".staging/")}
        for number in range(1, EVER):
            with on(Drive(number, broken, failing=1)):
                try:
                    folder.publish(staged, new)
                except OutputPlaceError as error:
                    assert "publishing well A01" in str(error) and "Input/output error; the drive" in str(error)
                else:
                    break
            (staged.folder / "manifest.json").unlink()
            assert_old(folder, old, before)
    assert number > 20
    assert_new(folder, new, layout.ngff)


def test_an_error_once_the_new_well_is_published_does_not_undo_it(tmp_path: Path) -> None:
    """That the old version cannot be removed makes no well fail; the next sweep removes it."""
    published_well(tmp_path, LAYOUTS[0])
    folder = open_folder(tmp_path)
    with folder.staging("new") as staging, pytest.MonkeyPatch.context() as patch:
        staged, new = staged_well(folder, staging, 1, "0.5")
        rename = os.rename

        def fail(source: Path, target: Path) -> None:
            if target.is_relative_to(staging):
                raise broken()
            rename(source, target)

        patch.setattr(os, "rename", fail)
        folder.publish(staged, new)
        assert [path.name[:4] for path in (folder.folder / ".replaced").iterdir()] == ["A01-"]
        assert verify(folder.folder).foreign == ()
    assert_new(folder, new, "0.5")


@layouts
def test_where_the_old_well_cannot_be_put_back_the_message_names_its_folder(tmp_path: Path, layout: Layout) -> None:
    """A drive that fails for good, from any step on: nothing of the old well is lost, and a sweep puts it back."""
    old = published_well(tmp_path, layout)
    folder = PlateFolder(tmp_path / "P1", layout.after)
    before = files_of(folder)
    named = 0
    for number in range(1, EVER):
        with folder.staging("new") as staging:
            staged, new = staged_well(folder, staging, 1, layout.ngff)
            drive = Drive(number, broken)
            with on(drive):
                try:
                    folder.publish(staged, new)
                except OutputPlaceError as error:
                    told = str(error)
                else:
                    break
        if (aside := next((folder.folder / ".replaced").glob("A01-*/wells/A01.json"), None)) is not None:
            assert f"The old one lies in {aside.parents[1]}; the next run puts it back" in told
            assert aside.read_bytes() == before["wells/A01.json"] and folder.published("A01") is None
            assert not [path for path in verify(folder.folder).foreign if path.startswith(".replaced")]
            named += 1
        folder.sweep()
        assert_old(folder, old, before)
    assert named > 3
    assert_new(folder, new, layout.ngff)


@layouts
def test_a_process_that_dies_at_any_step_loses_no_well(tmp_path: Path, layout: Layout) -> None:
    """Nothing is undone by it; the next run's sweep puts the old well back, or removes it once the new one is there."""
    for number in range(1, EVER):
        root = tmp_path / str(number)
        old = published_well(root, layout)
        folder = PlateFolder(root / "P1", layout.after)
        before = files_of(folder)
        with folder.staging("new") as staging:
            staged, new = staged_well(folder, staging, 1, layout.ngff)
            drive = Drive(number, KilledError)
            with on(drive), suppress(KilledError):
                folder.publish(staged, new)
            dead = folder.published("A01")
        assert dead in (old, None, new)
        folder.sweep()
        if dead == new:
            break
        assert_old(folder, old, before)
    assert number > 8
    assert_new(folder, new, layout.ngff)


@layouts
def test_a_sweep_that_dies_while_it_puts_a_well_back_is_finished_by_the_next(tmp_path: Path, layout: Layout) -> None:
    """Whatever its last step was."""
    for number in range(1, EVER):
        root = tmp_path / str(number)
        old = published_well(root, layout)
        folder = PlateFolder(root / "P1", layout.after)
        before = files_of(folder)
        killed_before_the_manifest(folder, layout.ngff)
        drive = Drive(number, KilledError)
        with on(drive):
            try:
                folder.sweep()
            except KilledError:
                assert folder.published("A01") in (None, old)
        folder.sweep()
        assert_old(folder, old, before)
        if not drive.has_failed:
            break
    assert number > 3


def killed_before_the_manifest(folder: PlateFolder, ngff: str) -> None:
    """Replace the well by a process that dies when all but the manifest of the new one is in place."""
    rename = os.rename

    def die(source: Path, target: Path) -> None:
        if source.name == "manifest.json" or died:
            died.append(True)
            raise KilledError
        rename(source, target)

    died: list[bool] = []
    with folder.staging("new") as staging, pytest.MonkeyPatch.context() as patch:
        staged, new = staged_well(folder, staging, 1, ngff)
        patch.setattr(os, "rename", die)
        with pytest.raises(KilledError):
            folder.publish(staged, new)
    assert folder.published("A01") is None and (folder.folder / ".replaced").is_dir()


def test_a_new_version_that_is_damaged_gives_way_to_the_old_one(tmp_path: Path) -> None:
    """Power that fails leaves empty files; the whole old well is worth more than they are."""
    old = published_well(tmp_path, LAYOUTS[0])
    folder = open_folder(tmp_path)
    before = files_of(folder)
    killed_before_the_manifest(folder, "0.5")
    (folder.folder / "wells" / "A01.json").write_bytes(b"")
    folder.sweep()
    assert_old(folder, old, before)


def test_a_dropped_well_does_not_come_back(tmp_path: Path) -> None:
    """Nor does its old version that a killed run left aside."""
    published_well(tmp_path, LAYOUTS[0])
    folder = open_folder(tmp_path)
    killed_before_the_manifest(folder, "0.5")
    folder.drop("A01")
    folder.sweep()
    assert folder.wells() == () and verify(folder.folder).foreign == ()


def test_a_first_version_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Where there was no well before; the folder of manifests, on which the lock is, stays."""
    folder = open_folder(tmp_path)
    before = files_of(folder)
    for number in range(1, EVER):
        with folder.staging("new") as staging:
            staged, new = staged_well(folder, staging, 1, "0.5")
            with on(Drive(number, broken, failing=1)):
                try:
                    folder.publish(staged, new)
                except OutputPlaceError:
                    pass
                else:
                    break
        assert files_of(folder) == before and (folder.folder / "wells").is_dir()
        assert not (folder.folder / "images.zarr").exists()
    assert number > 3
    assert_new(folder, new, "0.5")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plate of two wells."""
    plate = SyntheticPlate(rows=1, columns=2, sites=1, z=2, shape=(32, 32))
    return write_imagexpress(tmp_path_factory.mktemp("plates") / "raw", plate)


def run(raw: Path, output: Path, backend: str = "zarr") -> dict[str, WellResult]:
    """Run both wells, one after another."""
    pipeline = Pipeline([FunctionStep(create_max_projection, variable_components=[VariableComponents.Z_INDEX])])
    orchestrator = PipelineOrchestrator(raw, output=output, plate_id="P1", runner="threads", backend=backend)
    contexts = orchestrator.initialize().compile_pipelines(pipeline_definition=pipeline)
    return dict(
        orchestrator.execute_compiled_plate(pipeline_definition=pipeline, compiled_contexts=contexts, max_workers=1)
    )


def test_a_run_whose_drive_fails_in_that_moment_shows_the_well_failed_and_keeps_the_old_one(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason and a remedy; the other wells are the new ones."""
    run(raw, tmp_path / "out")
    output = PlateFolder(tmp_path / "out" / "P1", "zarr")
    old, rename = output.published("A01"), os.rename

    def fail(source: Path, target: Path) -> None:
        if Path(source).name == "manifest.json" and Path(target).name == "A01.json":
            raise broken()
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    found = run(raw, tmp_path / "out", "disk")

    assert found["A01"].status is WellStatus.FAILED and found["A02"].status is WellStatus.DONE
    assert found["A01"].error is not None
    assert found["A01"].error.startswith("Well A01: ") and "Input/output error; the drive" in found["A01"].error
    assert output.published("A01") == old
    report = verify(output.folder)
    assert (report.whole, report.damaged, report.foreign) == (("A01", "A02"), (), ())


def test_a_well_that_a_killed_run_was_replacing_is_put_back_before_a_run_asks_what_to_compute(
    raw: Path, tmp_path: Path
) -> None:
    """The pipeline of before finds it unchanged."""
    run(raw, tmp_path / "out")
    output = tmp_path / "out" / "P1"
    aside = output / ".replaced" / "A01-0123abcd"
    for path in ("wells/A01.json", "images.zarr/A/01"):
        (aside / path).parent.mkdir(parents=True)
        (output / path).rename(aside / path)

    assert {result.status for result in run(raw, tmp_path / "out").values()} == {WellStatus.UNCHANGED}
    assert not (output / ".replaced").exists() and verify(output).ok


def test_an_old_version_is_not_set_aside_behind_a_link(tmp_path: Path) -> None:
    """Where ``.replaced`` leads elsewhere, the well stays the old one, and nothing is written there."""
    old = published_well(tmp_path, LAYOUTS[0])
    folder = PlateFolder(tmp_path / "P1", "zarr")
    (tmp_path / "elsewhere").mkdir()
    (folder.folder / ".replaced").symlink_to(tmp_path / "elsewhere")
    with folder.staging("new") as staging:
        staged, new = staged_well(folder, staging, 1, "0.5")
        with pytest.raises(UnsafePathError, match=r"\.replaced is a link"):
            folder.publish(staged, new)
    assert folder.published("A01") == old and list((tmp_path / "elsewhere").iterdir()) == []
