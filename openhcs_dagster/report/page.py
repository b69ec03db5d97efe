"""The report as one HTML file that needs nothing else: no server, no network, no script."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Final

from openhcs_dagster.report.overview import PlateOverview
from openhcs_dagster.report.pictures import COLOURS, PlatePictures, duration
from openhcs_dagster.report.summary import PlateSummary, WellState, WellSummary, report_folder
from openhcs_dagster.report.well_maps import contents_map, contents_table, legend_line, plate_grid, well_cell
from openhcs_dagster.report.wells_table import wells_table
from openhcs_engine.files.atomic import write_whole
from openhcs_engine.output.reading.losses import Loss

PHRASES: Final = 6
"""Different contents of wells that one row of the table names."""
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
.zero { border-top-color: #dfe3e8; } .zero b { color: #a3acb7; }
.total b { display: block; font-size: 24px; line-height: 1.2; } .total span { color: #5b6775; font-size: 13px; }
.get { margin-left: auto; align-self: center; color: #1f5fae; }
.plate { display: grid; gap: 4px; width: max-content; }
.plate span { font-size: 11px; color: #5b6775; text-align: center; align-self: center; }
.well { width: var(--w); height: var(--w); border-radius: 50%; background: var(--c); }
.well.failed { background: repeating-linear-gradient(45deg, var(--c) 0 4px, #e98a8a 4px 7px); }
.well.pale { box-shadow: inset 0 0 0 1px #b4bcc6; }
.none { width: var(--w); height: var(--w); border-radius: 50%; border: 1px dashed #d5dae0; box-sizing: border-box; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(460px, 1fr)); gap: 18px;
  margin: 0 0 18px; }
.two section { margin: 0; } .legend span { white-space: nowrap; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 6px 14px 6px 0; vertical-align: top; }
th { color: #5b6775; font-weight: 600; border-bottom: 1px solid #dfe3e8; } td { border-bottom: 1px solid #eef0f3; }
table.attention td:first-child { max-width: 420px; }
table.contents .dot { margin-left: 0; } table.contents td:first-child { width: 60%; }
table.contents td { padding: 4px 14px 4px 0; } table.contents td.wells { color: #5b6775; font-size: 13px; }
.tall { max-height: 420px; overflow-y: auto; }
td.key { color: #5b6775; white-space: nowrap; width: 1%; } code { font-size: 13px; overflow-wrap: anywhere; }
.tag { display: inline-block; padding: 0 8px; border-radius: 9px; color: #fff; background: var(--c); font-size: 13px; }
img { max-width: 100%; height: auto; } .legend { color: #5b6775; font-size: 13px; margin: 12px 0 0; }
.dot { display: inline-block; width: 11px; height: 11px; border-radius: 50%; background: var(--c); margin: 0 4px 0 12px;
}
"""


def write_page(summary: PlateSummary, pictures: PlatePictures, overview: PlateOverview | None = None) -> Path:
    """Write ``report/index.html`` in the plate's output folder; return its path."""
    page = report_folder(summary.entry) / "index.html"
    write_whole(page, render(summary, pictures, overview).encode())
    return page


def render(summary: PlateSummary, pictures: PlatePictures, overview: PlateOverview | None = None) -> str:
    """The whole page; the channel of the plate's overview image comes first."""
    plate = summary.plate
    title = f"Plate {escape(summary.entry.id)}"
    facts = f"{escape(plate.name)} · {escape(plate.microscope)} · {len(summary.wells)} wells · {_moment(summary.made)}"
    maps = _section("Wells", _status_map(summary)) + _section("Time per well", _seconds(pictures))
    body = [
        f"<h1>{title}</h1><p class=sub>{facts}</p>",
        _totals(summary),
        _attention(summary.not_current),
        _losses(summary.losses),
        _attention(summary.with_gaps, "done with gaps"),
        f"<div class=two>{maps}{_contents(summary)}</div>",
        *(
            _section(escape(name), _montage(name, pictures, overview))
            for name in sorted(pictures.montages, key=lambda name: overview is None or name != overview.channel)
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
        f"<div class='total{'' if count else ' zero'}' style='--c:{COLOURS[state]}'><b>{count}</b>"
        f"<span>{state}</span></div>"
        for state, count in summary.counts.items()
    ]
    boxes.append(f"<div class=total><b>{duration(summary.seconds)}</b><span>of work on wells</span></div>")
    table = base64.b64encode(wells_table(summary).encode()).decode()
    name = f"{escape(summary.entry.id)}_wells.csv"
    boxes.append(f"<a class=get download='{name}' href='data:text/csv;base64,{table}'>Wells as a table (CSV)</a>")
    return f"<div class=totals>{''.join(boxes)}</div>"


def _attention(wells: tuple[WellSummary, ...], what: str | None = None) -> str:
    """Wells and why they are shown; ``what`` they are, if not in need of attention."""
    if not wells:
        return ""
    groups: dict[tuple[WellState, str], list[str]] = {}
    for well in wells:  # one row for all wells of one reason: a stale plate is one fact, not 384
        groups.setdefault((well.state, well.reason), []).append(well.well)
    contents = {well.well: well.conditions.phrase for well in wells if well.conditions is not None}
    rows = "".join(
        f"<tr><td><b>{', '.join(names)}</b></td><td>{_tag(state)}</td>"
        f"{_phrases(names, contents)}<td>{escape(reason)}</td></tr>"
        for (state, reason), names in groups.items()
    )
    column = "<th>Contents</th>" if contents else ""
    table = f"<table class=attention><tr><th>Wells</th><th>State</th>{column}<th>Why</th></tr>{rows}</table>"
    one = len(wells) == 1
    said = f"{'well' if one else 'wells'} {what}" if what else f"{'well needs' if one else 'wells need'} attention"
    return _section(f"{len(wells)} {said}", table)


def _losses(losses: Sequence[Loss]) -> str:
    """What casts lost: nothing is wrong with the files, and perhaps everything with the images."""
    if not losses:
        return ""
    rows = "".join(
        f"<tr><td><b>{', '.join(loss.wells)}</b></td><td>{_warning(loss)}</td><td>{escape(loss.step)}</td>"
        f"<td>{escape(loss.cast.told)}.</td></tr>"
        for loss in losses
    )
    count = len({well for loss in losses for well in loss.wells})
    table = f"<table class=attention><tr><th>Wells</th><th></th><th>Step</th><th>What was lost</th></tr>{rows}</table>"
    return _section(f"Values were lost in {count} {'well' if count == 1 else 'wells'}", table)


def _warning(loss: Loss) -> str:
    return f"<span class=tag style='--c:{COLOURS[WellState.STALE]}'>warning</span>" if loss.warns else ""


def _phrases(wells: list[str], contents: Mapping[str, str]) -> str:
    """What was in the wells of one row; nothing if no plate map says it of any row."""
    if not contents:
        return ""
    counts = Counter(contents[well] for well in wells if well in contents)
    shown = [escape(phrase) + (f" × {count}" if count > 1 else "") for phrase, count in counts.most_common(PHRASES)]
    more = [f"and {len(counts) - PHRASES} more"] if len(counts) > PHRASES else []
    return f"<td>{'<br>'.join([*shown, *more]) or 'not in the plate map'}</td>"


def _tag(state: WellState) -> str:
    return f"<span class=tag style='--c:{COLOURS[state]}'>{state}</span>"


def _status_map(summary: PlateSummary) -> str:
    cells = {well.well: _well_cell(well) for well in summary.wells}
    legend = [(COLOURS[state], state.value) for state, count in summary.counts.items() if count]
    return plate_grid(summary.layout, cells) + legend_line(legend)


def _well_cell(well: WellSummary) -> str:
    seconds = f", {duration(well.seconds)} on {well.device}" if well.seconds is not None else ""
    contents = f" ({well.conditions.phrase})" if well.conditions else ""
    text = f"{well.well}{contents}: {well.state}{seconds}" + (f". {well.reason}" if well.reason else "")
    text += "".join(f"; warning: {warning}" for warning in well.warnings)
    return well_cell(COLOURS[well.state], text, "failed" if well.state is WellState.FAILED else "")


def _contents(summary: PlateSummary) -> str:
    plate_map = summary.plate.plate_map
    if plate_map is None or not summary.conditions:
        return ""
    states = {well.well: well.state for well in summary.wells}
    return _section("Plate map", contents_map(summary.layout, summary.conditions)) + _section(
        f"Contents, as {escape(plate_map.name)} says", contents_table(summary.conditions, states)
    )


def _seconds(pictures: PlatePictures) -> str:
    if pictures.seconds is None:
        return "<p class=legend>No well was computed yet.</p>"
    return _image(pictures.seconds, "Time per well")


def _image(png: bytes, text: str) -> str:
    return f"<img alt='{escape(text, quote=True)}' src='data:image/png;base64,{base64.b64encode(png).decode()}'>"


def _montage(channel: str, pictures: PlatePictures, overview: PlateOverview | None) -> str:
    lines = [escape(pictures.scales[channel])]
    if overview is not None and overview.channel == channel:
        place = f"<code>{escape(str(overview.folder))}</code>"
        lines.append(f"All wells of this channel as one OME-Zarr image, for napari or Fiji: {place}")
        if overview.wanted:
            lines.append(f"Channel {escape(repr(overview.wanted))} was asked for, but these images do not have it.")
    return _image(pictures.montages[channel], channel) + "".join(f"<p class=legend>{line}</p>" for line in lines)


def _provenance(summary: PlateSummary) -> str:
    entry, plate = summary.entry, summary.plate
    rows: Iterable[tuple[str, str]] = (
        ("Raw plate", entry.folder),
        ("Pipeline", f"{summary.pipeline} ({entry.pipeline})" if summary.pipeline else entry.pipeline),
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
