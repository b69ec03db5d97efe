"""Vega, Vega-Lite and vega-embed as one script, which the build wrote beside this module."""

from __future__ import annotations

from pathlib import Path
from typing import Final

SCRIPT: Final = Path(__file__).with_name("vega.js")


def charts_script() -> str | None:
    """The script that sets ``vegaEmbed``; None where the package was copied instead of built."""
    try:
        return SCRIPT.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


__all__ = ["SCRIPT", "charts_script"]
