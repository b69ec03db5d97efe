"""Which workers a run has, and the GPUs that they hold for its length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from openhcs_engine.errors import DeviceUnavailableError
from openhcs_engine.execution.placement import WorkerDevices
from openhcs_engine.memory.devices import GPU, Device, DevicePolicy, DevicePool
from openhcs_engine.memory.types import MemoryType
from openhcs_engine.plan.context import FunctionCall, ProcessingContext


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDevices:
    """What a run may use: CPU slots, one a worker, and GPUs that the caller holds or the run may lease."""

    cpus: tuple[str, ...]
    """Names of CPU slots, one a worker."""
    held: tuple[Device, ...] = ()
    """GPUs that the caller leased, one a worker."""
    policy: DevicePolicy = DevicePolicy.AUTO
    pool: DevicePool = field(default_factory=DevicePool)
    """Lends GPUs, if the plan has steps for them and the caller holds none."""
    patience_s: float = 60.0
    """Seconds to wait for the first GPU."""
    on_wait: Callable[[str], None] | None = None
    """Called with who holds the GPUs while it waits."""

    @contextmanager
    def workers(self, contexts: Mapping[str, ProcessingContext]) -> Iterator[tuple[WorkerDevices, ...]]:
        """Hold what the wells' workers need for the length of a ``with`` block.

        Yields
        ------
        tuple of WorkerDevices
            One a worker. Where the plan has steps on GPUs and one can be had, there are as many workers as GPU slots;
            where none can be had, all workers know why.

        Raises
        ------
        DeviceUnavailableError
            If the plan has steps on GPUs, none can be had, and the policy requires one.
        """
        planned = gpus_planned(contexts)
        with ExitStack() as leases:
            why_no_gpu = "its plan has no step on a GPU"
            gpus: tuple[Device, ...] = ()
            if planned:
                try:
                    gpus = self.held or leases.enter_context(
                        self.pool.lease(min(len(self.cpus), len(contexts)), GPU, self.patience_s, self.on_wait)
                    )
                except DeviceUnavailableError as error:
                    if self.policy is DevicePolicy.GPU_REQUIRED:
                        raise
                    why_no_gpu = str(error).rstrip(".")
            if gpus:
                yield self._with_gpus(gpus, planned)
            else:
                yield tuple(
                    WorkerDevices(cpu=cpu, why_no_gpu=why_no_gpu, policy=self.policy)
                    for cpu in self.cpus[: len(contexts)]
                )

    def _with_gpus(self, gpus: tuple[Device, ...], planned: tuple[str, ...]) -> tuple[WorkerDevices, ...]:
        stands_for = _logical(gpus, planned)
        known = [device.uuid for device in self.pool.inventory.devices() if device.kind == GPU]
        # A process that sees all GPUs counts them in this order, which need not be the driver's.
        here = {uuid: number for number, uuid in enumerate(known)}
        return tuple(
            WorkerDevices(
                cpu=cpu,
                gpu=gpu.label,
                gpu_here=f"{GPU}:{here.get(gpu.uuid, gpu.index)}",
                gpu_uuid=gpu.uuid,
                planned=stands_for[gpu.uuid],
                policy=self.policy,
            )
            for cpu, gpu in zip(self.cpus, gpus, strict=False)
        )


def held_gpus(devices: Sequence[Device | str], pool: DevicePool) -> tuple[Device, ...]:
    """The GPUs among devices that a caller holds; those given by their labels as the pool's inventory knows them."""
    if not any(device.startswith(GPU) if isinstance(device, str) else device.kind == GPU for device in devices):
        return ()
    known = {device.label: device for device in pool.inventory.devices()}
    found = (known.get(device) if isinstance(device, str) else device for device in devices)
    return tuple(device for device in found if device is not None and device.kind == GPU)


def gpus_planned(contexts: Mapping[str, ProcessingContext]) -> tuple[str, ...]:
    """The logical GPUs that plans name, in order."""
    names = {name for context in contexts.values() for name in context.devices if name.startswith(GPU)}
    return tuple(sorted(names, key=lambda name: (len(name), name)))


def libraries_named(contexts: Mapping[str, ProcessingContext]) -> tuple[MemoryType, ...]:
    """The array libraries beside NumPy that the functions of a plan speak."""
    plans = {id(context.steps): context.steps for context in contexts.values()}.values()
    routes = (route for steps in plans for step in steps for route in step.routes)
    return libraries_of_calls(call for route in routes for call in route.calls)


def libraries_of_calls(calls: Iterable[FunctionCall]) -> tuple[MemoryType, ...]:
    """The array libraries beside NumPy that calls speak."""
    names = {name for call in calls for name in _spoken(call)}
    return tuple(kind for kind in MemoryType if kind in names and kind is not MemoryType.NUMPY)


def _spoken(call: FunctionCall) -> set[str]:
    own = {call.input_type, call.output_type}
    return own if call.cpu_twin is None else own | _spoken(call.cpu_twin)


def _logical(gpus: Sequence[Device], planned: Sequence[str]) -> dict[str, str]:
    """Which of the plan's GPUs each real one stands for: that of its own name if there is one, else the next free."""
    by_uuid = {gpu.uuid: gpu for gpu in gpus}
    given = {uuid: gpu.label for uuid, gpu in by_uuid.items() if gpu.label in planned}
    free = [name for name in planned if name not in given.values()]
    for uuid in by_uuid:
        if uuid not in given:
            given[uuid] = free.pop(0) if free else planned[0]
    return given


__all__ = ["RunDevices", "gpus_planned", "held_gpus", "libraries_named", "libraries_of_calls"]
