"""Tables of planes: their numbers and wells by the law that plate maps have, and workbooks instead of CSV."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
import tifffile

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.model.plate import Plate


def plate_of(folder: Path, table: str = "planes.csv", text: str | None = None) -> tuple[Plate, ImageIndex]:
    """The plate of two images in a folder that a table, perhaps of this text, describes."""
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(folder / name, np.zeros((6, 8), np.uint16))
    if text is not None:
        (folder / table).write_text(text, encoding="utf-8")
    return detect_microscope(folder, ReadOptions(planes_csv=str(folder / table)).handlers()).read_plate()


@pytest.mark.parametrize(
    ("rows", "lengths"),
    [
        (("x_um,y_um", "123.456,1.125"), (123.456, 1.125)),  # who divides by commas writes decimal points
        (("x_um;y_um", "1.000;0,5"), (1000.0, 0.5)),
        (("x_um;y_um", "1,125;0,5"), (1.125, 0.5)),
        (("x_um;y_um", "1.125;0.5"), (1.125, 0.5)),
        (("x_um;y_um", "1 mm;500 nm"), (1000.0, 0.5)),
        (("x_um;y_um", "-1 250,5;−2"), (-1250.5, -2.0)),
    ],
)
def test_lengths_are_read_by_the_law_of_numbers(
    tmp_path: Path, rows: tuple[str, str], lengths: tuple[float, float]
) -> None:
    """The columns of lengths together show what divides decimals; units are heeded."""
    header, row = rows
    mark = ";" if ";" in header else ","
    _, index = plate_of(tmp_path, text=f"path{mark}well{mark}{header}\na.tif{mark}A-01{mark}{row}\n")
    (plane,) = index
    assert (plane.key.well, plane.x_um, plane.y_um) == ("A01", *lengths)


def workbook_of_planes(folder: Path, change: Callable[[Any], None] = lambda book: None) -> tuple[Plate, ImageIndex]:
    """The plate of a workbook with a sheet of notes before the sheet that lists one plane of each of two wells."""
    book = openpyxl.Workbook()
    book.active.title = "Notes"
    book.active["A1"] = "by hand"
    sheet = book.create_sheet("Planes")
    for row in (("path", "well", "site", "x_um"), ("a.tif", "A 1", 1, 1.125), ("b.tif", "A:2", None, 2.25)):
        sheet.append(row)
    sheet.merge_cells("C2:C3")
    change(book)
    book.save(folder / "planes.xlsx")
    return plate_of(folder, "planes.xlsx")


def test_a_workbook_of_planes(tmp_path: Path) -> None:
    """The sheet that lists planes is read, with merged cells and exact numbers; the others are named."""

    def hide(book: Any) -> None:
        book.create_sheet("Lists")["A1"] = "x"
        book["Lists"].sheet_state = "hidden"
        book["Planes"].row_dimensions[3].hidden = True

    plate, index = workbook_of_planes(tmp_path, hide)

    assert [(plane.key.well, plane.key.site, plane.x_um) for plane in index] == [("A01", 1, 1.125), ("A02", 1, 2.25)]
    assert plate.notes[1:4] == (
        "Hidden sheets were not read: 'Lists'.",
        'Sheets that list no planes were not read: "Notes".',
        "Hidden rows of the sheet 'Planes' were read like the others: 3.",
    )


@pytest.mark.parametrize(
    ("cell", "value", "message"),
    [
        ("D2", "=1+1", r"cell Planes!D2 holds a formula \(=1\+1\) without a stored value"),
        ("D3", "#N/A", "cell Planes!D3 holds the error #N/A"),
        ("B3", "=A3", r"cell Planes!B3 holds a formula \(=A3\)"),
    ],
)
def test_cells_of_a_workbook_that_hold_no_value(tmp_path: Path, cell: str, value: str, message: str) -> None:
    """A formula that was never calculated, and one that failed, are refused by the cell's name."""

    def write(book: Any) -> None:
        book["Planes"][cell] = value

    with pytest.raises(UnreadablePlateError, match=message):
        workbook_of_planes(tmp_path, write)


def test_two_sheets_of_planes_are_refused(tmp_path: Path) -> None:
    """Nothing that lists planes is passed over; a workbook of hidden sheets alone says so."""

    def twice(book: Any) -> None:
        book["Notes"]["A1"], book["Notes"]["B1"] = "path", "well"

    def hide_all(book: Any) -> None:
        book["Planes"].sheet_state = "hidden"
        book["Notes"]["A1"] = None

    with pytest.raises(UnreadablePlateError, match='its sheets "Notes" and "Planes" both list planes'):
        workbook_of_planes(tmp_path, twice)
    with pytest.raises(UnreadablePlateError, match=r"hidden ones\. Hidden sheets were not read: 'Planes'"):
        workbook_of_planes(tmp_path, hide_all)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path;well;x_um\na.tif;A1;1.000\n", "'1.000' is no length in µm: it may be 1000 or 1"),
        ('path,well,x_um\na.tif,A1,"1,000"\nb.tif,A2,"0,5"\n', "row 2.*'1,000' is no length in µm: it may be"),
        ("path,well,x_um\na.tif,A1,<5\n", "'<5' is no length in µm: it is a limit"),
        ("path,well,x_um\na.tif,A1,5 µM\n", "is no length in µm: it cannot be compared with values in µm"),
        ("path,well,site\na.tif,A1,1.000\n", "'1.000' is no whole number"),
        ("path,well,site\na.tif,A1,#N/A\n", "cell C2 holds the error #N/A"),
        ("path,well,x_um\na.tif,A1,#WERT!\n", "cell C2 holds the error #WERT!"),
        ("path,well" + "," * 16384 + "\na.tif,A1\n", "it has more than 16384 columns"),
    ],
    ids=range(8),
)
def test_cells_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    """What may mean two things is refused, and named, not guessed."""
    with pytest.raises(UnreadablePlateError, match=message):
        plate_of(tmp_path, text=text)
