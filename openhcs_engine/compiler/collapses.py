"""Which axes earlier steps left as one plane, for which wells and which of their stacks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from openhcs_engine.model.components import Component
from openhcs_engine.plan.context import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Planes that a step works on."""

    wells: frozenset[str]
    group_by: Component | None = None
    keys: frozenset[int] | None = None
    """Values of ``group_by``; None: all planes of the wells."""

    @classmethod
    def of(cls, wells: frozenset[str], group_by: Component | None, routes: Iterable[Route]) -> Reach:
        """What the routes of a step reach."""
        keys = frozenset(route.key for route in routes if route.key is not None)
        return cls(wells=wells, group_by=group_by, keys=keys) if keys else cls(wells=wells)

    def meets(self, other: Reach) -> bool:
        """True if both may reach the same plane."""
        if not self.wells & other.wells:
            return False
        if self.keys is None or other.keys is None or self.group_by is not other.group_by:
            return True
        return bool(self.keys & other.keys)


@dataclass(slots=True)
class Collapses:
    """Grows while the steps of a pipeline are compiled in order."""

    known: list[tuple[Component, str, Reach]] = field(default_factory=list)
    """Axis, the step that collapsed it, and of which planes."""

    def add(self, axes: Iterable[Component], step: str, reach: Reach) -> None:
        """A step left one plane for each of the axes."""
        self.known += [(axis, step, reach) for axis in axes]

    def by(self, axis: Component, reach: Reach) -> str | None:
        """Name of the step that collapsed an axis of planes that another step works on; None: it is still there."""
        return next((step for known, step, before in self.known if known is axis and before.meets(reach)), None)

    def start_again(self, wells: frozenset[str]) -> None:
        """A step reads these wells from the plate: they have all their axes again."""
        left = [(axis, step, replace(reach, wells=reach.wells - wells)) for axis, step, reach in self.known]
        self.known = [entry for entry in left if entry[2].wells]


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
