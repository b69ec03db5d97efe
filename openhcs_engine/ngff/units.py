"""Units of length as OME-Zarr writes them.

*Source*: OME-NGFF 0.4 and 0.5, "axes" metadata (names of UDUNITS-2).
"""

from __future__ import annotations

from decimal import Decimal
from math import isfinite
from typing import Final

_EXPONENTS: Final = {
    "yotta": 24, "zetta": 21, "exa": 18, "peta": 15, "tera": 12, "giga": 9, "mega": 6, "kilo": 3, "hecto": 2,
    "": 0, "deci": -1, "centi": -2, "milli": -3, "micro": -6, "nano": -9, "pico": -12, "femto": -15, "atto": -18,
    "zepto": -21, "yocto": -24,
}  # fmt: skip
_UM: Final = {f"{prefix}meter": Decimal(1).scaleb(exponent + 6) for prefix, exponent in _EXPONENTS.items()} | {
    "angstrom": Decimal("1e-4"), "inch": Decimal(25400), "foot": Decimal(304800), "yard": Decimal(914400),
    # Not in the specification, and found in the wild:
    "um": Decimal(1), "µm": Decimal(1), "μm": Decimal(1), "micron": Decimal(1), "nm": Decimal("1e-3"),
    "mm": Decimal(1000), "micrometre": Decimal(1), "nanometre": Decimal("1e-3"), "millimetre": Decimal(1000),
}  # fmt: skip


def in_um(value: float, unit: object) -> float | None:
    """A length in µm; None if the unit is missing or no length, or the value no size."""
    factor = _UM.get(unit.strip()) if isinstance(unit, str) else None
    if factor is None or not isfinite(value) or value <= 0:
        return None
    # Decimal, so that 650 nanometer are 0.65 µm to the last digit.
    return float(Decimal(repr(value)) * factor)


__all__ = ["in_um"]
