"""Verification finds what is gone, changed or foreign, and names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from openhcs_engine.errors import NotAnOutputError
from openhcs_engine.files.atomic import write_new
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.verification.repair import repair
from openhcs_engine.output.verification.verify import VerifyReport, verify
from openhcs_engine.plan.context import plan_fingerprint
from openhcs_engine.plan.document import contexts_to_json, packed, unpacked
from tests.engine.outputs import WELLS, make_context, manifest_for, open_folder, publish, stage

SHARD = "images.zarr/A/01/1/0/c.0.0.0.0.0"
FIELD = "images.zarr/A/01/1/zarr.json"


@pytest.fixture
def folder(tmp_path: Path) -> PlateFolder:
    """Three wells, all whole."""
    made = open_folder(tmp_path)
    for well in WELLS:
        publish(made, well)
    return made


def test_a_whole_output_is_whole(folder: PlateFolder) -> None:
    """All wells, no complaint, one plan."""
    assert verify(folder.folder) == VerifyReport(
        expected=WELLS, whole=WELLS, missing=(), damaged=(), foreign=(), plans={"plan 1": WELLS}
    )
    assert verify(folder.folder).ok


def test_a_plan_of_another_version_is_no_damage(folder: PlateFolder) -> None:
    """It is named; the wells are judged by their manifests as before, and a broken plan still is damage."""
    (folder.folder / "contexts" / "old.json").write_bytes(b'{"format":1,"fingerprint":"x","steps":[]}')
    report = verify(folder.folder)
    assert (report.ok, report.other_versions, report.whole) == (True, ("contexts/old.json",), WELLS)

    (folder.folder / "contexts" / "old.json").write_bytes(b'{"format":2,"fingerprint":"x"}')
    assert not verify(folder.folder).ok


@pytest.mark.parametrize("backend", ["zarr", "disk"])
def test_wells_that_were_asked_for_and_are_not_there_are_missing(tmp_path: Path, backend: str) -> None:
    """The kept plan says which."""
    publish(open_folder(tmp_path, backend), "A02")
    report = verify(tmp_path / "P1")
    assert (report.whole, report.missing, report.ok) == (("A02",), ("A01", "B01"), False)


@dataclass(frozen=True)
class Damage:
    """Something that happens to one file."""

    name: str
    path: str
    change: Callable[[Path], object]
    reason: str
    well: str = "A01"

    def __str__(self) -> str:
        return self.name


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


DAMAGE = (
    Damage("shard deleted", SHARD, Path.unlink, f"{SHARD} is missing"),
    Damage("shard cut off", SHARD, cut, f"{SHARD} has"),
    Damage("shard grown", SHARD, lambda path: path.write_bytes(path.read_bytes() + b"x"), f"{SHARD} has"),
    Damage("byte flipped", SHARD, flip, f"{SHARD} was changed"),
    Damage("field metadata deleted", FIELD, Path.unlink, f"{FIELD} is missing"),
    Damage("field metadata edited", FIELD, flip, f"{FIELD} was changed"),
    Damage("well metadata deleted", "images.zarr/A/01/zarr.json", Path.unlink, "A/01/zarr.json is missing"),
    Damage("manifest garbled", "wells/A01.json", cut, "not a readable manifest"),
    Damage("stranger", "images.zarr/A/01/1/new.txt", lambda path: path.write_text("x"), "new.txt is not in the well's"),
    Damage("plate metadata deleted", "images.zarr/zarr.json", Path.unlink, "images.zarr/zarr.json is missing", "plate"),
    Damage("plate metadata garbled", "images.zarr/zarr.json", cut, "images.zarr/zarr.json is missing or", "plate"),
    Damage("row deleted", "images.zarr/A/zarr.json", Path.unlink, "images.zarr/A/zarr.json is missing", "plate"),
)


@pytest.mark.parametrize("damage", DAMAGE, ids=str)
def test_damage_is_found_and_names_well_and_file(folder: PlateFolder, damage: Damage) -> None:
    """Other wells stay whole; what belongs to a well is not foreign."""
    damage.change(folder.folder / damage.path)
    report = verify(folder.folder)
    (found,) = report.damaged
    assert found.well == damage.well and len(found.reasons) == 1 and damage.reason in found.reasons[0]
    assert report.whole == tuple(well for well in WELLS if well != damage.well)
    assert report.foreign == () and report.missing == () and not report.ok


def test_without_checksums_only_sizes_count(folder: PlateFolder) -> None:
    """A quick look reads no pixels."""
    flip(folder.folder / SHARD)
    assert verify(folder.folder, checksums=False).ok and not verify(folder.folder).ok


def test_a_deleted_manifest_makes_its_well_missing_and_its_files_foreign(folder: PlateFolder) -> None:
    """The manifest alone decides that a well exists."""
    (folder.folder / "wells" / "A01.json").unlink()
    report = verify(folder.folder)
    assert (report.missing, report.whole) == (("A01",), ("A02", "B01"))
    assert report.foreign and all(path.startswith("images.zarr/A/01/") for path in report.foreign)


def test_foreign_files_are_named_and_harm_no_well(folder: PlateFolder) -> None:
    """What a file browser or we ourselves leave is not foreign."""
    foreign = ("notes.txt", "images.zarr/A/readme", "images/X/a.tif", "tables/cells/A01.parquet", "wells/copy.txt")
    ours = (".DS_Store", "images.zarr/A/01/.DS_Store", "report/index.html", "logs/run.log", ".staging/run/x")
    for name in (*foreign, *ours):
        (folder.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.folder / name).write_text("x")
    report = verify(folder.folder)
    assert set(report.foreign) | {reason.split(" is ")[0] for bad in report.damaged for reason in bad.reasons} == set(
        foreign
    )


def test_the_old_version_of_a_well_that_a_killed_run_set_aside_is_named(folder: PlateFolder) -> None:
    """Its well is missing until the next run puts it back; a person who deletes by hand should know what lies there."""
    aside = folder.folder / ".replaced" / "A01-0a1b2c3d"
    (aside / "wells").mkdir(parents=True)
    (folder.folder / "wells" / "A01.json").rename(aside / "wells" / "A01.json")

    report = verify(folder.folder)

    assert (report.replaced, report.missing) == ((".replaced/A01-0a1b2c3d",), ("A01",))
    folder.sweep()
    assert (verify(folder.folder).replaced, verify(folder.folder).missing) == ((), ())


def test_wells_of_several_plans_stand_side_by_side(folder: PlateFolder) -> None:
    """And the report says which well is whose; a well of a plan that nobody kept is of an unknown one."""
    contexts = {"A02": make_context(folder.folder.parent, "A02", plan="plan 2")}
    folder.save_contexts(contexts_to_json(contexts), plan_fingerprint(contexts.values()))
    publish(folder, "A02", plan="plan 2")
    publish(folder, "B01", plan="plan 3")
    report = verify(folder.folder)
    assert report.ok
    assert report.plans == {"plan 1": ("A01",), "plan 2": ("A02",), "unknown": ("B01",)}


def test_a_plan_that_was_changed_is_damage_of_the_plate(folder: PlateFolder) -> None:
    """Without it nobody knows which wells should be there."""
    (plan,) = (folder.folder / "contexts").iterdir()
    plan.write_bytes(packed(unpacked(plan.read_bytes()).replace(b"DAPI", b"DAPX")))
    (found,) = verify(folder.folder).damaged
    assert found.well == "plate" and plan.name in found.reasons[0]


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    """The folder above the plates' outputs gets a hint."""
    with pytest.raises(NotAnOutputError, match="is not an output folder"):
        verify(tmp_path / "nothing")
    open_folder(tmp_path)
    with pytest.raises(NotAnOutputError, match="The outputs in it are: P1"):
        verify(tmp_path)


def test_verifying_changes_nothing(folder: PlateFolder) -> None:
    """Not even the time of a file."""
    before = {path: path.stat().st_mtime_ns for path in folder.folder.rglob("*")}
    verify(folder.folder)
    assert {path: path.stat().st_mtime_ns for path in folder.folder.rglob("*")} == before


def test_files_of_the_plate_are_named_wherever_steps_keep_theirs(folder: PlateFolder) -> None:
    """Another OME-Zarr plate beside the results needs its groups as well."""
    with folder.staging("run") as staging:
        staged = stage(folder, staging, "A01")
        file = write_new(staged.folder, "flat.zarr/A/01/zarr.json", b"{}")
        kept = replace(staged, places=(*staged.places, "flat.zarr/A/01"), files=(*staged.files, file))
        folder.publish(kept, manifest_for(folder, kept))
    (found,) = verify(folder.folder).damaged
    assert found.well == "plate"
    assert [reason.split(" is ")[0] for reason in found.reasons] == ["flat.zarr/A/zarr.json", "flat.zarr/zarr.json"]


# -- repair ---


def test_repair_drops_the_damaged_wells_alone(folder: PlateFolder) -> None:
    """They are missing afterwards, so that the next run makes just them; whole wells keep their files."""
    flip(folder.folder / SHARD)
    cut(folder.folder / "wells" / "B01.json")
    (folder.folder / "notes.txt").write_text("mine")
    kept = {path: path.stat().st_mtime_ns for path in folder.well_folder("A02").rglob("*")}
    done = repair(folder.folder, verify(folder.folder))
    assert (done.dropped, done.ok) == (("A01", "B01"), True)
    assert (done.report.whole, done.report.missing, done.report.damaged) == (("A02",), ("A01", "B01"), ())
    assert {path: path.stat().st_mtime_ns for path in folder.well_folder("A02").rglob("*")} == kept
    assert done.report.foreign == ("notes.txt",)
    publish(folder, "A01")
    publish(folder, "B01")
    assert verify(folder.folder).whole == WELLS


def test_repair_of_a_whole_output_changes_nothing(folder: PlateFolder) -> None:
    """Not even the time of a file."""
    before = {path: path.stat().st_mtime_ns for path in folder.folder.rglob("*") if path.is_file()}
    done = repair(folder.folder, verify(folder.folder))
    assert done.dropped == () and done.ok and done.report.ok
    assert {path: path.stat().st_mtime_ns for path in folder.folder.rglob("*") if path.is_file()} == before


def test_repair_leaves_what_belongs_to_the_whole_plate(folder: PlateFolder) -> None:
    """A plan that was changed cannot be made up; the damage is said again."""
    (plan,) = (folder.folder / "contexts").iterdir()
    cut(plan)
    done = repair(folder.folder, verify(folder.folder))
    assert done.dropped == () and not done.ok and plan.exists()
    assert [damage.well for damage in done.report.damaged] == ["plate"]
