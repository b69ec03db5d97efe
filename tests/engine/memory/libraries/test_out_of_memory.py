"""Each library's own way of saying that memory did not suffice, and what must not be taken for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from openhcs_engine.memory.devices import find_inventory
from openhcs_engine.memory.libraries import LIBRARIES, library
from openhcs_engine.memory.libraries.out_of_memory import says_out_of_memory
from openhcs_engine.memory.loading import load_framework
from openhcs_engine.memory.types import MemoryType

PETABYTE = 2**50
"""More than any host has; refused at once, without touching memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An error as a library makes it."""

    name: str
    package: str
    make: Callable[[Any], BaseException]
    """Called with the module."""


def raised_by(work: Callable[[], object]) -> BaseException:
    """What a call raises."""
    try:
        work()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def cuda_error(status: int) -> BaseException:
    """CuPy's error for a status of the CUDA runtime."""
    error: BaseException = import_module("cupy_backends.cuda.api.runtime").CUDARuntimeError(status)
    return error


MEMORY = (
    Case(
        name="numpy allocates a petabyte",
        package="numpy",
        make=lambda np: raised_by(lambda: np.empty(PETABYTE, np.uint8)),
    ),
    Case(
        name="torch on the CPU allocates a petabyte",
        package="torch",
        make=lambda torch: raised_by(lambda: torch.empty(PETABYTE, dtype=torch.uint8)),
    ),
    Case(
        name="torch on a GPU",
        package="torch",
        make=lambda torch: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    ),
    Case(
        name="torch, an asynchronous CUDA error",
        package="torch",
        make=lambda torch: RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
    ),
    Case(
        name="cupy's pool",
        package="cupy",
        make=lambda cupy: cupy.cuda.memory.OutOfMemoryError(2**30, 2**34, 2**34),
    ),
    Case(name="cupy, beside its pool", package="cupy", make=lambda _: cuda_error(2)),
    Case(
        name="tensorflow allocates a petabyte",
        package="tensorflow",
        make=lambda tf: raised_by(lambda: tf.zeros((PETABYTE,), tf.uint8)),
    ),
    Case(
        name="tensorflow on a GPU",
        package="tensorflow",
        make=lambda tf: tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[9,9]"),
    ),
    Case(
        name="tensorflow copies to a full GPU",
        package="tensorflow",
        make=lambda tf: tf.errors.InternalError(None, None, "Dst tensor is not initialized."),
    ),
    Case(
        name="jax allocates a petabyte",
        package="jax",
        make=lambda jax: raised_by(lambda: jax.numpy.zeros((PETABYTE // 2**20, 2**20), "uint8").block_until_ready()),
    ),
    Case(
        name="jax on a GPU",
        package="jax",
        make=lambda jax: jax.errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes."
        ),
    ),
    Case(
        name="pyclesperanto, a full device",
        package="builtins",
        make=lambda _: RuntimeError(
            "Error: Failed to allocate buffer memory. OpenCL error: CL_MEM_OBJECT_ALLOCATION_FAILURE (-4)"
        ),
    ),
    Case(
        name="pyclesperanto, a kernel on a full device",
        package="builtins",
        make=lambda _: RuntimeError("Error: Failed to enqueue kernel. OpenCL error: CL_OUT_OF_RESOURCES (-5)"),
    ),
)

OTHER_TROUBLES = (
    Case(name="a wrong value", package="builtins", make=lambda _: ValueError("out of memory of what the user wanted")),
    Case(name="a RuntimeError", package="builtins", make=lambda _: RuntimeError("resource_exhausted is a fine word")),
    Case(name="an error of the system", package="builtins", make=lambda _: OSError(28, "No space left on device")),
    Case(
        name="torch, wrong shapes",
        package="torch",
        make=lambda torch: raised_by(lambda: torch.zeros(2, 3) @ torch.zeros(2, 3)),
    ),
    Case(
        name="torch, a broken kernel",
        package="torch",
        make=lambda torch: RuntimeError("CUDA error: an illegal memory access was encountered"),
    ),
    Case(name="cupy, an old driver", package="cupy", make=lambda _: cuda_error(35)),
    Case(
        name="tensorflow, wrong shapes",
        package="tensorflow",
        make=lambda tf: raised_by(lambda: tf.zeros((2, 3)) @ tf.zeros((2, 3))),
    ),
    Case(
        name="tensorflow, an internal error",
        package="tensorflow",
        make=lambda tf: tf.errors.InternalError(None, None, "Blas xGEMM launch failed"),
    ),
    Case(
        name="jax, an invalid argument",
        package="jax",
        make=lambda jax: jax.errors.JaxRuntimeError("INVALID_ARGUMENT: memory space was wrong"),
    ),
    Case(
        name="pyclesperanto, a kernel that does not compile",
        package="builtins",
        make=lambda _: RuntimeError("Error: Failed to build program. OpenCL error: CL_BUILD_PROGRAM_FAILURE (-11)"),
    ),
)


def module_of(case: Case) -> Any:
    """The module, if it is installed; imported in the order that all survive."""
    if case.package not in ("numpy", "builtins") and not library(case.package).installed():
        pytest.skip(f"{case.package} is not installed")
    return load_framework(case.package)


@pytest.mark.parametrize("case", MEMORY, ids=lambda case: case.name)
def test_a_lack_of_memory_is_recognised(case: Case) -> None:
    """By the libraries' own classes and words, real ones wherever the CPU can raise them."""
    assert says_out_of_memory(case.make(module_of(case)))


@pytest.mark.parametrize("case", OTHER_TROUBLES, ids=lambda case: case.name)
def test_other_troubles_are_not_taken_for_it(case: Case) -> None:
    """They must reach the user at once: no retry, no smaller batches, no CPU."""
    assert not says_out_of_memory(case.make(module_of(case)))


def test_pyclesperanto_says_it_in_words_of_opencl() -> None:
    """A buffer larger than the device gives is a bare RuntimeError, known by its code."""
    adapter = library(MemoryType.PYCLESPERANTO)
    if (reason := adapter.why_not()) is not None:
        pytest.skip(reason)
    cle = load_framework("pyclesperanto")

    error = raised_by(lambda: cle.create((2**13, 2**13, 2**13), dtype=np.float32))

    assert type(error) is RuntimeError
    assert says_out_of_memory(error)


def test_older_and_derived_classes_count() -> None:
    """The name of JAX's class before 0.8, and classes that users derive."""
    older = type("XlaRuntimeError", (RuntimeError,), {"__module__": "jaxlib.xla_extension"})
    derived = type("MyMemoryError", (MemoryError,), {})

    assert says_out_of_memory(older("RESOURCE_EXHAUSTED: Out of memory"))
    assert not says_out_of_memory(older("INTERNAL: something else"))
    assert says_out_of_memory(derived())


@pytest.mark.parametrize("memory_type", LIBRARIES)
def test_every_adapter_knows_all_signs(memory_type: MemoryType) -> None:
    """A function of one library may call another: whose error it is does not matter."""
    adapter = library(memory_type)

    assert adapter.is_out_of_memory(MemoryError())
    assert adapter.is_out_of_memory(RuntimeError("OpenCL error: CL_OUT_OF_RESOURCES (-5)"))
    assert adapter.is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not adapter.is_out_of_memory(RuntimeError("DefaultCPUAllocator is a class"))
    assert not adapter.is_out_of_memory(ValueError("CUDA out of memory"))


@pytest.mark.gpu
@pytest.mark.parametrize("package", ["torch", "cupy", "tensorflow", "jax"])
def test_a_real_gpu_runs_out_of_memory(package: str) -> None:
    """More than the GPU has is asked for; the error is recognised, and the library works on after a clean-up."""
    if (reason := find_inventory().why_no_gpu() or library(package).why_not()) is not None:
        pytest.skip(reason)
    adapter = library(package)
    rows = 2 * max(device.memory_bytes for device in find_inventory().devices() if device.kind == "gpu") // 2**20
    small = adapter.from_host(np.zeros((1, 2, 2), np.uint8), "gpu:0")

    with adapter.scope("gpu:0"):
        error = raised_by(lambda: _ask_for(load_framework(package), package, rows))
    recognised = adapter.is_out_of_memory(error)
    del error
    adapter.release("gpu:0")

    assert recognised
    assert adapter.to_host(adapter.copy(small)).shape == (1, 2, 2)


def _ask_for(module: Any, package: str, rows: int) -> None:
    """Ask for as many megabytes on the current device."""
    if package == "torch":
        module.zeros((rows, 2**20), dtype=module.uint8, device="cuda")
    elif package == "jax":
        module.numpy.zeros((rows, 2**20), "uint8").block_until_ready()
    else:
        module.zeros((rows, 2**20), "uint8")
