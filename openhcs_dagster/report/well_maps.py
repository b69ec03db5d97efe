"""Maps of a plate in HTML: a cell a well, told by its colour and in full when the mouse rests on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape
from typing import Final

from openhcs_dagster.report.conditions import RoleColours, WellConditions, alike
from openhcs_dagster.report.summary import Layout, WellState
from openhcs_engine.model.plate_map import WellRole
from openhcs_engine.model.wells import row_letters

ROWS_SHOWN: Final = 400
"""Rows of the table of contents; more would be the table of wells over again."""


def plate_grid(layout: Layout, cells: Mapping[str, str]) -> str:
    """The plate with lettered rows and numbered columns; wells without a cell are dashed."""
    by_place = {layout.place(well): cell for well, cell in cells.items()}
    size = max(12, min(54, 440 // layout.columns - 4))
    drawn = ["<span></span>"]
    drawn += [f"<span>{layout.first_column + column + 1}</span>" for column in range(layout.columns)]
    for row in range(layout.rows):
        drawn.append(f"<span>{row_letters(layout.first_row + row)}</span>")
        drawn += [by_place.get((row, column), "<div class=none></div>") for column in range(layout.columns)]
    grid = f"grid-template-columns:24px repeat({layout.columns},{size}px);--w:{size}px"
    return f"<div class=plate style='{grid}'>{''.join(drawn)}</div>"


def well_cell(colour: str, text: str, kind: str = "") -> str:
    """One well."""
    return f"<div class='{f'well {kind}'.strip()}' style='--c:{colour}' title='{escape(text, quote=True)}'></div>"


def legend_line(entries: Iterable[tuple[str, str]]) -> str:
    """Colours and what they mean."""
    dots = "".join(f"<span><i class=dot style='--c:{colour}'></i>{escape(text)}</span> " for colour, text in entries)
    return f"<p class=legend>{dots}</p>"


def contents_map(layout: Layout, wells: Mapping[str, WellConditions]) -> str:
    """What was in each well: a colour a role."""
    colours = RoleColours.of(wells.values())
    cells = {
        well: well_cell(colours.colour(conditions), _told(well, conditions), _kind(conditions))
        for well, conditions in wells.items()
    }
    return plate_grid(layout, cells) + legend_line(colours.legend(list(wells.values())))


def _told(well: str, conditions: WellConditions) -> str:
    others = "; ".join(f"{name}: {value}" for name, value in conditions.others.items())
    return f"{well}: {conditions.phrase}" + (f"; {others}" if others else "")


def _kind(conditions: WellConditions) -> str:
    return "pale" if conditions.role is WellRole.EMPTY else ""


def contents_table(wells: Mapping[str, WellConditions], states: Mapping[str, WellState]) -> str:
    """Wells that had the same in them, and what became of them."""
    groups, colours = alike(wells), RoleColours.of(wells.values())
    rows = "".join(
        f"<tr><td><i class=dot style='--c:{colours.colour(wells[names[0]])}'></i>{escape(phrase)}</td>"
        f"<td>{_ended(states[name] for name in names)}</td><td class=wells>{', '.join(names)}</td></tr>"
        for phrase, names in list(groups.items())[:ROWS_SHOWN]
    )
    more = len(groups) - ROWS_SHOWN
    note = f"<p class=legend>{more} more are in the table of wells.</p>" if more > 0 else ""
    head = "<tr><th>Contents</th><th>Wells</th><th></th></tr>"
    return f"<div class=tall><table class=contents>{head}{rows}</table></div>{note}"


def _ended(states: Iterable[WellState]) -> str:
    """``8``, or ``7 of 8 current`` where some are not."""
    counts = Counter(state.is_current for state in states)
    return f"{counts.total()}" if not counts[False] else f"<b>{counts[True]} of {counts.total()} current</b>"


__all__ = ["contents_map", "contents_table", "legend_line", "plate_grid", "well_cell"]
