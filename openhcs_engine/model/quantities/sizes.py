"""Sizes in bytes, as people write and read them: ``500MB``, ``2 GiB``."""

from __future__ import annotations

import math
import re
from typing import Final

_POWERS: Final = "KMGT"
_UNITS: Final = (
    {"": 1, "B": 1}
    | {f"{letter}B": 1000 ** (power + 1) for power, letter in enumerate(_POWERS)}
    | {f"{letter}IB": 1024 ** (power + 1) for power, letter in enumerate(_POWERS)}
)
"""Bytes of each unit, its name in upper case."""
_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Z]{0,3})", re.ASCII)


def parse_bytes(size: int | float | str) -> int:
    """Bytes that a number, or a text with a unit, means: ``500MB`` is 500 million, ``2GiB`` is 2 times 1024³.

    Raises
    ------
    ValueError
        If it is no size; the sentence says how one is written.
    """
    if isinstance(size, str):
        found = _SIZE.fullmatch(size.strip().upper())
        if found is not None and found[2] in _UNITS:
            whole, _, part = found[1].partition(".")
            # In whole numbers: 0.1 has no exact float.
            return int(int(whole + part) * _UNITS[found[2]] // 10 ** len(part))
    elif not isinstance(size, bool) and math.isfinite(size):
        return int(size)
    raise ValueError(
        f"{size!r} is no size; write bytes, or a number with kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB "
        "(powers of 1024), such as 500MB or 2GiB."
    )


def format_bytes(count: int) -> str:
    """Bytes in the unit that suits them: ``1.5 GB``."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


__all__ = ["format_bytes", "parse_bytes"]
