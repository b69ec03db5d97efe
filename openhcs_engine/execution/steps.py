"""One step of one well: group stacks → load → call → save."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Final

import numpy as np

from openhcs_engine.errors import OpenHCSError, PlaneMismatchError, StepError, StorageBudgetError, StorageError
from openhcs_engine.execution.artifacts.well_artifacts import StackArtifacts, WellArtifacts
from openhcs_engine.execution.calls import FunctionSource, with_coordinates
from openhcs_engine.execution.fits.loaded import LoadedFit
from openhcs_engine.execution.out_of_memory import CallResources, RouteRun
from openhcs_engine.execution.placement import WorkerDevices
from openhcs_engine.execution.results import StepRecord, StepResult
from openhcs_engine.execution.stacks.loading import (
    drop_planes,
    open_raw_stack,
    open_stack,
    read_raw_stack,
    take_stack,
)
from openhcs_engine.memory.conversion.aligned import address_of
from openhcs_engine.memory.lazy_stack import LazyStack
from openhcs_engine.memory.stack import Array
from openhcs_engine.model.components import Component
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane, Stack
from openhcs_engine.model.quantities.sizes import format_bytes
from openhcs_engine.model.system_errors import explained, is_system_error
from openhcs_engine.plan.context import FunctionCall, ProcessingContext, Route, StepPlan
from openhcs_engine.vfs.backend import StorageBackend

SOURCE: Final = "source"
"""What a step reads that begins with the raw plate."""


@dataclass(frozen=True, slots=True)
class WellResources:
    """Where one well's planes are: the raw plate, and its own intermediates; and what its functions run on."""

    context: ProcessingContext
    intermediates: StorageBackend
    functions: FunctionSource
    devices: WorkerDevices
    fits: Mapping[str, LoadedFit] = field(default_factory=dict)
    """What was fitted for the plate and its functions are given, by name."""
    artifacts: WellArtifacts = field(default_factory=WellArtifacts)
    """What its functions made beside planes."""


@dataclass(slots=True)
class _Tally:
    """What a step did so far."""

    stacks: int = 0
    planes_read: int = 0
    bytes_read: int = 0
    notes: dict[str, None] = field(default_factory=dict)
    addresses: set[int] = field(default_factory=set)
    """Where in memory the results that were stored begin; they live until the next step."""
    record: StepRecord = field(default_factory=StepRecord)


def run_step(plan: StepPlan, index: ImageIndex, resources: WellResources) -> tuple[ImageIndex, StepResult]:
    """Run one step on every stack of one well; return what it wrote.

    Raises
    ------
    StepError
        With the well, the step and what went wrong; the original error is its cause.
    """
    started = perf_counter()
    tally = _Tally()
    written = [
        plane
        for stack in index.group_stacks(plan.variable_components)
        for plane in _run_stack(plan, stack, resources, tally)
    ]
    return ImageIndex.of(written), StepResult(
        number=plan.number,
        name=plan.name,
        seconds=perf_counter() - started,
        stacks=tally.stacks,
        planes_read=tally.planes_read,
        planes_written=len(written),
        bytes_read=tally.bytes_read,
        device=tally.record.describe_devices(resources.devices.cpu),
        routes=tally.record.describe_routes(),
        fallback=tally.record.describe_fallbacks(tally.stacks),
        rungs=tally.record.counted_rungs(),
        casts=tuple(tally.record.casts.values()),
        side_outputs=resources.artifacts.records(plan),
        notes=tuple(tally.notes),
    )


def _run_stack(plan: StepPlan, stack: Stack, resources: WellResources, tally: _Tally) -> Iterator[ImagePlane]:
    route = plan.route(stack.key.get(plan.group_by) if plan.group_by else None)
    if route is None and not _may_pass(plan, stack, tally):
        if plan.reads != SOURCE:
            drop_planes(resources.intermediates, stack.planes)
        return
    planes = _open(plan, stack, resources, lazy=route is None or route.is_lazy)
    tally.stacks += route is not None
    tally.planes_read += len(stack.planes)
    tally.bytes_read += planes.nbytes
    if route is None:
        yield from _pass(plan, stack, planes, resources)
        return
    result = _apply_route(plan, route, stack, planes, resources, tally)
    if isinstance(result, LazyStack):
        yield from _pass(plan, stack, result, resources)
        return
    del planes
    give = is_given_away(result)
    if give and resources.intermediates.shares_memory:  # elsewhere the planes are safe before the next stack is made
        _refuse_same_array(plan, stack, result, tally)
    keys = _output_keys(route, stack, result, tally)
    if route.is_lazy and plan.reads != SOURCE:
        drop_planes(resources.intermediates, stack.planes)
    for key, plane in zip(keys, result, strict=True):
        with _storing(plan, stack):
            saved = _save(plan, key, plane, resources, give=give)
        yield saved


def _pass(plan: StepPlan, stack: Stack, planes: Array | LazyStack, resources: WellResources) -> Iterator[ImagePlane]:
    """The planes of a stack that no function changed: what lies between steps stays where it is."""
    if plan.reads != SOURCE:
        yield from stack.planes
        return
    for plane, pixels in zip(stack.planes, planes, strict=True):
        with _storing(plan, stack):
            saved = _save(plan, plane.key, pixels, resources, give=False)
        yield saved


def _may_pass(plan: StepPlan, stack: Stack, tally: _Tally) -> bool:
    """What the step says about stacks that its dict pattern has no entry for."""
    value = f"{plan.group_by} {stack.key.get(plan.group_by) if plan.group_by else None}"
    if plan.uncovered == "error":
        # The plate's values were checked at compile; what is left are planes that stand for the whole axis.
        raise _step_error(plan, stack, f"func={{…}} has no entry for {value} ({_describe(stack)}).")
    tally.notes[f"{'passed' if plan.uncovered == 'pass' else 'dropped'} stacks of {value}"] = None
    return plan.uncovered == "pass"


def _apply_route(
    plan: StepPlan, route: Route, stack: Stack, array: Array | LazyStack, resources: WellResources, tally: _Tally
) -> Array | LazyStack:
    context, record = resources.context, tally.record
    reload = partial(read_raw_stack, stack, context) if plan.reads == SOURCE and not route.is_lazy else None
    call_resources = CallResources(
        planned=context.device_of(plan), devices=resources.devices, functions=resources.functions, record=record
    )
    artifacts = StackArtifacts(plan.number, route.key, stack, context, resources.artifacts, resources.fits)
    calls = RouteRun(with_coordinates(route.calls, stack), array, reload, call_resources, artifacts)
    del array  # the calls hold the only reference, so that they can let it go
    try:
        result = calls.result()
        artifacts.settle()
        return result
    except OpenHCSError as error:
        raise _step_error(plan, stack, _with_stack(_with_function(calls.call, str(error)), stack)) from error
    except BaseException as error:  # a user's function may raise anything; its sys.exit() ends the well, not the run
        remedy = f"; {explained(error).partition('; ')[2]}" if is_system_error(error) else ""
        reason = f"{calls.call.reference} raised {type(error).__name__}: {error}{remedy}"
        raise _step_error(plan, stack, f"{reason} (stack {_describe(stack)}).") from error


def _with_function(call: FunctionCall, sentence: str) -> str:
    """The sentence, which names the function if it did not: a chain has several."""
    name = call.reference.rpartition(":")[2]
    return sentence if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", sentence) else f"{call.reference}: {sentence}"


def _with_stack(sentence: str, stack: Stack) -> str:
    """The sentence, which says where the stack lies if it did not."""
    where = _describe(stack)
    return f"{sentence.removesuffix('.')} (stack {where})." if where and where not in sentence else sentence


def _step_error(plan: StepPlan, stack: Stack, reason: str) -> StepError:
    well = stack.key.well
    return StepError(f'Well {well}, step {plan.number} "{plan.name}": {reason}', well=well, step=plan.name)


def _describe(stack: Stack) -> str:
    """Where a stack lies: ``site 1, channel 2, z_index 1 to 5``."""
    parts = []
    for axis in (Component.SITE, Component.CHANNEL, Component.Z_INDEX, Component.TIMEPOINT):
        values = [value for plane in stack.planes if (value := plane.key.get(axis)) is not None]
        if values:
            span = f"{min(values)} to {max(values)}" if min(values) != max(values) else str(values[0])
            parts.append(f"{axis.value} {span}")
    return ", ".join(parts)


def _open(plan: StepPlan, stack: Stack, resources: WellResources, *, lazy: bool) -> Array | LazyStack:
    """The planes of a stack: an array for which their backend gives them up, or a lazy stack."""
    if plan.reads == SOURCE:
        return (open_raw_stack if lazy else read_raw_stack)(stack, resources.context)
    try:
        with _storing(plan, stack):
            return (open_stack if lazy else take_stack)(stack, resources.intermediates)
    except PlaneMismatchError as error:
        raise _step_error(plan, stack, f"{str(error).removesuffix('.')} ({_describe(stack)}).") from error


@contextmanager
def _storing(plan: StepPlan, stack: Stack) -> Iterator[None]:
    """Where planes go and come from: what fails there names the step, a budget with its remedy."""
    try:
        yield
    except StorageBudgetError as error:
        raise _step_error(
            plan,
            stack,
            f"its planes do not fit into the memory budget of {format_bytes(error.budget)}: {format_bytes(error.used)} "
            f"are in use, and a plane of {format_bytes(error.asked)} was to join them ({_describe(stack)}). Give a "
            "larger memory_budget, or keep the planes between steps on disk with intermediates=disk.",
        ) from error
    except StorageError as error:
        raise _step_error(plan, stack, f"{error} ({_describe(stack)})") from error


def _refuse_same_array(plan: StepPlan, stack: Stack, result: Array, tally: _Tally) -> None:
    """A function that fills one array again and again overwrites what it made of the stack before.

    Arrays that nobody can write to may be the same as often as they like.
    """
    address = address_of(result)
    if result.nbytes and result.flags.writeable and address in tally.addresses:
        raise _step_error(
            plan,
            stack,
            "its function returned the same array for two stacks, so that the second overwrites the first; return a "
            f"new array, for example with .copy() ({_describe(stack)}).",
        )
    tally.addresses.add(address)


def is_given_away(result: Array) -> bool:
    """Whether its planes may be kept as they are: False where memory is shared with other planes or other writers.

    Such as a broadcast array, whose planes are one memory, or a read-only view of one that its function still fills.
    """
    owner = result
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    overlaps = any(stride == 0 and size > 1 for stride, size in zip(result.strides, result.shape, strict=True))
    return not overlaps and result.flags.writeable == owner.flags.writeable


def _output_keys(route: Route | None, stack: Stack, result: Array, tally: _Tally) -> list[ImageKey]:
    """Identity of the planes that came out: the same as went in, or one that stands for the whole stack."""
    declared = route is not None and any(call.collapses for call in route.calls)
    if route is None or (len(result) == len(stack.planes) and not declared):
        return [plane.key for plane in stack.planes]
    if not declared:
        tally.notes[f"{route.calls[-1].reference} made one plane of each stack without declaring collapses=True"] = None
    return [stack.collapsed_key]


def _save(plan: StepPlan, key: ImageKey, plane: Array, resources: WellResources, *, give: bool) -> ImagePlane:
    path = f"step{plan.number}/s{key.site}_w{key.channel}_z{key.z_index}_t{key.timepoint}"
    resources.intermediates.save(path, plane, give=give)
    return ImagePlane(key=key, path=path)


__all__ = ["SOURCE", "WellResources", "is_given_away", "run_step"]
