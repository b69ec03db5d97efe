"""Which step of one plan is which of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from openhcs_engine.plan.context import FunctionCall, StepPlan


@dataclass(frozen=True, slots=True)
class StepPair:
    """The same step in both plans."""

    before: StepPlan
    after: StepPlan
    moved: bool = False
    """True: it stands elsewhere in the order, steps that came or went aside."""


@dataclass(frozen=True, slots=True)
class StepPairs:
    """The steps of two plans."""

    both: tuple[StepPair, ...]
    """In the order of the later plan."""
    removed: tuple[StepPlan, ...]
    added: tuple[StepPlan, ...]

    @property
    def numbers(self) -> dict[int, int]:
        """Later number of each step by its earlier one."""
        return {pair.before.number: pair.after.number for pair in self.both}


def pair_steps(before: Sequence[StepPlan], after: Sequence[StepPlan]) -> StepPairs:
    """Pair what is equal, then what has one name, then what does the same, then what calls the same functions."""
    left, right = list(before), list(after)
    pairs: list[tuple[StepPlan, StepPlan]] = []
    for likeness in (_same, _name, _deeds, functions_of):
        for earlier in tuple(left):
            later = next((step for step in right if likeness(step) == likeness(earlier)), None)
            if later is not None:
                pairs.append((earlier, later))
                left.remove(earlier)
                right.remove(later)
    pairs.sort(key=lambda pair: pair[1].number)
    numbers = [earlier.number for earlier, _ in pairs]
    blocks = SequenceMatcher(a=sorted(numbers), b=numbers, autojunk=False).get_matching_blocks()
    stayed = {number for block in blocks for number in numbers[block.b : block.b + block.size]}
    both = (StepPair(earlier, later, moved=earlier.number not in stayed) for earlier, later in pairs)
    return StepPairs(both=tuple(both), removed=tuple(left), added=tuple(right))


def functions_of(step: StepPlan) -> tuple[tuple[str, ...], ...]:
    """References of a step's functions, route by route, whatever the keys of the routes are."""
    return tuple(sorted(tuple(call.reference for call in route.calls) for route in step.routes))


def _same(step: StepPlan) -> object:
    return step.name, _deeds(step)


def _name(step: StepPlan) -> object:
    return step.name


def _deeds(step: StepPlan) -> object:
    """What a step does, wherever it stands and however it is called."""
    routes = tuple(replace(route, calls=tuple(map(_unlinked, route.calls))) for route in step.routes)
    return replace(step, number=0, name="", reads="", writes="", routes=routes)


def _unlinked(call: FunctionCall) -> FunctionCall:
    """A call without the numbers of the steps that make the artifacts it takes."""
    twin = call.cpu_twin and _unlinked(call.cpu_twin)
    return replace(call, side_inputs=tuple(replace(each, sources=()) for each in call.side_inputs), cpu_twin=twin)


__all__ = ["StepPair", "StepPairs", "functions_of", "pair_steps"]
