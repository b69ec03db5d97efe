"""The rules of a plate's quality: what each looks at, its limit, and whether it decides.

Defaults warn and decide nothing: which number makes a plate worthless is for the laboratory to say, and a program that
dropped plates by numbers that nobody chose would be trusted by nobody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from openhcs_engine.errors import OptionError
from openhcs_engine.model.wording import nearest

OFF: Final = "off"
"""In place of limit and severity: the rule is not evaluated."""


class Severity(StrEnum):
    """What it means that a plate does not pass."""

    WARN = "warn"
    """It is shown."""
    DECIDE = "decide"
    """A plate that nobody decided about does not count, either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One number of a plate that has a limit."""

    name: str
    about: str
    """What the number is."""
    unit: str
    """Of the number and of its limit; empty for a bare number."""
    limit: float
    """Default."""
    why: str
    """The reason of the default limit, as a sentence."""
    is_least: bool
    """True: the number must be at least the limit; False: at most."""
    highest: float = math.inf
    """No limit can be larger."""
    lowest: float = 0.0
    """No limit can be smaller."""

    @property
    def direction(self) -> str:
        """``at least`` or ``at most``."""
        return "at least" if self.is_least else "at most"


RULES: Final = (
    Rule(
        name="controls_present",
        about="fewest wells with numbers of the negative and of the positive controls",
        unit="wells",
        limit=2,
        why="One well has no scatter, so that neither Z′ nor a z score is defined.",
        is_least=True,
        lowest=1,
    ),
    Rule(
        name="z_prime",
        about="Z′ of the controls in the readout; without a readout, of the feature in which it is highest",
        unit="",
        limit=0.5,
        why="Zhang, Chung and Oldenburg (1999) call an assay excellent from 0.5 on; below 0 the controls overlap.",
        is_least=True,
        highest=1.0,
        lowest=-math.inf,
    ),
    Rule(
        name="edge_effect",
        about="difference between wells at the edge and inner ones in the readout; without a readout, in the count",
        unit="robust SDs",
        limit=1.0,
        why="A shift of one standard deviation makes half of the edge's wells look like the inner sixth.",
        is_least=False,
    ),
    Rule(
        name="focus",
        about="how far a well's power spectrum (power_log_log_slope) lies below the plate's median, the largest of all "
        "wells and channels",
        unit="robust SDs",
        limit=5.0,
        why="Of 24 wells that are all in focus one lies so low on 6 plates of 1,000; it compares wells with each "
        "other, so that a plate that is blurred everywhere passes.",
        is_least=False,
    ),
    Rule(
        name="saturation",
        about="share of a well's pixels at the camera's largest value, the largest of all wells and channels",
        unit="% of pixels",
        limit=1.0,
        why="Saturated pixels have lost their intensity; warnings of values that casts clip begin at the same share.",
        is_least=False,
        highest=100.0,
    ),
    Rule(
        name="blank",
        about="share of a well's pixels at their image's smallest value, the largest of all wells and channels",
        unit="% of pixels",
        limit=50.0,
        why="Half of an image without any noise was never exposed or never written; dark images of 8 bits come near.",
        is_least=False,
        highest=100.0,
    ),
    Rule(
        name="cells_per_well",
        about="fewest cells of a well that the plate map does not call empty",
        unit="cells",
        limit=20,
        why="The median of 20 cells is uncertain by 28 % of the standard deviation of one.",
        is_least=True,
    ),
    Rule(
        name="flagged_wells",
        about="share of measured wells that focus, saturation, blank or cells_per_well name",
        unit="% of wells",
        limit=10.0,
        why="Single bad wells are left out one by one; where every tenth is bad, something happened to the plate.",
        is_least=False,
        highest=100.0,
    ),
)
"""In the order in which they are shown."""

OF_WELLS: Final = ("focus", "saturation", "blank", "cells_per_well")
"""Rules that name single wells, which ``flagged_wells`` counts."""

_BY_NAME: Final = {rule.name: rule for rule in RULES}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenRule:
    """A rule with the limit and the severity that hold for a plate."""

    rule: Rule
    limit: float
    severity: Severity = Severity.WARN

    @property
    def name(self) -> str:
        """Of the rule."""
        return self.rule.name

    @property
    def decides(self) -> bool:
        """True if a plate that does not pass does not count until a person accepts it."""
        return self.severity is Severity.DECIDE

    @property
    def sentence(self) -> str:
        """The limit in words: ``at least 0.5``."""
        return f"{self.rule.direction} {self.limit:g}{f' {self.rule.unit}' if self.rule.unit else ''}"

    def holds(self, value: float) -> bool:
        """Whether a number passes."""
        return value >= self.limit if self.rule.is_least else value <= self.limit


def parse_checks(texts: Sequence[str]) -> dict[str, object]:
    """Checks as a command line has them, ``["z_prime=0.5:decide", "focus=off"]``.

    Raises
    ------
    OptionError
        If one has no name or no ``=``, or a name is given twice.
    """
    checks: dict[str, object] = {}
    faults = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.strip()):
            faults.append(f"{text!r} names no rule and its limit (write NAME=LIMIT:SEVERITY)")
        elif name.strip() in checks:
            faults.append(f"{name.strip()} is given twice")
        else:
            checks[name.strip()] = value.strip()
    _refuse([*faults, *_faults(checks)])
    return checks


def chosen_rules(given: Mapping[str, object]) -> tuple[ChosenRule, ...]:
    """The rules that a plate is judged by: all, with their defaults where nothing else is given.

    Parameters
    ----------
    given
        By name of the rule a limit (``0.5``), a severity (``decide``), both (``0.5:decide``), or ``off``.

    Raises
    ------
    OptionError
        If there is no such rule, or its value means nothing; names all of them, and what there is.
    """
    _refuse(_faults(given))
    chosen = {name: _chosen(_BY_NAME[name], value) for name, value in given.items()}
    return tuple(
        found for rule in RULES if (found := chosen.get(rule.name, ChosenRule(rule=rule, limit=rule.limit))) is not None
    )


def _refuse(faults: Sequence[str]) -> None:
    if faults:
        raise OptionError(f"check: {'; '.join(faults)}.", option="check")


def _faults(given: Mapping[str, object]) -> list[str]:
    """Everything that is wrong with checks, as clauses."""
    if not isinstance(given, Mapping):
        return [f"{given!r} is no dict of limits by name, as {{'z_prime': '0.5:decide'}}"]
    faults = []
    if unknown := [name for name in given if name not in _BY_NAME]:
        near = nearest(map(str, unknown), tuple(_BY_NAME))
        faults.append(f"no rule is called {', '.join(map(repr, unknown))} (there are {', '.join(_BY_NAME)}{near})")
    for name, value in given.items():
        if name in _BY_NAME:
            try:
                _chosen(_BY_NAME[name], value)
            except ValueError as error:
                faults.append(str(error))
    return faults


def _chosen(rule: Rule, value: object) -> ChosenRule | None:
    """The rule as a value says; None: it is off. ValueError with a clause if the value means nothing."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(_meaningless(rule, value))
    text = str(value).strip()
    if not text:
        raise ValueError(_meaningless(rule, value))
    if text == OFF:
        return None
    first, colon, second = text.partition(":")
    if not colon and first in set(Severity):
        first, second = "", first
    try:
        limit = float(first) if first else rule.limit
        severity = Severity(second.strip()) if second or colon else Severity.WARN
    except ValueError:
        raise ValueError(_meaningless(rule, value)) from None
    if not rule.lowest <= limit <= rule.highest or math.isinf(limit):  # NaN lies nowhere
        raise ValueError(f"{rule.name}={value!r}: a limit{f' in {rule.unit}' if rule.unit else ''} {_range(rule)}")
    return ChosenRule(rule=rule, limit=limit, severity=severity)


def _range(rule: Rule) -> str:
    ends = [f"at least {rule.lowest:g}"] * (rule.lowest > -math.inf) + [f"at most {rule.highest:g}"] * (
        rule.highest < math.inf
    )
    return f"is {' and '.join(ends)}"


def _meaningless(rule: Rule, value: object) -> str:
    words = f"{', '.join(Severity)} or {OFF}"
    return f"{rule.name}={value!r} is neither a limit, nor {words}, nor both as {rule.limit:g}:{Severity.DECIDE}"


__all__ = ["OFF", "OF_WELLS", "RULES", "ChosenRule", "Rule", "Severity", "chosen_rules", "parse_checks"]
