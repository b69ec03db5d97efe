"""The TensorFlow adapter: capsules, aliases, devices, and what is no array."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from openhcs_engine.errors import PixelValueError
from openhcs_engine.memory.conversion.aligned import address_of, empty_aligned
from openhcs_engine.memory.conversion.dtype import restore_dtype
from openhcs_engine.memory.devices import find_inventory
from openhcs_engine.memory.libraries import library
from openhcs_engine.memory.libraries.tensorflow import TensorFlowLibrary, cast_on_device
from openhcs_engine.memory.loading import load_framework
from tests.engine.cast_law import PAIRS, TELLING_PAIRS, assert_cast_as_by_law, awkward_stack

LIBRARY = TensorFlowLibrary()


@pytest.fixture(scope="module", autouse=True)
def tf() -> Any:
    """The module; loaded in the order that OpenCL survives."""
    if not LIBRARY.installed():
        pytest.skip("tensorflow is not installed")
    return load_framework("tensorflow")


@pytest.mark.parametrize(("source", "wanted"), PAIRS)
def test_casts_follow_the_one_law(source: str, wanted: str) -> None:
    """Every dtype to every dtype, as restore_dtype does it."""
    assert_cast_as_by_law(LIBRARY, LIBRARY.cast, source, wanted)


@pytest.mark.parametrize(("source", "wanted"), TELLING_PAIRS)
def test_gpus_follow_the_same_law(source: str, wanted: str) -> None:
    """What runs on a GPU is made of TensorFlow's own operations; on the CPU they give what NumPy gives."""
    assert_cast_as_by_law(LIBRARY, cast_on_device, source, wanted)


def test_bfloat16_results_become_pixels(tf: Any) -> None:
    """bfloat16, which NumPy lacks, is rounded and clipped as any float."""
    result = tf.constant([[0.5, 1.5, -3, 1e6]], tf.bfloat16)

    assert LIBRARY.facts(result).dtype == "bfloat16"
    assert LIBRARY.to_host(LIBRARY.cast(result, "uint16")).tolist() == [[0, 2, 0, 65535]]
    assert LIBRARY.to_host(cast_on_device(result, "uint16")).tolist() == [[0, 2, 0, 65535]]
    assert LIBRARY.facts(LIBRARY.cast(LIBRARY.cast(result, "float32"), "bfloat16")).dtype == "bfloat16"


def test_nan_has_no_place_among_integers(tf: Any) -> None:
    """A NaN is refused for integers, and kept by other floats."""
    result = tf.constant([1.0, np.nan])

    for cast in (LIBRARY.cast, cast_on_device):
        with pytest.raises(PixelValueError, match="NaN"):
            cast(result, "uint16")
    assert np.isnan(LIBRARY.to_host(LIBRARY.cast(result, "float64"))[1])


@pytest.mark.parametrize("dtype", sorted(LIBRARY.dtypes - {"bfloat16"}))
def test_arrays_are_shared_both_ways(dtype: str) -> None:
    """From the host and back without a copy; the way back is read-only, as TensorFlow's tensors are immutable."""
    stack = empty_aligned((2, 8, 8), dtype)
    stack[...] = 1
    tensor = LIBRARY.from_host(stack, "cpu")
    back = LIBRARY.to_host(tensor)

    facts = LIBRARY.facts(tensor)
    assert facts.pointer == address_of(stack) == address_of(back)
    assert not back.flags.writeable
    assert (facts.dtype, facts.shape, facts.nbytes, facts.device) == (dtype, (2, 8, 8), stack.nbytes, "cpu")


def test_a_copy_is_one(tf: Any) -> None:
    """A copy stays as it was when the memory that its source shared is written to; ``tf.identity`` would not."""
    stack = empty_aligned((2, 8, 8), "uint16")
    stack[...] = 1
    tensor = LIBRARY.from_host(stack, "cpu")
    copy, identity = LIBRARY.copy(tensor), tf.identity(tensor)
    stack[...] = 2

    assert LIBRARY.to_host(copy).max() == 1
    assert LIBRARY.to_host(identity).max() == 2


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "uint64", "float16", "bfloat16", "complex64"])
def test_a_copy_has_memory_of_its_own(dtype: str, tf: Any) -> None:
    """Of whatever dtype, also of one that NumPy lacks."""
    tensor = tf.cast(tf.constant([[0, 1], [1, 1]]), dtype)

    copy = LIBRARY.copy(tensor)

    assert LIBRARY.facts(copy).dtype == dtype
    assert LIBRARY.facts(copy).pointer != LIBRARY.facts(tensor).pointer
    assert bool(tf.reduce_all(copy == tensor))


def test_other_libraries_take_a_tensor_whatever_they_ask_for() -> None:
    """TensorFlow itself refuses every argument of the protocol; what it gives here refuses a copy only."""
    stack = empty_aligned((2, 8, 8), "uint16")
    tensor = LIBRARY.from_host(stack, "cpu")

    with pytest.raises(RuntimeError, match="stream"):
        tensor.__dlpack__(stream=1)
    exporter = LIBRARY.to_dlpack(tensor)

    assert address_of(np.from_dlpack(exporter)) == address_of(stack)
    assert exporter.__dlpack_device__() == (1, 0)
    assert type(exporter.__dlpack__(stream=1, max_version=(1, 0), dl_device=(1, 0), copy=False)).__name__ == "PyCapsule"
    with pytest.raises(BufferError, match="shared"):
        exporter.__dlpack__(copy=True)
    with pytest.raises(BufferError, match="shared"):
        exporter.__dlpack__(dl_device=(2, 0))


def test_what_cannot_be_shared_is_an_error_that_converters_expect() -> None:
    """Strided memory and read-only memory: BufferError, never a wrong tensor."""
    stack = empty_aligned((4, 8, 8), "uint16")
    frozen = stack.copy()
    frozen.flags.writeable = False

    for array in (stack[:, ::2], frozen):
        with pytest.raises(BufferError):
            LIBRARY.from_dlpack(array, "cpu")


def test_what_is_no_array_is_recognised_and_refused(tf: Any) -> None:
    """Variables, ragged, sparse, symbolic, text and quantized tensors are TensorFlow's; they have no pointer."""
    seen: list[Any] = []

    def note(tensor: Any) -> Any:
        seen.append((LIBRARY.owns(tensor), LIBRARY.why_not_give(tensor), LIBRARY.facts(tensor).pointer))
        return tensor

    tf.function(note)(tf.zeros(3))
    for odd in (
        tf.Variable([1.0]),
        tf.ragged.constant([[1], [1, 2]]),
        tf.sparse.from_dense([[1, 0]]),
        tf.constant(["text"]),
        tf.quantization.quantize([0.5], 0.0, 1.0, tf.quint8)[0],
    ):
        seen.append((LIBRARY.owns(odd), LIBRARY.why_not_give(odd), LIBRARY.facts(odd).pointer))

    assert [(owned, pointer) for owned, _, pointer in seen] == [(True, None)] * 6
    words = ("tracing", "variable", "pad", "sparse", "no numbers", "quantized")
    assert [word for word, (_, reason, _) in zip(words, seen, strict=True) if word not in reason] == []
    assert not LIBRARY.owns(np.zeros(3))


def test_synchronizing_and_releasing_leave_tensors_alone(tf: Any) -> None:
    """Both may be called at any time; TensorFlow says that it gives no memory back."""
    tensor = tf.fill((3, 3), 7)

    LIBRARY.synchronize("cpu")
    LIBRARY.release("cpu")

    assert LIBRARY.to_host(tensor).max() == 7
    assert not LIBRARY.releases_memory


SEVERAL_DEVICES = """
import numpy as np
from openhcs_engine.memory.conversion.aligned import empty_aligned
from openhcs_engine.memory.libraries import library
from openhcs_engine.memory.libraries.tensorflow import TensorFlowLibrary, cast_on_device
from openhcs_engine.memory.loading import load_framework

tf = load_framework("tensorflow")
library = TensorFlowLibrary()
library.settle()
assert tf.config.threading.get_intra_op_parallelism_threads() == 1
assert tf.config.threading.get_inter_op_parallelism_threads() == 1
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 3)

host = empty_aligned((4, 8, 8), "uint16")
host[...] = np.arange(256).reshape(4, 8, 8)
second = library.from_host(host, "cpu:2")
made = [second, library.copy(second), library.cast(second, "float32")]
devices = [library.facts(tensor).device for tensor in made]
assert devices == ["cpu:2"] * len(made), devices
with library.scope("cpu:1"):
    inside = tf.zeros(3)
assert library.facts(inside).device == "cpu:1"
assert library.facts(tf.zeros(3)).device == "cpu"
assert np.array_equal(library.to_host(library.cast(made[2], "uint16")), host)
library.settle()  # too late, and harmless
"""


def test_each_tensor_lies_on_the_device_that_it_was_sent_to() -> None:
    """With three devices cut from the CPU: uploads and results stay where they belong; one thread is settled."""
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL_DEVICES],
        env={"PYTHONPATH": ":".join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int32", "float16", "float32"])
def test_a_real_gpu_follows_the_law(dtype: str) -> None:
    """Upload, cast, download: device and address are known, and values are those of restore_dtype."""
    if (reason := find_inventory().why_no_gpu()) is not None:
        pytest.skip(reason)
    if not load_framework("tensorflow").config.list_physical_devices("GPU"):
        pytest.skip("this build of tensorflow sees no GPU")
    stack = awkward_stack("float32")
    with np.errstate(all="ignore"):
        expected = restore_dtype(stack, np.dtype(dtype))

    with LIBRARY.scope("gpu:0"):
        array = LIBRARY.from_host(stack, "gpu:0")
        result = LIBRARY.cast(array, dtype)
        copy = LIBRARY.copy(result)
    LIBRARY.synchronize("gpu:0")

    assert [LIBRARY.facts(each).device for each in (array, result, copy)] == ["gpu:0"] * 3
    assert LIBRARY.facts(copy).pointer not in (None, 0, LIBRARY.facts(result).pointer)
    np.testing.assert_array_equal(LIBRARY.to_host(copy), expected)


@pytest.mark.gpu
def test_a_real_gpu_hands_over_to_torch_and_back(tf: Any) -> None:
    """torch asks for a stream, which TensorFlow refuses; the adapter waits instead. Both see the same memory."""
    if (reason := find_inventory().why_no_gpu() or library("torch").why_not()) is not None:
        pytest.skip(reason)
    torch = load_framework("torch")
    if not (torch.cuda.is_available() and tf.config.list_physical_devices("GPU")):
        pytest.skip("torch or tensorflow is built without GPU support")
    with LIBRARY.scope("gpu:0"):
        tensor = tf.ones((1024, 1024)) * 2

    shared = library("torch").from_dlpack(LIBRARY.to_dlpack(tensor), "gpu:0")
    back = LIBRARY.from_dlpack(shared, "gpu:0")

    assert LIBRARY.facts(tensor).pointer == shared.data_ptr() == LIBRARY.facts(back).pointer
    assert float((shared - 2).abs().max()) == 0
    assert LIBRARY.to_host(back).min() == 2
