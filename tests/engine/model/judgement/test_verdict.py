"""What a person decided: what has a meaning, how long it holds, and whether the plate counts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine.errors import VerdictError
from openhcs_engine.model.judgement.counts import plate_counts
from openhcs_engine.model.judgement.results import CheckResult, CheckState
from openhcs_engine.model.judgement.rules import chosen_rules
from openhcs_engine.model.judgement.verdict import Decision, StandingVerdict, Verdict, new_verdict, standing_verdict

WELLS = ("A01", "A48", "B01", "AA01")


def decide(decision: str, version: str = "v1", **given: object) -> Verdict:
    """A decision of Ada's about a plate of four wells."""
    given = {"by": "Ada", "made": "2026-03-01T08:00:00+00:00", "data_version": version, **given}
    return new_verdict("P1", WELLS, decision, **given)  # type: ignore[arg-type]


def check(name: str, state: CheckState, decides: bool) -> CheckResult:
    """What a rule says."""
    (rule,) = (each for each in chosen_rules({name: "decide" if decides else "warn"}) if each.name == name)
    value = None if state is CheckState.UNDEFINED else 0.1
    return CheckResult(rule=rule, state=state, value=value, reason=f"The reason of {name}.")


def test_wells_are_named_in_any_spelling_and_stand_in_plate_order() -> None:
    """Each once."""
    assert decide("reject", wells=["aa1", "b01", " r01c48", "B1"], reason="dry").wells == ("A48", "B01", "AA01")


def test_everything_without_a_meaning_is_refused_at_once() -> None:
    """The decision, the wells, the reason."""
    with pytest.raises(VerdictError) as caught:
        decide("maybe", wells=["C01", "A1x"])
    assert "'maybe' is no decision (choose from accept, reject, undecided)" in str(caught.value)
    assert "it has no well C01, A1x (it has A01 to AA01)" in str(caught.value)

    with pytest.raises(VerdictError) as caught:
        decide("reject", wells=["C01"], reason="  ")
    assert "no well C01" in str(caught.value) and "a rejection needs a reason" in str(caught.value)

    with pytest.raises(VerdictError, match="accept is about the whole plate"):
        decide("accept", wells=["A01"])


def test_a_decision_holds_until_the_data_change() -> None:
    """Then the plate is undecided and says why; should the same data come back, so does the decision."""
    accepted = decide("accept")

    now = standing_verdict("P1", [accepted], "v1")
    later = standing_verdict("P1", [accepted], "v2")
    without = standing_verdict("P1", [accepted], None)

    assert (now.decision, now.reason) == (
        Decision.ACCEPT,
        "Plate P1 was accepted by Ada on 2026-03-01T08:00:00+00:00.",
    )
    assert later.decision is Decision.UNDECIDED and later.history == (accepted,)
    assert "accepted by Ada" in later.reason and "its measurements have changed since" in later.reason
    assert "it has no measurements now" in without.reason and without.decision is Decision.UNDECIDED
    assert standing_verdict("P1", [accepted, decide("reject", "v2", reason="dry")], "v1").decision is Decision.ACCEPT


def test_a_decision_may_be_taken_back() -> None:
    """The plate is undecided, and says who took it back and why."""
    history = [decide("reject", reason="dry"), decide("undecided", reason="Wrong plate")]

    found = standing_verdict("P1", history, "v1")

    assert found.decision is Decision.UNDECIDED
    assert found.reason.endswith("was made undecided again by Ada on 2026-03-01T08:00:00+00:00: Wrong plate.")


def test_a_plate_nobody_decided_about_says_so() -> None:
    """It is undecided."""
    assert standing_verdict("P1", [], "v1").reason == "Nobody has decided about plate P1."


PASSED = [check("focus", CheckState.PASSED, True), check("blank", CheckState.FAILED, False)]
FAILED = [check("z_prime", CheckState.FAILED, True), check("focus", CheckState.PASSED, True)]
UNKNOWN = [check("z_prime", CheckState.UNDEFINED, True)]
WARNED = [check("z_prime", CheckState.UNDEFINED, False), check("focus", CheckState.FAILED, False)]


@pytest.mark.parametrize(
    ("history", "checks", "counts", "decision", "told"),
    [
        ([], PASSED, True, "undecided", "It passed every check that decides."),
        ([], WARNED, True, "undecided", "It passed every check that decides."),
        ([], FAILED, False, "undecided", "It did not pass what decides: z_prime failed (The reason of z_prime)."),
        ([], UNKNOWN, False, "undecided", "z_prime undefined"),
        ([decide("accept")], FAILED, True, "accept", "Its checks say otherwise: z_prime failed"),
        ([decide("accept")], PASSED, True, "accept", "accepted by Ada"),
        (
            [decide("reject", reason="dry")],
            PASSED,
            False,
            "reject",
            "rejected by Ada on 2026-03-01T08:00:00+00:00: dry",
        ),
        ([decide("reject", "v0", reason="dry")], FAILED, False, "undecided", "z_prime failed"),
        ([decide("reject", "v0", reason="dry")], PASSED, True, "undecided", "have changed since"),
    ],
)
def test_a_plate_counts_by_its_verdict_else_by_the_checks_that_decide(
    history: Sequence[Verdict], checks: Sequence[CheckResult], counts: bool, decision: str, told: str
) -> None:
    """Whatever the answer, it names the plate and the reason; an undecided plate that counts is marked so."""
    found = plate_counts(standing_verdict("P1", history, "v1"), checks)

    assert (found.counts, found.decision, found.plate) == (counts, decision, "P1")
    assert "P1" in found.reason and told in found.reason


def test_a_plate_with_rejected_wells_counts_without_them() -> None:
    """Whatever the checks say: somebody looked."""
    history = [decide("reject", wells=["B01", "A48"], reason="dry")]

    found = plate_counts(standing_verdict("P1", history, "v1"), FAILED)

    assert (found.counts, found.wells_out) == (True, ("A48", "B01"))
    assert "rejected in 2 wells (A48, B01)" in found.reason


verdicts = st.builds(
    lambda decision, wells, version: decide(
        decision, version, wells=wells if decision == "reject" else (), reason="dry"
    ),
    st.sampled_from(Decision),
    st.sets(st.sampled_from(WELLS)),
    st.sampled_from(["v1", "v2"]),
)
results = st.builds(
    check, st.sampled_from(["z_prime", "focus"]), st.sampled_from(CheckState), st.booleans()
)  # fmt: skip


@given(st.lists(verdicts, max_size=4), st.lists(results, max_size=4))
def test_no_plate_counts_that_was_rejected_or_not_passed_without_being_accepted(
    history: list[Verdict], checks: list[CheckResult]
) -> None:
    """And a decision about other data never decides."""
    verdict: StandingVerdict = standing_verdict("P1", history, "v1")
    found = plate_counts(verdict, checks)

    newest = next((each for each in reversed(history) if each.data_version == "v1"), None)
    decided = newest is not None and newest.decision is not Decision.UNDECIDED
    assert (verdict.decision is not Decision.UNDECIDED) == decided
    if not decided:
        assert found.counts == all(each.passed for each in checks if each.rule.decides)
    else:
        assert newest is not None
        assert found.counts == (newest.decision is Decision.ACCEPT or bool(newest.wells))
