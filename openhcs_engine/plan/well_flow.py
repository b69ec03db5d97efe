"""What flows through the wells of a plan; wells whose planes and steps are alike are looked at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from openhcs_engine.model.image_index import ImageIndex, OnMissing
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.flow import WORKING_COPIES, Pixels, StackFacts, StepFlow, flow_through_steps

UNKNOWN_ITEMSIZE: Final = 4
"""Bytes of a pixel whose type only a run can tell: most functions that choose a type themselves choose float32."""
_PYRAMID: Final = 4 / 3
"""Each level has a quarter of the pixels of the one above."""


@dataclass(frozen=True, slots=True)
class WellFlow:
    """Wells that are alike, and what flows through each of them."""

    wells: tuple[str, ...]
    context: ProcessingContext
    """Of the first of them."""
    steps: tuple[StepFlow, ...]
    """One for each step of the plan."""

    def read(self, number: int) -> int:
        """Bytes of pixels that enter a step of one well."""
        return sum(
            count * facts.planes * _nbytes(facts.pixels) for facts, count in self.steps[number - 1].stacks.items()
        )

    def left(self, number: int) -> int:
        """Bytes of the planes that are there behind a step of one well."""
        return sum(map(_nbytes, self.steps[number - 1].left))

    def weight(self, number: int) -> int:
        """Pixels that enter a step of one well; a plane of unknown size counts as one."""
        stacks = self.steps[number - 1].stacks.items()
        return sum(count * facts.planes * max(1, facts.pixels.count) for facts, count in stacks)

    @property
    def written_weight(self) -> int:
        """Pixels that one well publishes; a plane of unknown size counts as one."""
        return sum(max(1, pixels.count) for number in self._published for pixels in self.steps[number - 1].left)

    @property
    def from_plate(self) -> int:
        """Bytes of raw pixels that one well reads, planes that are read twice counted twice."""
        return sum(self.read(step.number) for step in self.context.own_steps if step.reads == "source")

    @property
    def held(self) -> int:
        """Bytes that lie between two steps of one well at most."""
        return max((self.left(step.number) for step in self.context.own_steps), default=0)

    @property
    def peak(self) -> int:
        """Bytes of one well at most: what lies between steps, and the working copies of the largest stack."""
        most, before = 0, 0
        for step in self.context.own_steps:
            held = max(0 if step.reads == "source" else before, self.left(step.number))
            most = max(most, held + max(map(_working, self.steps[step.number - 1].stacks), default=0))
            before = self.left(step.number)
        return most

    @property
    def output(self) -> int:
        """Bytes of one well's results, uncompressed, resolutions and kept planes included."""
        whole = _PYRAMID if self.context.output.backend == "zarr" else 1
        return int(sum(map(self.left, self._published)) * whole)

    @property
    def _published(self) -> list[int]:
        """Numbers of the steps whose planes are written: the last, and those that keep theirs."""
        own = self.context.own_steps
        kept = [step.number for step in own if step.kept_as(self.context.well) is not None]
        return [*kept, own[-1].number] if own else kept


def flows_of(contexts: Mapping[str, ProcessingContext]) -> tuple[WellFlow, ...]:
    """What flows through all wells, those with the most planes first."""
    groups: dict[object, list[str]] = {}
    for well, context in contexts.items():
        groups.setdefault(_likeness(context), []).append(well)
    flows = [flow_of(contexts[wells[0]], wells) for wells in groups.values()]
    return tuple(sorted(flows, key=lambda flow: -len(flow.context.index)))


def flow_of(context: ProcessingContext, wells: Iterable[str] = ()) -> WellFlow:
    """What flows through one well, which stands for those that are alike."""
    steps = flow_through_steps(context.plate, context.steps, _entering(context))
    return WellFlow(tuple(wells) or (context.well,), context, tuple(steps))


def _entering(context: ProcessingContext) -> ImageIndex:
    return context.index if context.on_missing is OnMissing.BLANK else context.index.present()


def _likeness(context: ProcessingContext) -> object:
    applies = tuple((step.applies_to(context.well), step.kept_as(context.well) is None) for step in context.steps)
    return id(context.plate), applies, context.devices, tuple(plane.key.order() for plane in _entering(context))


def _nbytes(pixels: Pixels) -> int:
    return pixels.count * (UNKNOWN_ITEMSIZE if pixels.dtype is None else np.dtype(pixels.dtype).itemsize)


def _working(facts: StackFacts) -> int:
    """Working copies of one stack; of one plane of it where no function needs more at once."""
    planes = 1 if all(call.slice_by_slice for call in facts.route.calls) else facts.planes
    widest = max(UNKNOWN_ITEMSIZE if dtype is None else np.dtype(dtype).itemsize for dtype in facts.dtypes)
    return WORKING_COPIES * planes * facts.pixels.count * widest


__all__ = ["UNKNOWN_ITEMSIZE", "WellFlow", "flow_of", "flows_of"]
