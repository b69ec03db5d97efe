"""CellProfiler's tables of images are tables of planes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.microscopes.file_names.declared_wells import WellNumbering
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.model.image_index import ImageIndex, ImageKey
from openhcs_engine.model.plate import Plate
from tests.engine.microscopes.file_names.test_patterns import folder_of, read

CHANNELS = ("OrigDNA", "OrigER", "OrigAGP")


def table(folder: Path, *rows: Sequence[str]) -> Path:
    """A CSV beside the images; the first row is the header."""
    path = folder / "load_data.csv"
    path.write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def jump(folder: Path, prefix: str = "", where: str = "/home/ubuntu/bucket/images") -> Path:
    """Two wells, two sites and three channels as JUMP lists them; the header's columns begin with ``prefix``."""
    header = [f"{prefix}{kind}_{name}" for name in CHANNELS for kind in ("FileName", "PathName")]
    rows = [[*header, "Metadata_Plate", "Metadata_Well", "Metadata_Site"]]
    for well in ("A01", "B12"):
        for site in ("1", "2"):
            files = [f"{well}-{site}-{name}.tiff" for name in CHANNELS]
            folder_of(folder, *files)
            rows.append([*(cell for file in files for cell in (file, where)), "BR1", well, site])
    return table(folder, *rows)


@pytest.mark.parametrize("prefix", ["", "Image_"])
def test_jumps_table_is_read_as_it_is(tmp_path: Path, prefix: str) -> None:
    """A row is a site, a pair of columns a channel; the paths of another computer matter by the names of files."""
    plate, index = read(tmp_path, planes_csv=jump(tmp_path, prefix))

    assert (plate.name, plate.wells, plate.sites) == ("BR1", ("A01", "B12"), (1, 2))
    assert [channel.name for channel in plate.channels] == list(CHANNELS)
    assert {plane.key: plane.path for plane in index} == {
        ImageKey(well, site, number, 1, 1): f"{well}-{site}-{name}.tiff"
        for well in ("A01", "B12") for site in (1, 2) for number, name in enumerate(CHANNELS, 1)
    }  # fmt: skip
    assert all(plane.present for plane in index) and plate.warnings == ()


def test_every_coordinate_has_its_columns(tmp_path: Path) -> None:
    """Row and column instead of a well, field, plane and time point; pandas' 1.0 is 1."""
    folder_of(tmp_path, "a.tif", "b.tif")
    header = ["URL_DNA", "Metadata_Row", "Metadata_Col", "Metadata_FieldID", "Metadata_PlaneID", "Metadata_TimepointID"]
    path = table(
        tmp_path,
        header,
        ["file:/data/x/a.tif", "2.0", "3.0", "4.0", "5.0", "6.0"],
        ["s3://bucket/x/b.tif", "2.0", "3.0", "4.0", "5.0", "7.0"],
    )

    _, index = read(tmp_path, planes_csv=path)

    assert {plane.key: plane.path for plane in index} == {
        ImageKey("B03", 4, 1, 5, 6): "a.tif",
        ImageKey("B03", 4, 1, 5, 7): "b.tif",
    }


def test_files_of_one_name_are_told_by_their_folders(tmp_path: Path) -> None:
    """As far as the table's folders and the plate's have names in common; else the row is refused."""
    folder_of(tmp_path, "A1/x.tif", "B2/x.tif")
    header = ["FileName_DNA", "PathName_DNA", "Metadata_Well"]

    _, index = read(
        tmp_path, planes_csv=table(tmp_path, header, ["x.tif", r"C:\data\B2", "B2"], ["x.tif", "/mnt/A1", "A1"])
    )

    assert {plane.key.well: plane.path for plane in index} == {"A01": "A1/x.tif", "B02": "B2/x.tif"}
    with pytest.raises(UnreadablePlateError, match=r"row 2, column \"FileName_DNA\": 'x.tif' is the name of several"):
        read(tmp_path, planes_csv=table(tmp_path, header, ["x.tif", "/mnt/other", "B2"]))


def test_another_plates_file_never_stands_in(tmp_path: Path) -> None:
    """Both plates have files of the same names; what this one lacks is missing, each under a path of its own."""
    folder_of(tmp_path, "P1/a.tif", "P2/a.tif", "P2/b.tif")
    header = ["FileName_DNA", "PathName_DNA", "Metadata_Well"]
    rows = [["a.tif", "/x/P1", "A1"], ["b.tif", "/x/P1", "A2"], ["b.tif", "/x/P1/w", "A3"]]

    _, index = read(tmp_path, planes_csv=table(tmp_path, header, *rows))

    assert {plane.key.well: plane.path for plane in index.present()} == {"A01": "P1/a.tif"}
    assert {plane.key.well: plane.path for plane in index.missing()} == {"A02": "x/P1/b.tif", "A03": "x/P1/w/b.tif"}


def test_planes_inside_of_files_are_refused(tmp_path: Path) -> None:
    """CellProfiler can name the frame of a stack; a plane is a file."""
    folder_of(tmp_path, "a.tif")
    header = ["FileName_DNA", "Frame_DNA", "Metadata_Well"]
    with pytest.raises(UnreadablePlateError, match="Frame_DNA names planes inside of files"):
        read(tmp_path, planes_csv=table(tmp_path, header, ["a.tif", "0", "A1"], ["a.tif", "1", "A2"]))


def test_a_file_that_is_not_there_is_a_missing_plane(tmp_path: Path) -> None:
    """As in any table of planes."""
    path = jump(tmp_path)
    (tmp_path / "B12-2-OrigER.tiff").unlink()

    _, index = read(tmp_path, planes_csv=path)

    (missing,) = index.missing()
    assert (missing.key, missing.path) == (ImageKey("B12", 2, 2, 1, 1), "B12-2-OrigER.tiff")


def test_illumination_functions_are_no_planes(tmp_path: Path) -> None:
    """Arrays, and one file for all sites, are named and left out; so are columns of other things."""
    folder_of(tmp_path, "a.tif", "b.tif", "flat.tif")
    path = table(
        tmp_path,
        ["FileName_DNA", "FileName_IllumDNA", "FileName_Flat", "Metadata_Well", "Metadata_AbsTime"],
        ["a.tif", "illum.npy", "flat.tif", "A1", "noon"],
        ["b.tif", "illum.npy", "flat.tif", "A2", "one"],
    )

    plate, index = read(tmp_path, planes_csv=path)

    assert [channel.name for channel in plate.channels] == ["DNA"] and len(index) == 2
    assert any("IllumDNA, Flat" in note for note in plate.notes)
    assert any("Metadata_AbsTime" in note for note in plate.notes)


def test_an_empty_cell_declares_no_plane(tmp_path: Path) -> None:
    """A channel that some sites do not have."""
    folder_of(tmp_path, "a.tif", "b.tif", "c.tif")
    header = ["FileName_DNA", "FileName_ER", "Metadata_Well"]
    plate, index = read(tmp_path, planes_csv=table(tmp_path, header, ["a.tif", "c.tif", "A1"], ["b.tif", "", "A2"]))
    assert len(index) == 3 and any("1 cells for images are empty" in note for note in plate.notes)


def plates_of(folder: Path, plate_id: str | None = None) -> tuple[Plate, ImageIndex]:
    """The plate of a folder, by a table of the plates BR1 and BR2 above it."""
    path = table(
        folder.parent,
        ["FileName_DNA", "Metadata_Well", "Metadata_Plate"],
        ["a.tif", "A1", "BR1"],
        ["a.tif", "B2", "BR2"],
    )
    folder_of(folder, "a.tif")
    return ReadOptions(planes_csv=str(path)).detect(str(folder)).read_plate(plate_id)


@pytest.mark.parametrize("name", ["BR2", "br2", "BR2__2020-11-05T19_51_35-Measurement1"])
def test_a_column_chooses_the_plate(tmp_path: Path, name: str) -> None:
    """By the folder's name, or that of a folder above; the plate bears the table's name."""
    for folder in (tmp_path / name, tmp_path / name / "Images"):
        plate, _ = plates_of(folder)
        assert (plate.wells, plate.name) == (("B02",), "BR2")
        assert "The rows of BR2 were read; 1 of other plates were left out." in plate.notes


def test_the_plates_id_chooses_first(tmp_path: Path) -> None:
    """What the user calls the plate."""
    assert plates_of(tmp_path / "images", plate_id="BR1")[0].wells == ("A01",)


def test_a_row_without_a_plate_among_several_is_refused(tmp_path: Path) -> None:
    """Whose it is, nobody knows; a barcode is the same with pandas' .0."""
    folder_of(tmp_path / "7", "a.tif", "b.tif")
    header = ["path", "well", "plate"]
    rows = [["a.tif", "A1", "7.0"], ["b.tif", "A1", "8.0"]]

    plate, _ = read(tmp_path / "7", planes_csv=table(tmp_path, header, *rows))

    assert (plate.name, plate.wells) == ("7", ("A01",))
    with pytest.raises(UnreadablePlateError, match='row 4, column "plate": the cell is empty'):
        read(tmp_path / "7", planes_csv=table(tmp_path, header, *rows, ["c.tif", "B1", ""]))


def test_a_table_of_other_plates_is_refused(tmp_path: Path) -> None:
    """Their names and the folder's are in the message."""
    with pytest.raises(UnreadablePlateError, match=r"lists 2 plates \(BR1, BR2\).* 'images'; give the plate its id"):
        plates_of(tmp_path / "images")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [["FileName_DNA", "Metadata_Site"], ["a.tif", "1"]],
            "no column Metadata_Well, nor Metadata_Row and Metadata_Col",
        ),
        ([["FileName_DNA", "Metadata_Well"]], "no row below its header"),
        ([["FileName_DNA", "Metadata_Well"], ["a.npy", "A1"]], "none of its columns names images"),
        (
            [["FileName_DNA", "Metadata_Well"], ["a.tif", "Z99"], ["b.tif", "A1"]],
            "column \"Metadata_Well\": 'Z99' is no well",
        ),
        ([["FileName_DNA", "Metadata_Well", "Metadata_Site"], ["a.tif", "A1", "x"]], "column \"Metadata_Site\": 'x'"),
        ([["FileName_D", "FileName_D", "Metadata_Well"], ["a.tif", "b.tif", "A1"]], "FileName_D twice"),
        ([["FileName_DNA", "Metadata_Well"], ["a.tif", "A1"], ["b.tif", "A1"]], r"row 2 \(a\.tif\) and row 3 .*both"),
    ],
)
def test_tables_that_say_too_little_are_refused(tmp_path: Path, rows: list[list[str]], message: str) -> None:
    """By the names of the table's own columns."""
    folder_of(tmp_path, "b.tif")
    with pytest.raises(UnreadablePlateError, match=message):
        read(tmp_path, planes_csv=table(tmp_path, *rows))


def test_numbers_of_wells_and_times_are_read_as_in_names(tmp_path: Path) -> None:
    """One law for tables and names."""
    folder_of(tmp_path, "a.tif", "b.tif")
    (tmp_path / "own.csv").write_text("path,well,timepoint\na.tif,13,6h\nb.tif,13,90m\n", encoding="utf-8")

    with pytest.raises(UnreadablePlateError, match="--plate-wells 96"):
        read(tmp_path, planes_csv=tmp_path / "own.csv")
    plate, index = read(tmp_path, planes_csv=tmp_path / "own.csv", numbering=WellNumbering(plate_wells=96))

    assert [(plane.key.well, plane.key.timepoint, plane.path) for plane in index] == [
        ("B01", 1, "b.tif"),
        ("B01", 2, "a.tif"),
    ]
    assert (plate.rows, plate.columns) == (8, 12)


def test_rows_and_columns_of_a_table_may_count_from_0(tmp_path: Path) -> None:
    """Or stand in columns of their own."""
    folder_of(tmp_path, "a.tif", "b.tif", "c.tif")
    (tmp_path / "own.csv").write_text("path,row,column\na.tif,0,0\nb.tif,0,2\nc.tif,1,0\n", encoding="utf-8")
    _, index = read(tmp_path, planes_csv=tmp_path / "own.csv")
    assert {plane.key.well: plane.path for plane in index} == {"A01": "a.tif", "A03": "b.tif", "B01": "c.tif"}
