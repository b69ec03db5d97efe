"""How large a run's output will be, and what its wells hold meanwhile, before it starts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from openhcs_engine.memory.decorators import NATIVE, PRESERVE
from openhcs_engine.model.image_index import ImageIndex, ImagePlane
from openhcs_engine.plan.context import ProcessingContext, StepPlan

_PYRAMID = 4 / 3
"""Each level has a quarter of the pixels of the one above."""


def output_bytes(contexts: Iterable[ProcessingContext]) -> int:
    """Uncompressed bytes that the wells will write at most, pyramids included.

    Of the wells that the same steps apply to, the fullest stands for all.
    """
    return sum(
        int(len(wells) * planes_written(_fullest(wells)) * _raw_plane(_fullest(wells)).nbytes * _PYRAMID)
        for wells in _alike(contexts)
    )


def scratch_bytes(contexts: Iterable[ProcessingContext], workers: int) -> int:
    """Uncompressed bytes that wells hold between their steps at most, as many wells at a time as there are workers."""
    groups = _alike(contexts)
    most = max((_held_bytes(_fullest(wells)) for wells in groups), default=0)
    return most * min(workers, sum(len(wells) for wells in groups))


def _alike(contexts: Iterable[ProcessingContext]) -> list[list[ProcessingContext]]:
    """Wells that the same steps apply to."""
    groups: dict[tuple[object, ...], list[ProcessingContext]] = {}
    for context in contexts:
        steps = ((step.applies_to(context.well), step.kept_as(context.well) is None) for step in context.steps)
        groups.setdefault(tuple(steps), []).append(context)
    return list(groups.values())


def _fullest(wells: Sequence[ProcessingContext]) -> ProcessingContext:
    return max(wells, key=lambda context: len(context.index))


def _held_bytes(context: ProcessingContext) -> int:
    """What the fullest step leaves: a stack leaves its place before what became of it takes one."""
    raw = _raw_plane(context)
    index, itemsize, most = context.index, raw.itemsize, 0
    for plan in context.own_steps:
        if plan.from_start:
            index, itemsize = context.index, raw.itemsize
        index, itemsize = _after(plan, index), _itemsize_after(plan, itemsize)
        most = max(most, len(index) * raw.pixels * itemsize)
    return most


def _itemsize_after(plan: StepPlan, itemsize: int) -> int:
    """Bytes of the largest pixels that a step leaves, as far as its functions say what they return."""
    found = [itemsize] if plan.uncovered == "pass" else []
    for route in plan.routes:
        size = itemsize
        for call in route.calls:
            size = size if call.dtype in (PRESERVE, NATIVE) else np.dtype(call.dtype).itemsize
        found.append(size)
    return max(found, default=itemsize)


def planes_written(context: ProcessingContext) -> int:
    """Planes that the last step will leave, and those that others keep, as far as the functions say what they do."""
    index, kept = context.index, 0
    for plan in context.own_steps:
        index = _after(plan, context.index if plan.from_start else index)
        kept += len(index) if plan.kept_as(context.well) else 0
    return len(index) + kept


def _after(plan: StepPlan, index: ImageIndex) -> ImageIndex:
    planes: list[ImagePlane] = []
    for stack in index.group_stacks(plan.variable_components):
        route = plan.route(stack.key.get(plan.group_by) if plan.group_by else None)
        if route is not None and any(call.collapses for call in route.calls):
            planes.append(stack.planes[0].replace(key=stack.collapsed_key))
        elif route is not None or plan.uncovered == "pass":
            planes.extend(stack.planes)
    return ImageIndex(tuple(planes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plane:
    """The largest raw plane: functions keep the pixel type unless they say otherwise."""

    pixels: int = 0
    itemsize: int = 0

    @property
    def nbytes(self) -> int:
        return self.pixels * self.itemsize


def _raw_plane(context: ProcessingContext) -> _Plane:
    """The largest of the plate, by its metadata; of no size where they tell none."""
    plate = context.plate
    forms = [(plate.shape, plate.dtype), *((channel.shape, channel.dtype) for channel in plate.channels)]
    planes = [
        _Plane(pixels=shape[0] * shape[1], itemsize=np.dtype(dtype).itemsize)
        for shape, dtype in forms
        if shape and dtype
    ]
    return max(planes, key=lambda plane: plane.nbytes, default=_Plane())


__all__ = ["output_bytes", "planes_written", "scratch_bytes"]
