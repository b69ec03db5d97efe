"""What cannot become another library's array, and what the error says; what can, although it looks odd."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import polars as pl
import pytest

from openhcs_engine.errors import LibraryUnavailableError, MemoryConversionError
from openhcs_engine.memory import MemoryType, convert
from openhcs_engine.memory.libraries import LIBRARIES, library
from openhcs_engine.memory.loading import load_framework
from tests.engine.array_layouts import plain


def module(memory_type: str) -> Any:
    """A library's module; skips where it cannot work."""
    adapter = library(memory_type)
    if (reason := adapter.why_not()) is not None:
        pytest.skip(reason)
    return load_framework(adapter.package)


def refused(array: Any, to: str) -> MemoryConversionError:
    """The error of a conversion that must fail."""
    with pytest.raises(MemoryConversionError) as caught:
        convert(array, to)
    return caught.value


@pytest.mark.parametrize("target", MemoryType)
@pytest.mark.parametrize(
    "what",
    [[[1, 2], [3, 4]], 3.5, np.float32(1), None, "stack", b"stack", memoryview(b"stack"), pl.Series([1, 2]), {"a": 1}],
    ids=lambda what: type(what).__name__,
)
def test_what_is_no_array_is_refused_with_the_list_of_arrays(what: object, target: MemoryType) -> None:
    """Lists, numbers, tables: the error names their type and all six libraries."""
    error = refused(what, target)

    assert type(what).__name__ in str(error)
    assert all(name in str(error) for name in MemoryType)
    assert error.target == target


def test_an_image_of_pillow_is_refused() -> None:
    """It has an array interface, and is none."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed").new("L", (4, 4))

    assert "numpy.asarray" in str(refused(image, "numpy"))


@pytest.mark.parametrize("target", ["torch", "tensorflow", "jax", "pyclesperanto"])
@pytest.mark.parametrize(
    "array",
    [
        np.zeros(3, object), np.zeros(3, [("x", "u2"), ("y", "f4")]), np.array(["a", "b"]), np.zeros(3, "M8[s]"),
        np.zeros(3, np.longdouble),
    ],
    ids=lambda array: str(array.dtype.name),
)  # fmt: skip
def test_arrays_of_other_things_than_numbers_are_refused(array: np.ndarray, target: str) -> None:
    """Objects, records, texts, times, and numbers that only NumPy has: the error names the dtype and what would do."""
    module(target)

    error = refused(array, target)

    assert array.dtype.name in error.reason
    assert "uint16" in error.reason


def test_a_field_of_records_is_an_array() -> None:
    """Numbers that lie between others arrive."""
    module("torch")
    records = np.zeros(4, [("x", "u1"), ("y", "u2")])
    records["y"] = [1, 2, 3, 4]

    conversion = convert(records["y"], "torch")

    assert conversion.array.tolist() == [1, 2, 3, 4]
    assert conversion.copied == "its elements do not start at multiples of their size"


@pytest.mark.parametrize("target", ["torch", "tensorflow", "jax", "pyclesperanto"])
def test_masked_arrays_are_refused(target: str) -> None:
    """No other library would know which values do not count; NumPy keeps the mask."""
    module(target)
    masked = np.ma.masked_greater(plain("uint16"), 20)

    assert "mask would be lost" in refused(masked, target).reason
    assert convert(masked, "numpy").array is masked


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_a_matrix_arrives_as_an_array() -> None:
    """A subclass that only multiplies otherwise has the same values."""
    module("torch")
    matrix = np.asmatrix(plain("float32")[0])

    conversion = convert(matrix, "torch")

    np.testing.assert_array_equal(conversion.array.numpy(), plain("float32")[0])


def test_tensors_with_gradients_arrive_without_them() -> None:
    """A network's output is an array; its memory is shared, its history stays behind."""
    torch = module("torch")
    tensor = torch.ones(2, 3, requires_grad=True) * 2

    conversion = convert(tensor, "numpy")

    assert conversion.array.tolist() == [[2, 2, 2], [2, 2, 2]]
    assert conversion.zero_copy
    assert tensor.requires_grad


@pytest.mark.parametrize("target", ["numpy", "tensorflow", "jax"])
def test_what_torch_only_noted_is_carried_out(target: str) -> None:
    """Conjugated and negated views have their values elsewhere than in memory: they are copied, and say so."""
    torch, _ = module("torch"), module(target)
    conjugated = torch.tensor([1 + 2j, 3 - 4j]).conj()
    negated = torch.tensor([1 + 2j, 3 - 4j]).conj().imag

    for tensor in (conjugated, negated):
        conversion = convert(tensor, target)
        np.testing.assert_array_equal(library(target).to_host(conversion.array), tensor.resolve_conj().resolve_neg())
        assert not conversion.zero_copy


def odd_tensors() -> dict[str, Any]:
    """Tensors that are no plain memory, by what the refusal says of them."""
    torch = module("torch")
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        fake = torch.ones(2, 2)
    ragged = [torch.ones(2), torch.ones(3)]
    return {
        "sparse": torch.eye(3).to_sparse(),
        "to_dense": torch.eye(3).to_sparse_csr(),
        "dequantize": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8),
        "no values": torch.ones(2, 2, device="meta"),
        "fake": fake,
        "differ in length": torch.nested.nested_tensor(ragged),
        "rows": torch.nested.nested_tensor(ragged, layout=torch.jagged),
    }


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("target", ["numpy", "tensorflow", "jax", "pyclesperanto"])
def test_tensors_that_are_no_plain_memory_are_refused(target: str) -> None:
    """Sparse, quantized, ragged and empty shells: each with what to call first; in torch they stay what they are."""
    module(target)

    for reason, tensor in odd_tensors().items():
        assert reason in refused(tensor, target).reason
        assert convert(tensor, "torch").array is tensor


@pytest.mark.parametrize("source", ["torch", "jax", "tensorflow"])
def test_bfloat16_goes_where_it_is_known(source: str) -> None:
    """From torch, JAX and TensorFlow to each other, also where memory cannot be shared; NumPy has no such dtype."""
    others = {"torch", "jax", "tensorflow"} - {source}
    modules = {name: module(name) for name in (source, *others)}
    module("pyclesperanto")
    tensor = modules["torch"].arange(64, dtype=modules["torch"].bfloat16)
    arrays = [convert(each, source).array for each in (tensor.reshape(8, 8), tensor[1:], tensor.reshape(8, 8).T)]

    for array, target in ((array, target) for array in arrays for target in others):
        conversion = convert(array, target)
        assert conversion.dtype == library(target).facts(conversion.array).dtype == "bfloat16"
        back = convert(conversion.array, "torch").array
        assert modules["torch"].equal(back, convert(array, "torch").array)
    for target in ("numpy", "pyclesperanto"):
        assert "bfloat16" in refused(arrays[0], target).reason


def test_tensorflows_other_tensors_are_refused() -> None:
    """Ragged and text tensors and variables: each with what to do instead."""
    tf = module("tensorflow")
    cases = {
        "differ in length": tf.ragged.constant([[1], [2, 3]]),
        "no numbers": tf.constant(["a", "b"]),
        "variable": tf.Variable([1.0, 2.0]),
        "sparse": tf.sparse.from_dense([[1, 0], [0, 1]]),
    }

    for reason, tensor in cases.items():
        assert reason in refused(tensor, "numpy").reason


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float64"])
@pytest.mark.parametrize("source", ["numpy", "torch", "tensorflow"])
def test_64_bit_numbers_are_refused_by_a_jax_that_would_narrow_them(source: str, dtype: str) -> None:
    """The error names the setting; with it the numbers arrive whole."""
    jax = module("jax")
    module(source)
    array = convert(plain(dtype), source).array

    assert "jax_enable_x64" in refused(array, "jax").reason
    with LIBRARIES[MemoryType.JAX].keeping(dtype):
        assert convert(array, "jax").array.dtype == dtype
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "uint64", "bool"])
def test_pyclesperanto_is_not_left_to_make_32_bits_of_more(dtype: str) -> None:
    """Its own push makes float32, int32 or uint8 of these in silence."""
    module("pyclesperanto")

    assert f"no arrays of {dtype}; cast it first" in refused(plain(dtype), "pyclesperanto").reason


def test_pyclesperanto_finds_only_the_devices_that_are_there() -> None:
    """An OpenCL device that nobody offers is refused; pyclesperanto itself would take another one."""
    module("pyclesperanto")

    with pytest.raises(LibraryUnavailableError, match="no OpenCL device for gpu:7"):
        convert(plain("uint16"), "pyclesperanto", device="gpu:7")


def test_numpy_works_in_the_hosts_memory_only() -> None:
    """Asked for a GPU it says so, whatever GPUs there are."""
    tensor = module("torch").ones(2)

    with pytest.raises(MemoryConversionError, match="leave the device out"):
        convert(tensor, "numpy", device="gpu:0")


def test_an_unknown_library_is_a_value_error() -> None:
    """A name that is none of the six."""
    with pytest.raises(ValueError, match="cucim"):
        convert(plain("uint16"), "cucim")


def test_the_error_survives_pickling() -> None:
    """Workers send it over a pipe: message and facts arrive."""
    error = pickle.loads(pickle.dumps(refused([1], "torch")))

    assert (error.source, error.target) == ("list", "torch")
    assert "numpy.asarray" in error.reason
