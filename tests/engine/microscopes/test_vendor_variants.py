"""Exports that differ from the usual: other cases, encodings and prefixes, files that are not what they are called."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import numpy as np
import openpyxl
import pytest
import tifffile

from openhcs_engine.errors import NamePatternError, OpenHCSError, PlateMapError, UnreadablePlateError
from openhcs_engine.microscopes.imagexpress.names import ImageName, parse_image_name
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.model.plate import Plate
from openhcs_engine.synthetic import SyntheticPlate, write_ome_zarr
from tests.object_store import upload

PLANE = np.arange(72, dtype=np.uint16).reshape(8, 9)
HTD = "\r\n".join(
    (
        '"HTSInfoFile", Version 1.0',
        '"XWells", 12',
        '"YWells", 8',
        '"WellsSelection1", TRUE, TRUE',
        '"XSites", 2',
        '"YSites", 1',
        '"NWavelengths", 2',
        '"WaveName1", "DAPI"',
        '"WaveName2", "Grün"',
        '"EndFile"',
    )
)
IMAGES = [f"P_{well}_s{site}_w{channel}.tif" for well in ("A01", "A02") for site in (1, 2) for channel in (1, 2)]
CELLVOYAGER = "P_A01_T0001F001L01A01Z{z:02d}C01.tif"


def write(folder: Path, *names: str) -> Path:
    """A folder of one image under many names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(folder / name, PLANE)
    return folder


def read(folder: Path | str, **options: str) -> tuple[Plate, ImageIndex]:
    """The plate of a folder."""
    return ReadOptions(**options).detect(str(folder)).read_plate()


def records(*z_indexes: int, prefix: str = "bts") -> str:
    """A MeasurementData.mlf with one plane for each z."""
    tag = f"{prefix}:" if prefix else ""
    lines = [
        f'<{tag}MeasurementRecord {tag}Type="IMG" {tag}Row="1" {tag}Column="1" {tag}FieldIndex="1" {tag}TimePoint="1" '
        f'{tag}ZIndex="{z}" {tag}Ch="1" {tag}X="0" {tag}Y="0" {tag}Z="{z}">{CELLVOYAGER.format(z=z)}'
        f"</{tag}MeasurementRecord>"
        for z in z_indexes
    ]
    schema = f'xmlns{":" + prefix if prefix else ""}="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"'
    return f"<{tag}MeasurementData {schema}>{''.join(lines)}</{tag}MeasurementData>"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be"])
def test_an_htd_is_read_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    """Selected wells and names of waves are the same."""
    write(tmp_path, *IMAGES[:-1])
    (tmp_path / "P.HTD").write_bytes(HTD.encode(encoding))

    plate, index = read(tmp_path)

    assert [channel.name for channel in plate.channels] == ["DAPI", "Grün"]
    assert [plane.key.well for plane in index.missing()] == ["A02"]


@pytest.mark.parametrize("content", [b"", b"\0\1junk", b'"Something", else'])
def test_a_file_that_is_only_called_htd_is_named(tmp_path: Path, content: bytes) -> None:
    """The images are read by their names, and the reason is a warning."""
    write(tmp_path, *IMAGES)
    (tmp_path / "P.HTD").write_bytes(content)

    plate, index = read(tmp_path)

    assert len(index.present()) == 8
    assert any("P.HTD was not used" in warning for warning in plate.warnings)


@pytest.mark.parametrize("respelt", [str.lower, str.upper], ids=["lower", "upper"])
@pytest.mark.parametrize("beside_htd", [True, False])
def test_names_of_one_case_mean_the_same(tmp_path: Path, respelt: type[str], beside_htd: bool) -> None:
    """Computers that respell whole names change no well, site or wave."""
    write(tmp_path, *[respelt(name) for name in IMAGES])
    if beside_htd:
        (tmp_path / "P.HTD").write_text(HTD)

    plate, index = read(tmp_path)

    assert (plate.wells, plate.sites, len(plate.channels)) == (("A01", "A02"), (1, 2), 2)
    assert len(index.present()) == 8 and not len(index.missing())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("p_a01_s1_w2.tif", ImageName(well="A01", site=1, channel=2, prefix="p")),
        ("P_A01_W2.TIF", ImageName(well="A01", channel=2, prefix="P", suffix=".TIF")),
        ("X_W01.tif", ImageName(well="W01", prefix="X")),
        ("x_w01.tif", None),
        ("x_s1_w1.tif", None),
    ],
)
def test_letters_of_site_and_wave_are_no_wells(text: str, name: ImageName | None) -> None:
    """``_W2`` behind a well is its wave; alone it is a well in capitals, as the instrument writes wells."""
    assert parse_image_name(text) == name


def test_images_with_other_names_are_told(tmp_path: Path) -> None:
    """AG is no row of any plate: the file is not dropped in silence."""
    plate, _ = read(write(tmp_path, *IMAGES, "P_AG01_s1_w1.tif"))

    assert any("P_AG01_s1_w1.tif" in warning for warning in plate.warnings)


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        (IMAGES[0], None),
        (CELLVOYAGER.format(z=1), None),
        (CELLVOYAGER.format(z=1), records(1)),
        ("r01c01f01p01-ch1sk1fk1fl1.tiff", None),
        ("Channel1-01-A-01.tif", None),
    ],
)
def test_a_plate_of_stacks_is_refused(tmp_path: Path, name: str, metadata: str | None) -> None:
    """In every format; the file is named, and so is what to do."""
    tifffile.imwrite(tmp_path / name, np.stack([PLANE] * 5), photometric="minisblack")
    if metadata is not None:
        (tmp_path / "MeasurementData.mlf").write_text(metadata)

    with pytest.raises(UnreadablePlateError, match="hold several planes each") as refused:
        read(tmp_path)

    assert name in str(refused.value) and "Export each plane to a file of its own." in str(refused.value)


@pytest.mark.parametrize("prefix", ["bts", "yok", ""])
def test_records_bear_any_prefix(tmp_path: Path, prefix: str) -> None:
    """The namespace's prefix is the writer's choice."""
    write(tmp_path, CELLVOYAGER.format(z=1), "DC_CAM1.tif")
    (tmp_path / "MeasurementData.mlf").write_text(records(1, 2, prefix=prefix))

    plate, index = read(tmp_path)

    assert [(plane.key.z_index, plane.present) for plane in index] == [(1, True), (2, False)]
    assert any("DC_CAM1.tif" in note for note in plate.notes)


def test_cellvoyager_names_in_small_letters_are_read(tmp_path: Path) -> None:
    """As those in capitals, with records or without."""
    write(tmp_path, CELLVOYAGER.format(z=1).lower())

    plate, index = read(tmp_path)

    assert (plate.microscope, plate.wells, len(index)) == ("cellvoyager", ("A01",), 1)


@pytest.mark.parametrize(
    ("planes", "computed"),
    [
        (("B7_01_1_3_DAPI_001.tif", "B7_01_1_4_DAPI_001.tif"), "B7_-1_1_1_Stitched[DAPI 377,447]_001.tif"),
        (("MFGTMP_150406100001_A01f00d0.TIF", "MFGTMP_150406100001_A01f01d0.TIF"), "MFGTMP_150406100001_A01f00o1.TIF"),
    ],
)
def test_stitched_images_and_overlays_do_not_hide_a_plate(
    tmp_path: Path, planes: tuple[str, ...], computed: str
) -> None:
    """They lie beside the planes of many exports: told as left out, and in no one's way."""
    plate, index = read(write(tmp_path, *planes, computed))

    assert (plate.sites, len(index)) in (((3, 4), 2), ((0, 1), 2))
    assert any(computed in note for note in plate.notes)


def test_a_pattern_may_say_z_or_z_index(tmp_path: Path) -> None:
    """``z_index`` is its name in tables and rows of planes; both at once is an error."""
    write(tmp_path, "A1-3.tif")

    _, index = read(tmp_path, pattern=r"(?P<well>\w+)-(?P<z_index>\d)\.tif")

    assert [plane.key.z_index for plane in index] == [3]
    with pytest.raises(NamePatternError, match="both the group z and z_index"):
        ReadOptions(pattern=r"(?P<well>\w+)-(?P<z_index>\d)(?P<z>\d)").handlers()


def test_a_table_of_planes_may_give_whole_paths(tmp_path: Path) -> None:
    """Inside the plate folder only; whole numbers may look as spreadsheets write them."""
    plate = write(tmp_path / "plate", "one.tif")
    table = tmp_path / "planes.csv"

    table.write_text(f"path,well,site\n{plate}/one.tif,A1,2.0\n")
    _, index = read(plate, planes_csv=str(table))
    table.write_text(f"path,well\n{tmp_path}/planes.csv,A1\n")

    assert [(plane.path, plane.key.site, plane.present) for plane in index] == [("one.tif", 2, True)]
    with pytest.raises(UnreadablePlateError, match="leads out of the plate folder"):
        read(plate, planes_csv=str(table))


def test_a_workbook_with_two_lists_of_wells_is_refused(tmp_path: Path) -> None:
    """The second sheet's conditions would be lost in silence; a sheet of notes does no harm."""
    plate = write(tmp_path / "plate", *IMAGES)
    book = openpyxl.Workbook()
    book.active.title = "Map"
    for row in (["Well", "Compound"], ["A1", "x"], ["A2", "y"]):
        book.active.append(row)
    book.create_sheet("Notes").append(["measured on a Monday"])
    book.save(tmp_path / "one.xlsx")
    other = book.create_sheet("Doses")
    for row in (["Well", "Dose"], ["A1", 3.0]):
        other.append(row)
    book.save(tmp_path / "two.xlsx")
    found, _ = read(plate)

    described = ReadOptions(plate_map=str(tmp_path / "one.xlsx")).describe(found)

    assert described.plate_map is not None and described.plate_map.of_well("A02") == {"compound": "y"}
    with pytest.raises(PlateMapError, match='"Map" and "Doses" both describe wells'):
        ReadOptions(plate_map=str(tmp_path / "two.xlsx")).describe(found)


def test_a_header_that_claims_more_than_the_file_can_hold_gives_no_size(tmp_path: Path) -> None:
    """No memory is ever planned by it."""
    write(tmp_path, IMAGES[0])
    content = bytearray((tmp_path / IMAGES[0]).read_bytes())
    with tifffile.TiffFile(tmp_path / IMAGES[0]) as file:
        tags = file.pages.first.tags
        offsets = [(tags[code].valueoffset, tags[code].dtype) for code in (256, 257)]
    for offset, _ in offsets:
        content[offset : offset + 2] = (60_000).to_bytes(2, "little")
    (tmp_path / IMAGES[0]).write_bytes(content)

    plate, _ = read(tmp_path)

    assert plate.shape is None
    assert any("more than its" in warning for warning in plate.warnings)


def test_an_ome_zarr_plate_of_metadata_alone_is_known_behind_a_url(tmp_path: Path) -> None:
    """As in a folder: its planes are missing, not zeros."""
    spec = SyntheticPlate(name="z", rows=1, columns=1, sites=1, z=2, shape=(40, 48))
    url = upload(write_ome_zarr(tmp_path / "z.zarr", spec), "memory://hollow/z.zarr")
    files, place = fsspec.core.url_to_fs(url)
    for path in files.find(place):
        if not path.endswith((".json", ".zattrs", ".zarray", ".zgroup")):
            files.rm(path)

    plate, index = read(url + "/")

    assert len(index) == 4 and not len(index.present())
    assert any("metadata only" in warning for warning in plate.warnings)


def test_no_name_or_link_breaks_the_listing(tmp_path: Path) -> None:
    """Line breaks, other alphabets, bytes that are no text, loops of links: refused with a sentence, never read."""
    write(tmp_path, IMAGES[0], "P_A02\n_s1_w1.tif", "P_Ａ03_s1_w1.tif", "P_A٤_s1_w1.tif")
    (tmp_path / os.fsdecode(b"P_A05\xff_s1_w1.tif")).write_bytes(b"x")
    (tmp_path / "up").symlink_to("..")
    (tmp_path / "self").symlink_to(".")

    plate, _ = read(tmp_path)

    assert plate.wells == ("A01",)
    assert sum("control characters" in warning for warning in plate.warnings) == 2
    assert sum("was not followed" in warning for warning in plate.warnings) == 2
    assert any("2 TIFF files were left out" in warning for warning in plate.warnings)


@pytest.mark.parametrize("name", ["\0", "a\0b", "x\ny"])
def test_folders_with_impossible_names_are_refused(tmp_path: Path, name: str) -> None:
    """A sentence, no traceback."""
    with pytest.raises(OpenHCSError):
        read(f"{tmp_path}/{name}")
