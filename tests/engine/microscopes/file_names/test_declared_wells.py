"""What numbers and letters that stand for wells mean: counted from 0 or 1, row by row, on plates of which size."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine.errors import OptionError, UnreadablePlateError
from openhcs_engine.microscopes.file_names.declared_wells import WellNumbering, WellText, WellTextError, read_wells
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.plate_map import PLATE_FORMATS
from openhcs_engine.model.wells import well_name
from tests.engine.microscopes.file_names.test_patterns import folder_of, read

SEPARATE = r"r(?P<row>\w+)-c(?P<column>\d+)\.tif"


def names_of(*texts: str | tuple[str, str], **numbering: int) -> dict[str, str | None]:
    """What texts, or rows and columns, stand for."""
    wells = [WellText(text) if isinstance(text, str) else WellText(None, *text) for text in texts]
    found = read_wells(wells, WellNumbering(**numbering))
    return {text.row + text.column if text.whole is None else text.whole: name for text, name in found.names.items()}


def paths_by_well(read_plate: tuple[Plate, ImageIndex]) -> dict[str, str | None]:
    """The first file of each well."""
    return {well: planes[0].path for well, planes in read_plate[1].by_well.items()}


@given(size=st.sampled_from(sorted(PLATE_FORMATS)), first=st.sampled_from([0, 1]), letter=st.sampled_from(["", "W"]))
def test_numbers_are_wells_row_by_row(size: int, first: int, letter: str) -> None:
    """All numbers of a plate are all its wells, in their order, from either beginning, with and without a letter."""
    texts = [f"{letter}{number:05d}" for number in range(first, size + first)]
    rows, columns = PLATE_FORMATS[size]

    found = names_of(*texts, plate_wells=size, count_from=first)

    assert [found[text] for text in texts] == [
        well_name(row, column) for row in range(rows) for column in range(columns)
    ]


def test_rows_and_columns_from_0_are_the_same_wells_as_from_1() -> None:
    """Whatever the spelling: groups of their own, or r00c00."""
    from_1 = names_of(("1", "1"), ("2", "3"))

    assert list(from_1.values()) == ["A01", "B03"]
    assert list(names_of(("0", "0"), ("1", "2"), count_from=0).values()) == ["A01", "B03"]
    assert list(names_of("r00c00", "r01c02", count_from=0).values()) == ["A01", "B03"]


def test_letters_are_rows_wherever_columns_count_from() -> None:
    """Only numbers are counted."""
    assert names_of("B00", "B02", count_from=0) == {"B00": "B01", "B02": "B03"}


def test_a_full_row_and_column_0_tell_that_all_count_from_0(tmp_path: Path) -> None:
    """Without an option; the plate says what was done, and the option silences it."""
    folder = folder_of(tmp_path, *(f"r{row}-c{column}.tif" for row in range(2) for column in range(3)))

    plate, _ = found = read(folder, pattern=SEPARATE)

    assert paths_by_well(found)["B03"] == "r1-c2.tif" and plate.wells == ("A01", "A02", "A03", "B01", "B02", "B03")
    assert any("counted from 0" in warning and "--count-from" in warning for warning in plate.warnings)
    said, _ = read(folder, pattern=SEPARATE, numbering=WellNumbering(count_from=0))
    assert (said.wells, said.warnings) == (plate.wells, ())
    assert any("count from 0" in note for note in said.notes)


@pytest.mark.parametrize("texts", [[("0", "0"), ("1", "1")], [("0", "1"), ("0", "2")], [("A", "0"), ("A", "1")]])
def test_a_0_that_may_be_one_odd_file_is_refused(texts: list[tuple[str, str]]) -> None:
    """One stray file at (0, 0) must not shift a whole plate."""
    with pytest.raises(WellTextError, match=r"row or column 0 .*--count-from 0, .* or --count-from 1"):
        names_of(*texts)


def test_counted_from_1_a_0_is_left_out_and_named(tmp_path: Path) -> None:
    """Who says that rows count from 1 gets the others where they are."""
    folder = folder_of(tmp_path, "r0-c0.tif", "r1-c1.tif", "r2-c3.tif")

    plate, _ = read(folder, pattern=SEPARATE, numbering=WellNumbering(count_from=1))

    assert plate.wells == ("A01", "B03")
    assert any("r0-c0.tif: 'row 0, column 0' is no well" in warning for warning in plate.warnings)


def test_a_plate_that_counts_from_0_is_not_cut_by_saying_1() -> None:
    """Its first row and column would be lost, and all others be taken for their neighbours."""
    with pytest.raises(WellTextError, match="--count-from 1 would leave out"):
        names_of(("0", "0"), ("0", "1"), ("1", "0"), ("1", "1"), count_from=1)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (r"exp--(?P<well>W\d+)--\w+\.tif", "exp--W{:05d}--DAPI.tif"),
        (r"exp--(?P<well>[A-Z]\d+)--\w+\.tif", "exp--W{:05d}--DAPI.tif"),
        (r"exp--(?P<well>W\d+)--\w+\.tif", "exp--W{:02d}--DAPI.tif"),
        (r"exp--(?P<well>\w+)--\w+\.tif", "exp--w{}--DAPI.tif"),
        (r"exp--(?P<row>W)(?P<column>\d+)--\w+\.tif", "exp--W{:05d}--DAPI.tif"),
        (r"exp--W(?P<well>\d+)--\w+\.tif", "exp--W{:05d}--DAPI.tif"),
        (r"pos(?P<well>P\d+)\.tif", "posP{:04d}.tif"),
        (r"(?P<well>[A-Z]\d+)\.tif", "F{}.tif"),
    ],
)
def test_digits_behind_a_letter_are_no_row(tmp_path: Path, pattern: str, name: str) -> None:
    """W00013 is the thirteenth well, and nobody knows where that is before the plate's size is said."""
    folder = folder_of(tmp_path, *(name.format(number) for number in (1, 13, 24, 96)))

    with pytest.raises(UnreadablePlateError, match=r"numbers.*--plate-wells 96"):
        read(folder, pattern=pattern)


def test_with_the_plates_size_they_are_its_wells(tmp_path: Path) -> None:
    """ScanR counts row by row from 1."""
    folder = folder_of(tmp_path, *(f"exp--W{number:05d}--DAPI.tif" for number in (1, 12, 13, 24, 25, 96)))

    plate, _ = found = read(folder, pattern=r"exp--(?P<well>W\d+)--\w+\.tif", numbering=WellNumbering(plate_wells=96))

    assert plate.wells == ("A01", "A12", "B01", "B12", "C01", "H12")
    assert paths_by_well(found)["B01"] == "exp--W00013--DAPI.tif"
    assert (plate.rows, plate.columns) == (8, 12)
    assert any("row by row on a plate of 96: 1 is A01, 13 is B01" in note for note in plate.notes)


def test_row_w_of_a_large_plate_stays_a_row() -> None:
    """With other rows beside it, or on a plate that has it; alone and spelt as a well, it is warned of."""
    assert names_of("W13", "A01")["W13"] == "W13"
    assert names_of("W13", "W14", plate_wells=1536)["W13"] == "W13"
    alone = read_wells([WellText("W13"), WellText("W14")], WellNumbering())
    assert alone.names[WellText("W13")] == "W13" and "which only plates of 1536 wells have" in alone.warnings[0]


@pytest.mark.parametrize(
    ("texts", "numbering", "message"),
    [
        (["97"], {"plate_wells": 96}, "97 is not on a plate of 96 wells"),
        (["0", "96"], {"plate_wells": 96}, "wells 0 and 96"),
        (["A1", "I1"], {"plate_wells": 96}, r"I01 .*is not on a plate of 96 wells \(8 rows, 12 columns\)"),
        (["13", "A1"], {"plate_wells": 96}, r"Some wells are numbers \(13\), others have a row"),
    ],
)
def test_wells_that_cannot_be_on_the_plate_are_refused(
    texts: list[str], numbering: dict[str, int], message: str
) -> None:
    """Never another well, and none lost."""
    with pytest.raises(WellTextError, match=message):
        names_of(*texts, **numbering)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count_from": 2}, "choose 0 or 1"),
        ({"plate_wells": 100}, "there are plates of 6, 12, 24, 48, 96, 384, 1536 wells"),
    ],
)
def test_numbers_of_no_plate_are_refused(options: dict[str, int], message: str) -> None:
    """With those that there are."""
    with pytest.raises(OptionError, match=message):
        ReadOptions(**options).handlers()  # type: ignore[arg-type] # names of two of its fields


def test_numbering_is_refused_where_the_format_says_its_wells(small_plate: Path) -> None:
    """An option that would change nothing is a mistake of its user."""
    options = ReadOptions(count_from=0)
    plate, _ = options.detect(str(small_plate)).read_plate()

    with pytest.raises(OptionError, match="read as imagexpress, which says itself where its wells are"):
        options.describe(plate)
