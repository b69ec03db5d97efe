"""What the texts of Harmony's index mean: numbers, wells and lengths."""

from __future__ import annotations

import math
from decimal import Decimal
from functools import lru_cache
from typing import Final

from openhcs_engine.model.wells import MAX_COLUMNS, MAX_ROWS, well_name

_POWERS_OF_TEN: Final = {"m": 0, "mm": -3, "um": -6, "µm": -6, "μm": -6, "nm": -9}


def clean_text(text: str | None) -> str | None:
    """A text for people: on one line, without control characters, not endless; None if nothing is left."""
    if text is None or (text.isprintable() and 0 < len(text) <= 200 and text == text.strip()):
        return text
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in text[:1000]).split())
    return words[:200].strip() or None


@lru_cache(maxsize=4096)
def number(text: str | None) -> int | None:
    """A whole number; None if the text is none."""
    stripped = "" if text is None else text.strip()
    return int(stripped) if stripped.isascii() and stripped.isdigit() and len(stripped) <= 9 else None


def within(value: int | None, limit: int) -> int | None:
    """A number from 1 to ``limit``; None for any other."""
    return value if value is not None and 0 < value <= limit else None


@lru_cache(maxsize=4096)
def well(row: str | None, column: str | None) -> str | None:
    """Canonical name of a well by its row and column, counted from 1; None outside of any plate."""
    position = within(number(row), MAX_ROWS), within(number(column), MAX_COLUMNS)
    return None if position[0] is None or position[1] is None else well_name(position[0] - 1, position[1] - 1)


@lru_cache(maxsize=8192)
def length(value: str | None, default: str = "m", wanted: int = -6) -> float | None:
    """A length in 10^wanted metres; None if it is no number, not finite, or in a unit that is no length's.

    The unit stands behind the number, after a NUL; without one it is ``default``. Decimal commas are read.
    """
    if value is None:
        return None
    text, _, unit = value.partition("\0")
    power = _POWERS_OF_TEN.get(unit.strip() or default)
    try:
        # In decimals: 1.1E-06 m is 1.1 µm, not 1.0999999999999999.
        decimal = Decimal(text.strip()[:60].replace(",", "."))
        found = math.nan if power is None else float(decimal.scaleb(power - wanted))
    except (ArithmeticError, ValueError):  # all of decimal's exceptions are arithmetic errors
        return None
    return found if math.isfinite(found) else None


def positive(value: str | None, default: str = "m", wanted: int = -6) -> float | None:
    """A length above zero; None for any other, and for no length."""
    found = length(value, default, wanted)
    return found if found is not None and found > 0 else None
