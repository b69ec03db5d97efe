"""Exports as they occur in the field: names, files and metadata that a vendor's usual export does not have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from openhcs_engine.microscopes.imagexpress.names import ImageName, parse_image_name
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.model.image_index import ImageIndex, PlaneKind
from openhcs_engine.model.plate import Grid, Plate
from openhcs_engine.synthetic import SyntheticPlate, write_ome_zarr
from tests.engine import cellvoyager_folders as cellvoyager
from tests.engine import harmony_exports as harmony

GUID = "17654C10-92F1-4DFD-AAC4-0F31EA4F1D7E"
NOISE = np.random.default_rng(0)


def image(path: Path, seed: int | None = None) -> None:
    """A small image: of noise or, with a seed, always the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = NOISE if seed is None else np.random.default_rng(seed)
    tifffile.imwrite(path, generator.integers(0, 4000, (8, 9)).astype(np.uint16))


def htd(folder: Path, **entries: object) -> None:
    """An HTD of a plate of 96 wells."""
    lines = ['"HTSInfoFile", Version 1.0', '"XWells", 12', '"YWells", 8']
    lines += [f'"{key}", {value}' for key, value in entries.items()]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "P.HTD").write_text("\r\n".join((*lines, '"EndFile"')))


def read(folder: Path) -> tuple[Plate, ImageIndex]:
    """The plate of a folder, found by content."""
    return ReadOptions().detect(str(folder)).read_plate()


def said(plate: Plate, words: str) -> bool:
    """True if a warning or note has these words."""
    return any(words in sentence for sentence in (*plate.warnings, *plate.notes))


# ImageXpress


def test_guids_in_brackets_are_read(tmp_path: Path) -> None:
    """MetaXpress of about 2010 writes them so: ``P_A01_s1_[GUID].tif``, in TimePoint_1."""
    for site in (1, 2):
        image(tmp_path / "TimePoint_1" / f"P_A01_s{site}_[{GUID}].tif")
        image(tmp_path / "TimePoint_1" / f"P_A01_s{site}_thumb_[{GUID}].tif")
    htd(tmp_path / "TimePoint_1", WellsSelection1="TRUE", XSites=2, YSites=1, Waves="FALSE")

    plate, index = read(tmp_path)

    assert (plate.wells, plate.sites, len(index.present()), len(index.missing())) == (("A01",), (1, 2), 2, 0)
    assert said(plate, "2 thumbnails")


@pytest.mark.parametrize("guid", [GUID, f"_[{GUID}]"])
def test_both_forms_of_guids_read_back_equal(guid: str) -> None:
    """Name → key → name."""
    name = ImageName("A01", site=1, channel=2, prefix="a_[b]", guid=guid)

    assert parse_image_name(str(name)) == name


@pytest.mark.parametrize(
    ("selected", "grid"),
    [
        ([(2, 2), (2, 4), (4, 2), (4, 4)], Grid(rows=2, columns=2)),
        ([(1, 1), (1, 2), (1, 3)], Grid(rows=1, columns=3)),
        ([(2, 2), (2, 3), (3, 2)], Grid(rows=2, columns=2)),
        ([(1, 1), (3, 2), (5, 5)], None),
    ],
    ids=["every second", "a row", "with a hole", "scattered"],
)
def test_the_grid_is_that_of_the_selected_sites(
    tmp_path: Path, selected: list[tuple[int, int]], grid: Grid | None
) -> None:
    """Of 5 x 5 positions few were taken: 25 sites would be a wrong picture of the well."""
    lines = {
        f"SiteSelection{row}": ", ".join(str((row, column) in selected).upper() for column in range(1, 6))
        for row in range(1, 6)
    }
    for site in range(1, len(selected) + 1):
        image(tmp_path / f"P_A01_s{site}_w1.TIF")
    htd(tmp_path, WellsSelection1="TRUE", XSites=5, YSites=5, **lines)

    plate, index = read(tmp_path)

    assert (plate.grid, len(index.missing())) == (grid, 0)


def z_export(
    folder: Path, steps: tuple[int, ...], repeated: Callable[[int, int], int | None]
) -> tuple[Plate, ImageIndex]:
    """Two sites of a stack (wave 1), and of wave 2 with the seeds that ``repeated`` gives by site and ZStep."""
    for step in steps:
        for site in (1, 2):
            image(folder / "TimePoint_1" / f"ZStep_{step}" / f"P_A01_s{site}_w1.TIF")
            image(folder / "TimePoint_1" / f"ZStep_{step}" / f"P_A01_s{site}_w2.TIF", repeated(site, step))
    return read(folder)


@pytest.mark.parametrize("steps", [(1, 2, 3), (0, 1, 2, 3)])
def test_without_metadata_equal_bytes_in_zstep_folders_are_one_plane(tmp_path: Path, steps: tuple[int, ...]) -> None:
    """MetaXpress fills the folders of an export; a camera never gives one image twice."""
    plate, index = z_export(tmp_path, steps, lambda site, step: site)

    first, second = ([plane for plane in index if plane.key.channel == channel] for channel in (1, 2))
    assert len(first) == 2 * len(steps)
    assert [(plane.key.site, plane.key.z_index, plane.kind) for plane in second] == [
        (1, 1, PlaneKind.PLANE),
        (2, 1, PlaneKind.PLANE),
    ]
    assert said(plate, "files repeat others byte for byte")


@pytest.mark.parametrize(
    "repeated",
    [lambda site, step: site if site == 1 else None, lambda site, step: min(step, 2) * 10 + site],
    ids=["one site", "two of three steps"],
)
def test_a_stack_is_one_where_some_of_its_planes_differ(
    tmp_path: Path, repeated: Callable[[int, int], int | None]
) -> None:
    """A single pair of equal files is no reason to drop a channel's planes."""
    _, index = z_export(tmp_path, (1, 2, 3), repeated)

    assert sum(plane.key.channel == 2 for plane in index) == 6


def test_images_that_are_all_equal_say_nothing_of_copies(tmp_path: Path) -> None:
    """Blank images in every file: the folders' numbers are all that is known."""
    for step in (1, 2, 3):
        for channel in (1, 2):
            image(tmp_path / f"ZStep_{step}" / f"P_A01_s1_w{channel}.TIF", seed=1)

    plate, index = read(tmp_path)

    assert (plate.z_indexes, len(index)) == ((1, 2, 3), 6)


def test_what_macos_leaves_on_shares_is_no_htd(tmp_path: Path) -> None:
    """``._P.HTD`` is passed over like ``._P_A01_s1_w1.TIF``, without a word."""
    image(tmp_path / "P_A01_s1_w1.TIF")
    htd(tmp_path, WellsSelection1="TRUE")
    (tmp_path / "._P.HTD").write_bytes(b"\0\5\26\7")

    assert read(tmp_path)[0].warnings == ()


# Opera Phenix, Operetta


@pytest.mark.parametrize(
    ("element", "replacement"),
    [("<URL>", '<URL BufferNo="0">'), ("<FieldID>", '<FieldID Unit="">'), ("<Row>", '<Row xml:space="preserve">')],
)
def test_attributes_of_texts_and_numbers_mean_nothing(tmp_path: Path, element: str, replacement: str) -> None:
    """Columbus and older Operettas write ``<URL BufferNo="0">``."""
    records = [harmony.record(field=field) | harmony.CHANNEL for field in (1, 2, 3, 4)]
    text = harmony.index_text(records).replace(element, replacement)
    harmony.write_export(tmp_path, text, [harmony.image_name(field=field) for field in (1, 2, 3, 4)])

    plate, index = read(tmp_path)

    assert (plate.sites, len(index.present()), plate.warnings) == ((1, 2, 3, 4), 4, ())


@pytest.mark.parametrize("key", ["FieldID", "PlaneID", "TimepointID"])
@pytest.mark.parametrize("text", ["x", "-1", "1.5", "1" * 12])
def test_a_number_that_cannot_be_read_is_none(tmp_path: Path, key: str, text: str) -> None:
    """The record is named and left out; it never becomes site, plane or time 1."""
    other = harmony.image_name(field=2)
    records = [harmony.record(), harmony.record(id="odd one", URL=other) | {key: text}]
    harmony.write_export(tmp_path, harmony.index_text(records), [harmony.image_name(), other])

    plate, index = read(tmp_path)

    assert [plane.path for plane in index] == [f"Images/{harmony.image_name()}"]
    assert said(plate, "with a number that cannot be read (the first: odd one)")
    assert said(plate, f"were left out, the first Images/{other}")


def test_an_axis_that_no_record_states_has_one_value(tmp_path: Path) -> None:
    """Absent is not unreadable."""
    records = [harmony.record(PlaneID="", TimepointID="", FieldID="")]
    harmony.write_export(tmp_path, harmony.index_text(records), [harmony.image_name()])

    plate, _ = read(tmp_path)

    assert (plate.sites, plate.z_indexes, plate.timepoints, plate.warnings) == ((1,), (1,), (0,), ())


@pytest.mark.parametrize(("listed", "there"), [(".tiff", ".tif"), (".tif", ".TIFF")])
def test_images_that_were_packed_again_are_found(tmp_path: Path, listed: str, there: str) -> None:
    """Under the same name with the other ending of TIFFs."""
    name = harmony.image_name().removesuffix(".tiff")
    harmony.write_export(tmp_path, harmony.index_text([harmony.record(URL=name + listed)]), [name + there])

    plate, index = read(tmp_path)

    assert [plane.path for plane in index.present()] == [f"Images/{name}{there}"]
    assert plate.warnings == ()


def test_a_harmony_file_is_one_plane(tmp_path: Path) -> None:
    """An index that gives two wells the same file: the second well's plane is missing, and the file named."""
    records = [harmony.record(), harmony.record(column=2, URL=harmony.image_name())]
    harmony.write_export(tmp_path, harmony.index_text(records), [harmony.image_name()])

    plate, index = read(tmp_path)

    assert [(plane.key.well, plane.present) for plane in index] == [("A01", True), ("A02", False)]
    assert said(plate, "names 1 files for planes although they are other planes already")


def test_an_image_that_failed_first_and_was_taken_again_is_a_plane(tmp_path: Path) -> None:
    """Two records of one file, the first of an error."""
    records = [harmony.record(State="Error"), harmony.record()]
    harmony.write_export(tmp_path, harmony.index_text(records), [harmony.image_name()])

    plate, index = read(tmp_path)

    assert (len(index.present()), len(plate.errors)) == (1, 1)


def test_columbus_names_its_index_otherwise(tmp_path: Path) -> None:
    """``ImageIndex.ColumbusIDX.xml``, of the same form."""
    text = harmony.index_text([harmony.record() | harmony.CHANNEL], namespace="http://www.perkinelmer.com/Columbus")
    harmony.write_export(tmp_path, text, [harmony.image_name()], index_name="Images/ImageIndex.ColumbusIDX.xml")

    plate, _ = read(tmp_path)

    assert (plate.channels[0].name, plate.pixel_size_um, plate.warnings) == ("DAPI", 0.65, ())


def test_decimal_commas_are_read(tmp_path: Path) -> None:
    """Of an index that was saved again on a computer that is set to them."""
    records = [harmony.record(PositionX="-1,5E-04", PositionY="0,0002")]
    harmony.write_export(tmp_path, harmony.index_text(records), [harmony.image_name()])

    _, index = read(tmp_path)

    assert [(plane.x_um, plane.y_um) for plane in index] == [(-150.0, 200.0)]


# CellVoyager


def test_a_cellvoyager_file_is_one_plane(tmp_path: Path) -> None:
    """As with Harmony's; records of one coordinate are another matter."""
    first, second = cellvoyager.key(), cellvoyager.key("A02")
    file = cellvoyager.name_of(first)
    cellvoyager.write_records(tmp_path, [cellvoyager.record(key, file) for key in (first, second)])
    image(tmp_path / file)

    plate, index = read(tmp_path)

    assert [(plane.key.well, plane.present) for plane in index] == [("A01", True), ("A02", False)]
    assert said(plate, "1 records name a file that is another plane already")


def test_records_tell_planes_whatever_their_files_are_called(tmp_path: Path) -> None:
    """The CQ3K writes the same records, and numbers its wells in file names."""
    keys = [cellvoyager.key(site=site, z=None) for site in (1, 2)]
    names = [f"W0001F{site:04d}T0001Z000C1.tif" for site in (1, 2)]
    changes = {"TileXIndex": 1, "TileYIndex": 1, "ZTop": 5.0, "ZBottom": -5.0}
    records = [cellvoyager.record(key, name, changes) for key, name in zip(keys, names, strict=True)]
    cellvoyager.write_records(tmp_path, records)
    for name in names:
        image(tmp_path / name)

    plate, index = read(tmp_path)

    assert (plate.wells, plate.sites, len(index.present()), plate.warnings) == (("A01",), (1, 2), 2, ())


# OME-Zarr


@pytest.fixture
def omezarr(tmp_path: Path) -> Path:
    """A plate of another writer, as far as its attributes tell: one well with two sites, in zarr v2."""
    plate = write_ome_zarr(tmp_path / "p.zarr", SyntheticPlate(rows=1, columns=1, sites=2, z=1, shape=(32, 32)))
    assert (plate / "A/01/0/zarr.json").exists() or (plate / "A/01/0/.zattrs").exists()
    return plate


def change(node: Path, old: str, new: str) -> None:
    """Replace a text in a group's document."""
    path = node / "zarr.json" if (node / "zarr.json").exists() else node / ".zattrs"
    content = json.dumps(json.loads(path.read_text()))
    assert old in content
    path.write_text(content.replace(old, new))


def test_a_channel_may_be_called_by_a_number(omezarr: Path) -> None:
    """A label that is no text is still a label, and costs the others nothing."""
    change(omezarr / "A/01/0", '"label": "DAPI"', '"label": 405')
    change(omezarr / "A/01/1", '"label": "DAPI"', '"label": 405')

    assert [channel.name for channel in read(omezarr)[0].channels] == ["405", "GFP"]


def test_paths_may_end_with_a_slash(omezarr: Path) -> None:
    """It means the same folder."""
    change(omezarr, '"path": "A/01"', '"path": "A/01/"')

    assert read(omezarr)[0].wells == ("A01",)


def test_a_processed_copy_beside_its_image_is_a_warning(omezarr: Path) -> None:
    """Fractal can keep ``0_illum_corr`` beside ``0``: no field of its own, but nothing says so."""
    (omezarr / "A/01/1").rename(omezarr / "A/01/0_illum_corr")
    change(omezarr / "A/01", '"path": "1"', '"path": "0_illum_corr"')

    plate, _ = read(omezarr)

    assert plate.sites == (1, 2)
    assert said(plate, "0_illum_corr (site 2) of 0 (site 1)")
