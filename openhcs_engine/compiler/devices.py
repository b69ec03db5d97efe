"""Which device each step of each well gets, decided from estimates: pure, and the same every time.

A step goes to a GPU if one of its functions speaks a library that can use one, and its largest stack fits. All GPU
steps of a well share one GPU. Wells go to the GPU with the fewest bytes so far, in plate order. Devices are *logical*
here (``gpu:0`` is the first of the inventory); which real one a worker holds is decided when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from openhcs_engine.errors import Violation
from openhcs_engine.memory.devices import GPU, CpuInventory, Device, DevicePolicy, Inventory
from openhcs_engine.memory.libraries import library
from openhcs_engine.memory.types import MemoryType
from openhcs_engine.model.wells import plate_order
from openhcs_engine.plan.calls import function_name
from openhcs_engine.plan.context import CPU, FunctionCall, StepPlan
from openhcs_engine.plan.flow import WORKING_COPIES, StackFacts, StepStacks


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOffer:
    """What a run may compute on."""

    devices: tuple[Device, ...]
    policy: DevicePolicy = DevicePolicy.AUTO
    cpu_builds: Mapping[MemoryType, str] = field(default_factory=dict)
    """Libraries that cannot use a GPU as they are installed, each with a clause that says why."""
    why_no_gpu: str = "No GPU: none was offered to this run."
    """A sentence for the case that there is none."""

    @property
    def gpus(self) -> tuple[Device, ...]:
        """GPUs that the policy allows."""
        if self.policy is DevicePolicy.CPU:
            return ()
        return tuple(device for device in self.devices if device.kind == GPU)

    @property
    def host_bytes(self) -> int | None:
        """Memory of the host: all CPU slots together; None if no slot is offered."""
        return sum(device.memory_bytes for device in self.devices if device.kind == CPU) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Devices of all wells, or why there are none."""

    devices: dict[str, tuple[str, ...]]
    """Logical device of each step, by well; an empty tuple: every step on the CPU."""
    violations: tuple[Violation, ...]
    notes: tuple[str, ...]
    """Steps that run on the CPU although there is a GPU, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """The memory that one call needs for its largest stack."""

    nbytes: int
    call: FunctionCall
    stack: StackFacts
    itemtype: str
    """Pixel type that was counted with."""

    def __str__(self) -> str:
        planes = "one plane" if self.call.slice_by_slice and self.stack.planes > 1 else "a stack"
        counted = "" if self.itemtype == self.stack.pixels.dtype else f", counted as {self.itemtype}"
        return (
            f"{function_name(self.call)} needs {size(self.nbytes)} for {planes} of {self.stack.name()} "
            f"(×{WORKING_COPIES} working copies{counted})"
        )


@dataclass(frozen=True, slots=True)
class _Demand:
    """What one well asks for; wells with the same planes share it."""

    on_gpu: tuple[bool, ...]
    """For each step."""
    peak: int
    """Bytes that its GPU must have."""
    weight: int
    """Bytes of the stacks that enter its GPU steps."""


def assign_devices(
    steps: Sequence[StepPlan], wells: Mapping[str, Sequence[StepStacks]], offer: DeviceOffer
) -> Assignment:
    """Give every step of every well a logical device.

    Parameters
    ----------
    steps
        The plan.
    wells
        The stacks of each step, by well; wells that share the same object are looked at once.
    offer
        Devices and the policy.

    Returns
    -------
    Assignment
        The same for the same input, in whatever order the wells come. A step whose stacks fit no GPU runs on the CPU
        where its libraries and the policy allow that, and a note says so; otherwise a violation gives the numbers.
    """
    judge = _Judge(offer)
    load = dict.fromkeys(offer.gpus, 0)
    demands: dict[int, _Demand] = {}
    devices: dict[str, tuple[str, ...]] = {}
    judge.look_at_plan(steps)
    for well in sorted(wells, key=plate_order):
        stacks = wells[well]
        if id(stacks) not in demands:
            demands[id(stacks)] = judge.demand(steps, stacks)
        devices[well] = _choose(demands[id(stacks)], load)
    return Assignment(devices=devices, violations=tuple(judge.violations.values()), notes=tuple(judge.notes.values()))


def offer_devices(
    steps: Sequence[StepPlan],
    devices: Sequence[Device] | Inventory | None,
    policy: DevicePolicy,
    cpu_builds: Callable[[], Mapping[MemoryType, str]],
) -> DeviceOffer:
    """What a plan may use; inventory and packages are asked only if it matters what they say."""
    offer = DeviceOffer(devices=(), policy=policy)
    if isinstance(devices, Sequence):
        offer = replace(offer, devices=tuple(devices))
    else:
        matters = policy is DevicePolicy.GPU_REQUIRED or any(uses_gpu(step) for step in steps)
        inventory = CpuInventory() if devices is None or not matters or policy is DevicePolicy.CPU else devices
        offer = replace(offer, devices=inventory.devices())
        if not offer.gpus:
            offer = replace(offer, why_no_gpu=inventory.why_no_gpu() or offer.why_no_gpu)
    return replace(offer, cpu_builds=cpu_builds()) if offer.gpus else offer


def uses_gpu(step: StepPlan) -> bool:
    """Whether one of the step's functions speaks a library that can use a GPU."""
    return bool(_gpu_libraries(step))


def size(nbytes: int) -> str:
    """Bytes as a person reads them."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if nbytes >= scale:
            return f"{nbytes / scale:.1f} {unit}"
    return f"{nbytes} bytes"


def _choose(demand: _Demand, load: dict[Device, int]) -> tuple[str, ...]:
    """Devices of one well; its weight joins the load of the GPU that it gets."""
    if not any(demand.on_gpu):
        return ()
    fitting = [device for device in load if device.memory_bytes >= demand.peak]
    chosen = min(fitting, key=lambda device: (load[device], device.index))
    load[chosen] += demand.weight
    return tuple(chosen.label if on_gpu else CPU for on_gpu in demand.on_gpu)


class _Judge:
    """Decides step by step between GPU and CPU; keeps what is refused, and what a person should know."""

    def __init__(self, offer: DeviceOffer) -> None:
        self.offer = offer
        self.largest = max(offer.gpus, key=lambda device: (device.memory_bytes, -device.index), default=None)
        self.violations: dict[object, Violation] = {}
        self.notes: dict[object, str] = {}

    def look_at_plan(self, steps: Sequence[StepPlan]) -> None:
        """What can be said without the wells."""
        required = self.offer.policy is DevicePolicy.GPU_REQUIRED
        if required and self.largest is None:
            self.violations[None] = Violation(
                message=f"A GPU is required, and there is none. {self.offer.why_no_gpu} "
                "Run on a host with a GPU, or with device=auto.",
                key="device",
            )
        elif required and not any(uses_gpu(step) for step in steps):
            self.notes[None] = "A GPU is required, but no function of this pipeline can use one."

    def demand(self, steps: Sequence[StepPlan], stacks: Sequence[StepStacks]) -> _Demand:
        """What a well with these stacks asks for."""
        on_gpu, peak, weight = [], 0, 0
        for step, of_step in zip(steps, stacks, strict=True):
            need = _largest_need(of_step, lambda call: _libraries(call) != {MemoryType.NUMPY})
            goes = self._goes_to_gpu(step, need)
            on_gpu.append(goes)
            if goes:
                peak = max(peak, need.nbytes if need else 0)
                weight += _entering_bytes(of_step)
            self._check_host(step, of_step, goes)
        return _Demand(tuple(on_gpu), peak, weight)

    def _goes_to_gpu(self, step: StepPlan, need: Need | None) -> bool:
        spoken = _gpu_libraries(step)
        if not spoken:
            return False
        reason = self._why_not_gpu(spoken, need)
        if reason is None:
            return True
        homeless = [call for call in _calls(step) if not _has_cpu(call)]
        alone = [function_name(call) for call in homeless if call.cpu_twin is None]
        if alone:
            self._refuse(
                step,
                f"{alone[0]} works on GPUs only, and no cpu=… function is declared (give it one, or run where there is "
                f"a GPU for it). {reason}",
                alone[0],
            )
        elif self.offer.policy is DevicePolicy.GPU_REQUIRED and self.largest is not None:
            self._refuse(step, f"a GPU is required. {reason}", function_name(need.call) if need else None)
        elif homeless or self.largest is not None:
            twins = "".join(f" {function_name(call.cpu_twin)} stands in." for call in homeless if call.cpu_twin)
            self.notes[step.number] = f'Step {step.number} "{step.name}" runs on the CPU: {reason}{twins}'
        return False

    def _why_not_gpu(self, spoken: set[MemoryType], need: Need | None) -> str | None:
        """Why a step cannot go to a GPU, as a sentence; None if it can."""
        if self.offer.policy is DevicePolicy.CPU:
            return "This run may use the CPU only (device=cpu)."
        if self.largest is None:
            return self.offer.why_no_gpu
        for memory_type in sorted(spoken & set(self.offer.cpu_builds)):
            return f"{self.offer.cpu_builds[memory_type]}. Install a build for GPUs."
        if need is not None and need.nbytes > self.largest.memory_bytes:
            return (
                f"{need}, the largest GPU ({self.largest.label}, {self.largest.name}) has "
                f"{size(self.largest.memory_bytes)}. {_remedy(need)}"
            )
        return None

    def _check_host(self, step: StepPlan, stacks: StepStacks, on_gpu: bool) -> None:
        need = _largest_need(stacks, lambda call: not on_gpu or _libraries(call) == {MemoryType.NUMPY})
        available = self.offer.host_bytes
        if need is not None and available is not None and need.nbytes > available:
            message = f"{need}, this host has {size(available)}. {_remedy(need)}"
            self._refuse(step, message, function_name(need.call))

    def _refuse(self, step: StepPlan, message: str, key: str | None) -> None:
        # One violation a step: wells differ in their numbers only, and the first in plate order stands for all.
        self.violations.setdefault(
            step.number, Violation(message=message, step=step.name, step_number=step.number, key=key)
        )


def _remedy(need: Need) -> str:
    if need.call.slice_by_slice:
        return "Use a device with more memory."
    return "Let its stacks run along fewer planes, or declare slice_by_slice=True if it treats each plane alone."


def _libraries(call: FunctionCall) -> set[MemoryType]:
    return {MemoryType(call.input_type), MemoryType(call.output_type)}


def _has_cpu(call: FunctionCall) -> bool:
    return all(library(memory_type).has_cpu for memory_type in _libraries(call))


def _calls(step: StepPlan) -> Iterator[FunctionCall]:
    return (call for route in step.routes for call in route.calls)


def _gpu_libraries(step: StepPlan) -> set[MemoryType]:
    return {memory_type for call in _calls(step) for memory_type in _libraries(call)} - {MemoryType.NUMPY}


def _entering_bytes(stacks: StepStacks) -> int:
    """Bytes that enter a step; where sizes are unknown, a plane counts as one byte."""
    return sum(count * max(facts.planes, facts.nbytes) for facts, count in stacks.items())


def _largest_need(stacks: StepStacks, counts: Callable[[FunctionCall], bool]) -> Need | None:
    """The largest need among the calls that count."""
    needs = [
        Need(
            nbytes=facts.working(position, 1 if call.slice_by_slice else facts.planes),
            call=call,
            stack=facts,
            itemtype=facts.widest(position) or "float32",
        )
        for facts in stacks
        for position, call in enumerate(facts.route.calls)
        if counts(call)
    ]
    return max(needs, key=lambda need: need.nbytes, default=None)


__all__ = ["Assignment", "DeviceOffer", "assign_devices", "offer_devices", "size", "uses_gpu"]
