"""The report as one HTML file that needs nothing else: no server, no network, no script."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import datetime
from html import escape
from pathlib import Path

from openhcs_dagster.drawing import COLOURS, PlatePictures, duration
from openhcs_dagster.report import PlateSummary, WellState, WellSummary, report_folder
from openhcs_engine.model.wells import row_letters
from openhcs_engine.vfs.files import write_whole

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, sans-serif; color: #1c2530; background: #f5f6f8; margin: 0; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 32px 60px; }
h1 { font-size: 26px; margin: 0 0 2px; } h2 { font-size: 17px; margin: 0 0 12px; }
.sub { color: #5b6775; margin: 0 0 20px; }
section { background: #fff; border: 1px solid #dfe3e8; border-radius: 8px; padding: 18px 20px; margin: 0 0 18px;
  overflow-x: auto; }
.totals { display: flex; flex-wrap: wrap; gap: 12px; margin: 0 0 18px; }
.total { background: #fff; border: 1px solid #dfe3e8; border-top: 4px solid var(--c, #8a94a0); border-radius: 8px;
  padding: 8px 18px 10px; min-width: 84px; }
.total b { display: block; font-size: 24px; line-height: 1.2; } .total span { color: #5b6775; font-size: 13px; }
.plate { display: grid; gap: 4px; width: max-content; }
.plate span { font-size: 11px; color: #5b6775; text-align: center; align-self: center; }
.well { width: var(--w); height: var(--w); border-radius: 50%; background: var(--c); }
.well.failed { background: repeating-linear-gradient(45deg, var(--c) 0 4px, #e98a8a 4px 7px); }
.none { width: var(--w); height: var(--w); border-radius: 50%; border: 1px dashed #d5dae0; box-sizing: border-box; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(460px, 1fr)); gap: 18px; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 6px 14px 6px 0; vertical-align: top; }
th { color: #5b6775; font-weight: 600; border-bottom: 1px solid #dfe3e8; } td { border-bottom: 1px solid #eef0f3; }
table.attention td:first-child { max-width: 420px; }
td.key { color: #5b6775; white-space: nowrap; width: 1%; } code { font-size: 13px; overflow-wrap: anywhere; }
.tag { display: inline-block; padding: 0 8px; border-radius: 9px; color: #fff; background: var(--c); font-size: 13px; }
img { max-width: 100%; height: auto; } .legend { color: #5b6775; font-size: 13px; margin: 12px 0 0; }
.dot { display: inline-block; width: 11px; height: 11px; border-radius: 50%; background: var(--c); margin: 0 4px 0 12px;
}
"""


def write_page(summary: PlateSummary, pictures: PlatePictures) -> Path:
    """Write ``report/index.html`` in the plate's output folder; return its path."""
    page = report_folder(summary.entry) / "index.html"
    write_whole(page, render(summary, pictures).encode())
    return page


def render(summary: PlateSummary, pictures: PlatePictures) -> str:
    """The whole page."""
    plate = summary.plate
    title = f"Plate {escape(summary.entry.id)}"
    facts = f"{escape(plate.name)} · {escape(plate.microscope)} · {len(summary.wells)} wells · {_moment(summary.made)}"
    side_by_side = _section("Wells", _status_map(summary)) + _section("Time per well", _seconds(pictures))
    body = [
        f"<h1>{title}</h1><p class=sub>{facts}</p>",
        _totals(summary),
        _attention(summary.not_current),
        f"<div class=two>{side_by_side}</div>",
        *(
            _section(f"{escape(name)}", _image(picture, name) + f"<p class=legend>{escape(pictures.scales[name])}</p>")
            for name, picture in pictures.montages.items()
        ),
        _section("How it was made", _provenance(summary)),
    ]
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{title}</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>"
    )


def _moment(iso: str) -> str:
    return f"{datetime.fromisoformat(iso):%d %b %Y, %H:%M} UTC"


def _section(heading: str, body: str) -> str:
    return f"<section><h2>{heading}</h2>{body}</section>"


def _totals(summary: PlateSummary) -> str:
    boxes = [
        f"<div class=total style='--c:{COLOURS[state]}'><b>{count}</b><span>{state}</span></div>"
        for state, count in summary.counts.items()
    ]
    boxes.append(f"<div class=total><b>{duration(summary.seconds)}</b><span>of work on wells</span></div>")
    return f"<div class=totals>{''.join(boxes)}</div>"


def _attention(wells: tuple[WellSummary, ...]) -> str:
    if not wells:
        return ""
    groups: dict[tuple[WellState, str], list[str]] = {}
    for well in wells:  # one row for all wells of one reason: a stale plate is one fact, not 384
        groups.setdefault((well.state, well.reason), []).append(well.well)
    rows = "".join(
        f"<tr><td><b>{', '.join(names)}</b></td><td>{_tag(state)}</td><td>{escape(reason)}</td></tr>"
        for (state, reason), names in groups.items()
    )
    table = f"<table class=attention><tr><th>Wells</th><th>State</th><th>Why</th></tr>{rows}</table>"
    return _section(f"{len(wells)} {'well needs' if len(wells) == 1 else 'wells need'} attention", table)


def _tag(state: WellState) -> str:
    return f"<span class=tag style='--c:{COLOURS[state]}'>{state}</span>"


def _status_map(summary: PlateSummary) -> str:
    layout = summary.layout
    by_place = {layout.place(well.well): well for well in summary.wells}
    size = max(12, min(54, 440 // layout.columns - 4))
    cells = ["<span></span>"]
    cells += [f"<span>{layout.first_column + column + 1}</span>" for column in range(layout.columns)]
    for row in range(layout.rows):
        cells.append(f"<span>{row_letters(layout.first_row + row)}</span>")
        cells += [_well_cell(by_place.get((row, column))) for column in range(layout.columns)]
    grid = f"grid-template-columns:24px repeat({layout.columns},{size}px);--w:{size}px"
    legend = "".join(
        f"<i class=dot style='--c:{COLOURS[state]}'></i>{state}" for state, count in summary.counts.items() if count
    )
    return f"<div class=plate style='{grid}'>{''.join(cells)}</div><p class=legend>{legend}</p>"


def _well_cell(well: WellSummary | None) -> str:
    if well is None:
        return "<div class=none></div>"
    seconds = f", {duration(well.seconds)} on {well.device}" if well.seconds is not None else ""
    text = f"{well.well}: {well.state}{seconds}" + (f". {well.reason}" if well.reason else "")
    failed = " failed" if well.state is WellState.FAILED else ""
    return f"<div class='well{failed}' style='--c:{COLOURS[well.state]}' title='{escape(text, quote=True)}'></div>"


def _seconds(pictures: PlatePictures) -> str:
    if pictures.seconds is None:
        return "<p class=legend>No well was computed yet.</p>"
    return _image(pictures.seconds, "Time per well")


def _image(png: bytes, text: str) -> str:
    return f"<img alt='{escape(text, quote=True)}' src='data:image/png;base64,{base64.b64encode(png).decode()}'>"


def _provenance(summary: PlateSummary) -> str:
    entry, plate = summary.entry, summary.plate
    rows: Iterable[tuple[str, str]] = (
        ("Raw plate", entry.folder),
        ("Pipeline", entry.pipeline),
        ("Steps", " → ".join(summary.steps)),
        ("Plan fingerprint", summary.fingerprint),
        ("Results", str(entry.output_plan.folder)),
        ("Channels", ", ".join(channel.label for channel in plate.channels)),
        ("Sites", f"{len(plate.sites)} a well"),
        ("Pixel size", f"{plate.pixel_size_um:g} µm" if plate.pixel_size_um else "not stated"),
        ("Software", ", ".join(summary.versions)),
        *(("Instrument error", error) for error in plate.errors),
        *(("Warning", warning) for warning in plate.warnings),
    )
    cells = "".join(
        f"<tr><td class=key>{escape(key)}</td><td><code>{escape(value)}</code></td></tr>" for key, value in rows
    )
    return f"<table>{cells}</table>"
