"""Synthetic plates: what is written reads back equal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.model.image_index import ImageKey, PlaneKind
from openhcs_engine.model.plate import Grid
from openhcs_engine.synthetic import (
    NEGATIVE,
    POSITIVE,
    SAMPLE,
    SyntheticImages,
    SyntheticPlate,
    truth_path,
    write_imagexpress,
)

SMALL = SyntheticPlate(rows=2, columns=3, sites=3, z=2, timepoints=2, shape=(64, 80), seed=7)


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_default_plate_is_the_documented_one() -> None:
    """24 wells in 4 rows, 2 sites, DAPI and GFP, 3 z planes of 256 x 256."""
    spec = SyntheticPlate()
    assert (len(spec.wells), spec.wells[0], spec.wells[-1]) == (24, "A01", "D06")
    assert (spec.sites, spec.channels, spec.z, spec.shape) == (2, ("DAPI", "GFP"), 3, (256, 256))


def test_a_written_plate_reads_back_equal(tmp_path: Path) -> None:
    """Our reader finds exactly the planes and metadata that were written, and nothing to warn about."""
    plate, index = detect_microscope(write_imagexpress(tmp_path / "plate", SMALL)).read_plate()

    assert {plane.key for plane in index} == set(SMALL.image_keys())
    assert len(index) == len(index.present()) == 6 * 3 * 2 * 2 * 2
    assert plate.wells == SMALL.wells
    assert [channel.name for channel in plate.channels] == list(SMALL.channels)
    assert [channel.wavelength_nm for channel in plate.channels] == [452, 520]
    assert (plate.pixel_size_um, plate.z_step_um) == (SMALL.pixel_size_um, SMALL.z_step_um)
    assert (plate.grid, plate.rows, plate.columns) == (Grid(rows=2, columns=2), 2, 3)
    assert (plate.shape, plate.dtype) == (SMALL.shape, "uint16")
    assert plate.warnings == ()


def test_written_pixels_are_those_of_the_generator(tmp_path: Path) -> None:
    """Every file holds the plane that SyntheticImages makes for its coordinate."""
    folder = write_imagexpress(tmp_path / "plate", SMALL)
    images = SyntheticImages(SMALL)
    for plane in detect_microscope(folder).read_plate()[1]:
        np.testing.assert_array_equal(tifffile.imread(folder / str(plane.path)), images.plane(plane.key))


def test_a_seed_gives_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    """Two plates of one spec are byte-identical; the seed changes the pixels."""
    first = contents(write_imagexpress(tmp_path / "a", SMALL))
    second = contents(write_imagexpress(tmp_path / "b", SMALL))
    other = contents(write_imagexpress(tmp_path / "c", replace(SMALL, seed=8)))
    image = "TimePoint_1/ZStep_1/synthetic_A01_s1_w1.tif"
    assert first == second
    assert first[image] != other[image]


def test_a_plane_does_not_depend_on_what_was_made_before() -> None:
    """Planes can be made in any order, each alone."""
    keys = list(SMALL.image_keys())[:20]
    forwards = SyntheticImages(SMALL)
    together = {key: forwards.plane(key) for key in keys}
    for key in reversed(keys):
        np.testing.assert_array_equal(SyntheticImages(SMALL).plane(key), together[key])


def test_the_truth_lies_beside_the_plate_and_matches_the_pixels(tmp_path: Path) -> None:
    """Each planted object is a local maximum of its channel's projection, about as bright as the truth says."""
    spec = SyntheticPlate(rows=1, columns=3, z=3)
    folder = write_imagexpress(tmp_path / "plate", spec)
    truth = json.loads(truth_path(folder).read_text())
    images = SyntheticImages(spec)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["plate", "plate.truth.json"]
    assert truth["control_roles"] == {"1": NEGATIVE, "2": SAMPLE, "3": POSITIVE}
    assert truth["seed"] == spec.seed
    for well in spec.wells:
        for site in (1, 2):
            for channel in (1, 2):
                projection = images.plane(ImageKey(well, site, channel, None, 1)).astype(float)
                for spot in truth["wells"][well]["sites"][str(site)]:
                    peak = projection[round(spot["y"]), round(spot["x"])] - 200
                    assert peak == pytest.approx(spot["intensities"][channel - 1], rel=0.25)


def test_objects_can_be_counted(tmp_path: Path) -> None:
    """A threshold and connected components find exactly the planted objects."""
    ndimage = pytest.importorskip("scipy.ndimage")
    images = SyntheticImages(SyntheticPlate())
    for well in ("A01", "A03", "A06"):
        projection = images.plane(ImageKey(well, 1, 1, None, 1))
        assert ndimage.label(projection > 1000)[1] == len(images.objects(well, 1))


def test_positive_controls_have_more_and_brighter_objects() -> None:
    """Positive wells have twice the objects, brighter in all channels but the first."""
    images = SyntheticImages(SyntheticPlate())
    negative, positive = images.objects("A01", 1), images.objects("A06", 1)
    assert len(positive) == 2 * len(negative)
    assert min(spot.intensities[1] for spot in positive) > max(spot.intensities[1] for spot in negative)
    assert max(spot.intensities[0] for spot in positive) < 2 * min(spot.intensities[0] for spot in negative)


def test_missing_images_are_declared_and_not_there(tmp_path: Path) -> None:
    """What is left out is missing, not unknown: the reader lists it as not present."""
    spec = replace(SMALL, missing=(ImageKey("A02", None, None, None, None), ImageKey("B01", 1, 1, 2, 1)))
    plate, index = detect_microscope(write_imagexpress(tmp_path / "plate", spec)).read_plate()
    assert plate.absent_wells == ("A02",)
    assert len(index.missing()) == 3 * 2 * 2 * 2 + 1
    assert ImageKey("B01", 1, 1, 2, 1) in {plane.key for plane in index.missing()}


def test_a_truncated_well_has_one_image_that_cannot_be_read(tmp_path: Path) -> None:
    """Exactly one file of the named well is cut; the plate is still read whole."""
    folder = write_imagexpress(tmp_path / "plate", replace(SMALL, truncated_wells=("B2",)))
    _, index = detect_microscope(folder).read_plate()
    broken = []
    for plane in index:
        try:
            tifffile.imread(folder / str(plane.path))
        except (ValueError, tifffile.TiffFileError):
            broken.append(plane.key)
    assert broken == [ImageKey("B02", 1, 1, 1, 1)]


def test_instrument_projections_are_told_from_planes(tmp_path: Path) -> None:
    """ZStep_0 holds the maximum of the planes, and the reader knows it as a projection."""
    folder = write_imagexpress(tmp_path / "plate", replace(SMALL, projections=True))
    _, index = detect_microscope(folder).read_plate()
    projections = [plane for plane in index if plane.kind is PlaneKind.PROJECTION]
    assert len(projections) == 6 * 3 * 2 * 2
    assert {str(plane.path).split("/")[1] for plane in projections} == {"ZStep_0"}
    planes = [tifffile.imread(folder / f"TimePoint_1/ZStep_{z}/synthetic_A01_s1_w1.tif") for z in (0, 1, 2)]
    np.testing.assert_array_equal(planes[0], np.maximum(planes[1], planes[2]))


def test_thumbnails_lie_beside_the_images_and_are_no_data(tmp_path: Path) -> None:
    """One thumbnail an image is written, and none is read."""
    folder = write_imagexpress(tmp_path / "plate", SMALL)
    plate, index = detect_microscope(folder).read_plate()
    assert len(list(folder.rglob("*_thumb*"))) == len(index)
    assert plate.notes == (f"{len(index)} thumbnails were left out; they are not data.",)


def test_a_folder_with_files_is_not_overwritten(tmp_path: Path) -> None:
    """Nothing is written into a folder that holds something."""
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputPlaceError, match="is not empty; give a new folder"):
        write_imagexpress(tmp_path, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rows": 33}, "A plate has 1 to 32 rows"),
        ({"sites": 0}, "at least one site"),
        ({"channels": ()}, "at least one site, channel"),
        ({"shape": (20, 20)}, "too small"),
        ({"truncated_wells": ("H12",)}, "not on the plate: H12"),
    ],
)
def test_impossible_plates_are_refused(change: dict[str, object], sentence: str) -> None:
    """A spec that cannot be written says why."""
    with pytest.raises(ValueError, match=sentence):
        replace(SMALL, **change)  # type: ignore[arg-type]  # wrong on purpose
