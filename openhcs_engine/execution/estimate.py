"""How large a run's output will be, before it starts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from openhcs_engine.context import ProcessingContext, StepPlan
from openhcs_engine.model.image_index import ImageIndex, ImagePlane

_PYRAMID = 4 / 3
"""Each level has a quarter of the pixels of the one above."""


def output_bytes(contexts: Iterable[ProcessingContext]) -> int:
    """Uncompressed bytes that the wells will write at most, pyramids included.

    Of the wells that the same steps apply to, the fullest stands for all.
    """
    alike: dict[tuple[object, ...], list[ProcessingContext]] = {}
    for context in contexts:
        steps = ((step.applies_to(context.well), step.kept_as(context.well) is None) for step in context.steps)
        alike.setdefault(tuple(steps), []).append(context)
    return sum(_bytes_of(wells) for wells in alike.values())


def _bytes_of(wells: Sequence[ProcessingContext]) -> int:
    fullest = max(wells, key=lambda context: len(context.index))
    return int(len(wells) * planes_written(fullest) * _plane_bytes(fullest) * _PYRAMID)


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


def _plane_bytes(context: ProcessingContext) -> int:
    """Bytes of the largest raw plane: functions keep the pixel type unless they say otherwise."""
    plate = context.plate
    sizes = [
        channel.shape[0] * channel.shape[1] * np.dtype(channel.dtype).itemsize
        for channel in plate.channels
        if channel.shape and channel.dtype
    ]
    if plate.shape and plate.dtype:
        sizes.append(plate.shape[0] * plate.shape[1] * np.dtype(plate.dtype).itemsize)
    return max(sizes, default=0)
