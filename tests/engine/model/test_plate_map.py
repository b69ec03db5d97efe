"""Plate maps: a published table against its README, and the tables that people really write, with one trap each."""

from __future__ import annotations

import csv
import io
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine.errors import PlateMapError
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.microscopes.plate_map.file import join_plate_map, read_plate_map
from openhcs_engine.model.plate_map import PLATE_FORMATS, Condition, PlateMap, PlateMapColumns, WellRole
from openhcs_engine.model.wells import row_letters, well_name
from tests.engine.plates import make_plate

SBS = PlateMapColumns(
    row="Row",
    column="Column",
    dose="SBS_Doses",
    role="SBS_Controls",
    roles={"-1": "negative", "1": "positive", "0": "sample"},
    plate_wells=96,
)


def table(folder: Path, text: str, name: str = "map.csv", encoding: str = "utf-8") -> Path:
    """A text file in the folder."""
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def workbook(folder: Path, sheets: dict[str, list[list[object]]]) -> Path:
    """An XLSX file of these sheets."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(folder / "map.xlsx")
    return folder / "map.xlsx"


def grid(title: str, values: dict[str, object], rows: int = 8, columns: int = 12) -> list[list[object]]:
    """Rows of a table that shows a plate as it lies."""
    lines: list[list[object]] = [[title, *range(1, columns + 1)]]
    for row in range(rows):
        lines.append([row_letters(row), *(values.get(well_name(row, column)) for column in range(columns))])
    return lines


def as_csv(rows: list[list[object]], separator: str = ",") -> str:
    """Rows as CSV text."""
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows([["" if cell is None else cell for cell in row] for row in rows])
    return text.getvalue()


# The published table of the translocation assay.


def test_the_published_map_has_all_wells(data_dir: Path) -> None:
    """All 96 wells; controls where the README says: columns 01 and 02 negative, 12 positive in rows A to D."""
    plate_map = read_plate_map(data_dir / "sbs_translocation" / "1049_Metadata.csv", SBS)

    assert plate_map.wells == tuple(well_name(row, column) for row in range(8) for column in range(12))
    assert plate_map.names == ("ImageNumber", "dose")
    upper = {f"{row}{column:02d}" for row in "ABCD" for column in range(1, 13)}
    assert [well for well in plate_map.wells_of(WellRole.NEGATIVE) if well in upper] == [
        "A01", "A02", "B01", "B02", "C01", "C02", "D01", "D02",
    ]  # fmt: skip
    assert [well for well in plate_map.wells_of(WellRole.POSITIVE) if well in upper] == ["A12", "B12", "C12", "D12"]
    assert plate_map.of_well("A07") == {"ImageNumber": "7", "dose": "5"}


def test_the_published_map_joins_its_plate(data_dir: Path) -> None:
    """The plate's 21 wells get their conditions, as in the facts; the other 75 are a note."""
    import json

    folder = data_dir / "sbs_translocation"
    plate, _ = detect_microscope(folder).read_plate()

    joined, notes = join_plate_map(read_plate_map(folder / "1049_Metadata.csv", SBS), plate)

    facts = json.loads((data_dir / "facts.json").read_text(encoding="utf-8"))["sbs_translocation"]["per_well"]
    assert joined.wells == plate.wells == tuple(facts)
    assert joined.condition("dose") == {well: str(said["dose"]) for well, said in facts.items()}
    codes = {-1: WellRole.NEGATIVE, 0: WellRole.SAMPLE, 1: WellRole.POSITIVE}
    assert joined.roles == tuple(codes[said["control"]] for said in facts.values())
    (note,) = notes
    assert note.startswith("75 wells of 1049_Metadata.csv were not acquired: B03, B04,")


# A row for each well.


def test_usual_names_need_no_declaration(tmp_path: Path) -> None:
    """Well, Compound, Dose and Role in any case; roles by their words; other columns keep their names."""
    plate_map = read_plate_map(
        table(tmp_path, "WELL ID,Compound,Dose,Role,Cell line\nb2,DMSO,,Negative,U2OS\nA1,X,1e-6,sample,U2OS\nA2,,,,\n")
    )
    assert plate_map.wells == ("A01", "A02", "B02")
    assert plate_map.names == ("compound", "dose", "Cell line")
    assert plate_map.condition("dose") == {"A01": "1e-6", "A02": None, "B02": None}
    assert plate_map.roles == (WellRole.SAMPLE, None, WellRole.NEGATIVE)
    assert plate_map.cells == ("A3", "A4", "A2")


@pytest.mark.parametrize(
    "above",
    ["Plate,P0042\nDate,2024-03-01\n\n", "Layout of plate 42\n", ",,\n\n"],
    ids=["fields", "a title", "nothing"],
)
def test_a_title_and_the_like_may_stand_above_a_list(tmp_path: Path, above: str) -> None:
    """Wells begin below the row that names their column; cells are those of the file."""
    plate_map = read_plate_map(table(tmp_path, above + "Well,Compound\nA1,x\nB2,y\n"))

    assert plate_map.of_well("B02") == {"compound": "y"}
    assert plate_map.cells[0] == f"A{above.count(chr(10)) + 2}"


def test_a_title_alone_is_no_list_of_wells(tmp_path: Path) -> None:
    """A single cell that says so names no column."""
    with pytest.raises(PlateMapError, match="its first row has no column Well"):
        read_plate_map(table(tmp_path, "Plate 42\nWell\n1\n"))


def test_columns_as_cellprofiler_calls_them(tmp_path: Path) -> None:
    """``Metadata_Well`` is the well, ``Metadata_Compound`` the compound; others keep their names."""
    plate_map = read_plate_map(table(tmp_path, "Metadata_Well,Metadata_Compound,Metadata_Batch\nA01,x,7\n"))

    assert plate_map.of_well("A01") == {"compound": "x", "Metadata_Batch": "7"}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_separators_and_encodings(tmp_path: Path, separator: str, encoding: str) -> None:
    """However the spreadsheet wrote it, the cells are the same; decimal commas stay text, and the unit is read."""
    rows: list[list[object]] = [["Well", "Dose, µM", "Compound"], ["A1", "0,5", "grün; spät"], ["A2", "1,0", "é"]]
    plate_map = read_plate_map(table(tmp_path, as_csv(rows, separator), encoding=encoding))
    assert plate_map.condition("dose") == {"A01": "0,5", "A02": "1,0"}
    assert plate_map.condition("compound") == {"A01": "grün; spät", "A02": "é"}


def test_excels_own_first_line(tmp_path: Path) -> None:
    """``sep=;`` is no header, and cells keep their numbers."""
    plate_map = read_plate_map(table(tmp_path, "sep=;\nWell;x\nA1;a,b,c\n"))
    assert plate_map.condition("x") == {"A01": "a,b,c"}
    assert plate_map.cells == ("A3",)


@pytest.mark.parametrize("row", ["B", "b", "2", "02"])
def test_rows_and_columns_instead_of_wells(tmp_path: Path, row: str) -> None:
    """A row is letters or a number."""
    assert read_plate_map(table(tmp_path, f"Row,Col,x\n{row},03,1\n")).wells == ("B03",)


def test_spreadsheet_numbers_are_text_as_shown(tmp_path: Path) -> None:
    """Whole numbers have no ``.0``, and codes of roles meet their declaration."""
    path = workbook(
        tmp_path, {"Layout": [["Well", "Dose", "Ctrl"], ["A1", 10.0, -1], ["A2", 0.1, 1], ["A3", None, None]]}
    )
    plate_map = read_plate_map(path, PlateMapColumns(role="Ctrl", roles={"-1": "negative", "1": "positive"}))
    assert plate_map.condition("dose") == {"A01": "10", "A02": "0.1", "A03": None}
    assert plate_map.roles == (WellRole.NEGATIVE, WellRole.POSITIVE, None)
    assert plate_map.cells[0] == "Layout!A2"


# Grids.


def test_grids_below_each_other(tmp_path: Path) -> None:
    """Several grids, titles in the corner or above, lines between them: one condition each."""
    above = grid("", {"A01": "X", "H12": "Y"})
    text = as_csv(
        [["Plate 7, by hand"], [], ["Compound"], *above, [], *grid("Dose", {"A01": "0,1"}), *grid("pH", {"B02": 7})]
    )
    plate_map = read_plate_map(table(tmp_path, text))
    assert plate_map.names == ("compound", "dose", "pH")
    assert plate_map.wells == ("A01", "B02", "H12")
    assert plate_map.condition("dose") == {"A01": "0,1", "B02": None, "H12": None}
    assert plate_map.cells[0] == "B5"


def test_grids_beside_each_other_and_roles(tmp_path: Path) -> None:
    """Two grids side by side; the one declared as roles tells controls by its codes."""
    left, right = grid("Cpd", {"A01": "X", "A02": "Y"}), grid("Layout", {"A01": "N", "A02": "p"})
    text = as_csv([[*one, None, *two] for one, two in zip(left, right, strict=True)], ";")
    declared = PlateMapColumns(compound="Cpd", role="Layout", roles={"N": "negative", "P": "positive"})
    plate_map = read_plate_map(table(tmp_path, text), declared)
    assert plate_map.conditions == (Condition(name="compound", values=("X", "Y")),)
    assert plate_map.roles == (WellRole.NEGATIVE, WellRole.POSITIVE)


def test_each_sheet_a_grid(tmp_path: Path) -> None:
    """In a workbook a grid without a title is called as its sheet."""
    path = workbook(tmp_path, {"Compound": grid("", {"A01": "X"}), "Dose": grid("", {"A01": 3.0}), "empty": []})
    plate_map = read_plate_map(path)
    assert plate_map.of_well("A01") == {"compound": "X", "dose": "3"}


def test_a_grid_may_leave_out_the_plates_edge(tmp_path: Path) -> None:
    """Rows B to G and columns 2 to 11 are common; the wells are those of the letters and numbers."""
    rows: list[list[object]] = [["x", 2, 3], ["B", "b2", "b3"], ["c", "c2", None]]
    assert read_plate_map(table(tmp_path, as_csv(rows))).condition("x") == {"B02": "b2", "B03": "b3", "C02": "c2"}


@pytest.mark.parametrize("wells", PLATE_FORMATS)
def test_every_format_has_its_grid(tmp_path: Path, wells: int) -> None:
    """From 6 to 1536 wells, up to the last well."""
    rows, columns = PLATE_FORMATS[wells]
    last = well_name(rows - 1, columns - 1)
    text = as_csv(grid("x", {"A01": 1, last: 2}, rows, columns))
    assert read_plate_map(table(tmp_path, text), PlateMapColumns(plate_wells=wells)).wells == ("A01", last)


CONDITIONS = st.dictionaries(
    st.builds(well_name, st.integers(0, 7), st.integers(0, 11)),
    st.text(st.characters(categories=("L", "N", "P", "S"), exclude_characters="\0"), min_size=1, max_size=8).filter(
        lambda text: not text.startswith("#")  # "#A!" would be the error of a formula
    ),
    min_size=1,
)


@given(values=CONDITIONS, separator=st.sampled_from([",", ";", "\t"]))
def test_a_list_and_a_grid_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, str], separator: str
) -> None:
    """Whatever stands in the wells, both forms read back to what was written."""
    folder = tmp_path_factory.mktemp("maps")
    rows: list[list[object]] = [["Well", "x", "y"]]
    rows += [[well, value, "1"] for well, value in values.items()]
    as_list = read_plate_map(table(folder, as_csv(rows, separator), "list.csv"))
    as_grid = read_plate_map(table(folder, as_csv(grid("x", dict(values)), separator), "grid.csv"))
    assert as_list.condition("x") == as_grid.condition("x") == {well: values[well] for well in as_list.wells}


# What is refused.


@dataclass(frozen=True, slots=True)
class Refused:
    """A table that cannot be used, and the sentence that says why."""

    title: str
    text: str
    message: str
    columns: PlateMapColumns | None = None


REFUSED = (
    Refused("empty", "\n\n", "map.csv is no plate map: it is empty"),
    Refused("twice", "Well,x\nA1,1\nB1,2\na01,3\n", "well A01 stands in it twice, in cells A2 and A4"),
    Refused("not a well", "Well,x\nA1,1\nB100,2\n", r"cell A3: 'B100' is no well \(expected A01 to AF48\)"),
    Refused("not a well, parts", "Row,Column,x\nA,99,1\n", "cell A2 and B2: 'A 99' is no well"),
    Refused("no well", "x,Well\n1,A1\n2,\n", "cell B3 names no well, but its row holds values"),
    Refused("no rows", "Well,x\n", "no row below them"),
    Refused("two columns of one name", "Well,x,x\nA1,1,2\n", 'two columns are called "x", the second in cell C1'),
    Refused(
        "a column without a title", "Well,x,\nA1,1,\nA2,1,7\n", "cell C3 holds a value, but its column has no title"
    ),
    Refused("no wells at all", "plate,x\n1,2\n", r'no column Well, nor Row and Column \(it has "plate", "x"\)'),
    Refused("declared, absent", "Well,x\nA1,2\n", 'no column "Pos"', PlateMapColumns(well="Pos")),
    Refused(
        "declared dose, absent",
        "Well,x\nA1,2\n",
        r'dose was declared to be "Conc", but no column or grid is called so \(has: "x"\)',
        PlateMapColumns(dose="Conc"),
    ),
    Refused("one name for two", "Well,dose,conc\nA1,1,2\n", "would both be called dose", PlateMapColumns(dose="conc")),
    Refused(
        "an undeclared role",
        "Well,ctl\nA1,n\nA2,7\n",
        "cell B3 holds the role '7', which was not declared .declared: 'n'.*negative, positive, sample, empty",
        PlateMapColumns(role="ctl", roles={"n": "negative"}),
    ),
    Refused("a role that is no word", "Well,Role\nA1,DMSO\n", "cell B2 holds the role 'DMSO', which was not declared"),
    Refused(
        "outside the format",
        "Well,x\nA1,1\nI3,2\nA13,2\n",
        r"wells that a plate of 96 wells does not have: A13 \(cell A4\), I03 \(cell A3\)",
        PlateMapColumns(plate_wells=96),
    ),
    Refused("a grid without a title", ",1,2\nA,x,y\nB,x,y\n", "the grid at cell A1 has no title"),
    Refused(
        "two grids of one title", "x,1,2\nA,1,1\nB,1,1\n\nx,1,2\nA,1,1\nB,1,1\n", 'title "x", the second at cell A5'
    ),
    Refused("a row left out", "x,1,2\nA,1,1\nB,1,1\nD,1,1\n", "cell A4 holds 'D', expected row C"),
    Refused("a row without a letter", "x,1,2\nA,1,1\nB,1,1\n,1,1\nD,1,1\n", "cell A4 holds '', expected row C"),
    Refused("a column left out", "x,1,2,4\nA,1,1,1\nB,1,1,1\n", "cell D1 holds '4', expected column 3"),
    Refused("too many columns", f"x,{','.join(map(str, range(1, 51)))}\nA,1\nB,1\n", "no plate has so many columns"),
    Refused("control characters", "Well,x\n\x07,1\n", r"cell A2: '\\x07' is no well"),
    Refused("no text", "Well,x\nA1,\0\n", "it is not text"),
)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.title)
def test_tables_that_cannot_be_used(tmp_path: Path, case: Refused) -> None:
    """The error names the file and the cell."""
    with pytest.raises(PlateMapError, match=case.message) as caught:
        read_plate_map(table(tmp_path, case.text), case.columns)
    assert "map.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"wel": "x"}, r"no key wel \(they have: well, row, column"),
        ({"row": "R"}, "row and column belong together"),
        ({"well": "W", "row": "R", "column": "C"}, "Give either well, or row and column"),
        ({"roles": {"1": "good"}}, "The role of code '1' is 'good'; it must be one of negative, positive"),
        ({"plate_wells": 100}, r"There is no plate of 100 wells \(there are: 6, 12"),
    ],
)
def test_declarations_that_cannot_be(values: dict[str, Any], message: str) -> None:  # Any: JSON
    """A mapping of columns is checked before any table is read."""
    with pytest.raises(PlateMapError, match=message):
        PlateMapColumns.of(values)


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    """A file that is absent, damaged, an old workbook or a bomb is refused in a sentence."""
    with pytest.raises(PlateMapError, match=r"gone\.csv is no plate map: it cannot be opened: No such file"):
        read_plate_map(tmp_path / "gone.csv")
    (tmp_path / "old.csv").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(100))
    with pytest.raises(PlateMapError, match=r"it is a spreadsheet, not text; save it as \.xlsx or CSV"):
        read_plate_map(tmp_path / "old.csv")
    (tmp_path / "text.xlsx").write_text("Well,x\nA1,1\n", encoding="utf-8")
    with pytest.raises(PlateMapError, match="it is not an XLSX workbook"):
        read_plate_map(tmp_path / "text.xlsx")
    with zipfile.ZipFile(tmp_path / "other.xlsx", "w") as packed:
        packed.writestr("a.txt", "no workbook")
    with pytest.raises(PlateMapError, match="it is a damaged workbook"):
        read_plate_map(tmp_path / "other.xlsx")
    (tmp_path / "bytes.csv").write_bytes(b"Well,x\nA1,\x81\n")
    with pytest.raises(PlateMapError, match="it is neither UTF-8 nor Windows-1252 text"):
        read_plate_map(tmp_path / "bytes.csv")


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """A workbook that claims gigabytes is refused by its directory."""
    with zipfile.ZipFile(tmp_path / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED) as packed:
        for number in range(5):
            packed.writestr(f"xl/worksheets/sheet{number}.xml", bytes(64 << 20))
    with pytest.raises(PlateMapError, match="it unpacks to more than a workbook of conditions can hold"):
        read_plate_map(tmp_path / "bomb.xlsx")


def test_entities_in_a_workbook_are_not_expanded(tmp_path: Path) -> None:
    """XML that declares entities makes the workbook a damaged one."""
    path = workbook(tmp_path, {"s": [["Well", "x"], ["A1", "y"]]})
    bomb = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    with zipfile.ZipFile(path) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in members.items():
            content = bomb + content if name.endswith(("sheet1.xml", "workbook.xml")) else content
            packed.writestr(name, content)
    with pytest.raises(PlateMapError, match="it is a damaged workbook"):
        read_plate_map(path)


# Joining.


def small_map(*wells: str) -> PlateMap:
    """A map of these wells, all of them samples."""
    return PlateMap(
        name="map.csv",
        wells=wells,
        conditions=(Condition(name="dose", values=tuple(str(number) for number in range(len(wells)))),),
        roles=(WellRole.SAMPLE,) * len(wells),
        cells=tuple(f"A{number}" for number in range(2, len(wells) + 2)),
    )


def test_joining_tells_both_differences() -> None:
    """Wells of the map that were not acquired, and wells of the plate that it does not describe, are notes."""
    plate, _ = make_plate(("A01", "A02", "B01"))
    joined, notes = join_plate_map(small_map("A02", "C01", "H12"), plate)
    assert joined == PlateMap(
        name="map.csv",
        wells=("A02",),
        conditions=(Condition(name="dose", values=("0",)),),
        roles=(WellRole.SAMPLE,),
        cells=("A2",),
    )
    assert notes == (
        "2 wells of map.csv were not acquired: C01, H12.",
        "map.csv says nothing of 2 wells: A01, B01.",
    )


def test_a_complete_join_has_no_notes() -> None:
    """A map of exactly the acquired wells is taken as it is."""
    plate, _ = make_plate(("A01", "A02"))
    assert join_plate_map(small_map("A01", "A02"), plate) == (small_map("A01", "A02"), ())


def test_joining_refuses_wells_that_the_plate_cannot_have() -> None:
    """A map of a 384-well plate does not fit a 96-well plate; the cell is named."""
    plate, _ = make_plate()
    with pytest.raises(PlateMapError, match=r"plate of 96 wells does not have: P24 \(cell A3\)"):
        join_plate_map(small_map("A01", "P24"), plate)


def test_a_map_is_a_value() -> None:
    """It hashes, pickles, and answers for wells that it does not know."""
    plate_map = small_map("A01", "B01")
    assert pickle.loads(pickle.dumps(plate_map)) == plate_map
    assert hash(plate_map) == hash(small_map("A01", "B01"))
    assert (plate_map.of_well("C01"), plate_map.role("C01")) == ({}, None)
    with pytest.raises(KeyError, match="no condition 'x'"):
        plate_map.condition("x")
