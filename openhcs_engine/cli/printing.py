"""JSON, and wells in few words, as every command prints them."""

from __future__ import annotations

import sys
from typing import Any

import msgspec

JsonRow = dict[str, Any]  # Any: what JSON may hold


def print_json(value: object) -> None:
    """Indented JSON on standard output."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n")


def well_span(wells: tuple[str, ...]) -> str:
    """All wells of a few, the first and the last of many."""
    return ", ".join(wells) if len(wells) <= 6 else f"{wells[0]} to {wells[-1]}"
