"""Synthetic plates in Harmony's layout: what is written reads back equal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.model.plate import Grid, StageFrame
from openhcs_engine.raw.stamps import stamp
from openhcs_engine.synthetic import SyntheticImages, SyntheticPlate, truth_path, write_opera_phenix

SMALL = SyntheticPlate(
    name="a <b> & c",
    rows=2,
    columns=3,
    sites=4,
    channels=("DAPI", "Cy5 & more"),
    z=2,
    timepoints=2,
    shape=(64, 80),
    seed=7,
)


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_written_plate_reads_back_equal(tmp_path: Path) -> None:
    """Our reader finds exactly the planes and metadata that were written, and nothing to warn about."""
    plate, index = detect_microscope(write_opera_phenix(tmp_path / "plate", SMALL)).read_plate()

    assert plate.microscope == "opera_phenix"
    assert [plane.key for plane in index] == sorted(SMALL.image_keys(), key=lambda key: (key.well, key.order()))
    assert len(index.missing()) == 0
    assert (plate.name, plate.wells, plate.sites) == (SMALL.name, SMALL.wells, (1, 2, 3, 4))
    assert [channel.name for channel in plate.channels] == list(SMALL.channels)
    assert [channel.wavelength_nm for channel in plate.channels] == [456, None]
    assert (plate.pixel_size_um, plate.z_step_um) == (SMALL.pixel_size_um, SMALL.z_step_um)
    assert (plate.grid, plate.rows, plate.columns) == (Grid(rows=2, columns=2), 2, 3)
    assert plate.stage_frame == StageFrame(origin="well centre", y_axis="up")
    assert (plate.z_indexes, plate.timepoints, plate.shape, plate.dtype) == ((1, 2), (1, 2), SMALL.shape, "uint16")
    assert (plate.warnings, plate.notes, plate.errors, plate.absent_wells) == ((), (), (), ())


def test_sites_lie_row_by_row_from_the_top(tmp_path: Path) -> None:
    """Site 1 is top left: x grows to the right, y upwards; neighbours overlap by 10 %."""
    detected = detect_microscope(write_opera_phenix(tmp_path / "plate", SMALL))
    _, index = detected.read_plate()
    height, width = (edge * SMALL.pixel_size_um * 0.9 for edge in SMALL.shape)
    found = {p.site: (p.x_um, p.y_um) for p in detected.read_positions(index) if p.well == "B02"}
    assert found == {
        1: pytest.approx((-width / 2, height / 2)),
        2: pytest.approx((width / 2, height / 2)),
        3: pytest.approx((-width / 2, -height / 2)),
        4: pytest.approx((width / 2, -height / 2)),
    }


def test_written_pixels_are_those_of_the_generator(tmp_path: Path) -> None:
    """Every file holds the plane that SyntheticImages makes for its coordinate."""
    folder = write_opera_phenix(tmp_path / "plate", SMALL)
    images = SyntheticImages(SMALL)
    for plane in detect_microscope(folder).read_plate()[1]:
        np.testing.assert_array_equal(tifffile.imread(folder / str(plane.path)), images.plane(plane.key))


def test_a_seed_gives_the_same_files(tmp_path: Path) -> None:
    """Two plates of one spec are byte-identical; the truth lies beside them, as for every layout."""
    spec = replace(SMALL, rows=1, columns=2, sites=1)
    first = contents(write_opera_phenix(tmp_path / "a", spec))
    assert first == contents(write_opera_phenix(tmp_path / "b", spec))
    assert json.loads(truth_path(tmp_path / "a").read_text()) == json.loads(json.dumps(SyntheticImages(spec).truth()))
    assert sorted(first)[:2] == ["Images/Index.idx.xml", "Images/r01c01f01p01-ch1sk1fk1fl1.tiff"]
    assert first["Images/Index.idx.xml"].startswith(b"\xef\xbb\xbf<?xml")


def test_missing_images_are_declared_and_not_there(tmp_path: Path) -> None:
    """What is left out is missing, not unknown."""
    spec = replace(SMALL, missing=(ImageKey("A02", None, None, None, None), ImageKey("B01", 1, 1, 2, 1)))
    plate, index = detect_microscope(write_opera_phenix(tmp_path / "plate", spec)).read_plate()
    assert plate.absent_wells == ("A02",)
    assert len(index.missing()) == 4 * 2 * 2 * 2 + 1
    assert ImageKey("B01", 1, 1, 2, 1) in {plane.key for plane in index.missing()}


def test_a_truncated_well_has_one_image_that_cannot_be_read(tmp_path: Path) -> None:
    """Exactly one file of the named well is cut; the plate is still read whole."""
    spec = replace(SMALL, sites=1, timepoints=1, truncated_wells=("B2",))
    folder = write_opera_phenix(tmp_path / "plate", spec)
    _, index = detect_microscope(folder).read_plate()
    sizes = {plane.key: plane.stamp[0] for plane in stamp(index, str(folder))}
    assert [key for key, size in sizes.items() if size < max(sizes.values())] == [ImageKey("B02", 1, 1, 1, 1)]


def test_a_large_plate_has_letters_twice(tmp_path: Path) -> None:
    """Rows beyond Z read back."""
    spec = SyntheticPlate(rows=27, columns=1, sites=1, channels=("DAPI",), z=1, shape=(28, 28))
    assert detect_microscope(write_opera_phenix(tmp_path / "plate", spec)).read_plate()[0].wells[-1] == "AA01"


def test_what_harmony_does_not_export_is_refused(tmp_path: Path) -> None:
    """Projections have no place in this layout; a folder with files is not overwritten."""
    with pytest.raises(ValueError, match="Harmony exports no projections"):
        write_opera_phenix(tmp_path / "plate", replace(SMALL, projections=True))
    assert not (tmp_path / "plate").exists()
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputPlaceError, match="is not empty; give a new folder"):
        write_opera_phenix(tmp_path, SMALL)
