"""``report/wells.csv`` opened in a spreadsheet: texts are texts, numbers are numbers."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.report.conditions import WellConditions
from openhcs_dagster.report.summary import PlateSummary, WellState, WellSummary, summarise
from openhcs_dagster.report.wells_table import wells_table
from openhcs_engine import FunctionStep
from openhcs_engine.compiler import compile_plate
from openhcs_engine.model.plate import Channel, Plate
from openhcs_engine.model.plate_map import Condition, PlateMap
from openhcs_engine.output.reading.published_wells import PlateWells
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json
from tests.engine.plates import add, make_plate, output_plan


def row_of(name: str, text: str, reason: str = "", seconds: float | None = None) -> dict[str, str]:
    """The table's only row, of a well with one condition."""
    plate_map = PlateMap(
        name="map.csv", wells=("A01",), conditions=(Condition(name=name, values=(text,)),), roles=(None,), cells=("B2",)
    )
    plate = Plate(
        plate_id="p", name="p", microscope="m", root="/", wells=("A01",), sites=(1,), z_indexes=(1,),
        channels=(Channel(index=1),), timepoints=(1,), plate_map=plate_map,
    )  # fmt: skip
    entry = CatalogueEntry(
        id="p", folder="/f", microscope="m", pipeline="a:b", output="/o", wells=("A01",), listing_digest="", added=""
    )
    well = WellSummary(
        well="A01", state=WellState.DONE, reason=reason, seconds=seconds, device="cpu:0",
        conditions=WellConditions.of(plate_map, "A01"),
    )  # fmt: skip
    summary = PlateSummary(
        entry=entry, plate=plate, wells=(well,), fingerprint="", versions=(), steps=(), pipeline="", made=""
    )
    (row,) = csv.DictReader(io.StringIO(wells_table(summary)))
    return row


@pytest.mark.parametrize("text", ["=1+1", "+plus", "-minus", "@home", "\tcell", "\rcell", "-5 µM", "-1+1", "--1", "-"])
def test_a_text_that_would_be_a_formula_gets_an_apostrophe(text: str) -> None:
    """Wherever it stands: a cell of the plate map, the name of its column, the reason of a failed well."""
    row = row_of(name=text, text=text, reason=text)

    assert row[f"'{text}"] == row["reason"] == f"'{text}"


@pytest.mark.parametrize("number", ["-0.5", "+3", "-7", "-.5", "-1e-3", "-0,5", "-1,000.5", "-1.000,5", "+1E+06"])
def test_numbers_stay_numbers(number: str) -> None:
    """Negative ones too, with a decimal point or comma, and with an exponent."""
    assert row_of(name="dose", text=number)["dose"] == number


def test_other_texts_and_our_own_numbers_stay_as_they_are() -> None:
    """What begins a formula only counts at the beginning."""
    row = row_of(name="a=b", text="DMSO -1 @ 2", seconds=-0.25)

    assert (row["a=b"], row["seconds"], row["column"]) == ("DMSO -1 @ 2", "-0.25", "1")


def test_rows_are_in_plate_order_also_of_a_plan_that_was_stored(tmp_path: Path) -> None:
    """A48, B01, AA01: not as text is sorted."""
    order = ("A48", "B01", "Z48", "AA01", "AF48")
    contexts = compile_plate(*make_plate(order), [FunctionStep(add)], output=output_plan(tmp_path)).contexts
    entry = CatalogueEntry(
        id="p", folder="/f", microscope="m", pipeline="a:b", output=str(tmp_path), wells=order, listing_digest="",
        added="",
    )  # fmt: skip

    summary = summarise(entry, contexts_from_json(contexts_to_json(contexts)), PlateWells(tmp_path / "p", "zarr"))

    assert [row["well"] for row in csv.DictReader(io.StringIO(wells_table(summary)))] == list(order)
