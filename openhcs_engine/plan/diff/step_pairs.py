"""Which step of one plan is which of another."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

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
    return StepPairs(both=tuple(_with_moves(pairs)), removed=tuple(left), added=tuple(right))


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
    """A call without the numbers of the steps that make its side inputs."""
    twin = call.cpu_twin and _unlinked(call.cpu_twin)
    return replace(call, side_inputs=tuple(replace(each, sources=()) for each in call.side_inputs), cpu_twin=twin)


def _with_moves(pairs: Sequence[tuple[StepPlan, StepPlan]]) -> Iterator[StepPair]:
    """Those that are not in the longest row of steps which kept their order have moved."""
    stayed = _longest_rise([before.number for before, _ in pairs])
    for position, (before, after) in enumerate(pairs):
        yield StepPair(before, after, moved=position not in stayed)


def _longest_rise(numbers: Sequence[int]) -> set[int]:
    """Positions of a longest rising part of a row of distinct numbers."""
    ends: list[int] = []
    came_from: dict[int, int | None] = {}
    number_of: Callable[[int], int] = lambda position: numbers[position]  # noqa: E731 # the key of two searches
    for position, number in enumerate(numbers):
        place = bisect_left(ends, number, key=number_of)
        came_from[position] = ends[place - 1] if place else None
        ends[place : place + 1] = [position]
    found: set[int] = set()
    last = ends[-1] if ends else None
    while last is not None:
        found.add(last)
        last = came_from[last]
    return found


__all__ = ["StepPair", "StepPairs", "functions_of", "pair_steps"]
