"""What the stacks of each step will be: how many planes, how large, of which pixel type. Reads no pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from openhcs_engine.memory.decorators import NATIVE, PRESERVE
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane, Stack
from openhcs_engine.model.plate import Plate
from openhcs_engine.plan.context import FunctionCall, Route, StepPlan

WORKING_COPIES: Final = 3
"""Stacks that a function is assumed to hold at once: what it got, what it returns, and one between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """What one plane's pixels are, as far as it is known before any was read."""

    shape: tuple[int, int] | None = None
    """(y, x) in pixels."""
    dtype: str | None = None
    """NumPy name."""

    @property
    def count(self) -> int:
        """Pixels of the plane; 0 where the size is unknown."""
        return self.shape[0] * self.shape[1] if self.shape else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StackFacts:
    """Stacks of one step that are alike."""

    route: Route
    planes: int
    pixels: Pixels
    """Of each plane as it enters the step."""
    dtypes: tuple[str | None, ...]
    """Pixel type that each call of the route gets, then that of the last one's result; None: known when it has run."""

    def name(self) -> str:
        """E.g. ``36 planes 2160 x 2160 uint16``, size as (y, x)."""
        size = f" {self.pixels.shape[0]} x {self.pixels.shape[1]}" if self.pixels.shape else ""
        return f"{self.planes} plane{'s' if self.planes != 1 else ''}{size} {self.pixels.dtype or ''}".rstrip()


StepStacks = dict[StackFacts, int]
"""The stacks of one step that functions are called with, and how many there are of each."""


@dataclass(frozen=True, slots=True)
class StepFlow:
    """What one step of a well is given and what it leaves."""

    stacks: StepStacks
    left: tuple[Pixels, ...]
    """The planes that are there behind it, those that passed it included."""


def stacks_of_steps(plate: Plate, steps: Sequence[StepPlan], index: ImageIndex) -> tuple[StepStacks, ...]:
    """The stacks of each step in one well whose planes are ``index``; none where the step does not apply to it."""
    return tuple(flow.stacks for flow in flow_through_steps(plate, steps, index))


def flow_through_steps(plate: Plate, steps: Sequence[StepPlan], index: ImageIndex) -> Iterator[StepFlow]:
    """What each step of one well sees and leaves; where it does not apply, planes pass and there are no stacks."""
    well = next((plane.key.well for plane in index), "")
    start = {plane.key: _raw_pixels(plate, plane) for plane in index}
    flowing = start
    for step in steps:
        if not step.applies_to(well):
            yield StepFlow({}, tuple(flowing.values()))
            continue
        flowing, stacks = _through(step, start if step.from_start else flowing)
        yield StepFlow(stacks, tuple(flowing.values()))


def dtype_after(call: FunctionCall, dtype: str | None) -> str | None:
    """Pixel type of what a call returns; None where only a run can tell."""
    if call.dtype == PRESERVE:
        return dtype
    return None if call.dtype == NATIVE else call.dtype


def _through(step: StepPlan, flowing: dict[ImageKey, Pixels]) -> tuple[dict[ImageKey, Pixels], StepStacks]:
    """The planes that a step leaves, and the stacks that it saw."""
    index = ImageIndex(tuple(ImagePlane(key=key, path=None) for key in flowing))
    left: dict[ImageKey, Pixels] = {}
    stacks: StepStacks = {}
    for stack in index.group_stacks(step.variable_components):
        route = step.route(stack.key.get(step.group_by) if step.group_by else None)
        if route is None:
            if step.uncovered == "pass":
                left.update((plane.key, flowing[plane.key]) for plane in stack.planes)
            continue
        facts = _facts(route, [flowing[plane.key] for plane in stack.planes])
        stacks[facts] = stacks.get(facts, 0) + 1
        result = Pixels(shape=facts.pixels.shape, dtype=facts.dtypes[-1])
        left.update(dict.fromkeys(_keys_after(route, stack), result))
    return left, stacks


def _keys_after(route: Route, stack: Stack) -> list[ImageKey]:
    if any(call.collapses for call in route.calls):
        return [stack.collapsed_key]
    return [plane.key for plane in stack.planes]


def _facts(route: Route, planes: Sequence[Pixels]) -> StackFacts:
    largest = max(planes, key=lambda plane: plane.count)
    common = planes[0].dtype if len({plane.dtype for plane in planes}) == 1 else None
    dtypes = [common]
    for call in route.calls:
        dtypes.append(dtype_after(call, dtypes[-1]))
    pixels = Pixels(shape=largest.shape, dtype=common)
    return StackFacts(route=route, planes=len(planes), pixels=pixels, dtypes=tuple(dtypes))


def _raw_pixels(plate: Plate, plane: ImagePlane) -> Pixels:
    shape, dtype = plate.shape, plate.dtype
    for channel in plate.channels:
        if channel.index == plane.key.channel:
            shape, dtype = channel.shape or shape, channel.dtype or dtype
    return Pixels(shape=shape, dtype=None if dtype is None else np.dtype(dtype).name)


__all__ = [
    "WORKING_COPIES",
    "Pixels",
    "StackFacts",
    "StepFlow",
    "StepStacks",
    "dtype_after",
    "flow_through_steps",
    "stacks_of_steps",
]
