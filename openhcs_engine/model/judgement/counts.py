"""Whether a plate counts in a screen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from openhcs_engine.model.judgement.results import CheckResult
from openhcs_engine.model.judgement.verdict import Decision, StandingVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateCount:
    """Whether a plate counts, and why."""

    plate: str
    counts: bool
    decision: Decision
    """What a person decided; a plate that counts and is ``undecided`` is shown as such."""
    wells_out: tuple[str, ...] = ()
    """Wells of a plate that counts that do not."""
    reason: str
    """Names the plate, and why it counts or does not, as sentences."""


def plate_counts(verdict: StandingVerdict, checks: Iterable[CheckResult]) -> PlateCount:
    """Whether a plate counts: what a person decided, else the checks that decide.

    A rejected plate is out; of one with rejected wells the others count. An accepted one counts, whatever its checks
    say. One that nobody decided about counts if it passed every check that decides; it is out if one failed, or if its
    number is not known.

    Parameters
    ----------
    verdict
        What holds for the plate's measurements.
    checks
        What the rules say of the same measurements.
    """
    excluding = [check for check in checks if check.excludes]
    named = "; ".join(f"{check.name} {check.state} ({check.reason.rstrip('.')})" for check in excluding)
    if verdict.decision is not Decision.UNDECIDED:
        counts = not verdict.is_rejected
        despite = f" Its checks say otherwise: {named}." if named and counts else ""
        return PlateCount(
            plate=verdict.plate,
            counts=counts,
            decision=verdict.decision,
            wells_out=verdict.wells if counts else (),
            reason=f"{verdict.reason}{despite}",
        )
    judged = f"It did not pass what decides: {named}." if named else "It passed every check that decides."
    return PlateCount(
        plate=verdict.plate,
        counts=not excluding,
        decision=Decision.UNDECIDED,
        reason=f"{verdict.reason} {judged}",
    )


__all__ = ["PlateCount", "plate_counts"]
