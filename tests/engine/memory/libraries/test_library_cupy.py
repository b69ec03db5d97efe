"""The CuPy adapter: its refusal where no GPU is, its calls against a CuPy of paper, and real ones on a GPU."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from openhcs_engine.errors import PixelValueError
from openhcs_engine.memory.conversion.aligned import empty_aligned
from openhcs_engine.memory.conversion.dtype import restore_dtype
from openhcs_engine.memory.devices import find_inventory
from openhcs_engine.memory.libraries.casting import cast_array, numpy_like
from openhcs_engine.memory.libraries.cupy import CupyLibrary
from openhcs_engine.memory.loading import load_framework
from tests.engine.cast_law import PAIRS, awkward_stack

LIBRARY = CupyLibrary()


def test_without_a_gpu_it_says_so_in_the_inventorys_words() -> None:
    """CuPy has no CPU device; the sentence is the inventory's own."""
    reason = find_inventory().why_no_gpu()
    if reason is None:
        pytest.skip("this host has a GPU")
    if not LIBRARY.installed():
        pytest.skip("cupy is not installed")

    assert LIBRARY.why_not() == f"CuPy needs a GPU. {reason}"
    assert (LIBRARY.needs_gpu, LIBRARY.has_cpu) == (True, False)


def test_where_it_is_not_installed_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setattr(CupyLibrary, "installed", lambda _: False)

    assert LIBRARY.why_not() == "cupy is not installed (pip install 'openhcs-dagster[cupy]')."


def test_it_constructs_without_a_gpu_what_can_be_constructed() -> None:
    """Import, devices, pools and the error of a full GPU need no driver; the adapter relies on them."""
    cupy = pytest.importorskip("cupy", reason="cupy is not installed")

    assert cupy.cuda.Device(0).id == 0
    assert hasattr(cupy.get_default_memory_pool(), "free_all_blocks")
    assert hasattr(cupy.get_default_pinned_memory_pool(), "free_all_blocks")
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
    assert callable(cupy.cuda.Stream.from_external)
    assert hasattr(cupy.cuda.Stream, "__cuda_stream__")


@pytest.mark.parametrize(("source", "wanted"), PAIRS)
def test_casts_follow_the_one_law(source: str, wanted: str) -> None:
    """The operations that CuPy shares with NumPy, run by NumPy, are the law of restore_dtype."""
    stack = awkward_stack(source)
    with np.errstate(all="ignore"):
        expected = restore_dtype(stack, np.dtype(wanted))
        result = cast_array(numpy_like(np), stack, source, wanted)

    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(("source", "wanted"), [("complex64", "uint8"), ("float32", "complex64"), ("key<fry>", "int8")])
def test_what_is_no_real_number_is_not_cast(source: str, wanted: str) -> None:
    """Complex and unknown dtypes are refused by name."""
    with pytest.raises(PixelValueError, match=f"{source} values cannot become {wanted}"):
        cast_array(numpy_like(np), np.zeros(3), source, wanted)


class PaperArray(np.ndarray):
    """An array that believes to lie on the GPU that was current when it was made."""

    _current = 0

    def __array_finalize__(self, base: object) -> None:
        self.index = getattr(base, "index", PaperArray._current)

    @property
    def device(self) -> Any:
        """As CuPy's arrays have it."""
        return PaperDevice(self.index)

    @property
    def data(self) -> Any:
        """As CuPy's arrays have it."""
        return SimpleNamespace(ptr=self.__array_interface__["data"][0])


PaperArray.__module__ = "cupy"
PaperArray.__cuda_array_interface__ = {}  # type: ignore[attr-defined]


class PaperDevice:
    """A GPU on paper; current within its block."""

    def __init__(self, index: int) -> None:
        self.id = index

    def __enter__(self) -> None:
        self.before, PaperArray._current = PaperArray._current, self.id

    def __exit__(self, *_: object) -> None:
        PaperArray._current = self.before


def _made(array: Any) -> Any:
    made = np.array(array).view(PaperArray)
    made.index = PaperArray._current
    return made


@pytest.fixture
def paper_cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module in CuPy's place that computes with NumPy and notes the device."""
    module = ModuleType("cupy")
    vars(module).update(
        rint=np.rint,
        isnan=np.isnan,
        clip=np.clip,
        where=lambda *of: _made(np.where(*of)),
        asarray=lambda array, dtype=None, blocking=False: _made(np.asarray(array, dtype)),
        from_dlpack=lambda exporter: _made(np.from_dlpack(exporter)),
        asnumpy=np.array,
        concatenate=lambda arrays: _made(np.concatenate(arrays)),
        stack=lambda arrays: _made(np.stack(arrays)),
        count_nonzero=np.count_nonzero,
        cuda=SimpleNamespace(Device=PaperDevice),
    )
    monkeypatch.setitem(sys.modules, "cupy", module)
    yield module
    assert PaperArray._current == 0


@pytest.mark.usefixtures("paper_cupy")
def test_everything_happens_on_the_arrays_own_gpu() -> None:
    """Uploads go to the GPU that is asked for; what is made of an array stays on its GPU, whichever is current."""
    host = empty_aligned((4, 8, 8), "uint16")
    host[...] = np.arange(256).reshape(4, 8, 8)
    first = LIBRARY.from_host(host, "gpu:1")
    made = {
        "upload": first,
        "dlpack": LIBRARY.from_dlpack(host, "gpu:1"),
        "interface": LIBRARY.from_cuda_array(host, "gpu:1"),
        "copy": LIBRARY.copy(first),
        "cast": LIBRARY.cast(first, "float32"),
    }

    assert {name: LIBRARY.facts(array).device for name, array in made.items()} == dict.fromkeys(made, "gpu:1")
    assert all(LIBRARY.owns(array) for array in made.values())
    np.testing.assert_array_equal(LIBRARY.to_host(made["copy"]), host)
    np.testing.assert_array_equal(LIBRARY.to_host(LIBRARY.cast(made["cast"], "uint8")), np.clip(host, 0, 255))
    assert LIBRARY.facts(made["copy"]).pointer != LIBRARY.facts(first).pointer
    assert not LIBRARY.owns(host)


@pytest.fixture
def gpu() -> str:
    """A GPU that CuPy can use; skips in the inventory's words."""
    if (reason := find_inventory().why_no_gpu() or LIBRARY.why_not()) is not None:
        pytest.skip(reason)
    return "gpu:0"


@pytest.mark.gpu
@pytest.mark.parametrize("source", sorted({source for source, _ in PAIRS}))
def test_a_real_gpu_follows_the_law(gpu: str, source: str) -> None:
    """Upload, cast to every dtype, download: as restore_dtype does it."""
    stack = awkward_stack(source)
    array = LIBRARY.from_host(stack, gpu)
    np.testing.assert_array_equal(LIBRARY.to_host(array), stack)

    for wanted in sorted({wanted for _, wanted in PAIRS}):
        with np.errstate(all="ignore"):
            expected = restore_dtype(stack, np.dtype(wanted))
        with LIBRARY.scope(gpu):
            result = LIBRARY.to_host(LIBRARY.cast(array, wanted))
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected, err_msg=wanted)


@pytest.mark.gpu
def test_a_real_gpu_gives_and_takes_without_a_copy(gpu: str) -> None:
    """DLPack and the CUDA array interface keep the address; the facts name the GPU."""
    array = LIBRARY.from_host(awkward_stack("float32"), gpu)
    cupy = load_framework("cupy")

    shared = LIBRARY.from_dlpack(LIBRARY.to_dlpack(array), gpu)
    interface = LIBRARY.from_cuda_array(SimpleNamespace(__cuda_array_interface__=array.__cuda_array_interface__), gpu)

    assert LIBRARY.facts(shared).pointer == LIBRARY.facts(interface).pointer == LIBRARY.facts(array).pointer
    assert LIBRARY.facts(array).device == gpu
    assert cupy.all(shared == array)
    LIBRARY.synchronize(gpu)
    LIBRARY.release(gpu)
