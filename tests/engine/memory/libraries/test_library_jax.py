"""The JAX adapter: 64-bit types, aliases, devices, and what is no array."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from openhcs_engine.errors import PixelValueError
from openhcs_engine.memory.conversion.aligned import address_of, empty_aligned
from openhcs_engine.memory.conversion.dtype import restore_dtype
from openhcs_engine.memory.devices import find_inventory
from openhcs_engine.memory.libraries.jax import WIDE, JaxLibrary, cast_on_device
from openhcs_engine.memory.loading import load_framework
from tests.engine.cast_law import PAIRS, TELLING_PAIRS, assert_cast_as_by_law, awkward_stack

pytest.importorskip("jax", reason="jax is not installed")

LIBRARY = JaxLibrary()
LARGE = 2**40 + 1
"""Changes when it is made 32 bits wide."""


@pytest.fixture
def jax() -> Any:
    """The module."""
    return load_framework("jax")


def large_numbers() -> Any:
    """An int64 stack (3, 4, 16) that JAX would narrow."""
    stack = empty_aligned((3, 4, 16), "int64")
    stack[...] = LARGE
    return stack


@pytest.mark.parametrize(("source", "wanted"), PAIRS)
def test_casts_follow_the_one_law(source: str, wanted: str) -> None:
    """Every dtype to every dtype, as restore_dtype does it, 64-bit ones included."""
    assert_cast_as_by_law(LIBRARY, LIBRARY.cast, source, wanted)


@pytest.mark.parametrize(("source", "wanted"), TELLING_PAIRS)
def test_gpus_follow_the_same_law(source: str, wanted: str) -> None:
    """What runs on a GPU is made of JAX's own operations; on the CPU they give what NumPy gives."""
    assert_cast_as_by_law(LIBRARY, cast_on_device, source, wanted)


def test_bfloat16_results_become_pixels(jax: Any) -> None:
    """bfloat16, which NumPy lacks, is rounded and clipped as any float."""
    result = jax.numpy.array([[0.5, 1.5, -3, 1e6]], jax.numpy.bfloat16)

    assert LIBRARY.facts(result).dtype == "bfloat16"
    assert LIBRARY.to_host(LIBRARY.cast(result, "uint16")).tolist() == [[0, 2, 0, 65535]]
    assert LIBRARY.to_host(cast_on_device(result, "uint16")).tolist() == [[0, 2, 0, 65535]]
    assert LIBRARY.facts(LIBRARY.cast(LIBRARY.cast(result, "float32"), "bfloat16")).dtype == "bfloat16"


def test_nan_has_no_place_among_integers(jax: Any) -> None:
    """A NaN is refused for integers, and kept by other floats."""
    result = jax.numpy.array([1.0, np.nan])

    for cast in (LIBRARY.cast, cast_on_device):
        with pytest.raises(PixelValueError, match="NaN"):
            cast(result, "uint16")
    assert np.isnan(LIBRARY.to_host(LIBRARY.cast(result, "float64"))[1])


def test_64_bit_types_are_refused_until_they_are_enabled(jax: Any) -> None:
    """Outside of the scope the refusal names the setting; inside nothing is refused; other dtypes change nothing."""
    for dtype in sorted(WIDE):
        assert "jax_enable_x64" in str(LIBRARY.why_not_hold((2, 2), dtype))
        with LIBRARY.keeping(dtype):
            assert LIBRARY.why_not_hold((2, 2), dtype) is None
            assert jax.numpy.arange(3).dtype == "int64"
    with LIBRARY.keeping("uint16"):
        assert jax.numpy.arange(3).dtype == "int32"
    assert LIBRARY.why_not_hold((2, 2), "uint16") is None


def test_the_adapter_never_narrows() -> None:
    """Whatever it does with an int64 array while 64-bit types are off: the values stay."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        array = LIBRARY.from_host(large_numbers(), "cpu")
        results = {
            "from_dlpack": LIBRARY.from_dlpack(large_numbers(), "cpu"),
            "copy": LIBRARY.copy(array),
            "cast": LIBRARY.cast(LIBRARY.cast(array, "float64"), "int64"),
        }

    for name, result in results.items():
        assert LIBRARY.facts(result).dtype == "int64", name
        assert np.unique(LIBRARY.to_host(result)).tolist() == [LARGE], name


def test_an_aligned_array_is_shared_both_ways() -> None:
    """From the host and back without a copy; the way back is read-only."""
    stack = empty_aligned((2, 8, 8), "uint16")
    array = LIBRARY.from_host(stack, "cpu")
    back = LIBRARY.to_host(array)

    assert LIBRARY.facts(array).pointer == address_of(stack) == address_of(back)
    assert not back.flags.writeable
    assert (LIBRARY.facts(array).device, LIBRARY.facts(array).nbytes) == ("cpu", stack.nbytes)


def test_a_copy_is_one() -> None:
    """A copy stays as it was when the memory that its source shared is written to."""
    stack = empty_aligned((2, 8, 8), "uint16")
    stack[...] = 1
    array = LIBRARY.from_host(stack, "cpu")
    copy = LIBRARY.copy(array)
    stack[...] = 2

    assert LIBRARY.to_host(copy).max() == 1
    assert LIBRARY.facts(copy).pointer != LIBRARY.facts(array).pointer


def test_values_are_there_before_they_are_handed_over(jax: Any) -> None:
    """On the CPU JAX computes behind one's back; what another library gets is finished."""
    result = jax.jit(lambda x: (x @ x).astype("int32"))(jax.numpy.ones((600, 600)))

    shared = np.from_dlpack(LIBRARY.to_dlpack(result))

    assert result.is_ready()
    assert np.unique(shared).tolist() == [600]


def test_what_is_no_array_is_recognised_and_refused(jax: Any) -> None:
    """Traced, random, and deleted arrays are JAX's own, with a reason and without a pointer."""
    seen: list[tuple[bool, str | None, int | None]] = []

    def note(array: Any) -> Any:
        seen.append((LIBRARY.owns(array), LIBRARY.why_not_give(array), LIBRARY.facts(array).pointer))
        return array

    jax.jit(note)(jax.numpy.zeros(3))
    note(jax.random.key(0))
    deleted = jax.numpy.zeros(3)
    deleted.delete()
    note(deleted)

    assert [(owned, pointer) for owned, _, pointer in seen] == [(True, None)] * 3
    reasons = [str(reason) for _, reason, _ in seen]
    assert "tracing" in reasons[0]
    assert "key_data" in reasons[1]
    assert "deleted" in reasons[2]
    assert not LIBRARY.owns(np.zeros(3))


def test_synchronizing_and_releasing_leave_arrays_alone(jax: Any) -> None:
    """Both may be called at any time; a deleted array does not disturb them."""
    array = LIBRARY.from_host(large_numbers(), "cpu")
    jax.numpy.zeros(3).delete()

    LIBRARY.synchronize("cpu")
    LIBRARY.release("cpu")

    assert LIBRARY.to_host(array).max() == LARGE
    assert not LIBRARY.releases_memory


@dataclass
class PaperArray:
    """An array whose computation failed, or that another thread deletes while it is waited for."""

    device: Any
    deleted_meanwhile: bool

    def devices(self) -> set[Any]:
        """One."""
        return {self.device}

    def block_until_ready(self) -> None:
        """Fails as JAX's arrays do."""
        raise RuntimeError("Array has been deleted" if self.deleted_meanwhile else "INTERNAL: the kernel failed")

    def is_deleted(self) -> bool:
        """Whether it is."""
        return self.deleted_meanwhile


def test_failures_on_a_device_are_told_by_waiting(monkeypatch: pytest.MonkeyPatch, jax: Any) -> None:
    """JAX computes later; so its errors come when somebody waits. Deleted arrays, and other devices, do not matter."""
    here, elsewhere = jax.local_devices()[0], object()
    arrays = [PaperArray(here, deleted_meanwhile=True), PaperArray(elsewhere, deleted_meanwhile=False)]
    monkeypatch.setattr(jax, "live_arrays", lambda: arrays)

    LIBRARY.synchronize("cpu")
    arrays.append(PaperArray(here, deleted_meanwhile=False))

    with pytest.raises(RuntimeError, match="the kernel failed"):
        LIBRARY.synchronize("cpu")


SEVERAL_DEVICES = """
import numpy as np
from openhcs_engine.memory.conversion.aligned import empty_aligned
from openhcs_engine.memory.libraries.jax import JaxLibrary
import jax

library = JaxLibrary()
host = empty_aligned((4, 8, 8), "uint16")
host[...] = np.arange(256).reshape(4, 8, 8)
third = library.from_host(host, "cpu:3")
made = [
    third, library.copy(third), library.cast(third, "float32"), jax.jit(lambda x: x + 1)(third),
]
assert [library.facts(array).device for array in made] == ["cpu:3"] * len(made), made
with library.scope("cpu:5"):
    inside = jax.numpy.zeros(3)
    elsewhere = third * 2
assert library.facts(inside).device == "cpu:5"
assert library.facts(elsewhere).device == "cpu:3"
assert library.facts(jax.numpy.zeros(3)).device == "cpu"

moved = library.from_host(library.to_host(elsewhere), "cpu:6")
assert library.facts(moved).device == "cpu:6"
assert np.array_equal(library.to_host(moved), host * 2)
host[...] = 0
assert library.to_host(moved).max() == 510
for number in range(8):
    library.synchronize(f"cpu:{number}")

mesh = jax.make_mesh((4,), ("planes",))
spread = jax.device_put(moved, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("planes")))
assert "spread over 4 devices" in library.why_not_give(spread)
assert library.facts(spread).pointer is None
"""


def test_each_array_lies_on_the_device_that_it_was_sent_to() -> None:
    """With eight devices cut from the CPU: uploads and results stay where they belong; spread arrays are refused."""
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL_DEVICES],
        env={"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "PYTHONPATH": ":".join(sys.path)},
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
    if not any(device.platform == "gpu" for device in load_framework("jax").local_devices()):
        pytest.skip("this build of jax sees no GPU")
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
