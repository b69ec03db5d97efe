"""One row a well, for spreadsheets and notebooks: how it ended, what made it, and what was in it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from openhcs_dagster.report.summary import PlateSummary, WellSummary, report_folder
from openhcs_engine.files.atomic import write_whole
from openhcs_engine.model.wells import row_and_column, row_letters

COLUMNS: Final = (
    "plate",
    "well",
    "row",
    "column",
    "state",
    "seconds",
    "device",
    "fingerprint",
    "reason",
    "role",
    "warnings",
)
"""Those before the conditions of the plate map, which follow under their own names."""
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the begin of a formula. *Source*: OWASP, "CSV Injection"."""
_NUMBER: Final = re.compile(r"[+-]?(?=[.,]*\d)[\d.,]+([eE][+-]?\d+)?", re.ASCII)
"""With decimal points or commas, and commas or points between thousands."""


def wells_table(summary: PlateSummary) -> str:
    """The table as CSV, wells in plate order; an empty cell where something is not known.

    A text that a spreadsheet would run as a formula gets an apostrophe; numbers, negative ones too, stay numbers.
    """
    plate_map = summary.plate.plate_map
    names = () if plate_map is None else plate_map.names
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_inert((*COLUMNS, *(f"condition {name}" if name in COLUMNS else name for name in names))))
    for well in summary.wells:
        values = well.conditions.values if well.conditions else {}
        writer.writerow(_inert((*_cells(summary.entry.id, well), *(values.get(name, "") for name in names))))
    return text.getvalue()


def write_table(summary: PlateSummary) -> Path:
    """Write ``report/wells.csv`` in the plate's output folder; return its path."""
    path = report_folder(summary.entry) / "wells.csv"
    write_whole(path, wells_table(summary).encode())
    return path


def _inert(cells: Iterable[object]) -> list[object]:
    return [
        f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) and not _NUMBER.fullmatch(cell) else cell
        for cell in cells
    ]


def _cells(plate_id: str, well: WellSummary) -> tuple[object, ...]:
    row, column = row_and_column(well.well)
    seconds = "" if well.seconds is None else round(well.seconds, 3)
    role = well.conditions.role if well.conditions else None
    return (
        plate_id, well.well, row_letters(row), column + 1, well.state.value, seconds, well.device,
        well.fingerprint or "", well.reason, role.value if role else "", "; ".join(well.warnings),
    )  # fmt: skip


__all__ = ["COLUMNS", "wells_table", "write_table"]
