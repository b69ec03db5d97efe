"""Well names and plate ids: one spelling each."""

from __future__ import annotations

import re
import string

from openhcs_engine.errors import PlateIdError, UnknownWellError
from openhcs_engine.model.quantities.numbers import whole_number
from openhcs_engine.model.reserved_names import is_reserved_on_windows

_WELL = re.compile(r"([A-Za-z]{1,2})0*([1-9][0-9]?)", re.ASCII)
_ROW_COLUMN = re.compile(r"r0*([1-9][0-9]?)c0*([1-9][0-9]?)", re.ASCII | re.IGNORECASE)
_DIVIDED = re.compile(r"([A-Za-z]{1,2}|[rR][0-9]{1,3}) ?[ :_-] ?([cC]?[0-9]{1,3})", re.ASCII)
_PLATE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
MAX_ROWS, MAX_COLUMNS = 32, 48
"""The largest standard plate has 1536 wells: A01 to AF48."""


def row_letters(row: int) -> str:
    """Name of a row counted from 0: A to Z, then AA to AF."""
    return string.ascii_uppercase[row] if row < 26 else "A" + string.ascii_uppercase[row - 26]


def well_name(row: int, column: int) -> str:
    """Canonical name of a well, row and column counted from 0: ``well_name(1, 2) == "B03"``."""
    return f"{row_letters(row)}{column + 1:02d}"


def row_and_column(well: str) -> tuple[int, int]:
    """Row and column, counted from 0, of a well in any accepted spelling.

    Raises
    ------
    UnknownWellError
        If the text names no well of a plate with up to 1536 wells.
    """
    if match := _WELL.fullmatch(well):
        letters, column = match[1].upper(), int(match[2]) - 1
        row = ord(letters[-1]) - ord("A") + (26 if len(letters) == 2 else 0)
        known = row < MAX_ROWS and letters == row_letters(row)
    elif match := _ROW_COLUMN.fullmatch(well):
        row, column, known = int(match[1]) - 1, int(match[2]) - 1, True
    else:
        row = column = 0
        known = False
    if not known or row >= MAX_ROWS or column >= MAX_COLUMNS:
        raise UnknownWellError(f"{well!r} is not the name of a well (expected A01 to AF48, or r01c01).", well=well)
    return row, column


def normalise_well(well: str) -> str:
    """Canonical spelling of a well: ``a1``, ``A01`` and ``r01c01`` all give ``A01``."""
    return well_name(*row_and_column(well))


def well_of_cell(text: str) -> str:
    """Canonical name of a well as people write it into tables: also ``A-01``, ``A 1``, ``A:1``, ``A_1``, ``A001``.

    Raises
    ------
    UnknownWellError
        If the text names no well.
    """
    return normalise_well(undivided_well(text))


def undivided_well(text: str) -> str:
    """A well without what people put between row and column: ``A-01`` and ``A 01`` give ``A01``."""
    divided = _DIVIDED.fullmatch(text)
    return divided[1] + divided[2] if divided else text


def well_of_row_and_column(row: str, column: str) -> str:
    """Canonical name of a well whose row (letters, or a number) and column stand in cells of their own.

    Numbers may be written as pandas writes them in a column with a gap: ``1.0``.

    Raises
    ------
    UnknownWellError
        If they name no well.
    """
    row_number, column_number = whole_number(row), whole_number(column)
    spelt = column if column_number is None else str(column_number)
    return normalise_well(f"{row}{spelt}" if row_number is None else f"r{row_number}c{spelt}")


def is_well(name: str) -> bool:
    """True for the canonical name of a well."""
    try:
        return normalise_well(name) == name
    except UnknownWellError:
        return False


def plate_order(well: str) -> tuple[int, int]:
    """Sort key of canonical well names: by row, then column (``Z01`` before ``AA01``)."""
    return row_and_column(well)


def plate_id_of_folder(folder_name: str) -> str:
    """The default id of a plate: its folder's name without ``.zarr``, other characters as ``_``.

    A name that Windows reserves gets a ``_``: ``con.1`` becomes ``con_.1``.
    """
    stem = folder_name.removesuffix(".zarr")
    spelt = re.sub(r"[^A-Za-z0-9_.-]", "_", stem)
    spelt = re.sub(r"\.{2,}", "_", spelt).lstrip("_.-")[:100]
    if is_reserved_on_windows(spelt):
        device, dot, rest = spelt.partition(".")
        spelt = f"{device}_{dot}{rest}"[:100]
    return validate_plate_id(spelt)


def validate_plate_id(plate_id: str) -> str:
    """Return the id if it can be a folder's and an asset's name; otherwise raise PlateIdError."""
    if not _PLATE_ID.fullmatch(plate_id) or ".." in plate_id:
        raise PlateIdError(
            f"{plate_id!r} cannot be a plate id: use 1 to 100 letters, digits, '_', '.' or '-', starting with a letter "
            "or digit, without '..'.",
            plate_id=plate_id,
        )
    if is_reserved_on_windows(plate_id):
        raise PlateIdError(
            f"{plate_id!r} cannot be a plate id: Windows keeps the name {plate_id.partition('.')[0]!r} for a device, "
            f"and could not open the plate's folder on a network drive; give another id, such as plate_{plate_id}.",
            plate_id=plate_id,
        )
    return plate_id


def folded_plate_id(plate_id: str) -> str:
    """What Dagster and case-folding file systems make of an id; two plates may not share it."""
    return plate_id.lower().replace("-", "_").replace(".", "_")
