"""Out of memory: free and retry, smaller batches, the CPU, or a failed well; each rung is told."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from openhcs_engine.errors import DeviceMemoryError, StackShapeError
from openhcs_engine.execution.placement import WorkerDevices
from openhcs_engine.execution.results import Rung, RungResult
from openhcs_engine.memory.devices import DevicePolicy
from openhcs_engine.memory.libraries.torch import TorchLibrary
from tests.engine.route_runs import PAPER_GPU, call, planes, send

FREE, BATCHES, CPU = Rung.FREE, Rung.BATCHES, Rung.CPU


def torch_error() -> BaseException:
    """As torch raises it on a GPU."""
    import torch

    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def torch_cpu_error() -> BaseException:
    """As torch raises it on the CPU."""
    return RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried")


def tensorflow_error() -> BaseException:
    """As TensorFlow raises it."""
    import tensorflow as tf

    return tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")  # type: ignore[no-any-return]


def jax_error() -> BaseException:
    """As XLA raises it."""
    import jax

    return jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes.")


def cupy_error() -> BaseException:
    """As CuPy raises it; it needs no GPU for that."""
    import cupy

    return cupy.cuda.memory.OutOfMemoryError(1024, 4096, 0)  # type: ignore[no-any-return]


ERRORS = {
    "torch": ("torch", torch_error),
    "torch on the CPU": ("torch", torch_cpu_error),
    "tensorflow": ("tensorflow", tensorflow_error),
    "jax": ("jax", jax_error),
    "cupy": ("numpy", cupy_error),
    "numpy": ("numpy", MemoryError),
}
every_error = pytest.mark.parametrize(("library", "error"), ERRORS.values(), ids=ERRORS.keys())


class Hungry:
    """Adds one to a stack, if it has memory for it; remembers how many planes it was called with."""

    def __init__(
        self, error: Callable[[], BaseException], failures: int = 10**6, fits: int = 0, in_place: bool = False
    ) -> None:
        self.error = error
        self.failures = failures
        self.fits = fits
        self.in_place = in_place
        self.calls: list[int] = []

    def __call__(self, stack: Any) -> Any:
        """Fails the first ``failures`` times, unless the stack has at most ``fits`` planes."""
        planes = int(stack.shape[0])
        self.calls.append(planes)
        if self.in_place:
            stack += 1
        if len(self.calls) <= self.failures and planes > self.fits:
            raise self.error()
        return stack if self.in_place else stack + 1


@every_error
def test_freeing_caches_helps(library: str, error: Callable[[], BaseException]) -> None:
    """The second try works: one rung, and the same result."""
    function = Hungry(error, failures=1)

    result, record = send(planes(), [(call("f", library), function)])

    assert np.array_equal(result, planes() + 1) and function.calls == [4, 4]
    assert record.counted_rungs() == (
        RungResult(rung=FREE, outcome="helped", detail="tests:f ran out of memory on cpu:0"),
    )
    assert record.describe_fallbacks(1) is None


@every_error
def test_smaller_batches_give_the_whole_result(library: str, error: Callable[[], BaseException]) -> None:
    """Halved until they fit, if the function is declared slice by slice; the joined result is that of the whole."""
    function = Hungry(error, fits=2)

    result, record = send(planes(7), [(call("f", library, slice_by_slice=True), function)])

    assert np.array_equal(result, planes(7) + 1) and result.dtype == np.uint16
    assert function.calls == [7, 7, 4, 2, 2, 2, 1]
    assert [(rung.rung, rung.outcome) for rung in record.counted_rungs()] == [
        (FREE, "did not help"),
        (BATCHES, "helped"),
    ]
    assert record.counted_rungs()[1].detail == "tests:f, 2 planes a batch"


@every_error
def test_without_a_way_out_the_function_and_its_rungs_are_named(
    library: str, error: Callable[[], BaseException]
) -> None:
    """The error says what was tried, and why the rest was not; its cause is the library's own."""
    with pytest.raises(DeviceMemoryError) as failed:
        send(planes(), [(call("f", library), Hungry(error))])

    assert str(failed.value) == (
        "tests:f ran out of memory on cpu:0 on a stack of (4, 6, 8) (free caches and retry did not help: tests:f ran "
        "out of memory on cpu:0; smaller batches skipped: tests:f is not declared slice_by_slice; cpu skipped: tests:f "
        "ran there already)."
    )
    assert type(failed.value.__cause__) is type(error())


@pytest.mark.parametrize("library", ["torch", "jax", "tensorflow"])
def test_the_cpu_is_the_last_rung_of_a_gpu(library: str) -> None:
    """The function runs there instead; device, rung and fallback say so."""
    function = Hungry(ERRORS[library][1], failures=2)

    result, record = send(planes(), [(call("f", library), function)], devices=PAPER_GPU)

    assert np.array_equal(result, planes() + 1)
    assert [(rung.rung, rung.outcome) for rung in record.counted_rungs()] == [
        (FREE, "did not help"), (BATCHES, "skipped"), (CPU, "helped"),
    ]  # fmt: skip
    assert record.describe_devices("?") == "cpu:0"
    assert record.describe_fallbacks(1) == "tests:f ran on the CPU, because gpu:3 had too little memory."


def test_one_plane_a_batch_comes_before_the_cpu() -> None:
    """Batches shrink to one plane; then the whole stack goes to the CPU."""
    function = Hungry(torch_error, failures=4)

    _, record = send(planes(4), [(call("f", "torch", slice_by_slice=True), function)], devices=PAPER_GPU)

    assert function.calls == [4, 4, 2, 1, 4]
    assert [rung.detail for rung in record.counted_rungs()] == [
        "tests:f ran out of memory on gpu:3", "tests:f, down to 1 plane a batch", "tests:f ran on cpu:0",
    ]  # fmt: skip


def test_a_required_gpu_refuses_the_cpu_rung() -> None:
    """The policy is named; nothing runs on the CPU."""
    function = Hungry(torch_error, failures=2)
    required = replace(PAPER_GPU, policy=DevicePolicy.GPU_REQUIRED)

    with pytest.raises(DeviceMemoryError, match="cpu skipped: the policy gpu_required keeps tests:f on the GPU"):
        send(planes(), [(call("f", "torch"), function)], devices=required)
    assert function.calls == [4, 4]


def test_a_cpu_twin_stands_in_where_the_library_has_no_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """With it the stack is done, without it the rung is skipped and says why."""
    monkeypatch.setattr(TorchLibrary, "has_cpu", False)
    frozen = call("f", "torch", cpu_twin=call("twin"))
    twins = {"tests:twin": lambda stack: stack + 1}
    converter = import_module("openhcs_engine.memory.conversion.convert")  # the package has a function of that name
    monkeypatch.setattr(converter, "_refuse", lambda passage: None)

    result, record = send(planes(), [(frozen, Hungry(torch_error))], devices=PAPER_GPU, twins=twins)

    assert np.array_equal(result, planes() + 1)
    assert "tests:f ran on the CPU, as tests:twin, because gpu:3" in str(record.describe_fallbacks(1))
    with pytest.raises(DeviceMemoryError, match="torch cannot run on it, and tests:f declares no cpu="):
        send(planes(), [(call("f", "torch"), Hungry(torch_error))], devices=PAPER_GPU)


@pytest.mark.parametrize(
    "error",
    [ValueError("shapes"), RuntimeError("CUDA error: device-side assert triggered"), KeyError("x")],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_are_raised_at_once(error: Exception) -> None:
    """Only what is known to be memory goes on the ladder."""
    function = Hungry(lambda: error)

    with pytest.raises(type(error)):
        send(planes(), [(call("f", "torch", slice_by_slice=True), function)], devices=PAPER_GPU)
    assert function.calls == [4]


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_what_a_function_wrote_before_it_failed_is_gone(library: str, dtype: str) -> None:
    """The retry starts from the stack as it was: read again from the plate, or never handed out."""
    stack = planes(dtype=dtype)
    function = Hungry(MemoryError, fits=1, in_place=True)

    result, _ = send(stack, [(call("f", library, slice_by_slice=True), function)])

    assert np.array_equal(result, stack + 1)


def test_a_stack_that_may_be_changed_is_not_tried_again() -> None:
    """In the middle of a pipeline a NumPy function owns its stack; where it fails, there is no other copy."""
    function = Hungry(MemoryError, failures=1, in_place=True)

    with pytest.raises(DeviceMemoryError, match="may have written into its stack"):
        send(planes(), [(call("f", slice_by_slice=True), function)], raw=False)


def test_a_later_call_goes_back_no_further_than_it_must() -> None:
    """What entered it as a copy is kept for it; the calls before it are not repeated."""
    first, second = Hungry(MemoryError, failures=0, in_place=True), Hungry(torch_error, failures=1, in_place=True)

    result, _ = send(planes(), [(call("f"), first), (call("g", "torch"), second)], raw=False)

    assert np.array_equal(result, planes() + 2)
    assert (first.calls, second.calls) == ([4], [4, 4])


def test_calls_of_one_library_are_repeated_from_the_last_safe_stack() -> None:
    """The second got the first's own array, which it may have changed: both run again."""
    stack = planes(dtype="float32")
    first, second = Hungry(torch_error, failures=0), Hungry(torch_error, failures=1, in_place=True)

    result, record = send(stack, [(call("f", "torch"), first), (call("g", "torch"), second)])

    assert np.array_equal(result, stack + 2)
    assert (first.calls, second.calls) == ([4, 4], [4, 4])
    assert [rung.detail for rung in record.counted_rungs()] == ["tests:g ran out of memory on cpu:0"]


def test_the_failed_tries_arrays_are_freed_before_the_next() -> None:
    """The error's traceback would keep them; a rung would then find the device as full as before."""
    import torch

    alive: list[weakref.ref[Any]] = []
    still_there: list[bool] = []

    def function(stack: Any) -> Any:
        gc.collect()
        still_there.extend(reference() is not None for reference in alive)
        scratch = torch.zeros(1000)
        alive.append(weakref.ref(scratch))
        if len(alive) == 1:
            raise torch_error()
        return stack

    send(planes(), [(call("f", "torch"), function)])

    assert still_there == [False]


def test_caches_are_freed_between_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the library that failed, on the device that was full, before the function is called again."""
    events: list[str] = []
    monkeypatch.setattr(TorchLibrary, "release", lambda self, device: events.append(f"released {device}"))

    def function(stack: Any) -> Any:
        events.append("called")
        if events == ["called"]:
            raise torch_error()
        return stack

    send(planes(), [(call("f", "torch"), function)], devices=replace(PAPER_GPU, gpu="gpu:1"))

    assert events == ["called", "released cpu", "called"]  # this worker's GPU is the CPU in disguise


def test_batches_that_do_not_fit_together_are_refused() -> None:
    """A function that wrongly says slice by slice is named."""

    def project(stack: Any) -> Any:
        if len(stack) > 2:
            raise MemoryError
        return stack.max(axis=0, keepdims=True)

    with pytest.raises(StackShapeError, match="is declared slice_by_slice, but made"):
        send(planes(), [(call("f", slice_by_slice=True), project)])


def test_a_worker_says_where_it_is() -> None:
    """By its GPU if it has one."""
    assert (WorkerDevices().label, PAPER_GPU.label) == ("cpu:0", "gpu:3")
