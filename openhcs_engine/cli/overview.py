"""What ``openhcs overview`` prints."""

from __future__ import annotations

from openhcs_engine.cli.printing import JsonRow
from openhcs_engine.output.pictures.overview import Overview


def print_overview(overview: Overview) -> None:
    """Where the picture is, and what it shows."""
    dark, bright = overview.window
    print(f"{overview.folder}: {overview.channel}, {len(overview.tiles)} wells; black is {dark:g}, white is {bright:g}")


def overview_document(overview: Overview) -> JsonRow:
    """The same as ``openhcs overview --json`` prints it."""
    return {
        "folder": str(overview.folder),
        "channel": overview.channel,
        "wells": list(overview.tiles),
        "window": overview.window,
    }
