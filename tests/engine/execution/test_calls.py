"""What a call promises: library, shape and pixel type of its result, and nobody else's stack changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from openhcs_engine.errors import DeviceUnavailableError, MemoryConversionError, PixelValueError, StackShapeError
from openhcs_engine.execution.placement import WorkerDevices
from openhcs_engine.memory.devices import DevicePolicy
from tests.engine.route_runs import call, planes, send

CPU_LIBRARIES = ["numpy", "torch", "tensorflow", "jax", "pyclesperanto"]


def as_float32(stack: Any) -> Any:
    """Half of a stack, less 10: negative, fractional, and beyond no range; in any library."""
    if hasattr(stack, "astype") and not hasattr(stack, "numpy"):
        return stack.astype("float32") * 0.5 - 10 if "pyclesperanto" not in type(stack).__module__ else _cle(stack)
    if type(stack).__module__.startswith("torch"):
        return stack.float() * 0.5 - 10
    import tensorflow as tf

    return tf.cast(stack, tf.float32) * 0.5 - 10


def _cle(stack: Any) -> Any:
    import pyclesperanto as cle

    # No kernel: a driver that shares its process with TensorFlow may be unable to compile any.
    return cle.push((cle.pull(stack) * np.float32(0.5) - 10).astype(np.float32))


@dataclass(frozen=True)
class Law:
    """A dtype policy, and what becomes of ``as_float32`` under it."""

    policy: str
    expected: Callable[[np.ndarray], np.ndarray]


def _clipped(stack: np.ndarray, low: float, high: float, dtype: str) -> np.ndarray:
    return np.clip(np.rint(stack.astype(np.float32) * np.float32(0.5) - 10), low, high).astype(dtype)


LAWS = [
    Law("preserve", lambda stack: _clipped(stack, 0, 65535, "uint16")),
    Law("native", lambda stack: stack.astype(np.float32) * np.float32(0.5) - 10),
    Law("uint8", lambda stack: _clipped(stack, 0, 255, "uint8")),
    Law("int16", lambda stack: _clipped(stack, -32768, 32767, "int16")),
    Law("float32", lambda stack: stack.astype(np.float32) * np.float32(0.5) - 10),
]


@pytest.mark.parametrize("library", CPU_LIBRARIES)
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.policy)
def test_the_dtype_law_is_one_for_all_libraries(library: str, law: Law) -> None:
    """Rounded half to even and clipped, never stretched; as it is under ``native``."""
    stack = planes()
    stack[0, 0, :4] = [0, 1, 21, 23]  # -10, -9.5, 0.5, 1.5

    result, _ = send(stack, [(call(library=library, dtype=law.policy), as_float32)])

    assert result.dtype == law.expected(stack).dtype
    assert np.array_equal(result, law.expected(stack))


def test_torch_computes_with_unsigned_stacks() -> None:
    """``torch.max`` over uint16 and uint32 just works; the wider type is recorded and does not come out."""
    import torch

    for dtype, wider in (("uint16", "int32"), ("uint32", "int64")):
        stack = planes(dtype=dtype)
        project = call(library="torch", collapses=True)
        result, record = send(stack, [(project, lambda got: torch.max(got, dim=0, keepdim=True)[0])])

        assert result.dtype == dtype and np.array_equal(result[0], stack.max(axis=0))
        assert f"numpy -> torch: DLPack, zero copy; {dtype} as {wider}" in record.describe_routes()


@pytest.mark.parametrize(
    ("policy", "entered"), [("preserve", "int32"), ("native", "uint16"), ("float32", "float32"), ("uint8", "int32")]
)
def test_the_policy_says_in_which_type_a_stack_enters_torch(policy: str, entered: str) -> None:
    """As the function declares, if all values fit; as it is under ``native``; otherwise in a wider type."""
    seen = []

    def look(stack: Any) -> Any:
        seen.append(str(stack.dtype))
        return stack

    send(planes(), [(call(library="torch", dtype=policy), look)])

    assert seen == [f"torch.{entered}"]


def test_calls_of_one_library_hand_over_without_the_host() -> None:
    """The second function gets the very memory that the first returned; only the ends are boundaries."""
    import torch

    seen = []

    def first(stack: Any) -> Any:
        made = stack * 2
        seen.append(made.data_ptr())
        return made

    def second(stack: Any) -> Any:
        seen.append(stack.data_ptr())
        return torch.flip(stack, (0,))

    stack = planes(dtype="float32")
    calls = [(call("first", "torch"), first), (call("second", "torch"), second)]
    result, record = send(stack, calls)

    assert seen[0] == seen[1] and np.array_equal(result, stack[::-1] * 2)
    assert record.describe_routes() == ("numpy -> torch: DLPack, zero copy", "torch -> numpy: DLPack, zero copy")


@pytest.mark.parametrize(
    ("frozen", "returned", "sentence"),
    [
        (call("f", "torch"), lambda stack: stack.numpy(), "is declared to return torch arrays, but returned a numpy"),
        (call("f", "torch"), lambda stack: [stack], "returned a list; it got a stack .* as a torch array, with 4"),
        (call("f", "torch"), lambda stack: None, "returned a NoneType"),
        (call("f", "torch"), lambda stack: stack[0], r"returned an array of shape \(6, 8\)"),
        (call("f", "jax"), lambda stack: stack[:2], "got 4 planes and returned 2; it must return 1 or 4"),
        (call("f", "jax", collapses=True), lambda stack: stack, "got 4 planes and returned 4; it must return 1"),
        (call("f", "torch"), lambda stack: stack.to_sparse(), "returned a Tensor that .*: it is sparse; make it dense"),
        (call("f"), lambda stack: np.ma.masked_less(stack, 5), "returned a MaskedArray .*: its mask would be lost"),
        (call("f", declared=False), lambda stack: _torch(stack), "has no decorator, .* but returned a torch .*@torch"),
    ],
    ids=["numpy", "list", "nothing", "plane", "count", "collapse", "sparse", "masked", "undeclared"],
)
def test_a_result_of_another_kind_is_refused(frozen: Any, returned: Callable[[Any], Any], sentence: str) -> None:
    """The sentence names the function, what it returned and what it owes."""
    with pytest.raises(StackShapeError, match=sentence) as error:
        send(planes(dtype="float32"), [(frozen, returned)])
    assert error.value.function == "tests:f"


def _torch(stack: Any) -> Any:
    import torch

    return torch.from_numpy(stack)


def test_a_function_may_return_another_library_if_it_says_so() -> None:
    """``output_type`` names it; the next call gets it as its own library's."""
    stack = planes(dtype="float32")
    frozen = call("f", "numpy", output_type="torch")

    result, record = send(stack, [(frozen, _torch), (call("g", "jax"), lambda got: got + 1)])

    assert np.array_equal(result, stack + 1)
    assert record.describe_routes()[0].startswith("torch -> jax: DLPack")


def test_nan_under_preserve_is_refused_in_every_library() -> None:
    """It has no place among integers, whoever made it."""
    for library in ("torch", "tensorflow", "jax"):
        with pytest.raises(PixelValueError, match="NaN"):
            send(planes(), [(call(library=library), lambda stack: as_float32(stack) * float("nan"))])


def test_64_bit_pixels_stay_64_bit_in_jax() -> None:
    """JAX would narrow them; a call keeps what entered it, and what its function declares."""
    stack = planes(dtype="float64") / 3

    result, _ = send(stack, [(call(library="jax"), lambda got: got * 3)])
    declared, _ = send(planes(), [(call(library="jax", dtype="float64"), lambda got: got.astype("float64") / 4)])

    assert result.dtype == np.float64 and np.array_equal(result, stack * 3)
    assert declared.dtype == np.float64 and np.array_equal(declared, planes() / 4)


def test_a_stack_that_a_library_cannot_hold_is_refused() -> None:
    """pyclesperanto would make float32 of float64 without a word."""
    with pytest.raises(MemoryConversionError, match="float64"):
        send(planes(dtype="float64"), [(call(library="pyclesperanto"), lambda stack: stack)])


def test_an_immutable_result_is_never_written_to() -> None:
    """A NumPy or torch function behind a JAX function may write into its stack: JAX's array does not change."""
    import jax.numpy as jnp

    stack = planes(dtype="float32")
    kept = jnp.asarray(stack)

    def add_in_place(got: Any) -> Any:
        got += 1
        return got

    for library in ("numpy", "torch"):
        calls = [(call("f", "jax"), lambda got: kept), (call("g", library), add_in_place)]
        result, _ = send(stack, calls)
        assert np.array_equal(result, stack + 1)
        assert np.array_equal(np.asarray(kept), stack)


def test_a_gpu_function_without_a_gpu_runs_on_the_cpu_and_says_so() -> None:
    """The fallback gives the reason; a CPU twin stands in where the library has no CPU."""
    alone = WorkerDevices(why_no_gpu="all are taken")
    twin = call("twin", "numpy")
    twins = {"tests:twin": lambda stack: stack + 1}

    plain, record = send(planes(), [(call("f", "torch"), lambda stack: stack)], devices=alone, planned="gpu:0")
    by_twin, twin_record = send(
        planes(),
        [(call("f", "cupy", cpu_twin=twin), lambda stack: 1 / 0)],
        devices=alone,
        planned="gpu:0",
        twins=twins,
    )

    assert np.array_equal(plain, planes()) and np.array_equal(by_twin, planes() + 1)
    assert record.describe_fallbacks(1) == "tests:f ran on the CPU, because there was no GPU (all are taken)."
    assert "tests:f ran, as tests:twin, on the CPU" in str(twin_record.describe_fallbacks(1))
    _, planned_record = send(planes(), [(call("f", "cupy", cpu_twin=twin), lambda stack: 1 / 0)], twins=twins)
    assert str(planned_record.describe_fallbacks(1)).endswith("on the CPU, because its step is planned there.")
    assert record.describe_devices("?") == "cpu:0"


@pytest.mark.parametrize(
    ("library", "policy", "sentence"),
    [
        ("cupy", DevicePolicy.AUTO, r"needs a GPU and there is none \(all are taken\)"),
        ("torch", DevicePolicy.GPU_REQUIRED, "the policy gpu_required keeps it there"),
    ],
)
def test_no_way_on_the_cpu_is_a_sentence(library: str, policy: DevicePolicy, sentence: str) -> None:
    """Because the library has none, or the policy allows none."""
    alone = WorkerDevices(why_no_gpu="all are taken", policy=policy)
    with pytest.raises(DeviceUnavailableError, match=sentence):
        send(planes(), [(call("f", library), lambda stack: stack)], devices=alone, planned="gpu:0")


def test_numpy_functions_of_a_gpu_step_run_on_the_cpu() -> None:
    """That is no fallback: they have never been anywhere else."""
    _, record = send(planes(), [(call("f"), lambda stack: stack)], devices=WorkerDevices(cpu="cpu:2"), planned="gpu:0")

    assert (record.describe_devices("?"), record.describe_fallbacks(1)) == ("cpu:2", None)
