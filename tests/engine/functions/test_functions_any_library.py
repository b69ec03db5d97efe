"""Built-ins called directly, with stacks of any array library."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from openhcs_engine import functions
from openhcs_engine.compiler.functions import FunctionTable, freeze_call
from openhcs_engine.errors import MemoryConversionError
from openhcs_engine.functions import (
    any_library,
    create_composite,
    create_max_projection,
    create_mean_projection,
    denoise_images,
    enhance_contrast,
    generate_positions,
    stack_percentile_normalize,
    subtract_background,
)
from openhcs_engine.memory import MemoryType, contract_of, convert
from openhcs_engine.memory.devices import find_inventory
from openhcs_engine.memory.libraries import library
from openhcs_engine.memory.libraries.contract import AnyArray
from openhcs_engine.pipeline.patterns import DeclaredCall
from openhcs_engine.plan.function_reference import resolve, source_sha256

Pixels = NDArray[Any]
BUILT_INS: tuple[Callable[..., Any], ...] = (
    create_composite,
    create_max_projection,
    create_mean_projection,
    denoise_images,
    enhance_contrast,
    generate_positions,
    stack_percentile_normalize,
    subtract_background,
)
ON_THE_CPU = [MemoryType.TORCH, MemoryType.TENSORFLOW, MemoryType.JAX, MemoryType.PYCLESPERANTO]
each_built_in = pytest.mark.parametrize("function", BUILT_INS, ids=lambda function: function.__name__)


def spots(dtype: str = "uint16") -> Pixels:
    """Four small noisy planes."""
    stack = np.random.default_rng(5).normal(600, 40, (4, 24, 30))
    stack[:, 5:9, 7:12] += 9000
    return stack.astype(dtype)


def first(result: Any) -> Any:
    """The stack that a function returned, without what stands behind it."""
    return result[0] if isinstance(result, tuple) else result


def stack_of(memory_type: MemoryType, dtype: str = "uint16", device: str | None = None) -> AnyArray:
    """The planes as another library's array; skips, in the library's own words, where it cannot work."""
    if (reason := library(memory_type).why_not()) is not None:
        pytest.skip(reason)
    return convert(spots(dtype), memory_type, device=device).array


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("memory_type", ON_THE_CPU)
@each_built_in
def test_a_built_in_returns_the_library_that_it_got(
    function: Callable[..., Any], memory_type: MemoryType, dtype: str
) -> None:
    """On the same device and of the same dtype, with NumPy's values; the stack itself stays as it was."""
    stack, adapter = stack_of(memory_type, dtype), library(memory_type)

    result = first(function(stack))

    expected = first(function(spots(dtype)))
    assert adapter.owns(result)
    assert (adapter.facts(result).dtype, adapter.facts(result).device) == (dtype, adapter.facts(stack).device)
    np.testing.assert_array_equal(adapter.to_host(result), expected)
    np.testing.assert_array_equal(adapter.to_host(stack), spots(dtype))


@pytest.mark.gpu
@pytest.mark.parametrize("memory_type", [MemoryType.CUPY, MemoryType.TORCH, MemoryType.JAX])
def test_a_gpu_array_comes_back_to_its_gpu(memory_type: MemoryType) -> None:
    """Downloaded and uploaded again, to where it lay."""
    if (reason := find_inventory().why_no_gpu()) is not None:
        pytest.skip(reason)
    stack, adapter = stack_of(memory_type, "float32", "gpu:0"), library(memory_type)

    result = stack_percentile_normalize(stack)

    assert adapter.facts(result).device == "gpu:0"
    np.testing.assert_array_equal(adapter.to_host(result), stack_percentile_normalize(spots("float32")))


def test_parameters_pass_by_place_and_by_name() -> None:
    """The stack, too."""
    stack = stack_of(MemoryType.TORCH)

    by_name = stack_percentile_normalize(stack=stack, low_percentile=5, target_max=255.0)

    np.testing.assert_array_equal(by_name.numpy(), stack_percentile_normalize(spots(), 5, 99, 0, 255))


def test_what_needs_a_gradient_gives_a_plain_tensor() -> None:
    """A built-in is no part of a network: values come out, not their history."""
    tensor = stack_of(MemoryType.TORCH, "float32").requires_grad_()

    assert not create_max_projection(tensor).requires_grad


def test_a_numpy_stack_reaches_the_function_as_it_is() -> None:
    """The very same array, and the very same result."""
    got: list[Pixels] = []

    @any_library
    def keep(stack: Pixels) -> Pixels:
        got.append(stack)
        return stack[:1]

    stack = spots()

    result = keep(stack)

    assert got[0] is stack
    assert result.base is stack


def test_a_stack_that_is_returned_unchanged_is_the_callers_own() -> None:
    """No copy, no second array of the same memory."""
    stack = stack_of(MemoryType.TORCH)

    assert generate_positions(stack)[0] is stack


def test_side_results_stay_as_they_are() -> None:
    """Of a tuple, the first item is the stack, and comes back as the caller's kind of array."""
    table = {"spots": 3}

    @any_library
    def count(stack: Pixels) -> Any:
        return stack + 1, table

    result, side = count(stack_of(MemoryType.JAX))

    assert library(MemoryType.JAX).owns(result) and side is table
    np.testing.assert_array_equal(result, spots() + 1)


@pytest.mark.parametrize("stack", [[[1, 2], [3, 4]], "stack.tif", None])
def test_what_is_no_array_is_refused_with_a_sentence(stack: object) -> None:
    """It names the libraries, and the way to an array."""
    with pytest.raises(MemoryConversionError, match=r"none of the libraries numpy, cupy.* \(numpy\.asarray\)"):
        create_max_projection(stack)


@each_built_in
def test_a_built_in_shows_itself_not_its_wrapper(function: Callable[..., Any]) -> None:
    """Name, signature, docstring and source are the function's own; so is the place where others find it."""
    own = inspect.unwrap(function)

    assert own is not function
    assert function.__name__ in functions.__all__ and getattr(functions, function.__name__) is function
    assert inspect.signature(function) == inspect.signature(own)
    assert next(iter(inspect.signature(function).parameters)) == "stack"
    assert "Parameters\n" in (function.__doc__ or "") and "Returns\n" in (function.__doc__ or "")
    assert f"def {function.__name__}(" in inspect.getsource(function)
    assert resolve(f"{function.__module__}:{function.__qualname__}") is function
    assert pickle.loads(pickle.dumps(function)) is function


@each_built_in
def test_the_engine_knows_a_built_in_as_an_importable_numpy_function(function: Callable[..., Any]) -> None:
    """Its contract and its source are in the plan, and the wrapper is not another function's."""
    refused: list[str] = []
    frozen = freeze_call(DeclaredCall(function, {}), FunctionTable(), lambda message, _: refused.append(message))

    assert refused == [] and frozen is not None
    assert frozen.importable and frozen.declared and contract_of(function).declared
    assert (frozen.input_type, frozen.output_type) == ("numpy", "numpy")
    assert frozen.source_sha256 == source_sha256(function)
    assert len({source_sha256(other) for other in BUILT_INS}) == len(BUILT_INS)


def test_the_source_digest_is_the_same_in_every_process() -> None:
    """Wrapped or not: workers compare it."""
    code = (
        "from openhcs_engine.functions import stack_percentile_normalize as function\n"
        "from openhcs_engine.plan.function_reference import source_sha256\n"
        "print(source_sha256(function))"
    )

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240)

    assert told.stdout.strip() == source_sha256(stack_percentile_normalize)


def test_numpy_stacks_load_no_array_library() -> None:
    """Nor anything else of weight: SciPy and scikit-image come with the functions that need them."""
    code = (
        "import sys, numpy as np\n"
        "from openhcs_engine.functions import stack_percentile_normalize, create_max_projection, denoise_images\n"
        "stack = np.ones((2, 8, 8), np.uint16)\n"
        "before = set(sys.modules)\n"
        "create_max_projection(stack_percentile_normalize(denoise_images(stack)))\n"
        "heavy = {'torch', 'tensorflow', 'jax', 'cupy', 'pyclesperanto', 'scipy', 'skimage', 'zarr'}\n"
        "print(len(set(sys.modules) - before), *sorted(heavy & set(sys.modules)))"
    )

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240)

    assert told.stdout.split() == ["0"]
