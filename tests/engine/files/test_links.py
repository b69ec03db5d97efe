"""Links where we write and delete, and folders in shared ones: refused before anything is touched."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator, VariableComponents
from openhcs_engine.errors import UnsafePathError
from openhcs_engine.files.links import refuse_links, refuse_links_below
from openhcs_engine.files.private import make_private_folder
from openhcs_engine.functions import create_max_projection, stack_percentile_normalize
from openhcs_engine.memory.devices import CpuInventory, DevicePool, default_lease_folder
from openhcs_engine.output.bucket.output import PlateBucket
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.pictures.overview import write_overview
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from openhcs_engine.vfs.intermediates import ScratchPlan, open_scratch, swept_scratch

PROJECT = Pipeline([FunctionStep(create_max_projection, variable_components=[VariableComponents.Z_INDEX])])
OTHER = Pipeline(
    [
        FunctionStep(
            [stack_percentile_normalize, create_max_projection], variable_components=[VariableComponents.Z_INDEX]
        )
    ]
)


def run(folder: Path, output: Path, anew: bool = False) -> set[str]:
    """Run the plate in a folder; how its wells ended. ``anew``: by another plan, so that every well is made anew."""
    pipeline = OTHER if anew else PROJECT
    orchestrator = PipelineOrchestrator(folder / "raw", output=output, plate_id="P1", runner="threads").initialize()
    contexts = orchestrator.compile_pipelines(pipeline_definition=pipeline)
    results = orchestrator.execute_compiled_plate(
        pipeline_definition=pipeline, compiled_contexts=contexts, max_workers=1
    )
    return {result.status.value for result in results.values()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plate of two wells with its output, and somebody's files elsewhere."""
    folder = tmp_path_factory.mktemp("finished")
    write_imagexpress(folder / "raw", SyntheticPlate(rows=1, columns=2, sites=1, z=2, shape=(32, 32)))
    run(folder, folder / "out")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "precious.json").write_text("{}")
    return folder


@pytest.fixture
def lab(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Each file below a folder, links not followed, with the time of its last change."""
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def put_link(output: Path, name: str) -> Path:
    """A link in the output to somebody's folder, or file, in place of what was there."""
    link, target = output / name, output.parent.parent / "elsewhere"
    if link.exists():
        link.rename(output.parent.parent / "moved")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target / "precious.json" if "." in link.name and "zarr" not in link.name else target)
    return link


NAMES = [
    "images.zarr", "images.zarr/A", "images.zarr/A/01", "images.zarr/A/01/0", "images.zarr/A/01/zarr.json.link",
    "wells", "wells/A01.json", "wells/A02.json", "contexts", "contexts/x.json", "tables", "tables/nuclei", "logs",
    "logs/x.log", "report", "report/outcomes", ".staging", ".staging/dead", ".replaced", "fits", "wells/.tmp-1.x",
    "images", "images/A01",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_link_in_the_output_of_a_plate_is_refused_before_anything_is_touched(lab: Path, name: str) -> None:
    """Wherever it is and whatever it leads to, no file is written or deleted, here or there; the sentence names it."""
    link = put_link(lab / "out" / "P1", name)
    before = everything(lab)

    with pytest.raises(
        UnsafePathError, match=r"is a link to .*elsewhere.*nothing was touched; remove the link"
    ) as caught:
        run(lab, lab / "out", anew=True)

    assert caught.value.path == str(link)
    assert everything(lab) == before


MEETINGS: list[tuple[str, Callable[[PlateFolder], object]]] = [
    ("images.zarr/A/01/0/link", lambda output: output.drop("A01")),
    (".staging/dead", lambda output: output.sweep()),
    ("images.zarr/B/07", lambda output: output.sweep()),
    (".replaced", lambda output: output.sweep()),
    (".replaced/A01-01234567", lambda output: output.sweep()),
    (".replaced/A01-01234567", lambda output: output.drop("A01")),
    (".replaced/A01-01234567/images.zarr/A/01", lambda output: output.sweep()),
    ("wells", lambda output: output.list_wells()),
    ("images.zarr", lambda output: output.list_wells()),
    ("tables", lambda output: output.make_tables()),
    ("tables/nuclei", lambda output: output.make_tables()),
    ("contexts", lambda output: output.save_contexts(b"{}", "f")),
    (".staging", lambda output: output.staging("run").__enter__()),
    ("report", lambda output: write_overview(output.folder)),
]


@pytest.mark.parametrize(("name", "meeting"), MEETINGS)
def test_a_link_that_comes_while_a_run_goes_on_is_refused_by_whoever_meets_it(
    lab: Path, name: str, meeting: Callable[[PlateFolder], object]
) -> None:
    """Dropping, sweeping, listing, joining tables, drawing: each looks before it writes or deletes."""
    put_link(lab / "out" / "P1", name)
    before = everything(lab)

    with pytest.raises(UnsafePathError):
        meeting(PlateFolder(lab / "out" / "P1", "zarr"))

    assert everything(lab) == before


def test_a_row_that_is_a_link_keeps_the_group_that_it_leads_to(lab: Path) -> None:
    """Rows without wells lose their group when the plate's is written; the one of another plate stays."""
    put_link(lab / "out" / "P1", "images.zarr/Z")
    (lab / "elsewhere" / "zarr.json").write_text("{}")
    before = everything(lab)

    with pytest.raises(UnsafePathError, match=r"images\.zarr/Z is a link"):
        PlateFolder(lab / "out" / "P1", "zarr").list_wells()

    assert everything(lab) == before


def test_the_folder_of_a_plate_may_be_no_link(lab: Path) -> None:
    """The output directory may; a link in it, planted or put by hand, would lead the whole plate elsewhere."""
    (lab / "other").mkdir()
    (lab / "other" / "P1").symlink_to(lab / "elsewhere")

    with pytest.raises(UnsafePathError, match=r"other/P1 is a link to .*elsewhere"):
        run(lab, lab / "other")

    assert [path.name for path in (lab / "elsewhere").iterdir()] == ["precious.json"]


def test_a_link_in_the_way_of_a_finished_well_is_refused_when_it_is_published(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that came after the look at the run's begin: the old well's manifest stays, and so does what it leads to."""
    output = lab / "out" / "P1"
    before = {well: (output / "wells" / f"{well}.json").read_bytes() for well in ("A01", "A02")}
    begin = PlateFolder.staging

    def staging(folder: PlateFolder, run_id: str) -> AbstractContextManager[Path]:
        put_link(output, "images.zarr/A/02")
        return begin(folder, run_id)

    monkeypatch.setattr(PlateFolder, "staging", staging)

    with pytest.raises(UnsafePathError, match=r"A/02 is a link"):
        run(lab, lab / "out", anew=True)

    after = {well: (output / "wells" / f"{well}.json").read_bytes() for well in before}
    assert after["A01"] != before["A01"] and after["A02"] == before["A02"]
    assert [path.name for path in (lab / "elsewhere").iterdir()] == ["precious.json"]


def test_the_output_directory_may_be_a_link_itself(lab: Path) -> None:
    """It is followed once: what a run finds and writes is where it led to when the run was prepared."""
    (lab / "link").symlink_to("out")

    assert run(lab, lab / "link") == {"unchanged"}

    orchestrator = PipelineOrchestrator(lab / "raw", output=lab / "link", plate_id="P1").initialize()
    assert orchestrator.output == lab / "out"


def test_what_is_looked_at_is_what_is_asked_for(tmp_path: Path) -> None:
    """The way there counts; folders above, absent paths and what lies beside do not."""
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "top").symlink_to("real")
    (tmp_path / "real" / "link").symlink_to("deep")
    (tmp_path / "real" / "dangling").symlink_to("absent")

    refuse_links(tmp_path / "top", ["deep/file", "absent/file"])
    refuse_links_below(tmp_path / "top", "deep")
    refuse_links_below(tmp_path / "absent")
    for name in ("link", "link/file", "dangling"):
        with pytest.raises(UnsafePathError):
            refuse_links(tmp_path / "top", [name])
    with pytest.raises(UnsafePathError):
        refuse_links_below(tmp_path / "top")
    with pytest.raises(UnsafePathError):
        refuse_links_below(tmp_path, "top")


def test_a_private_folder_is_a_real_folder_that_only_its_owner_enters(tmp_path: Path) -> None:
    """Made so, and made so again if it was opened to others; what is in it stays."""
    folder = make_private_folder(tmp_path / "above" / "mine", "remove it")
    (folder / "kept").touch()
    folder.chmod(0o777)

    make_private_folder(folder, "remove it")

    assert stat.S_IMODE(folder.lstat().st_mode) == 0o700
    assert (folder / "kept").exists()


@pytest.mark.parametrize("kind", ["a link to a folder", "a link to nothing", "a file"])
def test_what_is_no_real_folder_is_refused_with_the_remedy(tmp_path: Path, kind: str) -> None:
    """Nothing is made, and the mode of what the link leads to stays."""
    (tmp_path / "target").mkdir(mode=0o755)
    place = tmp_path / "mine"
    if kind == "a file":
        place.touch()
    else:
        place.symlink_to("target" if kind == "a link to a folder" else "absent")

    with pytest.raises(
        UnsafePathError, match=r"is a (file|link to (target|absent)) and no folder.*; remove it, or name another"
    ):
        make_private_folder(place, "remove it, or name another")

    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o755
    assert not (tmp_path / "absent").exists()


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder of another user: only root can give one away, anybody else has those of root."""
    if os.geteuid() != 0:
        return Path("/usr")
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o755)
    os.chown(folder, 1, -1)
    return folder


@pytest.mark.parametrize("may_enter", [True, False])
def test_a_folder_of_another_user_is_refused(theirs: Path, monkeypatch: pytest.MonkeyPatch, may_enter: bool) -> None:
    """Whoever made it could put links in it; one that cannot even be opened is told the same way."""
    before, real = theirs.stat(), os.open

    def refusing(path: object, *arguments: object, **options: object) -> int:
        if path == theirs:
            raise PermissionError(errno.EACCES, "Permission denied", str(theirs))
        return real(path, *arguments, **options)  # type: ignore[arg-type] # as it came

    if not may_enter:
        monkeypatch.setattr(os, "open", refusing)

    with pytest.raises(UnsafePathError, match=f"{theirs} belongs to another user \\(number {before.st_uid}\\)"):
        make_private_folder(theirs, "remove it")

    assert theirs.stat() == before


def test_a_drive_that_shows_one_owner_for_all_takes_private_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network drives of Windows and USB disks do so: what this user makes there is shown as another's at once."""
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)

    make_private_folder(make_private_folder(tmp_path / "mine", "remove it"), "remove it")

    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_devices_are_leased_at_one_path_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service, which has no XDG_RUNTIME_DIR, and a shell with a TMPDIR of its own must not lend a device twice."""
    monkeypatch.setattr("openhcs_engine.memory.devices._SHARED", Path("/tmp"))  # as it is outside tests
    paths = set()
    for name, value in (("XDG_RUNTIME_DIR", "/run/user/1"), ("TMPDIR", "/var/tmp"), ("HOME", "/nowhere")):
        paths.add(default_lease_folder())
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", None)

    assert {*paths, default_lease_folder()} == {Path("/tmp") / f"openhcs-leases-{os.getuid()}"}


def test_links_in_place_of_leases_are_refused(tmp_path: Path) -> None:
    """The folder itself, and the file of a device: what they lead to is neither written nor locked."""
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "leases").mkdir()
    (tmp_path / "leases" / "cpu-0.lock").symlink_to("../victim")
    (tmp_path / "link").symlink_to("leases")

    for folder in ("leases", "link"):
        with (
            pytest.raises(UnsafePathError, match="is a link"),
            DevicePool(CpuInventory(1), tmp_path / folder).lease(timeout_s=0),
        ):
            pass

    assert (tmp_path / "victim").read_text() == "precious"
    with (tmp_path / "victim").open() as victim:
        fcntl.flock(victim, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_leases_work_in_a_folder_of_an_earlier_version(tmp_path: Path) -> None:
    """Its mode becomes 0700, and the device is lent."""
    (tmp_path / "leases").mkdir(mode=0o755)

    with DevicePool(CpuInventory(1), tmp_path / "leases").lease() as (device,):
        assert device.label == "cpu:0"

    assert stat.S_IMODE((tmp_path / "leases").stat().st_mode) == 0o700


def test_staging_of_buckets_is_a_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wells wait among the temporary files for their way to the store: nobody else reads them, no link leads away."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    bucket = PlateBucket.at("memory://staging-of-buckets/P1")

    with bucket.staging("run") as place:
        (top,) = tmp_path.iterdir()
        assert place.is_relative_to(top) and stat.S_IMODE(top.lstat().st_mode) == 0o700
    (tmp_path / "elsewhere").mkdir()
    top.rmdir()
    top.symlink_to("elsewhere")

    with pytest.raises(UnsafePathError, match="TMPDIR"), bucket.staging("run"):
        pass
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_scratch_of_the_user_is_a_private_folder(tmp_path: Path) -> None:
    """It may lie in a folder that others share: a link or a file there is refused by wells and by runs."""
    plan = ScratchPlan.of("disk", tmp_path)
    with swept_scratch(plan), open_scratch(plan, tmp_path / "staging", "A01"):
        (top,) = [path for path in tmp_path.iterdir() if path.name.startswith("openhcs")]
        assert stat.S_IMODE(top.lstat().st_mode) == 0o700
    (tmp_path / "elsewhere").mkdir()
    top.symlink_to("elsewhere")

    with pytest.raises(UnsafePathError, match="choose another scratch folder"), swept_scratch(plan):
        pass
    with (
        pytest.raises(UnsafePathError, match="choose another scratch folder"),
        open_scratch(plan, tmp_path / "staging", "A01"),
    ):
        pass
    assert list((tmp_path / "elsewhere").iterdir()) == []
