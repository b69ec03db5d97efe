"""Arrays between libraries: every pair, dtype and layout; who shares memory with whom, and who may write."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from openhcs_engine.errors import LibraryUnavailableError, MemoryConversionError
from openhcs_engine.memory import Conversion, MemoryType, convert
from openhcs_engine.memory.conversion.aligned import address_of, copy_aligned, empty_aligned
from openhcs_engine.memory.conversion.routes import ROUTES, Route
from openhcs_engine.memory.devices import find_inventory
from openhcs_engine.memory.libraries import LIBRARIES, library
from openhcs_engine.memory.libraries.contract import AnyArray
from tests.engine.array_layouts import DTYPES, LAYOUTS, plain

PAIRS = tuple(product(MemoryType, MemoryType))
IN_HOST_MEMORY = (MemoryType.NUMPY, MemoryType.TORCH, MemoryType.TENSORFLOW, MemoryType.JAX)
"""Libraries that can share the host's memory."""

CLE_DTYPES = {"uint8", "uint16", "uint32", "int8", "int16", "int32", "float32"}


@pytest.fixture(autouse=True)
def _wide_jax() -> Iterator[None]:
    """64-bit types in JAX, as the engine enables them where a plan has such stacks."""
    with wide_jax():
        yield


@contextmanager
def wide_jax() -> Iterator[None]:
    """Where JAX is installed, 64-bit types in it."""
    adapter = LIBRARIES[MemoryType.JAX]
    if not adapter.installed():
        yield
        return
    with adapter.keeping("int64"):
        yield


def skip_without(*memory_types: MemoryType) -> None:
    """Skip, in the adapter's or the inventory's own words, where a library cannot work."""
    for memory_type in memory_types:
        if (reason := library(memory_type).why_not()) is not None:
            pytest.skip(reason)


def as_source(host: np.ndarray, memory_type: MemoryType) -> AnyArray:
    """A NumPy array as the library's own array, with its layout as far as the library knows it."""
    adapter = library(memory_type)
    if memory_type is MemoryType.NUMPY:
        return host
    strided = adapter.borrows_strided and host.dtype.isnative and host.flags.writeable and host.flags.aligned
    return adapter.from_host(host if strided and min(host.strides, default=0) >= 0 else copy_aligned(host), "cpu")


def why_impossible(host: np.ndarray, memory_type: MemoryType) -> str | None:
    """What a refusal must say if the library has no such array; None if it must have one."""
    if memory_type is not MemoryType.PYCLESPERANTO:
        return None
    if host.dtype.name not in CLE_DTYPES:
        return f"no arrays of {host.dtype.name}"
    return {0: "without dimensions", 5: "more than 3"}.get(host.ndim, None if host.size else "without elements")


def values(conversion: Conversion) -> np.ndarray:
    """What a conversion's array holds."""
    return library(conversion.target).to_host(conversion.array)


def shares_memory(source: AnyArray, conversion: Conversion) -> bool:
    """Whether writing to one would change the other; as NumPy sees both."""
    return np.may_share_memory(library(conversion.source).to_host(source), values(conversion))


@pytest.mark.parametrize(
    ("source", "target"),
    [pair for pair in PAIRS if MemoryType.CUPY not in pair],
    ids=lambda memory_type: memory_type.value,
)
def test_every_dtype_and_layout_arrives_or_is_refused(source: MemoryType, target: MemoryType) -> None:
    """The same values, shape and dtype, and the truth about copies; or a sentence with the reason."""
    skip_without(source, target)
    arrived = 0
    for dtype, (layout, make) in product(DTYPES, LAYOUTS.items()):
        host, where = make(dtype), f"{dtype}, {layout}"
        if why_impossible(host, source) is not None:
            continue
        array = as_source(host, source)
        if (reason := why_impossible(host, target)) is not None:
            with pytest.raises(MemoryConversionError, match=reason):
                convert(array, target)
            continue

        conversion = convert(array, target)

        found, arrived = values(conversion), arrived + 1
        assert library(target).owns(conversion.array), where
        assert (found.dtype.name, found.shape) == (dtype, host.shape), where
        np.testing.assert_array_equal(found, host, err_msg=where)
        assert (conversion.dtype, conversion.nbytes) == (dtype, host.nbytes), where
        assert conversion.zero_copy == (conversion.copied is None), where
        if host.size and source in IN_HOST_MEMORY and target in IN_HOST_MEMORY:
            assert conversion.zero_copy == shares_memory(array, conversion), where
    assert arrived >= len(CLE_DTYPES)


@pytest.mark.parametrize(("source", "target"), list(permutations(IN_HOST_MEMORY, 2)))
@pytest.mark.parametrize("dtype", DTYPES)
def test_libraries_in_the_hosts_memory_share_what_is_handed_over(
    source: MemoryType, target: MemoryType, dtype: str
) -> None:
    """An aligned stack goes from any of the four to any other without a copy, at the same address."""
    skip_without(source, target)
    array = as_source(plain(dtype), source)

    conversion = convert(array, target, give=True)

    assert conversion.describe() == f"{source} -> {target}: DLPack, zero copy"
    assert library(source).facts(array).pointer == address_of(values(conversion))


@pytest.mark.parametrize("memory_type", MemoryType)
def test_the_same_library_hands_back_the_array_itself(memory_type: MemoryType) -> None:
    """No new object, no new memory."""
    skip_without(memory_type)
    array = as_source(plain("uint16"), memory_type)

    conversion = convert(array, memory_type)

    assert conversion.array is array
    assert conversion.zero_copy
    assert conversion.describe() == f"{memory_type} -> {memory_type}: same"


def test_what_is_written_to_one_name_is_read_under_the_other() -> None:
    """NumPy to torch and back without a copy: one memory with three names."""
    skip_without(MemoryType.TORCH)
    host = plain("uint16")
    tensor = convert(host, "torch").array
    back = convert(tensor, "numpy").array

    host[1, 2, 3] = 999

    assert int(tensor[1, 2, 3]) == 999 == back[1, 2, 3]


@pytest.mark.parametrize("give", [False, True])
@pytest.mark.parametrize("layout", ["read-only", "one plane broadcast"])
def test_a_frozen_array_cannot_be_written_to_through_torch(layout: str, give: bool) -> None:
    """torch knows no read-only memory; so it gets a copy, even of an array that is given away."""
    skip_without(MemoryType.TORCH)
    frozen = LAYOUTS[layout]("uint16")
    before = frozen.copy()

    conversion = convert(frozen, MemoryType.TORCH, give=give)
    conversion.array.fill_(7)

    np.testing.assert_array_equal(frozen, before)
    assert conversion.copied in ("it is read-only", "its elements share memory")


@pytest.mark.parametrize("give", [False, True])
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("view", [lambda file: file, lambda file: np.asarray(file)[1:], lambda file: file[:, ::2]])
@pytest.mark.parametrize("target", [MemoryType.TORCH, MemoryType.NUMPY, MemoryType.PYCLESPERANTO])
def test_mapped_files_are_never_written_to(
    tmp_path: Path, target: MemoryType, view: Any, mode: str, give: bool
) -> None:
    """Neither the file nor the map changes, whatever view of it is converted, and whatever is done to the result."""
    skip_without(target)
    path = tmp_path / "raw.bin"
    plain("uint16").tofile(path)
    file: Any = np.memmap(path, np.uint16, mode, shape=(2, 3, 5))  # type: ignore[call-overload] # mode is a literal
    raw = path.read_bytes()

    conversion = convert(view(file), target, give=give)
    if target is MemoryType.TORCH:
        conversion.array.fill_(7)
    elif target is MemoryType.PYCLESPERANTO:
        conversion.array.fill(7)
    elif conversion.array.flags.writeable:
        conversion.array[...] = 7
    file.flush()

    assert path.read_bytes() == raw
    np.testing.assert_array_equal(file, plain("uint16"))


@pytest.mark.parametrize("source", [MemoryType.JAX, MemoryType.TENSORFLOW])
def test_immutable_arrays_stay_as_they_are(source: MemoryType) -> None:
    """torch gets a copy to write to, and shares only what is given away; NumPy gets a view that is read-only."""
    skip_without(source, MemoryType.TORCH)
    array = as_source(plain("uint16"), source)

    copy, shared = convert(array, "torch"), convert(array, "torch", give=True)
    view = convert(array, "numpy")
    copy.array.fill_(7)

    np.testing.assert_array_equal(library(source).to_host(array), plain("uint16"))
    assert copy.describe() == f"{source} -> torch: DLPack, copied ({source} arrays must not change)"
    assert shared.zero_copy and view.zero_copy
    with pytest.raises(ValueError, match="read-only"):
        view.array[...] = 7


def test_an_array_that_libraries_cannot_borrow_says_why_it_was_copied() -> None:
    """Each layout that one target cannot share has its clause; the other target shares what it can."""
    skip_without(MemoryType.TORCH, MemoryType.JAX)
    clauses = {
        "negative strides": ("its strides are negative", "its strides are negative"),
        "cropped": (None, "it is not C-contiguous"),
        "misaligned by 16 bytes": (None, "it does not start at a multiple of 64 bytes"),
        "the other byte order": ("its bytes are in the other order",) * 2,
        "at an odd address": ("its elements do not start at multiples of their size",) * 2,
        "one plane broadcast": ("its elements share memory",) * 2,
    }

    for layout, expected in clauses.items():
        host = LAYOUTS[layout]("uint16")
        assert tuple(convert(host, target).copied for target in ("torch", "jax")) == expected, layout


@settings(max_examples=60)
@given(
    array=hnp.arrays(
        st.sampled_from([np.dtype(name) for name in DTYPES]), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0)
    ),
    way=st.lists(st.sampled_from(IN_HOST_MEMORY), min_size=1, max_size=4),
)
def test_there_and_back_is_the_same(array: np.ndarray, way: list[MemoryType]) -> None:
    """Through any libraries and back to NumPy: every bit of every value, NaN and infinities included."""
    skip_without(*way)
    travelled: Any = array
    with wide_jax():
        for memory_type in way:
            travelled = convert(travelled, memory_type).array
        back = convert(travelled, MemoryType.NUMPY).array

    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()


@settings(max_examples=20)
@given(
    array=hnp.arrays(
        st.sampled_from([np.dtype(name) for name in sorted(CLE_DTYPES)]), hnp.array_shapes(max_dims=3, max_side=8)
    )
)
def test_opencl_memory_and_back_is_the_same(array: np.ndarray) -> None:
    """Up to an OpenCL device and down again: every bit of every value."""
    skip_without(MemoryType.PYCLESPERANTO)
    uploaded = convert(array, MemoryType.PYCLESPERANTO)

    back = convert(uploaded.array, MemoryType.NUMPY)

    assert (uploaded.route, uploaded.device, uploaded.zero_copy) == (Route.HOST, "opencl", False)
    assert back.array.tobytes() == array.tobytes()
    assert back.copied == "it lay in the memory of an OpenCL device"


@pytest.mark.parametrize("other", [known for known in MemoryType if known is not MemoryType.CUPY])
def test_cupy_is_refused_in_the_inventorys_words_without_a_gpu(other: MemoryType) -> None:
    """Nothing can become a CuPy array, and the error names the reason."""
    reason = find_inventory().why_no_gpu()
    if reason is None:
        pytest.skip("this host has a GPU")
    skip_without(other)

    with pytest.raises(LibraryUnavailableError) as caught:
        convert(as_source(plain("uint16"), other), "cupy")

    assert caught.value.library == "cupy"  # type: ignore[attr-defined]
    assert not library("cupy").installed() or reason in str(caught.value)


@pytest.mark.parametrize("target", [MemoryType.TORCH, MemoryType.TENSORFLOW, MemoryType.JAX])
def test_a_gpu_that_is_not_there_is_refused(target: MemoryType) -> None:
    """Asked for a device that the host lacks, no library falls back to another one in silence."""
    reason = find_inventory().why_no_gpu()
    if reason is None:
        pytest.skip("this host has a GPU")
    skip_without(target)

    with pytest.raises(MemoryConversionError) as caught:
        convert(plain("uint16"), target, device="gpu:0")

    assert reason in str(caught.value)


@pytest.mark.gpu
@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda memory_type: memory_type.value)
def test_gpu_arrays_arrive(source: MemoryType, target: MemoryType) -> None:
    """On one GPU: the same values; between libraries that speak DLPack without a copy."""
    if (reason := find_inventory().why_no_gpu()) is not None:
        pytest.skip(reason)
    skip_without(source, target)
    device = "cpu" if source is MemoryType.NUMPY else "gpu:0"
    array = library(source).from_host(plain("float32"), device)

    conversion = convert(array, target, device=None if target is MemoryType.NUMPY else "gpu:0", give=True)

    np.testing.assert_array_equal(values(conversion), plain("float32"))
    if not {source, target} & {MemoryType.NUMPY, MemoryType.PYCLESPERANTO}:
        assert conversion.zero_copy, conversion.describe()


def test_the_table_of_routes_is_whole() -> None:
    """Each of the 36 pairs has a way, the host's memory is the last resort, and nothing else leads to OpenCL."""
    assert {(source, target) for source in ROUTES for target in ROUTES[source]} == set(PAIRS)
    for source, target in PAIRS:
        routes = ROUTES[source][target]
        assert routes[-1] is Route.HOST
        assert (Route.SAME in routes) == (source is target)
        if source is not target and MemoryType.PYCLESPERANTO in (source, target):
            assert routes == (Route.HOST,)


def test_many_threads_convert_at_once() -> None:
    """Each gets its own values, whatever libraries the others are busy with."""
    present = [known for known in IN_HOST_MEMORY if library(known).why_not() is None]

    def round_trip(number: int) -> bool:
        host = empty_aligned((2, 16, 16), "int32")
        host[...] = number
        travelled = host
        for memory_type in present:
            travelled = convert(travelled, memory_type).array
        return bool((convert(travelled, "numpy").array == number).all())

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(round_trip, range(100)))
