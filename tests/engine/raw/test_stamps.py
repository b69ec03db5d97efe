"""Sizes and times of raw files: asked of those that a plan needs, and of no other."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openhcs_engine import FunctionStep, Pipeline
from openhcs_engine.compiler import compile_plate
from openhcs_engine.errors import PlateError
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane
from openhcs_engine.model.plate import Plate
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json
from openhcs_engine.raw.stamps import stamp
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.engine.plates import add, output_plan

ADD = Pipeline([FunctionStep(add)])
SPEC = SyntheticPlate(rows=2, columns=2, sites=2, channels=("DAPI", "GFP"), z=1, shape=(64, 64), thumbnails=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plate of four wells with four images each."""
    return write_imagexpress(tmp_path / "plate", SPEC)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every path that is asked for its size, by string or Path."""
    paths: list[str] = []
    ask = os.stat

    def noting(path: Any, **options: Any) -> os.stat_result:  # Any: whatever the original takes
        paths.append(str(path))
        return ask(path, **options)

    monkeypatch.setattr(os, "stat", noting)
    return paths


def compiled(folder: Path, well_filter: str | None = None) -> dict[str, ProcessingContext]:
    """Contexts of the plate in a folder."""
    plate, index = detect_microscope(folder).read_plate()
    return compile_plate(plate, index, ADD, output=output_plan(), well_filter=well_filter).contexts


def with_status(plane: ImagePlane, folder: Path) -> ImagePlane:
    """The plane with what its file says now."""
    status = (folder / str(plane.path)).stat()
    return plane.replace(size=status.st_size, mtime_ns=status.st_mtime_ns)


def test_stamping_gives_each_plane_what_its_file_says(folder: Path) -> None:
    """Size and time of every plane are its file's; nothing else of the index changes."""
    _, index = detect_microscope(folder).read_plate()

    assert stamp(index, str(folder)).planes == tuple(with_status(plane, folder) for plane in index)


def test_what_is_known_is_not_asked_again(folder: Path, asked: list[str]) -> None:
    """Planes that a remote listing stamped, and declared planes without a file, cost nothing."""
    planes = (
        ImagePlane(key=ImageKey("A01", 1, 1, 1, 1), path="gone.tif", size=12, mtime_ns=3),
        ImagePlane(key=ImageKey("A01", 1, 2, 1, 1), path=None, present=False),
    )

    assert stamp(ImageIndex(planes), str(folder)).planes == planes
    assert asked == []


def test_a_file_of_many_planes_is_asked_once(folder: Path, asked: list[str]) -> None:
    """Planes that share a file share its stamp."""
    _, index = detect_microscope(folder).read_plate()
    path = index.planes[0].path
    shared = ImageIndex(tuple(plane.replace(path=path) for plane in index))
    asked.clear()

    stamped = stamp(shared, str(folder))

    assert asked == [f"{folder}/{path}"]
    assert len({plane.stamp for plane in stamped}) == 1


def test_compiling_asks_only_the_files_of_the_wells_that_are_asked_for(folder: Path, asked: list[str]) -> None:
    """Each image of the chosen well is asked once; no other well's is, however large the plate."""
    plate, index = detect_microscope(folder).read_plate()
    asked.clear()

    contexts = compile_plate(plate, index, ADD, output=output_plan(), well_filter="B02").contexts

    images = [path for path in asked if path.endswith(".tif")]
    assert sorted(images) == sorted(f"{folder}/{plane.path}" for plane in index.for_well("B02"))
    assert all(plane.is_stamped for plane in contexts["B02"].index)


def test_the_fingerprint_is_that_of_planes_stamped_by_hand(folder: Path) -> None:
    """Asking late changes no fingerprint, and neither does the plan document's way to disk and back."""
    context = compiled(folder)["A01"]
    planes = tuple(with_status(plane.replace(size=None, mtime_ns=None), folder) for plane in context.index)

    assert context.fingerprint == replace(context, index=ImageIndex(planes)).fingerprint
    assert contexts_from_json(contexts_to_json({"A01": context}))["A01"].fingerprint == context.fingerprint


def test_a_changed_file_changes_the_fingerprint_of_its_well_alone(folder: Path) -> None:
    """A file that was written anew after a plan makes its own well another one."""
    before = compiled(folder)
    changed = folder / str(before["A02"].index.planes[0].path)
    os.utime(changed, ns=(1, 1))

    after = compiled(folder)

    assert {well for well in before if before[well].fingerprint != after[well].fingerprint} == {"A02"}


def test_an_image_that_vanished_after_the_plate_was_read_is_named(folder: Path) -> None:
    """Compiling its well says which file is gone and what to do; other wells compile."""
    plate, index = detect_microscope(folder).read_plate()
    gone = str(index.for_well("A02").planes[0].path)
    (folder / gone).unlink()

    with pytest.raises(PlateError, match="is gone") as refused:
        compile_plate(plate, index, ADD, output=output_plan())

    assert str(refused.value) == (
        f"{gone} is gone: it was in {folder} when the plate was read. Copy it there again, or read the plate anew."
    )
    assert vars(refused.value)["path"] == gone
    assert compile_plate(plate, index, ADD, output=output_plan(), well_filter="not:A02").contexts.keys() == {
        "A01", "B01", "B02",
    }  # fmt: skip


def test_an_image_that_cannot_be_asked_is_named(folder: Path) -> None:
    """Where a file stands in the way of an image's folder, the sentence gives the system's reason."""
    _, index = detect_microscope(folder).read_plate()
    (folder / "TimePoint_1").rename(folder / "moved")
    (folder / "TimePoint_1").touch()

    with pytest.raises(PlateError, match=r"^TimePoint_1/ZStep_1/\S+ in .* cannot be asked for its size: Not a dir"):
        stamp(index, str(folder))


def test_no_context_holds_a_plane_without_size_and_time(folder: Path) -> None:
    """A fingerprint over unknown sizes would call a changed plate unchanged: such a context cannot be made."""
    context = compiled(folder, "A01")["A01"]
    plane = context.index.planes[0].replace(mtime_ns=None)

    with pytest.raises(AssertionError, match="well A01 has planes without size and time"):
        replace(context, index=ImageIndex((plane, *context.index.planes[1:])))


def test_missing_planes_need_no_stamp(folder: Path) -> None:
    """What the vendor declared and the folder lacks stays as it was read."""
    plate, index = _without_one_image(folder)
    missing = index.missing().planes

    assert len(missing) == 1
    assert stamp(index, plate.root).missing().planes == missing


def _without_one_image(folder: Path) -> tuple[Plate, ImageIndex]:
    next(folder.rglob("*_A01_s1_w1.tif")).unlink()
    return detect_microscope(folder).read_plate()
