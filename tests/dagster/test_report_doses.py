"""Doses in the report: shaded by their numbers, listed in their order, and never drawn where they are none."""

from __future__ import annotations

from openhcs_dagster.report.conditions import PALEST, ROLE_COLOURS, UNSHADED, RoleColours, WellConditions, alike
from openhcs_engine.model.plate_map import Condition, PlateMap, WellRole


def conditions(doses: dict[str, str], *, negative: str = "") -> dict[str, WellConditions]:
    """What the wells of a map with these doses hold; all are samples of one compound but ``negative``."""
    wells = tuple(doses)
    plate_map = PlateMap(
        name="map.csv",
        wells=wells,
        conditions=(
            Condition(name="compound", values=tuple("DMSO" if well == negative else "W" for well in wells)),
            Condition(name="dose", values=tuple(dose or None for dose in doses.values())),
        ),
        roles=tuple(WellRole.NEGATIVE if well == negative else WellRole.SAMPLE for well in wells),
        cells=tuple(f"A{number}" for number in range(2, len(wells) + 2)),
    )
    found = {well: WellConditions.of(plate_map, well) for well in wells}
    return {well: had for well, had in found.items() if had is not None}


EUROPEAN = {"A01": "0", "A02": "0,5", "A03": "2,5", "A04": "20,0", "B02": "1", "B03": "10", "B04": "15 µM"}


def test_decimal_commas_are_shaded_in_the_order_of_their_numbers() -> None:
    """0,5 < 1 < 2,5 < 10 < 20,0, each darker than the one before; a unit that the others lack is not compared."""
    wells = conditions(EUROPEAN, negative="A01")
    colours = RoleColours.of(wells.values())

    shades = [colours.colour(wells[well]) for well in ("A02", "B02", "A03", "B03", "A04")]

    assert shades == sorted(shades, reverse=True) and len(set(shades)) == 5
    assert (shades[0], shades[-1]) == (PALEST, ROLE_COLOURS[WellRole.SAMPLE])
    assert colours.colour(wells["B04"]) == UNSHADED


def test_what_is_no_number_has_no_shade_and_the_legend_says_so() -> None:
    """A limit, a remark and an empty cell look like no dose, least of all like the highest."""
    wells = conditions({"A01": "<0.1", "A02": "high", "A03": "", "B01": "0.1", "B02": "1", "B03": "1,000"})
    colours = RoleColours.of(wells.values())

    drawn = {well: colours.colour(had) for well, had in wells.items()}

    assert {drawn[well] for well in ("A01", "A02", "A03")} == {UNSHADED}
    assert UNSHADED not in {drawn[well] for well in ("B01", "B02", "B03")}
    assert colours.legend(list(wells.values())) == [
        (ROLE_COLOURS[WellRole.SAMPLE], "sample, darker: higher dose (3)"),
        (UNSHADED, "sample, dose is no number (3)"),
    ]


def test_where_nothing_can_be_compared_no_shading_is_claimed() -> None:
    """One number beside texts is neither high nor low: all samples look the same, and the legend says no more."""
    wells = conditions({"A01": "low", "A02": "high", "A03": "3"})
    colours = RoleColours.of(wells.values())

    assert {colours.colour(had) for had in wells.values()} == {ROLE_COLOURS[WellRole.SAMPLE]}
    assert colours.legend(list(wells.values())) == [(ROLE_COLOURS[WellRole.SAMPLE], "sample (3)")]


def test_contents_are_listed_by_the_numbers_of_their_doses() -> None:
    """Not as texts sort, and texts last."""
    wells = conditions({**EUROPEAN, "B01": "<0,5"}, negative="A01")

    expected = ["A01", "A02", "B02", "A03", "B03", "A04", "B04", "B01"]
    assert [names for (names,) in alike(wells).values()] == expected
