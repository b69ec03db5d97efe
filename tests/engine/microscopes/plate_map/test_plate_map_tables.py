"""Plate maps as people keep them: merged cells, broken formulas, several sheets, a whole screen in one table, doses."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import openpyxl
import pandas as pd
import pytest

from openhcs_engine.errors import PlateMapError
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.microscopes.plate_map.file import load_plate_map, read_plate_map
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.plate_map import PlateMap, PlateMapColumns, WellRole
from tests.engine.plates import make_plate

Book = Any  # openpyxl has no types


def text_table(folder: Path, text: str, name: str = "map.csv") -> Path:
    """A text file in the folder."""
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def workbook(folder: Path, fill: Callable[[Book], None], rows: tuple[tuple[object, ...], ...] = ()) -> Path:
    """A workbook whose sheet ``Map`` has these rows, then whatever ``fill`` does to it."""
    book = openpyxl.Workbook()
    book.active.title = "Map"
    for row in rows:
        book.active.append(row)
    fill(book)
    book.save(folder / "map.xlsx")
    return folder / "map.xlsx"


def described(table: Path, plate_id: str = "P001", name: str = "P001", wells: tuple[str, ...] = ()) -> Plate:
    """A plate called so, with the map."""
    plate, _ = make_plate(wells or ("A01", "A02", "B01"))
    return ReadOptions(plate_map=str(table)).describe(replace(plate, plate_id=plate_id, name=name))


def map_of(plate: Plate) -> PlateMap:
    """The map that the plate has."""
    assert plate.plate_map is not None
    return plate.plate_map


# Merged, broken and hidden cells.

LIST = (
    ("Well", "Compound", "Dose", "Role"),
    ("A01", "DMSO", 0, "negative"),
    ("A02", None, None, None),
    ("A03", None, None, None),
    ("B01", "X", 10, "sample"),
    ("B02", None, None, None),
)


def test_merged_cells_of_a_list_hold_for_each_of_their_wells(tmp_path: Path) -> None:
    """Compound, dose and role that one cell shows for three wells are those of all three."""

    def merge(book: Book) -> None:
        for span in ("B2:B4", "C2:C4", "D2:D4", "B5:B6", "C5:C6", "D5:D6"):
            book["Map"].merge_cells(span)

    plate_map = read_plate_map(workbook(tmp_path, merge, LIST))

    assert plate_map.condition("compound") == {"A01": "DMSO", "A02": "DMSO", "A03": "DMSO", "B01": "X", "B02": "X"}
    assert plate_map.doses == (0, 0, 0, 10, 10)
    assert plate_map.roles == (*(WellRole.NEGATIVE,) * 3, *(WellRole.SAMPLE,) * 2)


def test_merged_cells_of_a_grid_hold_for_each_of_their_wells(tmp_path: Path) -> None:
    """Over rows, over columns, and over a block; the title above the grid may be merged, too."""

    def merge(book: Book) -> None:
        for span in ("A1:D1", "B3:B4", "C3:D4"):
            book["Map"].merge_cells(span)

    rows = (("Compound",), ("", 1, 2, 3), ("A", "DMSO", "X"), ("B",))
    plate_map = read_plate_map(workbook(tmp_path, merge, rows))

    assert plate_map.condition("compound") == {
        well: "DMSO" if well.endswith("01") else "X" for well in ("A01", "A02", "A03", "B01", "B02", "B03")
    }


@pytest.mark.parametrize("span", ["B2:B400", "E2:Z400", "A8:Z400"])
def test_a_range_merged_beyond_the_table_ends_with_it(tmp_path: Path, span: str) -> None:
    """Whoever merges far below the last row gets the wells that there are."""
    rows = tuple((*row, text) for row, text in zip(LIST, ("Note", "n", None, None, None, None), strict=True))
    path = workbook(tmp_path, lambda book: book["Map"].merge_cells("G1:G2"), rows)
    with zipfile.ZipFile(path) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content.replace(b'ref="G1:G2"', f'ref="{span}"'.encode()))

    plate_map = read_plate_map(path)

    assert len(plate_map) == 5
    assert set(plate_map.condition("compound").values()) == ({"DMSO"} if span.startswith("B") else {"DMSO", "X", None})
    assert set(plate_map.condition("Note").values()) == ({"n"} if span.startswith("E") else {"n", None})


BROKEN = (
    ("C3", "=C2*2", r"cell Map!C3 holds a formula \(=C2\*2\) without a stored value; open the workbook"),
    ("A3", '="A"&2', "cell Map!A3 holds a formula"),
    ("B3", "#N/A", "cell Map!B3 holds the error #N/A; correct its formula, or empty the cell"),
    ("C5", "#DIV/0!", "cell Map!C5 holds the error #DIV/0!"),
    ("D2", "#REF!", "cell Map!D2 holds the error #REF!"),
)


@pytest.mark.parametrize(("cell", "value", "message"), BROKEN, ids=[row[1] for row in BROKEN])
def test_cells_without_a_value_are_refused_by_name(tmp_path: Path, cell: str, value: str, message: str) -> None:
    """A formula that was never calculated, and the error of one that failed, are no conditions."""

    def write(book: Book) -> None:
        book["Map"][cell] = value

    with pytest.raises(PlateMapError, match=message):
        read_plate_map(workbook(tmp_path, write, LIST))


def test_formulas_that_make_the_frame_of_a_grid_are_named(tmp_path: Path) -> None:
    """Without the numbers above there is no grid; the formula that hides them is named."""
    rows = (("Compound", 1, "=B1+1"), ("A", "x", "y"), ("B", "x", "y"))

    with pytest.raises(PlateMapError, match=r"no grid of wells .* Cell Map!C1 holds a formula whose value"):
        read_plate_map(workbook(tmp_path, lambda book: None, rows))
    with pytest.raises(PlateMapError, match="cell Map!B2 holds the error #N/A"):
        read_plate_map(workbook(tmp_path, lambda book: None, (("x", 1, 2), ("A", "#N/A", "y"), ("B", "x", "y"))))


def test_a_formula_with_a_stored_value_is_its_value(tmp_path: Path) -> None:
    """As spreadsheet programs save it: numbers, texts, and the empty text."""
    path = workbook(tmp_path, lambda book: None, (("Well", "Dose", "Note"), ("A1", 1, 2), ("A2", 3, 4)))
    with zipfile.ZipFile(path) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in members.items():
            if name.endswith("sheet1.xml"):
                content = content.replace(b"<v>1</v>", b"<f>1/4</f><v>0.25</v>")
                content = content.replace(b'<c r="C2" t="n"><v>2</v>', b'<c r="C2" t="str"><f>IF(1,"","")</f><v></v>')
            packed.writestr(name, content)

    plate_map = read_plate_map(path)

    assert plate_map.condition("dose") == {"A01": "0.25", "A02": "3"}
    assert plate_map.condition("Note") == {"A01": None, "A02": "4"}


@pytest.mark.parametrize("error", ["#N/A", "#NV", "#WERT!", "#DIV/0!", "#NOM?"])
def test_errors_in_text_tables_are_those_of_all_languages(tmp_path: Path, error: str) -> None:
    """A spreadsheet saves them into CSV as its user sees them."""
    with pytest.raises(PlateMapError, match=f"cell B3 holds the error {error}".replace("?", r"\?")):
        read_plate_map(text_table(tmp_path, f"Well;Compound\nA1;x\nA2;{error}\n"))


def test_hidden_rows_are_read_and_hidden_sheets_are_not(tmp_path: Path) -> None:
    """A filter hides wells that are there; a hidden sheet is a program's own. Both are said, as is a sheet of notes."""

    def hide(book: Book) -> None:
        book["Map"].row_dimensions[3].hidden = True
        book["Map"].column_dimensions["B"].hidden = True
        book.create_sheet("Old")["A1"] = "Well"
        book["Old"].sheet_state = "hidden"
        book.create_sheet("Notes")["A1"] = "by hand"

    rows = (("Well", "Compound"), ("A1", "x"), ("A2", "y"))
    loaded = load_plate_map(workbook(tmp_path, hide, rows))

    assert loaded.plate_map.condition("compound") == {"A01": "x", "A02": "y"}
    assert loaded.notes == (
        "map.xlsx: Hidden sheets were not read: 'Old'.",
        "map.xlsx: Hidden rows of the sheet 'Map' were read like the others: 3.",
        "map.xlsx: Hidden columns of the sheet 'Map' were read like the others: B.",
        'map.xlsx: Sheets that describe no wells were not read: "Notes".',
    )


def test_a_workbook_of_hidden_sheets_alone_is_refused(tmp_path: Path) -> None:
    """What is hidden is no map, and is not said to be empty either."""

    def hide(book: Book) -> None:
        book["Map"].sheet_state = "hidden"
        book.create_sheet("Empty")

    with pytest.raises(PlateMapError, match=r"it has no sheet but hidden ones\. Hidden sheets were not read: 'Map'"):
        read_plate_map(workbook(tmp_path, hide, LIST))


def test_columns_are_bounded_as_in_xlsx(tmp_path: Path) -> None:
    """The last column of a sheet can hold a condition; one more, which CSV can have, is refused."""

    def far(book: Book) -> None:
        book["Map"]["XFD1"], book["Map"]["XFD2"] = "far", "x"

    assert read_plate_map(workbook(tmp_path, far, (("Well",), ("A1",)))).of_well("A01") == {"far": "x"}
    with pytest.raises(PlateMapError, match="it has more than 16384 columns"):
        read_plate_map(text_table(tmp_path, "Well" + "," * 16384 + "\nA1\n"))


def test_a_sheet_is_bounded_by_its_cells_too(tmp_path: Path) -> None:
    """Rows that each reach the last column, or rows beyond any plate's, are refused before they fill the memory."""
    path = workbook(tmp_path, lambda book: book["Map"].cell(100_001, 1, "x"), (("Well",), ("A1",)))
    with pytest.raises(PlateMapError, match="its sheet 'Map' has more than 100000 rows"):
        read_plate_map(path)
    path = workbook(tmp_path, lambda book: [book["Map"].cell(row, 16384, "x") for row in range(1, 500)])
    with pytest.raises(PlateMapError, match="its sheet 'Map' has more than 8000000 cells"):
        read_plate_map(path)


# Wells.


@pytest.mark.parametrize("well", ["A-01", "A 1", "A:1", "a1", "A001", "r1c1"])
def test_wells_in_any_spelling(tmp_path: Path, well: str) -> None:
    """As instruments, robots and people write them."""
    assert read_plate_map(text_table(tmp_path, f"Well,x\n{well},1\n")).wells == ("A01",)


@pytest.mark.parametrize("rows", ["letters", "numbers"])
def test_tables_as_pandas_writes_them(tmp_path: Path, rows: str) -> None:
    """A column of numbers that had a gap comes out as floats: rows, columns, and codes of roles."""
    frame = pd.DataFrame(
        {
            "Row": ["A", "A", "B"] if rows == "letters" else [1, 1, 2.0],
            "Column": [1.0, 2, 1],
            "Ctrl": [-1, float("nan"), 1],
            "Compound": ["x", "y", "z"],
        }
    )
    frame.to_csv(tmp_path / "map.csv", index=False)
    declared = PlateMapColumns(role="Ctrl", roles={"-1": "negative", "1": "positive"})

    plate_map = read_plate_map(tmp_path / "map.csv", declared)

    assert plate_map.condition("compound") == {"A01": "x", "A02": "y", "B01": "z"}
    assert plate_map.roles == (WellRole.NEGATIVE, None, WellRole.POSITIVE)


def test_a_grid_whose_columns_pandas_counted(tmp_path: Path) -> None:
    """Numbers above a grid may be floats."""
    text = "Compound,1.0,2.0\nA,x,y\nB,z,\n"

    assert read_plate_map(text_table(tmp_path, text)).condition("compound") == {"A01": "x", "A02": "y", "B01": "z"}


# One table for a whole screen.

SCREEN = "{title},Well,Compound\n{one},A1,x\n{one},A2,y\n{two},A1,p\n{two},A2,q\n"


@pytest.mark.parametrize("title", ["Plate", "Barcode", "plate_ID", "Metadata_Plate", "Assay_Plate_Barcode"])
def test_a_column_of_plates_chooses_the_plate_s_rows(tmp_path: Path, title: str) -> None:
    """Each plate gets its own wells, told by its id; what was left out is said."""
    table = text_table(tmp_path, SCREEN.format(title=title, one="P001", two="P002"))

    first, second = described(table), described(table, "P002", "P002")

    assert map_of(first).condition("compound") == {"A01": "x", "A02": "y"}
    assert map_of(second).condition("compound") == {"A01": "p", "A02": "q"}
    note = f'map.csv: The rows of P001 were read; 2 of other plates were left out (column "{title}").'
    assert note in first.notes


@pytest.mark.parametrize(
    ("one", "plate_id", "name"),
    [
        ("p001", "P001", "P001"),
        ("BC 17", "any", "BC 17"),
        ("BC 17/a", "BC_17_a", "scan"),
        ("42.0", "42", "42"),
    ],
    ids=["case", "the instrument's name", "the id of that name", "pandas"],
)
def test_how_a_plate_is_known_by_its_name(tmp_path: Path, one: str, plate_id: str, name: str) -> None:
    """By its id or its instrument's name, in any case; also where the id had to leave out characters."""
    plate = described(text_table(tmp_path, SCREEN.format(title="Plate", one=one, two="P9")), plate_id, name)

    assert map_of(plate).condition("compound") == {"A01": "x", "A02": "y"}


def test_a_plate_that_the_table_does_not_know_is_refused(tmp_path: Path) -> None:
    """The error names the plates that are there; a declaration says which of them is meant, or which column."""
    table = text_table(tmp_path, SCREEN.format(title="Run", one="P001", two="P002").replace("Run", "Plate", 1))
    with pytest.raises(PlateMapError, match=r'column "Plate" has no row of this plate \(X, Y\); it names P001, P002\.'):
        described(table, "X", "Y")

    declaration = text_table(tmp_path, json.dumps({"table": "map.csv", "plate_name": "P002"}), "map.json")
    assert map_of(described(declaration, "X", "Y")).condition("compound") == {"A01": "p", "A02": "q"}

    own = SCREEN.format(title="Run", one="X", two="Z")
    declaration = text_table(tmp_path, json.dumps({"table": "own.csv", "plate": "Run"}), "own.json")
    text_table(tmp_path, own, "own.csv")
    assert map_of(described(declaration, "X", "Y")).condition("compound") == {"A01": "x", "A02": "y"}
    assert not map_of(described(declaration, "X", "Y")).dose("A01")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Plate,Well,x\nP001,A1,1\n,A2,2\n", "cell A3 names no plate, but its row holds values"),
        ("Plate,Well,x\nP001,A1,1\nscan 7,A2,2\n", "has rows of 'P001' and of 'scan 7', and this plate is called both"),
        ("Plate,Barcode,Well,x\nP001,b,A1,1\nP001,P001,A2,2\n", 'columns "Plate" and "Barcode" name this plate in'),
        ("Plate,Well,x\nP001,A1,1\nP001,A01,2\nP2,A1,3\n", "well A01 stands in it twice, in cells B2 and B3"),
        ("Plate,Well,x\nP001,A1,#N/A\nP2,A1,3\n", "cell C2 holds the error #N/A"),
        ("Plate,Well,x\n#REF!,A1,1\nP001,A2,3\n", "cell A2 holds the error #REF!"),
    ],
    ids=["no plate", "two names", "two columns", "twice", "broken", "a broken plate"],
)
def test_rows_that_cannot_be_chosen(tmp_path: Path, text: str, message: str) -> None:
    """Nothing is chosen by chance."""
    with pytest.raises(PlateMapError, match=message):
        described(text_table(tmp_path, text), name="scan 7")


def test_only_the_plate_s_own_rows_must_be_right(tmp_path: Path) -> None:
    """Another plate of the screen may have other formats, errors and gaps."""
    text = "Plate,Well,x\nP001,A1,1\nP002,P24,#N/A\nP002,nowhere,3\nP002,P24,4\n"

    assert map_of(described(text_table(tmp_path, text))).of_well("A01") == {"Plate": "P001", "x": "1"}


def test_barcodes_of_tubes_are_no_plates(tmp_path: Path) -> None:
    """As many names as wells, none of them this plate's: a condition like any other."""
    plate_map = map_of(described(text_table(tmp_path, "Well,Barcode\nA1,T1\nA2,T2\n")))

    assert plate_map.condition("Barcode") == {"A01": "T1", "A02": "T2"}


# Doses.


def test_doses_are_numbers_by_the_column_as_a_whole(tmp_path: Path) -> None:
    """Decimal commas, and units of cells and title; the text stays as it was written, the range is a note."""
    text = "Well;Dose (µM);Role\nA1;0,5;sample\nA2;500 nM;sample\nB1;1.000;sample\n"

    plate = described(text_table(tmp_path, text))

    plate_map = map_of(plate)
    assert plate_map.condition("dose") == {"A01": "0,5", "A02": "500 nM", "B01": "1.000"}
    assert (plate_map.doses, plate_map.dose_unit) == ((0.5, 0.5, 1000.0), "µM")
    assert "The doses of map.csv are 0.5 to 1000 µM." in plate.notes
    assert not [warning for warning in plate.warnings if "dose" in warning]


def test_doses_that_are_not_sure_are_named(tmp_path: Path) -> None:
    """A thousand or one, a limit, another kind of unit: a warning with cell, text and reason; nothing is guessed."""
    rows = ("1,000", "<0.1", "3 mg/mL", "7", "n/a", "8")
    wells = ("A01", "A02", "A03", "B01", "B02", "B03")
    text = "Well;Dose;Role\n" + "".join(
        f"{well};{dose};{'negative' if dose == 'n/a' else 'sample'}\n" for well, dose in zip(wells, rows, strict=True)
    )

    plate = described(text_table(tmp_path, text), wells=wells)

    assert map_of(plate).doses == (None, None, None, 7, None, 8)
    (warning,) = [warning for warning in plate.warnings if "dose" in warning]
    assert warning == (
        "3 doses of map.csv cannot be read as numbers, and have no shade in the report: "
        "cell B2: '1,000' may be 1000 or 1 (no other cell of the column shows which) (well A01); "
        "cell B3: '<0.1' is a limit, not a number (well A02); "
        "cell B4: '3 mg/mL' cannot be compared with values without a unit (well A03)."
    )


def test_cells_of_wells_that_were_not_acquired_still_show_how_doses_are_written(tmp_path: Path) -> None:
    """As do the rows of other plates: the column is one."""
    elsewhere = "Plate;Well;Dose\nP001;A1;1,000\nP002;A1;0,5\n"
    outside = "Well;Dose\nA1;1,000\nH12;0,5\n"

    assert map_of(described(text_table(tmp_path, elsewhere))).doses == (1.0,)
    assert map_of(described(text_table(tmp_path, outside))).doses == (1.0,)


def test_numbers_of_a_workbook_are_never_in_doubt(tmp_path: Path) -> None:
    """Excel's 1.125 is no thousand; text beside it may be."""
    rows = (("Well", "Dose"), ("A1", 1.125), ("A2", "1,000"), ("B1", 2.25))

    assert read_plate_map(workbook(tmp_path, lambda book: None, rows)).doses == (1.125, None, 2.25)
    assert read_plate_map(
        workbook(tmp_path, lambda book: None, (("Dose", 1, 2), ("A", 1.125, 2), ("B", "0,5", "1,000")))
    ).doses == (1.125, 2.0, 0.5, 1.0)


def test_a_map_of_an_earlier_version_has_its_doses(tmp_path: Path) -> None:
    """It was kept as texts; they are read when it is opened."""
    plate_map = read_plate_map(text_table(tmp_path, "Well;Dose\nA1;0,5\nA2;2\n"))
    kept = msgspec.json.decode(msgspec.json.encode(plate_map))
    del kept["doses"], kept["dose_unit"]

    assert msgspec.convert(kept, PlateMap) == plate_map


@pytest.mark.parametrize(
    ("title", "unit"),
    [
        ("Dose", None), ("conc", None), ("Concentration", None), ("Conc (µM)", "µM"), ("Concentration [nM]", "nM"),
        ("conc_uM", "µM"), ("Concentration, nM", "nM"), ("Metadata_Dose", None),
    ],
)  # fmt: skip
def test_a_column_that_is_called_as_doses_are_holds_them(tmp_path: Path, title: str, unit: str | None) -> None:
    """Dose, conc or concentration, with or without a unit."""
    plate_map = read_plate_map(text_table(tmp_path, f"Well;{title}\nA1;0.5\nA2;2\n"))

    assert plate_map.names == ("dose",)
    assert (plate_map.doses, plate_map.dose_unit) == ((0.5, 2.0), unit)


def test_other_columns_of_numbers_are_named_with_the_line_that_would_declare_them(tmp_path: Path) -> None:
    """Nothing is guessed; columns of texts, of one number alone, and those beside a dose are not named."""
    text = 'Well;Amount "a";Batch;Day\nA1;0.5;b1;3\nA2;2;b2;3\n'

    (note,) = [note for note in described(text_table(tmp_path, text)).notes if "doses" in note]
    silent = described(text_table(tmp_path, text.replace("Day", "Dose")))

    assert '"Amount "a"" of map.csv' in note
    assert '{"table": "map.csv", "dose": "Amount \\"a\\""}' in note
    assert not [note for note in silent.notes if "taken for doses" in note]


def test_two_columns_of_doses_are_conditions_of_their_own(tmp_path: Path) -> None:
    """Which one is meant is for the user to declare."""
    plate_map = read_plate_map(text_table(tmp_path, "Well,Dose (nM),Dose (µM)\nA1,1,2\n"))
    declared = read_plate_map(tmp_path / "map.csv", PlateMapColumns(dose="Dose (nM)"))

    assert plate_map.names == ("Dose (nM)", "Dose (µM)") and plate_map.doses == ()
    assert (declared.doses, declared.dose_unit) == ((1.0,), "nM")
