"""The rules of a plate's quality: their limits, from every text that means one, and refusals of all that means none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine.errors import OptionError
from openhcs_engine.model.judgement.rules import OF_WELLS, RULES, ChosenRule, Rule, Severity, chosen_rules, parse_checks

NAMES = [rule.name for rule in RULES]


def chosen(checks: dict[str, object]) -> dict[str, tuple[float, str]]:
    """Limit and severity of each rule that is evaluated."""
    return {rule.name: (rule.limit, rule.severity.value) for rule in chosen_rules(checks)}


def test_without_a_choice_all_rules_warn_and_none_decides() -> None:
    """Which number makes a plate worthless is for the laboratory to say."""
    assert list(chosen({})) == NAMES
    assert {severity for _, severity in chosen({}).values()} == {"warn"}
    assert all(rule.why.endswith(".") and rule.lowest <= rule.limit <= rule.highest for rule in RULES)


@pytest.mark.parametrize(
    ("value", "limit", "severity"),
    [
        ("0.3", 0.3, "warn"),
        (0.3, 0.3, "warn"),
        (1, 1.0, "warn"),
        ("decide", 0.5, "decide"),
        ("0.3:decide", 0.3, "decide"),
        (" -0.5 : decide ", -0.5, "decide"),
        (":decide", 0.5, "decide"),
        ("warn", 0.5, "warn"),
    ],
)
def test_a_limit_a_severity_or_both_may_be_given(value: object, limit: float, severity: str) -> None:
    """What is not given is the default."""
    assert chosen({"z_prime": value})["z_prime"] == (limit, severity)


def test_a_rule_that_is_off_is_not_evaluated() -> None:
    """Nothing is said of it, neither that it passed."""
    assert list(chosen({"focus": "off"})) == [name for name in NAMES if name != "focus"]


@pytest.mark.parametrize(
    ("name", "value", "clause"),
    [
        ("z_prime", "high", "z_prime='high' is neither a limit, nor warn, decide or off, nor both as 0.5:decide"),
        ("z_prime", "0.5:maybe", "z_prime='0.5:maybe' is neither"),
        ("z_prime", "0.5:", "z_prime='0.5:' is neither"),
        ("z_prime", "", "z_prime='' is neither"),
        ("z_prime", True, "z_prime=True is neither"),
        ("z_prime", None, "z_prime=None is neither"),
        ("z_prime", "1.5", "z_prime='1.5': a limit is at most 1"),
        ("z_prime", "nan", "z_prime='nan': a limit"),
        ("saturation", "101", "saturation='101': a limit in % of pixels is at least 0 and at most 100"),
        ("cells_per_well", -1, "cells_per_well=-1: a limit in cells is at least 0"),
        ("cells_per_well", "inf", "cells_per_well='inf': a limit"),
        ("focus", "off:decide", "focus='off:decide' is neither"),
        ("zprime", "0.5", "no rule is called 'zprime' (there are controls_present, z_prime,"),
    ],
)
def test_what_means_nothing_is_refused(name: str, value: object, clause: str) -> None:
    """With what would mean something."""
    with pytest.raises(OptionError) as caught:
        chosen_rules({name: value})

    assert clause in str(caught.value) and caught.value.option == "check"


def test_everything_that_is_wrong_is_said_at_once() -> None:
    """Texts without a name, names given twice, names of no rule with the nearest, values without a meaning."""
    with pytest.raises(OptionError) as caught:
        parse_checks(["focus", "blank=1", "blank=2", "zprime=0.5", "saturation=much"])

    told = str(caught.value)
    for part in (
        "'focus' names no rule",
        "blank is given twice",
        "'zprime'",
        "the nearest is 'z_prime'",
        "saturation='much'",
    ):
        assert part in told


@given(rule=st.sampled_from(RULES), severity=st.sampled_from(Severity), share=st.floats(0, 1))
def test_a_choice_survives_its_text(rule: Rule, severity: Severity, share: float) -> None:
    """Every limit that a rule may have, as text and back."""
    low, high = max(rule.lowest, -1.0), min(rule.highest, 1000.0)
    limit = min(max(low + share * (high - low), low), high)

    (found,) = (each for each in chosen_rules(parse_checks([f"{rule.name}={limit!r}:{severity}"])) if each.rule == rule)

    assert (found.limit, found.severity) == (limit, severity)


@given(limit=st.floats(0, 1), value=st.floats(-10, 10))
def test_a_limit_itself_is_kept(limit: float, value: float) -> None:
    """At least and at most include the limit; on both sides of it one of them holds, and NaN keeps none."""
    least = next(rule for rule in RULES if rule.is_least)
    most = next(rule for rule in RULES if not rule.is_least)
    at_least, at_most = ChosenRule(rule=least, limit=limit), ChosenRule(rule=most, limit=limit)

    assert at_least.holds(limit) and at_most.holds(limit)
    assert at_least.holds(value) or at_most.holds(value)
    assert not at_least.holds(math.nan) and not at_most.holds(math.nan)


def test_the_rules_of_single_wells_are_rules() -> None:
    """Those whose wells are counted."""
    assert set(OF_WELLS) < set(NAMES)
