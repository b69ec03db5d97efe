"""Stacks sent through calls without a plate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.execution.calls import FunctionSource
from openhcs_engine.execution.out_of_memory import CallResources, RouteRun
from openhcs_engine.execution.placement import WorkerDevices
from openhcs_engine.execution.results import StepRecord
from openhcs_engine.memory.conversion.aligned import copy_aligned
from openhcs_engine.plan.context import FunctionCall

Function = Callable[..., Any]

PAPER_GPU = WorkerDevices(gpu="gpu:3", gpu_here="cpu")
"""A worker whose GPU is the host's memory in disguise: what the engine does can be seen, and no GPU is needed."""


def call(name: str = "function", library: str = "numpy", **options: Any) -> FunctionCall:
    """A frozen call of a function of one library."""
    return FunctionCall(
        reference=f"tests:{name}",
        source_sha256="",
        version="",
        **{"input_type": library, "output_type": library, **options},
    )


def send(
    stack: NDArray[Any],
    calls: Sequence[tuple[FunctionCall, Function]],
    *,
    devices: WorkerDevices | None = None,
    planned: str | None = None,
    raw: bool = True,
    twins: dict[str, Function] | None = None,
) -> tuple[NDArray[Any], StepRecord]:
    """Send a copy of a stack through calls; ``raw``: it can be read again from the plate.

    The step is planned for the GPU if the worker has one.
    """
    held = devices or WorkerDevices()
    record = StepRecord()
    local = {frozen.reference: function for frozen, function in calls} | (twins or {})
    place = CallResources(
        planned=planned or ("gpu:0" if held.gpu else "cpu"),
        devices=held,
        functions=FunctionSource(verified={(reference, "", ()): function for reference, function in local.items()}),
        record=record,
    )
    reload = (lambda: copy_aligned(stack)) if raw else None
    return RouteRun(tuple(frozen for frozen, _ in calls), copy_aligned(stack), reload, place).result(), record


def planes(count: int = 4, dtype: str = "uint16") -> NDArray[Any]:
    """A stack ``(count, 6, 8)`` of different values up to 60000."""
    return np.random.default_rng(7).integers(0, 60_000, (count, 6, 8)).astype(dtype)
