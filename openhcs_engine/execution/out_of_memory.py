"""What happens when a function runs out of memory: free and retry → smaller batches → CPU → the well fails.

Each stack climbs by itself, and each rung is recorded. A rung starts from a stack that no function could have written
into: a call is repeated with what it got if that was shared with nobody, otherwise the calls before it are repeated,
too, from the last such stack or from the raw plate. Where there is none, no rung is safe, and the well fails.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from openhcs_engine.errors import DeviceMemoryError, StorageBudgetError
from openhcs_engine.execution.calls import FunctionSource, call_entered, call_in_batches, enter, to_host
from openhcs_engine.execution.placement import Mode, WorkerDevices, cpu_mode, libraries_of, planned_mode
from openhcs_engine.execution.results import Rung, RungResult, StepRecord
from openhcs_engine.memory.devices import DevicePolicy
from openhcs_engine.memory.lazy_stack import LazyStack
from openhcs_engine.memory.libraries import library
from openhcs_engine.memory.libraries.contract import AnyArray, ArrayLibrary, HostArray
from openhcs_engine.memory.types import MemoryType
from openhcs_engine.model.wording import counted
from openhcs_engine.plan.context import CPU, FunctionCall

HELPED, NO_HELP, SKIPPED = "helped", "did not help", "skipped"

_CHANGED = "the function may have written into its stack before it failed, and there is no other copy of it"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResources:
    """What the calls of one step need beside the stack."""

    planned: str
    """Logical device of the step."""
    devices: WorkerDevices
    functions: FunctionSource
    record: StepRecord


class ArtifactChannel(Protocol):
    """Where the calls on one stack get the artifacts from that they take, and leave those that they make."""

    def given(self, position: int, call: FunctionCall, planes: int) -> Mapping[str, object]:
        """Artifacts that a call on a stack of so many planes takes."""

    def take(
        self, position: int, call: FunctionCall, returned: tuple[object, ...], planes: int, shape: tuple[int, ...]
    ) -> None:
        """Artifacts of a call on so many planes, which made a stack of ``shape``; a repeated call replaces them."""


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """A stack as it was before a call, which no function can have changed."""

    position: int
    restore: Callable[[], AnyArray]


def _held(position: int, stack: AnyArray) -> _Checkpoint:
    return _Checkpoint(position, lambda: stack)


class RouteRun:
    """One stack on its way through the calls of a route.

    Parameters
    ----------
    calls
        In order.
    stack
        ``(plane, y, x)`` in the host's memory, given away; or one that is read plane by plane.
    reload
        Makes the same stack again, where it can be had again.
    resources
        Where the calls run, and what records them.
    artifacts
        What goes in and comes out beside the stack; default: nothing.
    """

    def __init__(
        self,
        calls: tuple[FunctionCall, ...],
        stack: HostArray | LazyStack,
        reload: Callable[[], HostArray] | None,
        resources: CallResources,
        artifacts: ArtifactChannel | None = None,
    ) -> None:
        self._calls = calls
        self._resources = resources
        self._artifacts = artifacts
        self._array: AnyArray = stack
        self._shape = stack.shape
        self._position = 0
        self._ladders: dict[int, _Ladder] = {}
        self._checkpoint = None if reload is None else _Checkpoint(0, reload)

    @property
    def call(self) -> FunctionCall:
        """The call that runs now, or failed."""
        return self._calls[min(self._position, len(self._calls) - 1)]

    def result(self) -> HostArray | LazyStack:
        """Run all calls and bring the result to the host; the lazy stack itself if they left its planes as they are.

        Raises
        ------
        DeviceMemoryError
            If memory ran out and no rung helped; its cause is the last such error. All other errors are the function's
            own, or those of the laws its result is held to.
        """
        while self._position < len(self._calls):
            error = self._advance()
            if error is not None:
                _forget_arrays(error)  # outside of any except block: until here, the traceback held the arrays
                self._climb(error)
        for ladder in self._ladders.values():
            ladder.settle()
            self._resources.record.climbed(ladder.results)
        result: HostArray | LazyStack = self._array
        return result

    def _advance(self) -> BaseException | None:
        """Make one call; the error if a device's memory did not suffice for it."""
        position = self._position
        if position not in self._ladders:
            self._ladders[position] = _Ladder(self._calls[position], self._resources)
        mode = self._ladders[position].mode
        function = self._resources.functions.get(mode.call)
        try:
            self._array = self._made(mode, function, last=position == len(self._calls) - 1)
        except BaseException as error:
            # A budget is a MemoryError, too, but no device has more of it.
            if isinstance(error, StorageBudgetError) or not self._is_out_of_memory(error):
                raise
            return error
        self._position += 1
        return None

    def _made(self, mode: Mode, function: Callable[..., AnyArray], *, last: bool) -> AnyArray:
        resources = self._resources
        stack, self._array = self._array, None
        self._shape = tuple(stack.shape)
        planes = self._shape[0]
        given = self._artifacts.given(self._position, mode.call, planes) if self._artifacts else {}
        if mode.batch is not None:
            stack = to_host(stack, resources.record)
            self._checkpoint = _held(self._position, stack)  # instead of one that may lie on the device
            return call_in_batches(mode.call, function, stack, mode.device, mode.batch, resources.record, given)
        entry = enter(mode.call, stack, mode.device, resources.record)
        if entry.private and (self._checkpoint is None or self._checkpoint.position < self._position):
            self._checkpoint = _held(self._position, stack)
        del stack
        result, returned = call_entered(mode.call, function, entry, mode.device, resources.record, given)
        if self._artifacts:
            self._artifacts.take(self._position, mode.call, returned, planes, tuple(result.shape))
        return to_host(result, resources.record) if last and not isinstance(result, LazyStack) else result

    def _climb(self, error: BaseException) -> None:
        """Take the next rung of the call that failed, and go back to where it can be repeated."""
        ladder = self._ladders[self._position]
        failed_on, adapters = ladder.mode.device, self._adapters()
        self._array = None
        if self._checkpoint is None:
            ladder.refuse(_CHANGED)
        elif ladder.climb(self._shape[0]):
            gc.collect()
            for adapter in adapters:
                adapter.release(CPU if adapter.memory_type is MemoryType.NUMPY else failed_on)
            self._position, self._array = self._checkpoint.position, self._checkpoint.restore()
            return
        raise DeviceMemoryError(
            f"{ladder.start.call.reference} ran out of memory on {ladder.start.label} on a stack of {self._shape} "
            f"({'; '.join(rung.summary for rung in ladder.results)}).",
            device=ladder.start.label,
        ) from error

    def _is_out_of_memory(self, error: BaseException) -> bool:
        return any(adapter.is_out_of_memory(error) for adapter in self._adapters())

    def _adapters(self) -> tuple[ArrayLibrary, ...]:
        """Of all libraries that the calls so far speak, NumPy among them: each may hold memory of the device."""
        found = {MemoryType.NUMPY: library(MemoryType.NUMPY)}
        for ladder in self._ladders.values():
            found.update({adapter.memory_type: adapter for adapter in libraries_of(ladder.mode.call)})
        return tuple(found.values())


class _Ladder:
    """The rungs of one call for one stack."""

    def __init__(self, call: FunctionCall, resources: CallResources) -> None:
        self.mode = planned_mode(call, resources.planned, resources.devices)
        self.results: list[RungResult] = []
        self._resources = resources
        self.start = self.mode
        self._rungs: Iterator[Mode] | None = None

    def climb(self, planes: int) -> bool:
        """Go to the next rung; False: there is none."""
        if self._rungs is None:
            self._rungs = self._all(planes)
        following = next(self._rungs, None)
        if following is None:
            return False
        self.mode = following
        return True

    def refuse(self, reason: str) -> None:
        """No rung can be taken."""
        self._note(Rung.FREE, SKIPPED, reason)

    def settle(self) -> None:
        """The call succeeded the way it was made last."""
        mode, record = self.mode, self._resources.record
        record.ran_on(mode.label)
        if mode.fallback is not None:
            record.fell_back(mode.fallback)
        if mode.rung is Rung.FREE:
            self._note(Rung.FREE, HELPED, self._what())
        elif mode.rung is Rung.BATCHES:
            self._note(Rung.BATCHES, HELPED, f"{mode.call.reference}, {counted(mode.batch or 1, 'plane')} a batch")
        elif mode.rung is Rung.CPU:
            self._note(Rung.CPU, HELPED, f"{mode.call.reference} ran on {mode.label}")

    def _all(self, planes: int) -> Iterator[Mode]:
        """The rungs in order; to be asked for the next one means that the one before did not help."""
        yield replace(self.start, rung=Rung.FREE)
        self._note(Rung.FREE, NO_HELP, self._what())
        yield from self._batches(planes)
        yield from self._cpu()

    def _batches(self, planes: int) -> Iterator[Mode]:
        call, batch = self.start.call, planes
        if not call.slice_by_slice:
            self._note(Rung.BATCHES, SKIPPED, f"{call.reference} is not declared slice_by_slice")
            return
        if planes == 1:
            self._note(Rung.BATCHES, SKIPPED, "the stack has one plane")
            return
        while batch > 1:
            batch = (batch + 1) // 2
            yield replace(self.start, rung=Rung.BATCHES, batch=batch)
        self._note(Rung.BATCHES, NO_HELP, f"{call.reference}, down to 1 plane a batch")

    def _cpu(self) -> Iterator[Mode]:
        start, devices = self.start, self._resources.devices
        on_cpu = cpu_mode(start.call, devices)
        if start.label == devices.cpu:
            self._note(Rung.CPU, SKIPPED, f"{start.call.reference} ran there already")
        elif devices.policy is DevicePolicy.GPU_REQUIRED:
            self._note(Rung.CPU, SKIPPED, f"the policy {devices.policy} keeps {start.call.reference} on the GPU")
        elif on_cpu is None:
            names = " and ".join(adapter.memory_type for adapter in libraries_of(start.call) if not adapter.has_cpu)
            self._note(Rung.CPU, SKIPPED, f"{names} cannot run on it, and {start.call.reference} declares no cpu=…")
        else:
            instead = "" if on_cpu.call is start.call else f", as {on_cpu.call.reference}"
            reason = f"{start.call.reference} ran on the CPU{instead}, because {start.label} had too little memory"
            yield replace(on_cpu, rung=Rung.CPU, fallback=reason)
            self._note(Rung.CPU, NO_HELP, f"{on_cpu.call.reference} on {on_cpu.label}")

    def _what(self) -> str:
        return f"{self.start.call.reference} ran out of memory on {self.start.label}"

    def _note(self, rung: Rung, outcome: str, detail: str) -> None:
        self.results.append(RungResult(rung=rung, outcome=outcome, detail=detail))


def _forget_arrays(error: BaseException | None) -> None:
    """Drop what the frames of an error and of its causes hold, so that the arrays in them are freed."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        with suppress(RuntimeError):  # a frame that still runs keeps its own
            traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
