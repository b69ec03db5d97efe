"""Well names and plate ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine.errors import PlateIdError, UnknownWellError
from openhcs_engine.model.wells import (
    folded_plate_id,
    normalise_well,
    plate_id_of_folder,
    plate_order,
    row_and_column,
    validate_plate_id,
    well_name,
    well_of_cell,
    well_of_row_and_column,
)


@given(row=st.integers(0, 31), column=st.integers(0, 47))
def test_every_well_of_1536_comes_back_from_its_name(row: int, column: int) -> None:
    """A well's name gives its row and column back, for all plate formats."""
    assert row_and_column(well_name(row, column)) == (row, column)


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("A1", "A01"),
        ("A01", "A01"),
        ("a001", "A01"),
        ("r02c02", "B02"),
        ("R2C12", "B12"),
        ("AA01", "AA01"),
        ("aa1", "AA01"),
        ("AF48", "AF48"),
        ("r32c48", "AF48"),
    ],
)
def test_spellings_of_a_well_become_one(spelling: str, canonical: str) -> None:
    """However a format spells a well, it has one name."""
    assert normalise_well(spelling) == canonical


@pytest.mark.parametrize(
    "text",
    ["", "A", "A0", "A00", "A49", "AG01", "AZ01", "BA01", "1A", "A-1", "А01", "A0１", "r00c01", "r33c01", "A01\n"],
)
def test_what_is_no_well_is_refused(text: str) -> None:
    """Text that names no well, look-alike letters and digits among it, raises an error that carries it."""
    with pytest.raises(UnknownWellError) as caught:
        normalise_well(text)
    assert caught.value.well == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("A-01", "A01"), ("A 1", "A01"), ("A:1", "A01"), ("A_1", "A01"), ("a1", "A01"), ("A001", "A01"), ("b - 12", "B12"),
     ("AF:48", "AF48"), ("r1-c2", "A02")],
)  # fmt: skip
def test_wells_as_people_write_them_into_tables(text: str, canonical: str) -> None:
    """One dividing mark between letter and number is nothing but that; names in files and filters know none."""
    assert well_of_cell(text) == canonical


@pytest.mark.parametrize("text", ["A--1", "A-49", "A-1.0", "-A1", "A-", "1", "A1-B2"])
def test_cells_that_name_no_well(text: str) -> None:
    """More marks, or a well that no plate has, are refused."""
    with pytest.raises(UnknownWellError):
        well_of_cell(text)


@pytest.mark.parametrize(
    ("row", "column", "canonical"),
    [("B", "3", "B03"), ("b", "03", "B03"), ("2", "3", "B03"), ("B", "3.0", "B03"), ("2.0", "3.0", "B03")],
)
def test_rows_and_columns_make_wells(row: str, column: str, canonical: str) -> None:
    """Letters or numbers, also as pandas writes a column that had a gap."""
    assert well_of_row_and_column(row, column) == canonical


def test_wells_sort_as_on_the_plate() -> None:
    """Rows after Z follow Z, and columns sort by number."""
    shuffled = ["AA01", "B02", "A10", "Z01", "A02"]
    assert sorted(shuffled, key=plate_order) == ["A02", "A10", "B02", "Z01", "AA01"]


@pytest.mark.parametrize(
    ("folder", "plate_id"),
    [
        ("9987_Plate_3434", "9987_Plate_3434"),
        ("my plate.zarr", "my_plate"),
        ("Übung #3", "bung__3"),
        ("a..b", "a_b"),
        (".hidden", "hidden"),
        ("x" * 200, "x" * 100),
        ("con", "con_"),
        ("AUX.1.zarr", "AUX_.1"),
        ("lpt9.", "lpt9_."),
        ("console", "console"),
        ("COM10", "COM10"),
    ],
)
def test_a_folder_name_gives_a_plate_id(folder: str, plate_id: str) -> None:
    """Any usable folder name becomes an id that can be a folder's and an asset's name."""
    assert plate_id_of_folder(folder) == plate_id
    assert validate_plate_id(plate_id) == plate_id


@pytest.mark.parametrize("plate_id", ["", "a/b", "..", "a..b", "a\nb", "-a", "a b", "a\x00", "x" * 101, "é"])
def test_bad_plate_ids_are_refused_in_a_sentence(plate_id: str) -> None:
    """An id with a slash, dots in a row or control characters says what an id may be."""
    with pytest.raises(PlateIdError, match="use 1 to 100 letters, digits"):
        validate_plate_id(plate_id)


RESERVED = ["CON", "prn", "Aux", "nul", *(f"{port}{number}" for port in ("COM", "lpt") for number in range(1, 10))]


@pytest.mark.parametrize("plate_id", [*RESERVED, *(f"{name}.1" for name in RESERVED), "nul.", "con.tar.gz"])
def test_names_that_windows_reserves_are_no_ids(plate_id: str) -> None:
    """In any case, with any extension or a trailing dot: the sentence names the device, and an id that can be."""
    with pytest.raises(PlateIdError, match=f"Windows keeps the name '{plate_id.split('.')[0]}'.*plate_") as caught:
        validate_plate_id(plate_id)
    assert validate_plate_id(str(caught.value).rpartition("such as ")[2].rstrip("."))
    assert validate_plate_id(plate_id_of_folder(plate_id)).lower().startswith(plate_id.split(".")[0].lower() + "_")


@pytest.mark.parametrize("plate_id", ["COM0", "COM10", "LPT", "console", "auxin", "plate.con", "nul_1"])
def test_names_that_only_look_reserved_are_ids(plate_id: str) -> None:
    """The device's name alone, before the first dot, is reserved."""
    assert validate_plate_id(plate_id) == plate_id_of_folder(plate_id) == plate_id


def test_ids_that_fold_together_are_found() -> None:
    """Two ids that file systems or Dagster would confuse have one folded form."""
    assert folded_plate_id("Plate-1.a") == folded_plate_id("plate_1_A")
