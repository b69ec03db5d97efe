"""What a rule says of a plate."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from openhcs_engine.model.judgement.rules import ChosenRule


class CheckState(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    UNDEFINED = "undefined"
    """The number is not known. That is not a pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What a rule says of a plate."""

    rule: ChosenRule
    state: CheckState
    value: float | None
    """In the unit of the rule; None where it is undefined."""
    reason: str
    """How the number came about, or why there is none, as a sentence."""
    wells: tuple[str, ...] = ()
    """Wells that a person should look at, in plate order."""

    @property
    def name(self) -> str:
        """Of the rule."""
        return self.rule.name

    @property
    def passed(self) -> bool:
        """True only if the number is known and keeps its limit."""
        return self.state is CheckState.PASSED

    @property
    def excludes(self) -> bool:
        """True if the rule decides and was not passed."""
        return self.rule.decides and not self.passed


__all__ = ["CheckResult", "CheckState"]
