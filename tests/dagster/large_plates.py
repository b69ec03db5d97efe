"""What the report says of plates of 96 to 1,536 wells, made up: all states, all roles, doses, gaps."""

from __future__ import annotations

from dataclasses import replace

from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.report.conditions import WellConditions
from openhcs_dagster.report.summary import PlateSummary, WellState, WellSummary
from openhcs_engine.model.plate import Channel, Plate
from openhcs_engine.model.plate_map import PLATE_FORMATS, Condition, PlateMap, WellRole
from openhcs_engine.model.wells import well_name

STATES = {
    17: WellState.FAILED,
    30: WellState.FAILED,
    41: WellState.MISSING,
    55: WellState.STALE,
    70: WellState.UNCHANGED,
}
"""Of the wells that are not done, by their number; the same again after 96 wells."""
REASONS = {
    WellState.FAILED: "Well {well}, step 2 'find nuclei': the image has no contrast (all pixels are 110).",
    WellState.STALE: "Its result was made by another plan; run it again.",
    WellState.MISSING: "It has not been run.",
}
GAPS = "Done with gaps: 1 of 9 sites is missing."


def large_plate(count: int, root: str = "/o") -> PlateSummary:
    """A plate with controls in the outer columns, eight doses of samples between them, and some wells of each state."""
    rows, columns = PLATE_FORMATS[count]
    names = tuple(well_name(row, column) for row in range(rows) for column in range(columns))
    plate_map = _map_of(rows, columns, names)
    plate = Plate(
        plate_id="P0042", name="Screen 7, plate 42", microscope="imagexpress", root="/raw/P0042", wells=names,
        sites=tuple(range(1, 10)), z_indexes=(1,), timepoints=(1,), plate_map=plate_map, rows=rows, columns=columns,
        channels=(Channel(index=1, name="DAPI"), Channel(index=2, name="GFP")), pixel_size_um=0.65,
    )  # fmt: skip
    entry = CatalogueEntry(
        id="P0042", folder="/raw/P0042", microscope="imagexpress", pipeline="lab.assays:nuclei", output=root,
        wells=names, listing_digest="", added="",
    )  # fmt: skip
    wells = tuple(_well(number, well, plate_map) for number, well in enumerate(names))
    return PlateSummary(
        entry=entry, plate=plate, wells=wells, fingerprint="5f" * 32, versions=("numpy==2.4.0", "scikit-image==0.26.0"),
        steps=("1. project", "2. find nuclei", "3. measure"), pipeline="nuclei", made="2026-12-01T08:00:00+00:00",
    )  # fmt: skip


def _map_of(rows: int, columns: int, names: tuple[str, ...]) -> PlateMap:
    positions = [(row, column) for row in range(rows) for column in range(columns)]
    roles = [_role(column, columns, row, rows) for row, column in positions]
    doses = [
        f"{10 / 3 ** (column % 8):.3g}" if role is WellRole.SAMPLE else None
        for role, (_, column) in zip(roles, positions, strict=True)
    ]
    compounds = [
        {
            WellRole.NEGATIVE: "DMSO",
            WellRole.POSITIVE: "Staurosporine",
            WellRole.SAMPLE: f"CPD-{row:02d}{column // 8}",
        }.get(role)
        for role, (row, column) in zip(roles, positions, strict=True)
    ]
    return PlateMap(
        name="layout.csv", wells=names, roles=tuple(roles), cells=names,
        conditions=(Condition(name="compound", values=tuple(compounds)), Condition(name="dose", values=tuple(doses))),
    )  # fmt: skip


def _role(column: int, columns: int, row: int, rows: int) -> WellRole:
    if column == 0:
        return WellRole.NEGATIVE if row % 2 else WellRole.POSITIVE
    if column == columns - 1:
        return WellRole.POSITIVE if row % 2 else WellRole.NEGATIVE
    return WellRole.EMPTY if row == rows - 1 and column > columns - 4 else WellRole.SAMPLE


def _well(number: int, well: str, plate_map: PlateMap) -> WellSummary:
    state = STATES.get(number % 96, WellState.DONE)
    found = WellSummary(
        well=well, state=state, reason=REASONS.get(state, "").format(well=well), seconds=2 + number % 7 / 3,
        device="cpu:0",
        fingerprint=None if state in (WellState.FAILED, WellState.MISSING) else "ab" * 32,
        conditions=WellConditions.of(plate_map, well),
    )  # fmt: skip
    return replace(found, reason=GAPS) if number % 96 == 5 else found


__all__ = ["GAPS", "large_plate"]
