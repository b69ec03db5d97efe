"""Lengths of time, as people write and read them: ``90s``, ``10m``, ``1.5 h``."""

from __future__ import annotations

import math
import re
from typing import Final

_UNITS: Final = {
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([a-z]*)", re.ASCII)


def parse_seconds(duration: int | float | str) -> float:
    """Seconds, more than none, that a number, or a text with a unit, means: ``10m`` is 600.

    Raises
    ------
    ValueError
        If it is no length of time; the sentence says how one is written.
    """
    seconds = 0.0
    if isinstance(duration, str):
        found = _DURATION.fullmatch(duration.strip().lower())
        if found is not None and found[2] in _UNITS:
            seconds = float(found[1]) * _UNITS[found[2]]
    elif not isinstance(duration, bool) and isinstance(duration, int | float) and math.isfinite(duration):
        seconds = float(duration)
    if seconds <= 0:
        raise ValueError(
            f"{duration!r} is no length of time; write seconds above 0, or a number with s, m, h or d, such as 90s or "
            "10m."
        )
    return seconds


def format_duration(seconds: float) -> str:
    """Seconds in the unit that suits them: ``45 s``, ``10 min``, ``2.5 h``."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 100 * 60 else f"{seconds / 3600:.3g} h"


__all__ = ["format_duration", "parse_seconds"]
