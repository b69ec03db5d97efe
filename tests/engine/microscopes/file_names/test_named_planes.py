"""Names of instruments whose folders hold nothing but images: times, fields in a grid, and a pattern to try."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from openhcs_engine.errors import NotAPlateError, UnreadablePlateError
from openhcs_engine.microscopes.file_names.declared_times import TimeError, read_times
from openhcs_engine.microscopes.file_names.declared_wells import WellNumbering
from openhcs_engine.microscopes.file_names.suggestion import suggested_pattern
from openhcs_engine.microscopes.listing import list_folder
from openhcs_engine.model.image_index import ImageKey
from tests.engine.microscopes.file_names.test_patterns import folder_of, read

MATRIX = (
    "slide--S{s:02d}/chamber--U{u:02d}--V{v:02d}/field--X{x:02d}--Y{y:02d}/image--L0000--S{s:02d}--U{u:02d}--V{v:02d}"
    "--J{j:02d}--E00--O00--X{x:02d}--Y{y:02d}--T0000--Z00--C{c:02d}.ome.tif"
)


def matrix(**coordinates: int) -> str:
    """The path of one image of a Leica MATRIX."""
    return MATRIX.format(**{"s": 0, "u": 0, "v": 0, "x": 0, "y": 0, "j": 8, "c": 0} | coordinates)


def path_of(index: object, key: ImageKey) -> str | None:
    """Where the plane of a key lies."""
    return next(plane.path for plane in index if plane.key == key)  # type: ignore[attr-defined]


# Times.


@pytest.mark.parametrize(
    "texts",
    [
        ["00d00h00m", "00d06h00m", "01d06h00m", "10d00h00m"],
        ["0h", "6h", "30h", "100h"],
        ["90s", "2m", "1h", "1d"],
        ["2024y03m05d_14h30m", "2024y03m05d_20h30m", "2024y03m06d_02h30m", "2024y11m01d_00h00m"],
        ["20240305T143000", "20240305T143001", "20240306T000000", "20250101T000000"],
    ],
)
def test_times_become_time_points_in_their_order(tmp_path: Path, texts: list[str]) -> None:
    """Not by their letters; the note tells which time each number is."""
    folder = folder_of(tmp_path, *(f"A1_{text}.tif" for text in reversed(texts)), *(f"B2_{text}.tif" for text in texts))

    plate, index = read(folder, pattern=r"(?P<well>[A-H]\d+)_(?P<timepoint>.+)\.tif")

    assert plate.timepoints == (1, 2, 3, 4) and len(index) == 8
    assert [path_of(index, ImageKey("A01", 1, 1, 1, t)) for t in plate.timepoints] == [f"A1_{t}.tif" for t in texts]
    (note,) = [note for note in plate.notes if note.startswith("Time points")]
    assert all(f"{number}: {text}" in note for number, text in enumerate(texts, 1))


def test_two_spellings_of_one_time_are_one_time_point() -> None:
    """06h and 360m."""
    assert read_times([("A", "06h"), ("B", "360m"), ("A", "7h")]).numbers == {"06h": 1, "360m": 1, "7h": 2}


def test_a_gap_in_one_well_shifts_nothing() -> None:
    """Times are numbered over the whole plate."""
    stated = [("A", "0h"), ("A", "1h"), ("A", "2h"), ("B", "0h"), ("B", "2h")]
    assert read_times(stated).numbers == {"0h": 1, "1h": 2, "2h": 3}


def test_numbers_stay_what_they_are() -> None:
    """Nothing is renumbered where names count."""
    assert read_times([("A", "3"), ("A", "007")]).numbers == {}


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ([("A", "0h"), ("A", "1")], "in several ways"),
        ([("A", "0h"), ("A", "2024y03m05d_14h30m")], "in several ways"),
        ([(well, f"{2 * n + (well == 'B')}h") for n in range(4) for well in "AB"], "each has its own clock"),
    ],
)
def test_times_that_are_no_common_axis_are_refused(stated: list[tuple[str, str]], message: str) -> None:
    """Never time points that belong to one well each."""
    with pytest.raises(TimeError, match=message):
        read_times(stated)


def test_a_plate_of_such_times_names_the_way_out(tmp_path: Path) -> None:
    """A table of planes can say it."""
    folder = folder_of(tmp_path, "A1_0h.tif", "A1_7.tif")
    with pytest.raises(UnreadablePlateError, match="--planes-csv"):
        read(folder, pattern=r"(?P<well>\w\d)_(?P<timepoint>.+)\.tif")


# Presets.


def test_incucyte_is_found_with_its_times(tmp_path: Path) -> None:
    """Vessel, image type, well, field and time; clock times, too."""
    names = [
        f"VID12_Green_{well}_{site}_00d{hour:02d}h00m.tif"
        for well in ("A1", "B12")
        for site in (1, 2)
        for hour in (0, 6)
    ]

    plate, index = read(folder_of(tmp_path, *names))

    assert (plate.name, plate.wells, plate.sites, plate.timepoints) == ("VID12", ("A01", "B12"), (1, 2), (1, 2))
    assert plate.channels[0].name == "Green" and len(index) == 8
    assert path_of(index, ImageKey("B12", 2, 1, 1, 2)) == "VID12_Green_B12_2_00d06h00m.tif"


def test_in_cells_long_names_are_found(tmp_path: Path) -> None:
    """Emission and excitation name the channel."""
    names = [
        f"A_01_f2_c{c}_x{x}_m{m}_z{z}_t1.tif" for c, x, m in ((1, "UV", "DAPI"), (2, "Blue", "FITC")) for z in (1, 2)
    ]

    plate, index = read(folder_of(tmp_path, *names))

    assert [(channel.index, channel.name) for channel in plate.channels] == [(1, "DAPI/UV"), (2, "FITC/Blue")]
    assert path_of(index, ImageKey("A01", 2, 2, 2, 1)) == names[-1]


def test_leica_matrix_counts_from_0_and_its_folders_are_one_plate(tmp_path: Path) -> None:
    """U is the column and V the row; fields are numbered row by row."""
    wells = [(u, v) for u in range(3) for v in range(2)]
    folder = folder_of(tmp_path, *(matrix(u=u, v=v, x=x, y=y) for u, v in wells for x in (0, 1) for y in (0, 1)))

    plate, index = read(folder)

    assert plate.wells == ("A01", "A02", "A03", "B01", "B02", "B03") and plate.sites == (1, 2, 3, 4)
    assert path_of(index, ImageKey("B03", 2, 0, 0, 0)) == matrix(u=2, v=1, x=1, y=0)
    assert plate.warnings == ()


def test_a_part_of_a_leica_plate_stays_where_it_is(tmp_path: Path) -> None:
    """The preset knows that rows count from 0, whether or not a row 0 was imaged."""
    plate, _ = read(folder_of(tmp_path, matrix(u=1, v=1), matrix(u=2, v=1)))
    assert plate.wells == ("B02", "B03")


def test_two_jobs_of_one_channel_are_two_channels(tmp_path: Path) -> None:
    """As the reads of Gen5."""
    plate, _ = read(folder_of(tmp_path, matrix(j=8), matrix(j=9)))
    assert [channel.name for channel in plate.channels] == ["00 (read 08)", "00 (read 09)"]


def test_a_coordinate_without_an_axis_is_refused(tmp_path: Path) -> None:
    """Two slides in one folder would become one plate; the message names them."""
    flat = [matrix(s=s, u=s).rpartition("/")[2] for s in (0, 1)]
    with pytest.raises(UnreadablePlateError, match=r"several values of slide \(00, 01\).*no axis"):
        read(folder_of(tmp_path, *flat))


def test_scanr_asks_for_the_plates_size_and_finds_its_wells(tmp_path: Path) -> None:
    """By content; what stands before the first dashes may be anything."""
    folder = folder_of(tmp_path, *(f"data/B{w}--W{w:05d}--P00001--Z00000--T00000--DAPI.tif" for w in (1, 13)))
    with pytest.raises(UnreadablePlateError, match="--plate-wells 96"):
        read(folder)

    plate, _ = read(folder, preset="scanr", numbering=WellNumbering(plate_wells=384))

    assert plate.wells == ("A01", "A13") and plate.warnings == ()


# A pattern to try.


@pytest.mark.parametrize(
    ("names", "key"),
    [
        (["exp1_A1_s1_DAPI.tif", "exp1_B2_s2_GFP.tif"], ImageKey("B02", 2, 2, 1, 1)),
        (["A1-Site_0_MMStack.ome.tif", "B2-Site_1_MMStack.ome.tif"], ImageKey("B02", 1, 1, 1, 1)),
        (["img_r1c1f1-ch1.tif", "img_r2c2f2-ch2.tif"], ImageKey("B02", 2, 2, 1, 1)),
        (["x-A - 01 t1.tif", "x-B - 02 t2.tif"], ImageKey("B02", 1, 1, 1, 2)),
        (["p_A01_0h.png", "p_B02_6h.png", "p_A01_6h.png"], ImageKey("B02", 1, 1, 1, 2)),
        (["A1/1_z1.tif", "B2/2_z3.tif"], ImageKey("B02", 2, 1, 3, 1)),
        (["row1_col1_f1.tif", "row2_col2_f2.tif"], ImageKey("B02", 2, 1, 1, 1)),
        (["R01-C01-F1.tif", "R02-C02-F2.tif"], ImageKey("B02", 2, 1, 1, 1)),
        (["Well A01 Point A01_0001 Seq0.tif", "Well B02 Point B02_0002 Seq1.tif"], ImageKey("B02", 2, 1, 1, 1)),
        (["A1_2024y03m05d_14h30m.tif", "A1_2024y03m05d_15h30m.tif"], ImageKey("A01", 1, 1, 1, 2)),
    ],
)
def test_the_pattern_to_try_reads_the_folder(tmp_path: Path, names: list[str], key: ImageKey) -> None:
    """The message names all ways, and its pattern is one that can be given as it stands."""
    folder = folder_of(tmp_path, *names)

    with pytest.raises(NotAPlateError, match=r"--preset .*cytation.*--pattern.*--planes-csv") as caught:
        read(folder)

    found = re.search(r"--pattern '([^']+)'", str(caught.value))
    assert found is not None and found[1] == suggested_pattern(list_folder(folder))
    assert path_of(read(folder, pattern=found[1])[1], key) == names[1]


def test_numbered_wells_are_suggested_with_the_plates_size(tmp_path: Path) -> None:
    """And one that is only an example where no name says a well."""
    numbered = folder_of(tmp_path / "numbered", "well_1_s1.tif", "well_13_s1.tif")
    with pytest.raises(NotAPlateError, match=r"\(\?P<well>\\d\+\)_s.*--plate-wells 96"):
        read(numbered)
    with pytest.raises(NotAPlateError, match="such as"):
        read(folder_of(tmp_path / "none", "overview.tif", "detail.tif"))


def test_a_pattern_that_matches_nothing_is_answered_with_one_that_does(tmp_path: Path) -> None:
    """The user sees what the names would need."""
    with pytest.raises(NotAPlateError, match=r"Its images would be matched by --pattern '"):
        read(folder_of(tmp_path, "a_A1_s1.tif", "a_B2_s2.tif"), pattern=r"(?P<well>\w\d)\.tif")


def test_a_folder_without_images_suggests_no_names(tmp_path: Path) -> None:
    """There is nothing that a pattern could match."""
    with pytest.raises(NotAPlateError) as caught:
        read(folder_of(tmp_path, "notes.txt"))
    assert "--pattern" not in str(caught.value)
