"""ImageXpress plates: real exports against their published facts, and small plates with one trap each."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.model.image_index import ImageIndex, ImageKey, PlaneKind
from openhcs_engine.model.plate import Grid, Plate
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

SETS = ("ix_singlechannel_zstep", "ix_timelapse_zmix", "metaxpress_3434_mixed")
Facts = dict[str, Any]  # Any: the JSON of the published facts


def facts_of(data_dir: Path, name: str) -> Facts:
    """The published truth of one set."""
    facts: Facts = json.loads((data_dir / "facts.json").read_text(encoding="utf-8"))[name]
    return facts


def read(folder: Path) -> tuple[Plate, ImageIndex]:
    """The plate and index of a folder."""
    return detect_microscope(folder).read_plate()


def digest(path: Path) -> str:
    """sha256 of a TIFF's pixels, as the facts define it."""
    return hashlib.sha256(np.ascontiguousarray(tifffile.imread(path)).tobytes()).hexdigest()


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of everything below a folder."""
    found = ((path, path.stat()) for path in folder.rglob("*"))
    return {str(path): (status.st_size, status.st_mtime_ns) for path, status in found}


@pytest.mark.parametrize("name", SETS)
def test_planes_and_projections_are_those_of_the_facts(data_dir: Path, name: str) -> None:
    """Each true z plane and each projection is listed once, copies are not, thumbnails never are."""
    facts = facts_of(data_dir, name)
    expected = []
    for stack in facts["stacks"]:
        site = (stack["well"], stack["site"], stack["channel"], stack["t"])
        expected += [(*site, plane["z_step_no"], plane["files"]) for plane in stack["true_z_planes"]]
        if stack["projection_files"]:
            expected.append((*site, None, stack["projection_files"]))

    _, index = read(data_dir / name)

    there = index.present()
    found = {(p.key.well, p.key.site, p.key.channel, p.key.timepoint, p.key.z_index): p for p in there}
    assert len(found) == len(there) == len(expected)
    for *key, files in expected:
        plane = found[tuple(key)]  # type: ignore[index]  # the rows of a JSON file
        assert plane.path in files
        assert plane.present
        assert plane.kind is (PlaneKind.PROJECTION if key[-1] is None else PlaneKind.PLANE)


@pytest.mark.parametrize("name", SETS)
def test_pixels_are_those_of_the_facts(data_dir: Path, name: str) -> None:
    """Every listed path leads to exactly the pixels that the facts give for it."""
    digests = {plane["path"]: plane["sha256"] for plane in facts_of(data_dir, name)["planes"]}
    _, index = read(data_dir / name)
    assert {plane.path: digest(data_dir / name / str(plane.path)) for plane in index.present()} == {
        plane.path: digests[str(plane.path)] for plane in index.present()
    }


@pytest.mark.parametrize("name", SETS)
def test_metadata_are_those_of_the_facts(data_dir: Path, name: str) -> None:
    """Wells, sites, channels, times, pixel size, wavelengths and shape are what the instrument wrote."""
    facts = facts_of(data_dir, name)

    plate, _ = read(data_dir / name)

    assert plate.microscope == "imagexpress"
    assert list(plate.wells) == facts["wells"]
    assert list(plate.sites) == facts["sites"]
    assert list(plate.timepoints) == facts["timepoints"]
    assert [plate.pixel_size_um] == facts["pixel_um"]
    assert [list(plate.shape or ())] == facts["image_shape"]
    assert plate.dtype == "uint16"
    assert {str(channel.index): [channel.name] for channel in plate.channels} == {
        index: channel["illum"] for index, channel in facts["channels"].items()
    }
    assert {str(channel.index): [channel.wavelength_nm] for channel in plate.channels} == {
        index: channel["wavelength"] for index, channel in facts["channels"].items()
    }


def test_max_projection_of_the_true_planes_is_that_of_the_facts(data_dir: Path) -> None:
    """A z-stack of w1 holds the two planes and not the instrument's projection beside them."""
    facts = facts_of(data_dir, "metaxpress_3434_mixed")
    _, index = read(data_dir / "metaxpress_3434_mixed")
    for stack in (stack for stack in facts["stacks"] if stack["channel"] == 1):
        planes = [
            tifffile.imread(data_dir / "metaxpress_3434_mixed" / str(plane.path))
            for plane in index.pipeline_input().for_well(stack["well"])
            if plane.key.site == stack["site"] and plane.key.channel == 1
        ]
        assert len(planes) == 2
        assert hashlib.sha256(np.maximum.reduce(planes).tobytes()).hexdigest() == stack["max_projection"]["sha256"]


def test_the_mixed_export_says_what_its_copy_lacks(data_dir: Path) -> None:
    """The HTD's promises that no file keeps are warnings, and missing: a z step of w1, the only stack, and w4."""
    plate, index = read(data_dir / "metaxpress_3434_mixed")

    assert plate.plate_id == "metaxpress_3434_mixed"
    assert plate.name == "9987"
    assert plate.grid == Grid(rows=1, columns=2)
    assert (plate.rows, plate.columns, plate.z_indexes, plate.z_step_um) == (8, 12, (1, 2), 3.0)
    assert plate.warnings == (
        'The HTD promises wave 4 ("Cy5"), but no file of it is in the folder.',
        "The HTD promises 3 z steps, but no plane of z step 3 is in the folder.",
    )
    assert len(plate.notes) == 2
    assert "Channel 2: 8 files repeat others byte for byte" in plate.notes[0]
    positions = [(well, site) for well in ("B02", "B03") for site in (1, 2)]
    assert {plane.key for plane in index.missing()} == {
        ImageKey(well, site, channel, z, 1) for well, site in positions for channel, z in ((1, 3), (4, 1))
    }
    assert index.plate_gaps() == index.missing()


def test_a_database_tree_is_one_plate_without_invented_metadata(data_dir: Path) -> None:
    """Without an HTD there is no grid and nothing missing; thumbnails are counted; paths hold the whole tree."""
    plate, index = read(data_dir / "ix_singlechannel_zstep")
    assert (plate.grid, plate.rows, plate.warnings) == (None, None, ())
    assert plate.notes == ("6 thumbnails were left out; they are not data.",)
    assert plate.name == "Projection-Mix"
    assert all(str(plane.path).startswith("2023-02-21/1334/") for plane in index)


@pytest.mark.parametrize("name", SETS)
def test_the_raw_folder_is_left_as_it_was(data_dir: Path, name: str) -> None:
    """Reading a plate writes nothing into its folder."""
    before = snapshot(data_dir / name)
    read(data_dir / name)
    assert snapshot(data_dir / name) == before


# Small plates with one trap each.

SMALL = SyntheticPlate(rows=2, columns=2, sites=2, channels=("DAPI", "GFP"), z=2, shape=(64, 64), thumbnails=False)


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """A sound plate of 2 x 2 wells, 2 sites, 2 channels and 2 z planes, with an HTD."""
    return write_imagexpress(tmp_path / "plate", SMALL)


def without_metadata(folder: Path) -> None:
    """Save all TIFFs again as a program does that knows nothing of MetaSeries."""
    for path in folder.rglob("*.tif"):
        tifffile.imwrite(path, tifffile.imread(path))


def test_a_missing_file_is_a_row_without_a_path(plate: Path) -> None:
    """One absent plane is listed with its coordinate, not present."""
    (plate / "TimePoint_1/ZStep_2/synthetic_B01_s2_w1.tif").unlink()

    found, index = read(plate)

    (row,) = index.missing()
    assert (row.key, row.path, row.kind) == (ImageKey("B01", 2, 1, 2, 1), None, PlaneKind.PLANE)
    assert found.warnings == ()
    assert found.wells == SMALL.wells


def test_an_absent_well_is_named_and_its_planes_are_missing(plate: Path) -> None:
    """A selected well without any file is no well of the plate; its planes are rows that are not present."""
    for path in plate.rglob("*_A02_*"):
        path.unlink()

    found, index = read(plate)

    assert found.wells == ("A01", "B01", "B02")
    assert found.absent_wells == ("A02",)
    assert found.warnings == ("Selected for acquisition, but without any image: A02.",)
    assert [plane.key.well for plane in index.missing()] == ["A02"] * 8


def test_a_missing_time_point_is_missing_in_each_well(tmp_path: Path) -> None:
    """The HTD's time points are declared for each well; a folder that is gone is a gap and a warning."""
    folder = write_imagexpress(
        tmp_path / "plate", SyntheticPlate(rows=1, columns=1, sites=1, z=1, timepoints=2, shape=(64, 64))
    )
    shutil.rmtree(folder / "TimePoint_2")
    found, index = read(folder)
    assert found.timepoints == (1,)
    assert [plane.key.timepoint for plane in index.missing()] == [2, 2]
    assert found.warnings == ("No image of time point 2 is in the folder, but the HTD promises it.",)


def test_a_channel_gone_from_every_well_is_missing_and_enters_no_pipeline(plate: Path) -> None:
    """A wave that was never exported counts as stacks like the others, and stops no well."""
    for path in plate.rglob("*_w2.tif"):
        path.unlink()
    found, index = read(plate)
    assert [channel.name for channel in found.channels] == ["DAPI"]
    assert found.warnings == ('The HTD promises wave 2 ("GFP"), but no file of it is in the folder.',)
    assert {plane.key for plane in index.missing()} == {key for key in SMALL.image_keys() if key.channel == 2}
    assert not len(index.pipeline_input().missing())


def test_an_htd_alone_gives_the_complete_table(plate: Path) -> None:
    """A folder of metadata only lists every plane that was declared, none present."""
    shutil.rmtree(plate / "TimePoint_1")
    found, index = read(plate)
    assert (found.wells, found.absent_wells) == (SMALL.wells, ())
    assert len(index) == len(index.missing()) == len(list(SMALL.image_keys()))
    assert found.warnings == ("The folder has an HTD file, but no image.",)


def test_without_metadata_the_folder_tells_z(plate: Path) -> None:
    """TIFFs that were saved again lose their metadata; then a ZStep folder's number is the z, and sizes are unknown."""
    without_metadata(plate)
    found, index = read(plate)
    assert {plane.key for plane in index} == set(SMALL.image_keys())
    assert found.z_indexes == (1, 2)
    assert (found.pixel_size_um, found.z_step_um) == (None, None)
    assert found.channels[0].name == "DAPI"


@pytest.mark.parametrize("place", ["TimePoint_1/ZStep_0", "TimePoint_1"])
def test_without_metadata_zstep_0_and_files_beside_are_projections(plate: Path, place: str) -> None:
    """Beside ZStep folders, ZStep_0 and files outside them are projections and enter no z-stack."""
    without_metadata(plate)
    (plate / place).mkdir(exist_ok=True)
    shutil.copy(plate / "TimePoint_1/ZStep_1/synthetic_A01_s1_w1.tif", plate / place)

    _, index = read(plate)

    projections = [plane for plane in index if plane.kind is PlaneKind.PROJECTION and plane.present]
    assert [(plane.key, plane.path) for plane in projections] == [
        (ImageKey("A01", 1, 1, None, 1), f"{place}/synthetic_A01_s1_w1.tif")
    ]
    assert len(index.pipeline_input()) == len(list(SMALL.image_keys()))


@pytest.mark.parametrize("suffix", [".tif", ".TIF", ".tiff"])
def test_flat_names_without_htd_are_read(tmp_path: Path, suffix: str) -> None:
    """A folder of plain names with any of the suffixes is a plate of z 1 and time point 1."""
    for well in ("A01", "A02"):
        tifffile.imwrite(tmp_path / f"{well}_s1_w1{suffix}", np.zeros((8, 8), np.uint8))
    found, index = read(tmp_path)
    assert found.wells == ("A01", "A02")
    assert [plane.key for plane in index] == [ImageKey("A01", 1, 1, 1, 1), ImageKey("A02", 1, 1, 1, 1)]
    assert (found.shape, found.dtype) == ((8, 8), "uint8")


def test_flat_names_with_z_give_z(tmp_path: Path) -> None:
    """A z in the file name is the plane's z."""
    for z_index in (1, 2, 10):
        tifffile.imwrite(tmp_path / f"A01_s001_w1_z{z_index:03d}.tif", np.zeros((8, 8), np.uint16))
    _, index = read(tmp_path)
    assert [plane.key.z_index for plane in index] == [1, 2, 10]


def test_names_without_site_and_wave_are_site_1_and_channel_1(plate: Path) -> None:
    """Beside an HTD, ``<plate>_A01.tif`` is the only site and channel."""
    source = plate / "TimePoint_1/ZStep_1/synthetic_A01_s1_w1.tif"
    image = source.read_bytes()
    shutil.rmtree(plate / "TimePoint_1")
    (plate / "synthetic_A01.tif").write_bytes(image)
    _, index = read(plate)
    assert [plane.key for plane in index.present()] == [ImageKey("A01", 1, 1, 1, 1)]


def test_sites_of_the_full_grid_are_declared_by_their_numbers(plate: Path) -> None:
    """Where files are numbered over the whole grid, the selected positions are the declared sites."""
    htd = plate / "synthetic.HTD"
    htd.write_bytes(htd.read_bytes().replace(b'"SiteSelection1", TRUE, TRUE', b'"SiteSelection1", FALSE, TRUE'))
    for path in plate.rglob("*_s1_*"):
        path.unlink()
    found, index = read(plate)
    assert found.sites == (2,)
    assert len(index.missing()) == 0


def test_copies_that_differ_are_named(plate: Path) -> None:
    """Two files of one plane with different bytes: the first is read, and the warning names both."""
    original = plate / "TimePoint_1/ZStep_1/synthetic_A01_s1_w1.tif"
    changed = original.with_name("other_A01_s1_w1.tif")
    changed.write_bytes(original.read_bytes()[:-1] + b"\x01")

    found, index = read(plate)

    (plane,) = [plane for plane in index if plane.key == ImageKey("A01", 1, 1, 1, 1)]
    assert plane.path == "TimePoint_1/ZStep_1/other_A01_s1_w1.tif"
    assert found.warnings == (
        "TimePoint_1/ZStep_1/synthetic_A01_s1_w1.tif was left out: it differs from "
        "TimePoint_1/ZStep_1/other_A01_s1_w1.tif, but both are the same well, site, channel, z and time point.",
    )


def test_a_tiff_without_a_readable_header_does_not_stop_the_plate(plate: Path) -> None:
    """The next file of the folder gives the metadata, and the damaged one is named."""
    damaged = plate / "TimePoint_1/ZStep_1/synthetic_A01_s1_w1.tif"
    os.truncate(damaged, 100)

    found, index = read(plate)

    assert found.warnings == (
        "TimePoint_1/ZStep_1/synthetic_A01_s1_w1.tif cannot be read: it is cut short: its header lies beyond the end "
        "of the file.",
    )
    assert found.pixel_size_um == SMALL.pixel_size_um
    assert {plane.key for plane in index.present()} == set(SMALL.image_keys())


def test_a_cut_tiff_with_a_whole_header_is_named(tmp_path: Path) -> None:
    """The header of a cut file is used, and the cut is a warning."""
    folder = write_imagexpress(
        tmp_path / "plate", SyntheticPlate(rows=1, columns=2, shape=(64, 64), truncated_wells=("A01",))
    )
    found, _ = read(folder)
    (warning,) = found.warnings
    assert warning.endswith("synthetic_A01_s1_w1.tif is cut short: its pixels end beyond the end of the file.")


def test_damaged_and_hostile_metaseries_are_warnings(plate: Path) -> None:
    """XML that declares entities is not expanded; the file is named and the plate is read."""
    bomb = '<MetaData><!DOCTYPE x [<!ENTITY a "aaaa">]><prop id="Z Step" value="&a;"/></MetaData>'
    path = plate / "TimePoint_1/ZStep_1/synthetic_A01_s1_w1.tif"
    tifffile.imwrite(path, tifffile.imread(path), description=bomb, metadata=None)
    found, _ = read(plate)
    (warning,) = found.warnings
    assert "synthetic_A01_s1_w1.tif cannot be read: its MetaSeries XML cannot be read" in warning


def test_one_image_is_described_for_each_folder_and_channel(plate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wells and sites a folder holds, of one TIFF of each channel more than the header's form is read."""
    from openhcs_engine.microscopes.imagexpress import planes as imagexpress_planes

    opened: Counter[str] = Counter()
    read_header = imagexpress_planes.read_header

    def counting(listing: object, path: str) -> Any:  # Any: whatever the original returns
        opened[path] += 1
        return read_header(listing, path)  # type: ignore[arg-type]

    monkeypatch.setattr(imagexpress_planes, "read_header", counting)
    read(plate)

    assert (
        sorted(Path(path).parent.name for path in opened if path.endswith(".tif")) == ["ZStep_1"] * 2 + ["ZStep_2"] * 2
    )


def test_images_in_other_folders_inside_the_plate_are_left_out(plate: Path) -> None:
    """An analysis folder inside the plate does not add planes; it is named."""
    (plate / "analysis").mkdir()
    shutil.copy(plate / "TimePoint_1/ZStep_1/synthetic_A01_s1_w1.tif", plate / "analysis")
    shutil.copy(plate / "TimePoint_1/ZStep_1/synthetic_A01_s1_w1.tif", plate / "synthetic_A01_s1_w1.tif")
    found, index = read(plate)
    assert not any(str(plane.path).startswith("analysis/") for plane in index)
    assert any("1 images in analysis were left out" in warning for warning in found.warnings)


def test_a_damaged_htd_is_named_and_the_images_are_read(plate: Path) -> None:
    """Without a usable HTD the files still tell what they are."""
    (plate / "synthetic.HTD").write_bytes(b'"HTSInfoFile", Version 1.0\r\n"XSites", many\r\n')
    found, index = read(plate)
    assert len(index) == len(list(SMALL.image_keys()))
    assert found.warnings[0].startswith("synthetic.HTD was not used: synthetic.HTD is a damaged HTD file")
