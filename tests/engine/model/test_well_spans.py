"""Many wells in few words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine.model.well_spans import format_spans, well_spans
from openhcs_engine.model.wells import row_and_column, well_name

PLATE = [well_name(row, column) for row in range(8) for column in range(12)]


@pytest.mark.parametrize(
    ("wells", "among", "spans"),
    [
        (["A01"], PLATE, ("A01",)),
        (PLATE, PLATE, ("A01–H12",)),
        (PLATE[:24], PLATE, ("A01–B12",)),
        (["B02", "B03", "C02", "C03"], PLATE, ("B02–C03",)),
        (["A01", "A02", "B01"], PLATE, ("A01–A02", "B01")),
        (["A01", "A03"], ["A01", "A03", "B01"], ("A01–A03",)),
        (["A01", "C01"], ["A01", "C01"], ("A01–C01",)),
        (["A01", "C01"], ["A01", "B05", "C01"], ("A01", "C01")),
        (["A01", "A02"], (), ("A01–A02",)),
        (["A01", "A03"], (), ("A01", "A03")),
        (["Z47", "Z48", "AA47", "AA48"], (), ("Z47–AA48",)),
    ],
)
def test_blocks_are_named_by_their_corners(wells: list[str], among: list[str], spans: tuple[str, ...]) -> None:
    """Over rows and columns; places without a well do not part them."""
    assert well_spans(wells, among) == spans


@given(st.sets(st.sampled_from(PLATE), min_size=1), st.sets(st.sampled_from(PLATE)))
def test_the_blocks_hold_the_wells_and_no_other(wells: set[str], others: set[str]) -> None:
    """Each well in one block; a block has no well of the plate that was not asked for."""
    known = wells | others

    held: list[str] = []
    for span in well_spans(wells, known):
        first, _, last = span.partition("–")
        (top, left), (bottom, right) = row_and_column(first), row_and_column(last or first)
        block = {well_name(row, column) for row in range(top, bottom + 1) for column in range(left, right + 1)}
        held += block & known

    assert sorted(held) == sorted(wells)


def test_many_blocks_are_cut_short() -> None:
    """The first wells are named, the others counted."""
    every_other = PLATE[::2]

    assert format_spans(every_other, PLATE, most=3) == "A01, A03, A05 and 45 more"
