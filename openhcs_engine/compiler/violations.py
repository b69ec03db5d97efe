"""How the compiler says what is wrong with a step."""

from __future__ import annotations

from dataclasses import dataclass

from openhcs_engine.errors import Violation


@dataclass(frozen=True, slots=True)
class Complaints:
    """Adds violations of one step to the list."""

    number: int
    name: str
    violations: list[Violation]

    def __call__(self, message: str, key: str | None = None) -> None:
        self.violations.append(Violation(message=message, step=self.name, step_number=self.number, key=key))
