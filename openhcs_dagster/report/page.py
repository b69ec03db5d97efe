"""The report as one HTML file that needs nothing else: no server, no network, no script.

What it looks like is written in ``page.html.j2`` and ``page.css`` beside this module.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from openhcs_dagster.report.conditions import RoleColours, WellConditions, alike
from openhcs_dagster.report.overview import PlateOverview
from openhcs_dagster.report.pictures import COLOURS, PlatePictures, duration, within
from openhcs_dagster.report.summary import Layout, PlateSummary, WellState, WellSummary, report_folder
from openhcs_dagster.report.wells_table import wells_table
from openhcs_engine.files.atomic import write_whole
from openhcs_engine.model.wells import row_letters
from openhcs_engine.output.html_page import page_template

if TYPE_CHECKING:
    import jinja2

PHRASES: Final = 6
"""Different contents of wells that one row of the table names."""
PICTURE_BYTES: Final = 2_000_000
"""Of all channels' pictures together, before base64 adds a third: the page is mailed, and stays below 5 MB."""
ROWS_SHOWN: Final = 400
"""Rows of the table of contents; more would be the table of wells over again."""


class _Cell(NamedTuple):
    """A well on a map: its colour, and in words when the mouse rests on it."""

    colour: str
    text: str
    kind: str = ""
    """``failed``, ``gaps`` or nothing: a class of the style sheet."""


class _Reason(NamedTuple):
    """Wells that are in one state for one reason: a stale plate is one fact, not 384."""

    wells: list[str]
    state: WellState
    reason: str
    contents: list[tuple[str, int]]
    """What was in them as the plate map says, and in how many; the most frequent first."""


def write_page(summary: PlateSummary, pictures: PlatePictures, overview: PlateOverview | None = None) -> Path:
    """Write ``report/index.html`` in the plate's output folder; return its path."""
    page = report_folder(summary.entry) / "index.html"
    write_whole(page, render(summary, pictures, overview).encode())
    return page


def render(summary: PlateSummary, pictures: PlatePictures, overview: PlateOverview | None = None) -> str:
    """The whole page; the channel of the plate's overview image comes first."""
    layout, conditions = summary.layout, summary.conditions
    role_colours = RoleColours.of(conditions.values())
    return _template().render(
        summary=summary,
        pictures=pictures,
        montages=within(pictures.montages, PICTURE_BYTES),
        overview=overview,
        layout=layout,
        plate_px=_width_of_plate(layout),
        status={layout.place(well.well): _status(well) for well in summary.wells},
        status_legend=_legend(summary),
        contents={layout.place(well): _contents(well, had, role_colours) for well, had in conditions.items()},
        contents_legend=[(colour, text, "") for colour, text in role_colours.legend(list(conditions.values()))],
        contents_rows=[(role_colours.colour(conditions[of[0]]), what, of) for what, of in alike(conditions).items()],
        rows_shown=ROWS_SHOWN,
        phrases=PHRASES,
        current={well.well for well in summary.wells if well.state.is_current},
        lossy_wells={well for loss in summary.losses for well in loss.wells},
        channels=sorted(pictures.montages, key=lambda name: overview is None or name != overview.channel),
        table=wells_table(summary).encode(),
        colours=COLOURS,
        stale=WellState.STALE,
        row_letters=row_letters,
    )


@cache
def _template() -> jinja2.Template:
    filters: dict[str, Callable[..., Any]] = {
        "base64": lambda content: base64.b64encode(content).decode(),
        "by_reason": _by_reason,
        "duration": duration,
        "picture_type": lambda content: "png" if content.startswith(b"\x89PNG") else "jpeg",
        "moment": lambda iso: f"{datetime.fromisoformat(iso):%d %b %Y, %H:%M} UTC",
    }
    return page_template("openhcs_dagster", "report", filters)


def _by_reason(wells: Sequence[WellSummary]) -> list[_Reason]:
    groups: dict[tuple[WellState, str], list[WellSummary]] = {}
    for well in wells:
        groups.setdefault((well.state, _of_any_well(well)), []).append(well)
    return [
        _Reason([well.well for well in group], state, reason, Counter(_phrases(group)).most_common())
        for (state, reason), group in groups.items()
    ]


def _of_any_well(well: WellSummary) -> str:
    """The reason without the well's own name, so that 30 wells that failed alike are one row."""
    own = well.reason.removeprefix(f"Well {well.well}, ")
    return own if own == well.reason else own[:1].upper() + own[1:]


def _phrases(wells: Sequence[WellSummary]) -> list[str]:
    return [well.conditions.phrase for well in wells if well.conditions is not None]


def _status(well: WellSummary) -> _Cell:
    seconds = f", {duration(well.seconds)} on {well.device}" if well.seconds is not None else ""
    contents = f" ({well.conditions.phrase})" if well.conditions else ""
    text = f"{well.well}{contents}: {well.state}{seconds}" + (f". {well.reason}" if well.reason else "")
    text += "".join(f"; warning: {warning}" for warning in well.warnings)
    return _Cell(COLOURS[well.state], text, _kind(well))


def _kind(well: WellSummary) -> str:
    """How a well is drawn besides its colour."""
    if well.state is WellState.FAILED:
        return "failed"
    return "gaps" if well.has_gaps else ""


def _legend(summary: PlateSummary) -> list[tuple[str, str, str]]:
    """Colour, words and kind of what the status map shows."""
    states = [
        (COLOURS[state], f"{state} ({count})", "failed" if state is WellState.FAILED else "")
        for state, count in summary.counts.items()
        if count
    ]
    gaps = len(summary.with_gaps)
    return [*states, (COLOURS[WellState.DONE], f"a ring: done with gaps ({gaps})", "gaps")] if gaps else states


def _width_of_plate(layout: Layout) -> int:
    """Pixels of a map."""
    return 26 + layout.columns * (21 if layout.is_wide else max(18, min(44, 440 // layout.columns)))


def _contents(well: str, had: WellConditions, colours: RoleColours) -> _Cell:
    others = "".join(f"; {name}: {value}" for name, value in had.others.items())
    return _Cell(colours.colour(had), f"{well}: {had.phrase}{others}")
