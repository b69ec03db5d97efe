"""Units that people write behind doses and lengths: ``µM``, ``uM``, ``nmol/L``, ``mg/mL``, ``µm``."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_PREFIXES: Final = {"k": 3, "": 0, "m": -3, "µ": -6, "n": -9, "p": -12, "f": -15}
_MOLAR: Final = re.compile(r"(?P<prefix>[mµnpf]?)(?:M|mol/[lL])")
_MASS: Final = re.compile(r"(?P<prefix>[kmµnp]?)g/(?P<per>[mµn]?)[lL]")
_LENGTH: Final = re.compile(r"(?P<prefix>[mµn]?)m")
_PERCENT: Final = re.compile(r"% ?\(?(?P<of>[vw]/[vw])?\)?")
_OTHER: Final = re.compile(r"[^\W\d_]{1,12}(?:/[^\W\d_]{1,12})?")
"""A word, or two: a unit that nothing is known of but its name."""


class Unit(NamedTuple):
    """A unit and what may be compared with it."""

    name: str
    """One spelling: ``µM`` for ``uM``, ``μM`` (Greek) and ``µmol/L``."""
    kind: str
    """``molar``, ``mass``, ``length``; of any other unit, its name: it can be compared with itself alone."""
    exponent: int
    """Power of ten in the kind's own unit: M, g/L, m."""


def read_unit(text: str) -> Unit | None:
    """The unit that a text is; None if it is none. Small and capital letters differ, as m and M do."""
    spelt = text.strip().replace("\N{GREEK SMALL LETTER MU}", "µ")
    spelt = re.sub(r"^u(?=[MgmlL])|^u(?=mol/)|(?<=/)u(?=[lL])", "µ", spelt)
    if match := _MOLAR.fullmatch(spelt):
        return Unit(f"{match['prefix']}M", "molar", _PREFIXES[match["prefix"]])
    if match := _MASS.fullmatch(spelt):
        exponent = _PREFIXES[match["prefix"]] - _PREFIXES[match["per"]]
        return Unit(f"{match['prefix']}g/{match['per']}L", "mass", exponent)
    if match := _LENGTH.fullmatch(spelt):
        return Unit(spelt, "length", _PREFIXES[match["prefix"]])
    if match := _PERCENT.fullmatch(spelt):
        name = f"% {match['of']}" if match["of"] else "%"
        return Unit(name, name, 0)
    return Unit(spelt, spelt, 0) if _OTHER.fullmatch(spelt) else None


def unit_of_title(title: str) -> Unit | None:
    """The unit in a column's title: ``Dose (µM)``, ``Dose [nM]``; also ``Dose, µM`` and ``dose_uM``, of known kinds."""
    bracketed = re.search(r"[(\[]([^()\[\]]+)[)\]]\s*$", title)
    unit = read_unit(bracketed[1]) if bracketed else read_unit(re.split(r"[\s,_:]+", title)[-1])
    return unit if unit is not None and (bracketed or unit.kind in ("molar", "mass")) and unit.kind in _KNOWN else None


def without_unit(title: str) -> str:
    """A title without the unit at its end, in brackets or behind a space, comma, colon or ``_``."""
    if unit_of_title(title) is None:
        return title
    return re.sub(r"(\s*[(\[][^()\[\]]+[)\]]|[\s,_:]+[^\s,_:]+)\s*$", "", title)


_KNOWN: Final = ("molar", "mass", "length", "%", "% v/v", "% w/v", "% w/w")

__all__ = ["Unit", "read_unit", "unit_of_title", "without_unit"]
