"""Publishing wells: whole or not at all, whatever interrupts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from openhcs_engine.errors import ExecutionError, OutputPlaceError, PlaneReadError, StorageError
from openhcs_engine.files.atomic import write_new
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.manifest import StagedWell
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.output.writing.well_writer import write_well
from openhcs_engine.plan.context import plan_fingerprint
from openhcs_engine.plan.document import contexts_to_json, unpacked
from tests.engine.outputs import (
    all_files,
    make_context,
    make_images,
    manifest_for,
    open_folder,
    publish,
    stage,
)

REPO = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize("backend", ["zarr", "disk"])
def test_a_published_well_is_found_with_its_files(tmp_path: Path, backend: str) -> None:
    """By its fingerprint; its manifest lists exactly what is there; nothing else is left."""
    folder = open_folder(tmp_path, backend)
    manifest = publish(folder, "A01")
    assert folder.published("A01", manifest.fingerprint) == manifest
    assert folder.published("A01", "another") is None and folder.published("A02") is None
    assert folder.wells() == ("A01",)
    own = all_files(folder.well_folder("A01"))
    assert {f"{folder.well_folder('A01').relative_to(folder.folder).as_posix()}/{name}" for name in own} == {
        file.path for file in manifest.files
    }
    assert sorted(path.name for path in folder.folder.iterdir()) == sorted(
        {"contexts", "wells", "images.zarr" if backend == "zarr" else "images"}
    )


def test_published_pixels_are_what_was_written(tmp_path: Path) -> None:
    """Through the reader that lists published wells alone."""
    folder = open_folder(tmp_path)
    publish(folder, "A01", seed=3)
    images = folder.open_images()
    assert list(images) == ["A01"]
    for key, plane in make_images("A01", 3).items():
        np.testing.assert_array_equal(images["A01"][key.site].plane(channel=key.channel), plane)


def test_disk_wells_are_ome_tiff_with_names_and_pixel_size(tmp_path: Path) -> None:
    """One file a plane; what was collapsed is said in the file."""
    folder = open_folder(tmp_path, "disk")
    publish(folder, "A01")
    assert all_files(folder.well_folder("A01")) == {
        f"A01_s{site}_w{channel}_z1_t1.ome.tif" for site in (1, 2) for channel in (1, 2)
    }
    plane = make_images("A01")[ImageKey("A01", 2, 1, None, 1)]
    with tifffile.TiffFile(folder.well_folder("A01") / "A01_s2_w1_z1_t1.ome.tif") as tiff:
        np.testing.assert_array_equal(tiff.asarray(), plane)
        xml = str(tiff.ome_metadata)
    for part in ('PhysicalSizeX="0.65"', 'PhysicalSizeXUnit="µm"', 'Name="DAPI"', "collapsed: z_index"):
        assert part in xml


TWICE = """
import sys
from pathlib import Path
from tests.engine.outputs import make_context, make_images
from openhcs_engine.output.writing.well_writer import stage_well

with stage_well(Path(sys.argv[1]), make_context(Path(sys.argv[1]), backend="disk")) as stage:
    images = make_images("A01", 3)
    objects = [("nuclei", key, plane > 9) for key, plane in images.items()]
    stage.write_results(images.items(), objects=objects)
"""


def test_ome_tiff_files_have_the_same_bytes_whenever_they_are_written(tmp_path: Path) -> None:
    """By another process, too: UUIDs are those of the content, so files that differ have different ones."""
    written: list[dict[str, bytes]] = []
    for number in range(2):
        place = tmp_path / str(number)
        place.mkdir()
        done = run_python(TWICE, str(place))
        assert done.returncode == 0, done.stderr
        files = (path for path in place.rglob("*.tif"))
        written.append({path.name: path.read_bytes() for path in files})
    assert written[0] == written[1] and len(written[0]) == 8
    uuids = {re.search(rb'UUID="([^"]+)"', content)[1] for content in written[0].values()}
    assert len(uuids) == 8


def test_numbers_in_file_names_are_padded_so_that_they_sort(tmp_path: Path) -> None:
    """To the longest of the plate."""
    context = make_context(tmp_path, backend="disk")
    context = replace(context, plate=replace(context.plate, sites=tuple(range(1, 13))))
    staged = write_well(tmp_path, context, make_images("A01").items())
    assert {Path(file.path).name for file in staged.files} >= {"A01_s01_w1_z1_t1.ome.tif", "A01_s02_w2_z1_t1.ome.tif"}


@pytest.mark.parametrize(("before", "after"), [("zarr", "zarr"), ("zarr", "disk"), ("disk", "zarr")])
def test_publishing_again_replaces_all_of_the_old_well(tmp_path: Path, before: str, after: str) -> None:
    """Also when it was written by the other backend."""
    publish(open_folder(tmp_path, before), "A01", seed=1)
    folder = open_folder(tmp_path, after)
    manifest = publish(folder, "A01", seed=2, plan="plan 2")
    assert folder.published("A01") == manifest
    assert verify(folder.folder).whole == ("A01",) and not verify(folder.folder).foreign


def test_a_well_of_the_other_backend_is_not_the_one_asked_for(tmp_path: Path) -> None:
    """Whoever asks for TIFF files gets them computed."""
    manifest = publish(open_folder(tmp_path, "zarr"), "A01")
    assert open_folder(tmp_path, "disk").published("A01", manifest.fingerprint) is None


@pytest.mark.parametrize("change", ["delete", "truncate", "damage manifest", "delete manifest"])
def test_a_well_that_lost_something_is_not_published(tmp_path: Path, change: str) -> None:
    """Sizes and the manifest decide, so that the next run makes it again."""
    folder = open_folder(tmp_path)
    manifest = publish(folder, "A01")
    file = folder.folder / manifest.files[0].path
    declared = folder.folder / "wells" / "A01.json"
    match change:
        case "delete":
            file.unlink()
        case "truncate":
            file.write_bytes(file.read_bytes()[:-1])
        case "damage manifest":
            declared.write_bytes(declared.read_bytes()[:50])
        case _:
            declared.unlink()
    assert folder.published("A01") is None


def test_preparing_again_changes_no_file(tmp_path: Path) -> None:
    """Published wells and groups keep their times."""
    folder = open_folder(tmp_path)
    publish(folder, "A01")
    before = {path: path.stat().st_mtime_ns for path in folder.folder.rglob("*") if path.is_file()}
    open_folder(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in folder.folder.rglob("*") if path.is_file()} == before


def test_dropping_removes_the_well_alone(tmp_path: Path) -> None:
    """Manifest and images; dropping what is not there is fine."""
    folder = open_folder(tmp_path)
    publish(folder, "A01")
    publish(folder, "A02")
    folder.drop("A01")
    folder.drop("B01")
    assert folder.wells() == ("A02",) and not folder.well_folder("A01").exists()
    assert verify(folder.folder).whole == ("A02",)


def with_kept_set(staged: StagedWell, place: str) -> StagedWell:
    """The well with images that a step keeps, too."""
    content = b"pixels"
    (staged.folder / place).mkdir(parents=True)
    file = write_new(staged.folder, f"{place}/image.bin", content)
    return replace(staged, places=(*staged.places, place), files=(*staged.files, file))


@pytest.mark.parametrize("place", ["flat.zarr/A/01", "flat/A01"])
def test_images_that_a_step_keeps_belong_to_their_well(tmp_path: Path, place: str) -> None:
    """They are published, verified, replaced and dropped with it, whatever the step calls their folder."""
    folder = open_folder(tmp_path)
    with folder.staging("run") as staging:
        staged = with_kept_set(stage(folder, staging, "A01"), place)
        folder.publish(staged, manifest_for(folder, staged))
    kept = folder.folder / place / "image.bin"
    assert kept.exists() and folder.published("A01") is not None
    report = verify(folder.folder)
    assert report.foreign == () and [bad.well for bad in report.damaged if bad.well != "plate"] == []

    kept.write_bytes(b"pixelz")
    (found,) = [bad for bad in verify(folder.folder).damaged if bad.well != "plate"]
    assert found.well == "A01" and found.reasons == (f"{place}/image.bin was changed after it was written (checksum)",)
    folder.sweep()
    assert kept.exists()
    publish(folder, "A01", plan="plan 2")
    assert not kept.exists() and verify(folder.folder).foreign == ()


# -- interruptions ---

KILLED = """
import os, sys
from pathlib import Path
from tests.engine.outputs import open_folder, publish

root, before = Path(sys.argv[1]), int(sys.argv[2])
folder, rename, renamed = open_folder(root), os.rename, []

def stop(*arguments):
    renamed.append(arguments)
    if len(renamed) == before:
        os._exit(9)
    rename(*arguments)

os.rename = stop
publish(folder, "A01", seed=2, plan="plan 2", run="killed")
"""


def run_python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=REPO, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("before", "expected"), [(1, "old"), (2, None), (3, None), (4, None), (5, "new")], ids=lambda value: str(value)
)
def test_a_process_killed_while_publishing_leaves_the_old_well_or_the_new_one(
    tmp_path: Path, before: int, expected: str | None
) -> None:
    """Before any of its renames. A sweep puts the old well back and leaves no debris; other wells stay."""
    folder = open_folder(tmp_path)
    old = publish(folder, "A01", seed=1)
    other = publish(folder, "A02", seed=1)

    killed = run_python(KILLED, str(tmp_path), str(before))

    assert killed.returncode == 9, killed.stderr
    found = folder.published("A01")
    assert ("old" if found == old else "new" if found else None) == expected
    folder.sweep()
    report = verify(folder.folder)
    assert (report.whole, report.damaged, report.foreign) == (("A01", "A02"), (), ())
    assert (folder.published("A01") == old) == (expected != "new") and folder.published("A02") == other
    assert sorted(path.name for path in folder.folder.iterdir()) == ["contexts", "images.zarr", "wells"]
    publish(folder, "A01", seed=2, plan="plan 2")
    assert verify(folder.folder).whole == ("A01", "A02")


KILLED_WHILE_WRITING = """
import os, sys
from pathlib import Path
from openhcs_engine.output.writing.well_writer import write_well
from tests.engine.outputs import make_context, make_images, open_folder

root = Path(sys.argv[1])

def planes():
    for number, image in enumerate(make_images("A01").items()):
        if number == 2:
            os._exit(9)
        yield image

with open_folder(root).staging("killed") as staging:
    write_well(staging, make_context(root), planes())
"""


def test_a_process_killed_while_writing_leaves_a_staging_folder_that_is_swept(tmp_path: Path) -> None:
    """Its lock died with it."""
    killed = run_python(KILLED_WHILE_WRITING, str(tmp_path))
    assert killed.returncode == 9, killed.stderr
    folder = open_folder(tmp_path)
    assert (folder.folder / ".staging" / "killed").is_dir()
    folder.sweep()
    assert not (folder.folder / ".staging").exists() and folder.wells() == ()


def test_a_sweep_leaves_running_runs_alone(tmp_path: Path) -> None:
    """Their staging folders are locked, whichever process asks."""
    folder = open_folder(tmp_path)
    with folder.staging("alive") as staging:
        staged = stage(folder, staging, "A01")
        folder.sweep()
        script = "import sys; from pathlib import Path; from openhcs_engine.output.folder.output import PlateFolder;"
        swept = run_python(script + "PlateFolder(Path(sys.argv[1]), 'zarr').sweep()", str(folder.folder))
        assert swept.returncode == 0, swept.stderr
        folder.publish(staged, manifest_for(folder, staged))
    assert verify(folder.folder).whole == ("A01",)


def test_two_runs_of_one_id_are_refused(tmp_path: Path) -> None:
    """They would write into one folder."""
    folder = open_folder(tmp_path)
    with folder.staging("run"), pytest.raises(OutputPlaceError, match="still writing"), folder.staging("run"):
        pass


def test_a_sweep_keeps_what_it_cannot_judge(tmp_path: Path) -> None:
    """Images whose manifest is damaged, which are listed no more, reports, logs, contexts, and files of other names."""
    folder = open_folder(tmp_path)
    publish(folder, "A01")
    for name in ("report/index.html", "logs/a.log", "images/notes/a.txt", "readme.txt", "tables/cells.parquet"):
        (folder.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.folder / name).write_text("kept")
    (folder.folder / "wells" / "A01.json").write_text("damaged")
    before = all_files(folder.folder)
    folder.sweep()
    assert before - all_files(folder.folder) == {"images.zarr/zarr.json", "images.zarr/A/zarr.json"}
    assert all_files(folder.folder) <= before


def test_a_sweep_removes_what_no_manifest_lists(tmp_path: Path) -> None:
    """Images and tables of a well without a manifest, tables that its manifest does not list, unfinished files."""
    folder = open_folder(tmp_path)
    publish(folder, "A01")
    publish(folder, "A02")
    (folder.folder / "wells" / "A02.json").unlink()
    debris = ("tables/cells/A01.parquet", "tables/cells/A02.parquet", "wells/.tmp-1", "images/A01/a.ome.tif")
    for name in debris:
        (folder.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.folder / name).write_text("debris")
    folder.sweep()
    assert not any((folder.folder / name).exists() for name in debris)
    assert not folder.well_folder("A02").exists() and folder.published("A01") is not None


TWO_RUNS = """
import sys
from pathlib import Path
from tests.engine.outputs import open_folder, publish

folder = open_folder(Path(sys.argv[1]))
for number in range(6):
    for well in ("A01", "A02", "B01"):
        publish(folder, well, seed=number, plan=sys.argv[2], run=f"{sys.argv[2]}-{number}")
    folder.sweep()
"""


def test_two_runs_on_one_plate_lose_and_tear_nothing(tmp_path: Path) -> None:
    """Each well is wholly the one's or the other's."""
    runs = [
        subprocess.Popen([sys.executable, "-c", TWO_RUNS, str(tmp_path), name], cwd=REPO, stderr=subprocess.PIPE)
        for name in ("one", "two")
    ]
    for run in runs:
        _, errors = run.communicate(timeout=240)
        assert run.returncode == 0, errors.decode()
    report = verify(tmp_path / "P1")
    assert (report.whole, report.foreign) == (("A01", "A02", "B01"), ())


# -- places that cannot be used ---


def inside(root: Path) -> Iterator[tuple[str, Path]]:
    plate = root / "raw"
    (plate / "TimePoint_1").mkdir(parents=True)
    (root / "link").symlink_to(plate)
    yield "the plate itself", plate
    yield "below", plate / "out" / "P1"
    yield "by a link", root / "link" / "out" / "P1"
    yield "by dots", root / "elsewhere" / ".." / "raw" / "P1"


def test_an_output_inside_the_raw_plate_is_refused(tmp_path: Path) -> None:
    """However it is spelt; nothing is made."""
    for how, place in inside(tmp_path):
        with pytest.raises(OutputPlaceError, match="inside the raw plate"):
            PlateFolder(place, "zarr").check_usable(tmp_path / "raw")
        assert list((tmp_path / "raw").rglob("*")) == [tmp_path / "raw" / "TimePoint_1"], how
    PlateFolder(tmp_path / "raw2" / "P1", "zarr").check_usable(tmp_path / "raw")


def test_a_raw_plate_inside_its_output_is_refused(tmp_path: Path) -> None:
    """Sweeping must never come near it."""
    (tmp_path / "P1" / "images").mkdir(parents=True)
    with pytest.raises(OutputPlaceError, match="inside its own output"):
        PlateFolder(tmp_path / "P1", "zarr").check_usable(tmp_path / "P1" / "images")


def test_a_folder_with_images_of_something_else_is_refused(tmp_path: Path) -> None:
    """What we did not write is never swept."""
    (tmp_path / "P1" / "images" / "A01").mkdir(parents=True)
    with pytest.raises(OutputPlaceError, match="holds images of something else"):
        PlateFolder(tmp_path / "P1", "disk").check_usable(tmp_path / "raw")


def test_a_place_without_permission_is_refused_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the folder that says no."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputPlaceError, match=rf"no permission to write in {tmp_path}"):
        PlateFolder(tmp_path / "out" / "P1", "zarr").check_usable(tmp_path / "raw")


def test_an_output_below_a_file_is_refused(tmp_path: Path) -> None:
    """By the check, and by the file system if nobody checked."""
    (tmp_path / "file").write_text("")
    folder = PlateFolder(tmp_path / "file" / "P1", "zarr")
    with pytest.raises(OutputPlaceError, match="is a file"):
        folder.check_usable(tmp_path / "raw")
    with pytest.raises(OutputPlaceError, match="Not a directory"):
        folder.prepare(make_context(tmp_path).plate)


def test_too_little_space_is_refused_before_the_run(tmp_path: Path) -> None:
    """With what is free and what is needed; a place that does not exist yet can be asked."""
    folder = PlateFolder(tmp_path / "not" / "yet" / "P1", "zarr")
    folder.check_free_space(1)
    with pytest.raises(OutputPlaceError, match=r"GB of free space.*need up to 1000\.0 TB"):
        folder.check_free_space(10**15)


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (28, "No space left on .* while writing well A01"),
        (122, "No space left on .* while writing well A01"),
        (30, "cannot be used while writing well A01: Read-only file system; .* choose another place"),
        (13, "cannot be used while writing well A01: Permission denied; give this user the right"),
        (5, "cannot be used while writing well A01: Input/output error; the drive"),
    ],
)
@pytest.mark.parametrize("backend", ["zarr", "disk"])
def test_a_failed_write_is_a_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, number: int, sentence: str
) -> None:
    """The disk is full, read-only, broken: the well fails, the others stay."""
    folder = open_folder(tmp_path, backend)
    publish(folder, "A02")

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with folder.staging("run") as staging:
        monkeypatch.setattr(Path, "open", fail)
        with pytest.raises(OutputPlaceError, match=sentence):
            stage(folder, staging, "A01")
        monkeypatch.undo()
        assert list(staging.iterdir()) == []
    assert verify(folder.folder).whole == ("A02",)


FULL = """
import resource, sys
from pathlib import Path
from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.output.writing.well_writer import write_well
from tests.engine.outputs import make_context, make_images, open_folder

folder = open_folder(Path(sys.argv[1]))
with folder.staging("run") as staging:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        write_well(staging, make_context(Path(sys.argv[1])), make_images("A01", shape=(300, 300)).items())
    except OutputPlaceError as error:
        print(error)
"""


def test_a_file_that_may_not_grow_fails_the_well(tmp_path: Path) -> None:
    """A real refusal of the system, in the middle of a shard."""
    run = run_python(FULL, str(tmp_path))
    assert run.returncode == 0, run.stderr
    assert "while writing well A01: File too large; allow larger files (ulimit -f" in run.stdout
    assert not (tmp_path / "P1" / ".staging").exists()


def test_errors_of_the_images_are_not_blamed_on_the_output(tmp_path: Path) -> None:
    """A damaged raw file stays what it is, and nothing of the well is left."""

    def planes() -> Iterator[tuple[ImageKey, np.ndarray]]:
        yield ImageKey("A01", 1, 1, 1, 1), np.zeros((4, 4), np.uint16)
        raise PlaneReadError("x.tif is cut off.", path="x.tif")

    with pytest.raises(PlaneReadError, match="cut off"):
        write_well(tmp_path, make_context(tmp_path), planes())
    assert list(tmp_path.iterdir()) == []


def test_a_well_without_images_is_refused(tmp_path: Path) -> None:
    """An empty well would look whole."""
    with pytest.raises(ExecutionError, match="Well A01: the pipeline left no image"):
        write_well(tmp_path, make_context(tmp_path), [])


def test_two_planes_of_one_file_name_are_refused(tmp_path: Path) -> None:
    """A collapsed plane beside the first single one."""
    plane = np.zeros((4, 4), np.uint16)
    images = [(ImageKey("A01", 1, 1, z, 1), plane) for z in (None, 1)]
    with pytest.raises(StorageError, match=r"two planes would be written as A01_s1_w1_z1_t1\.ome\.tif"):
        write_well(tmp_path, make_context(tmp_path, backend="disk"), images)


def test_contexts_are_kept_under_their_fingerprint(tmp_path: Path) -> None:
    """Once; saving the same plan again changes nothing."""
    folder = open_folder(tmp_path)
    contexts = {"A01": make_context(tmp_path, plan="other")}
    path = folder.save_contexts(contexts_to_json(contexts), plan_fingerprint(contexts.values()))
    assert path.name == f"{plan_fingerprint(contexts.values())}.json.gz"
    assert unpacked(path.read_bytes()) == contexts_to_json(contexts) and len(list(path.parent.iterdir())) == 2


def test_a_manifest_is_the_last_file_of_a_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it appears, every file it lists is in its place."""
    folder = open_folder(tmp_path)
    seen, rename = [], os.rename

    with folder.staging("run") as staging:
        staged = stage(folder, staging, "A01")

        def look(source: Path, target: Path) -> None:
            if target == folder.folder / "wells" / "A01.json":
                seen.append(all((folder.folder / file.path).is_file() for file in staged.files))
                assert folder.published("A01") is None
            rename(source, target)

        monkeypatch.setattr(os, "rename", look)
        folder.publish(staged, manifest_for(folder, staged))
    assert seen == [True] and folder.published("A01") is not None


def test_a_disk_that_is_full_when_a_well_is_published_keeps_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest is written before anything of the old well is touched."""
    folder = open_folder(tmp_path)
    old = publish(folder, "A01", seed=1)
    with folder.staging("run") as staging:
        staged = stage(folder, staging, "A01", seed=2)

        def fail(*_: object) -> None:
            raise OSError(28, os.strerror(28))

        monkeypatch.setattr(Path, "write_bytes", fail)
        with pytest.raises(OutputPlaceError, match=r"No space left on .* while publishing well A01"):
            folder.publish(staged, manifest_for(folder, staged))
        monkeypatch.undo()
    assert folder.published("A01") == old and verify(folder.folder).whole == ("A01",)


def test_with_fsync_files_are_on_the_disk_before_their_manifest_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file, its folders and the manifest first; the names in the output after each move."""
    flushed: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: flushed.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
    )
    folder = replace(open_folder(tmp_path), fsync=True)
    with folder.staging("run") as staging:
        staged = stage(folder, staging, "A01")
        assert flushed == []
        manifest = manifest_for(folder, staged)
        folder.publish(staged, manifest)
    written = {f"{staged.folder}/{file.path}" for file in manifest.files} | {f"{staged.folder}/manifest.json"}
    in_place = [f"{folder.folder}/images.zarr/A", f"{folder.folder}/images.zarr", str(folder.folder)]
    assert written <= set(flushed[: -len(in_place) - 1])
    assert flushed[-len(in_place) - 1 :] == [*in_place, f"{folder.folder}/wells"]


def test_without_fsync_nothing_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: pytest.fail("waited for the disk"))
    assert publish(open_folder(tmp_path), "A01")
