"""Synthetic CellVoyager plates: what is written reads back equal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from openhcs_engine.errors import OutputPlaceError, PlaneReadError
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.model.image_index import ImageKey, PlaneKind
from openhcs_engine.model.plate import Grid, StageFrame
from openhcs_engine.raw.plane import read_plane
from openhcs_engine.synthetic import SyntheticImages, SyntheticPlate, truth_path, write_cellvoyager

SMALL = SyntheticPlate(
    name="syn #1", rows=2, columns=3, sites=3, z=2, timepoints=2, shape=(64, 80), seed=7, z_step_um=0.25
)


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_written_plate_reads_back_equal(tmp_path: Path) -> None:
    """Our reader finds exactly the planes and metadata that were written; a note tells of the shading images."""
    plate, index = detect_microscope(write_cellvoyager(tmp_path / "plate", SMALL)).read_plate()

    assert plate.microscope == "cellvoyager"
    assert {plane.key for plane in index} == set(SMALL.image_keys())
    assert len(index) == len(index.present()) == 6 * 3 * 2 * 2 * 2
    assert (plate.name, plate.wells, plate.rows, plate.columns) == ("syn #1", SMALL.wells, 2, 3)
    assert [(channel.name, channel.wavelength_nm) for channel in plate.channels] == [("DAPI", 445), ("GFP", 525)]
    assert (plate.pixel_size_um, plate.z_step_um) == (SMALL.pixel_size_um, SMALL.z_step_um)
    assert (plate.grid, plate.shape, plate.dtype) == (Grid(rows=2, columns=2), SMALL.shape, "uint16")
    assert (plate.warnings, plate.errors, plate.absent_wells) == ((), (), ())
    (note,) = plate.notes
    assert note.startswith("2 images that are no planes (shading, dark images or others) were left out")


def test_positions_grow_upwards_from_the_wells_centre(tmp_path: Path) -> None:
    """Site 2 lies right of site 1, site 3 below it; neighbours overlap by a tenth."""
    plate, index = detect_microscope(write_cellvoyager(tmp_path / "plate", SMALL)).read_plate()
    first, second, third = (
        next((plane.x_um or 0.0, plane.y_um or 0.0) for plane in index if plane.key.site == site) for site in (1, 2, 3)
    )
    assert plate.stage_frame == StageFrame(origin="well centre", y_axis="up")
    assert second[0] - first[0] == pytest.approx(0.9 * 80 * 0.65, abs=0.11)
    assert first[1] - third[1] == pytest.approx(0.9 * 64 * 0.65, abs=0.11)
    assert (first[0] + second[0], first[1] + third[1]) == pytest.approx((0, 0), abs=0.11)


def test_written_pixels_are_those_of_the_generator(tmp_path: Path) -> None:
    """Every file holds the plane that SyntheticImages makes for its coordinate."""
    folder = write_cellvoyager(tmp_path / "plate", SMALL)
    images = SyntheticImages(SMALL)
    for plane in detect_microscope(folder).read_plate()[1]:
        np.testing.assert_array_equal(read_plane(folder, str(plane.path)), images.plane(plane.key))


def test_a_seed_gives_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    """Two plates of one spec are byte-identical; the seed changes the pixels."""
    first = contents(write_cellvoyager(tmp_path / "a", SMALL))
    second = contents(write_cellvoyager(tmp_path / "b", SMALL))
    other = contents(write_cellvoyager(tmp_path / "c", replace(SMALL, seed=8)))
    image = "syn #1_A01_T0001F001L01A02Z01C01.tif"
    assert first == second
    assert first[image] != other[image]


def test_projections_are_recorded_as_such(tmp_path: Path) -> None:
    """Maximum projections lie beside the planes under another action, and are told from them."""
    folder = write_cellvoyager(tmp_path / "plate", replace(SMALL, projections=True))
    plate, index = detect_microscope(folder).read_plate()
    projections = [plane for plane in index if plane.kind is PlaneKind.PROJECTION]
    assert len(projections) == 6 * 3 * 2 * 2
    assert len(index) == 3 * len(projections)
    planes = [tifffile.imread(folder / f"syn #1_A01_T0001F001L01A02Z{z:02d}C01.tif") for z in (1, 2)]
    projected = next(plane for plane in projections if plane.key == ImageKey("A01", 1, 1, None, 1))
    np.testing.assert_array_equal(tifffile.imread(folder / str(projected.path)), np.maximum(*planes))
    assert plate.warnings == ()


def test_missing_images_are_recorded_and_not_there(tmp_path: Path) -> None:
    """What is left out is missing, not unknown: the reader lists it with its path."""
    spec = replace(SMALL, missing=(ImageKey("A02", None, None, None, None), ImageKey("B01", 1, 1, 2, 1)))
    plate, index = detect_microscope(write_cellvoyager(tmp_path / "plate", spec)).read_plate()
    assert plate.absent_wells == ("A02",)
    assert len(index.missing()) == 3 * 2 * 2 * 2 + 1
    assert {plane.path for plane in index.missing().for_well("B01")} == {"syn #1_B01_T0001F001L01A02Z02C01.tif"}


def test_a_truncated_well_has_one_image_that_cannot_be_read(tmp_path: Path) -> None:
    """Exactly one file of the named well is cut; the plate is still read whole."""
    folder = write_cellvoyager(tmp_path / "plate", replace(SMALL, truncated_wells=("B2",)))
    broken = []
    for plane in detect_microscope(folder).read_plate()[1]:
        try:
            read_plane(folder, str(plane.path))
        except PlaneReadError:
            broken.append(plane.key)
    assert broken == [ImageKey("B02", 1, 1, 1, 1)]


def test_without_its_records_the_same_planes_are_found_by_name(tmp_path: Path) -> None:
    """The names alone carry every coordinate."""
    folder = write_cellvoyager(tmp_path / "plate", SMALL)
    whole = {plane.key: plane.path for plane in detect_microscope(folder).read_plate()[1]}
    (folder / "MeasurementData.mlf").unlink()
    plate, index = detect_microscope(folder).read_plate()
    assert {plane.key: plane.path for plane in index} == whole
    assert (plate.pixel_size_um, plate.stage_frame, plate.grid) == (SMALL.pixel_size_um, None, None)
    assert plate.channels[1].name == "GFP"


def test_the_truth_lies_beside_the_plate(tmp_path: Path) -> None:
    """The plate folder holds what an instrument writes, and nothing of ours."""
    folder = write_cellvoyager(tmp_path / "plate", SMALL)
    assert json.loads(truth_path(folder).read_text())["seed"] == SMALL.seed
    assert {path.suffix for path in folder.iterdir()} == {".mlf", ".mrf", ".mes", ".wpi", ".tif"}


def test_a_folder_with_files_is_not_overwritten(tmp_path: Path) -> None:
    """Nothing is written into a folder that holds something."""
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputPlaceError, match="is not empty; give a new folder"):
        write_cellvoyager(tmp_path, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
