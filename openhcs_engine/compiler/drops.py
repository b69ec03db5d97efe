"""Which values of a component earlier steps let go of (``uncovered="drop"``), and in which wells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from openhcs_engine.model.components import Component


@dataclass(slots=True)
class Drops:
    """Grows while the steps of a pipeline are compiled in order."""

    known: list[tuple[Component, int, str, frozenset[str]]] = field(default_factory=list)
    """Component, the value that is gone, the step that dropped it, and in which wells."""

    def add(self, component: Component, values: Iterable[int], step: str, wells: frozenset[str]) -> None:
        """A step let go of these values' stacks."""
        self.known += [(component, value, step, wells) for value in values]

    def by(self, component: Component, value: int, wells: frozenset[str]) -> str | None:
        """Name of the last step that dropped a value, if none of the wells has it any more."""
        found = [entry for entry in self.known if entry[:2] == (component, value) and wells & entry[3]]
        gone = frozenset[str]().union(*(entry[3] for entry in found))
        return found[-1][2] if found and wells <= gone else None

    def start_again(self, wells: frozenset[str]) -> None:
        """A step reads these wells from the plate: they have all their stacks again."""
        left = [(component, value, step, where - wells) for component, value, step, where in self.known]
        self.known = [entry for entry in left if entry[3]]
