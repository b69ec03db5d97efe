"""Synthetic OME-Zarr plates: what is written reads back equal, and others' models accept it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import zarr

from openhcs_engine.errors import OutputPlaceError, PlaneReadError
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.raw.array_plane import read_array_plane
from openhcs_engine.synthetic import SyntheticImages, SyntheticPlate, truth_path, write_imagexpress, write_ome_zarr

Version = Literal["0.4", "0.5"]
SMALL = SyntheticPlate(rows=2, columns=2, sites=2, z=2, timepoints=2, shape=(64, 80), seed=7)
BOTH = pytest.mark.parametrize("version", ["0.4", "0.5"])


@BOTH
def test_a_written_plate_reads_back_equal(tmp_path: Path, version: Version) -> None:
    """Our reader finds exactly the planes, metadata and pixels of the spec, and nothing to warn about."""
    folder = write_ome_zarr(tmp_path / "plate", SMALL, version)

    plate, index = detect_microscope(folder).read_plate()

    assert {plane.key for plane in index} == set(SMALL.image_keys())
    assert len(index) == len(index.present()) == 4 * 2 * 2 * 2 * 2
    assert (plate.wells, plate.absent_wells, plate.name) == (SMALL.wells, (), SMALL.name)
    assert [channel.name for channel in plate.channels] == list(SMALL.channels)
    assert (plate.pixel_size_um, plate.z_step_um) == (SMALL.pixel_size_um, SMALL.z_step_um)
    assert (plate.rows, plate.columns, plate.shape, plate.dtype) == (2, 2, SMALL.shape, "uint16")
    assert plate.warnings == ()
    images = SyntheticImages(SMALL)
    for plane in index:
        pixels = read_array_plane(folder, str(plane.path), plane.array_index or ())
        np.testing.assert_array_equal(pixels, images.plane(plane.key))


VALIDATE = """
import sys, warnings
import zarr
warnings.simplefilter("ignore")  # it asks for a version that 0.5 moved elsewhere
from ome_zarr_models.{module} import HCS
print(len(list(HCS.from_zarr(zarr.open_group(sys.argv[1], mode="r")).well_groups)))
"""


@pytest.mark.parametrize(("version", "module"), [("0.4", "v04"), ("0.5", "v05")])
def test_the_reference_models_accept_it(tmp_path: Path, version: Version, module: str) -> None:
    """Plate, wells and images are valid by ome-zarr-models; in a process of its own: 0.4 fails after 0.5 was used."""
    folder = write_ome_zarr(tmp_path / "plate", replace(SMALL, timepoints=1), version)
    command = [sys.executable, "-c", VALIDATE.format(module=module), str(folder)]

    done = subprocess.run(command, capture_output=True, text=True)

    assert done.stdout.strip() == "4", done.stderr


@BOTH
def test_the_second_level_is_half_as_large(tmp_path: Path, version: Version) -> None:
    """Each image has two resolutions."""
    folder = write_ome_zarr(tmp_path / "plate", replace(SMALL, rows=1, columns=1), version)
    assert zarr.open_array(str(folder / "A/01/0/1"), mode="r").shape == (2, 2, 2, 32, 40)


def test_the_same_spec_shows_the_same_in_every_layout(tmp_path: Path) -> None:
    """The pixels do not depend on the layout, nor does the truth beside it."""
    spec = replace(SMALL, rows=1, columns=1)
    folders = [write_ome_zarr(tmp_path / "zarr", spec), write_imagexpress(tmp_path / "tiff", spec)]
    first, second = (truth_path(folder).read_text() for folder in folders)
    assert first == second


def test_missing_wells_and_sites_are_declared_and_not_there(tmp_path: Path) -> None:
    """A well that is left out is absent, a site that is left out is missing planes."""
    gone = (ImageKey("A02", None, None, None, None), ImageKey("B01", 2, None, None, None))
    plate, index = detect_microscope(write_ome_zarr(tmp_path / "plate", replace(SMALL, missing=gone))).read_plate()
    assert plate.absent_wells == ("A02",)
    assert {(plane.key.well, plane.key.site) for plane in index.missing()} == {("B01", 2)}
    assert {plane.key for plane in index.present()} == set(replace(SMALL, missing=gone).image_keys())


@BOTH
def test_a_truncated_well_has_one_plane_that_cannot_be_read(tmp_path: Path, version: Version) -> None:
    """Exactly one chunk of the named well is cut; the plate is still read whole."""
    folder = write_ome_zarr(tmp_path / "plate", replace(SMALL, truncated_wells=("B2",)), version)
    broken = []
    for plane in detect_microscope(folder).read_plate()[1]:
        try:
            read_array_plane(folder, str(plane.path), plane.array_index or ())
        except PlaneReadError:
            broken.append(plane.key)
    assert broken == [ImageKey("B02", 1, 1, 1, 1)]


def test_a_folder_with_files_is_not_overwritten(tmp_path: Path) -> None:
    """Nothing is written into a folder that holds something."""
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputPlaceError, match="is not empty; give a new folder"):
        write_ome_zarr(tmp_path, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda folder: write_ome_zarr(folder, replace(SMALL, projections=True)), "no place for projections"),
        (
            lambda folder: write_ome_zarr(folder, replace(SMALL, missing=(ImageKey("A01", 1, 1, 1, 1),))),
            "cannot say that single planes are missing",
        ),
        (lambda folder: write_ome_zarr(folder, SMALL, "0.3"), "written in version 0.4 or 0.5, not '0.3'"),
    ],
)
def test_what_ome_zarr_cannot_say_is_refused(tmp_path: Path, write: Callable[[Path], object], sentence: str) -> None:
    """A spec that OME-Zarr has no words for is an error before anything is written."""
    with pytest.raises(ValueError, match=sentence):
        write(tmp_path / "plate")
    assert not (tmp_path / "plate").exists()
