"""What every array library's adapter must do; subclass it and give it an adapter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from openhcs_engine.errors import PixelValueError
from openhcs_engine.memory.conversion.aligned import empty_aligned
from openhcs_engine.memory.conversion.cast_loss import Cast
from openhcs_engine.memory.conversion.dtype import restore_dtype
from openhcs_engine.memory.libraries import LIBRARIES, library_of
from openhcs_engine.memory.libraries.contract import ArrayLibrary

SHAPE = (4, 6, 16)
INF = float("inf")


@dataclass(frozen=True, kw_only=True)
class Law:
    """Values of one dtype, and what they become in another."""

    name: str
    given: str
    values: tuple[float, ...]
    wanted: str
    become: tuple[float, ...]


LAWS = (
    Law(name="halves go to the even number", given="float32", values=(0.5, 1.5, 2.5, 3.5), wanted="uint16",
        become=(0, 2, 2, 4)),
    Law(name="negative halves, too", given="float32", values=(-0.5, -1.5, -2.5), wanted="int16", become=(0, -2, -2)),
    Law(name="floats are clipped, never wrapped", given="float32", values=(-1, 65535.4, 65536, 1e30), wanted="uint16",
        become=(0, 65535, 65535, 65535)),
    Law(name="infinities are clipped", given="float32", values=(-INF, INF), wanted="int16", become=(-32768, 32767)),
    Law(name="nothing is stretched", given="float32", values=(0, 0.25, 1), wanted="uint8", become=(0, 0, 1)),
    Law(name="limits of 32 bits, which float32 lacks", given="float32", values=(2.0**31, -(2.0**31), 2.0**32),
        wanted="int32", become=(2**31 - 1, -(2**31), 2**31 - 1)),
    Law(name="integers are clipped", given="int32", values=(-5, 7, 70000), wanted="uint16", become=(0, 7, 65535)),
    Law(name="unsigned become signed", given="uint32", values=(7, 2**31, 2**32 - 1), wanted="int32",
        become=(7, 2**31 - 1, 2**31 - 1)),
    Law(name="int32 comes back to uint16", given="int32", values=(0, 1, 65535), wanted="uint16", become=(0, 1, 65535)),
    Law(name="integers become floats", given="uint16", values=(0, 1, 65535), wanted="float32", become=(0, 1, 65535)),
    Law(name="float64 to float32", given="float64", values=(0.5, 2.0**-30), wanted="float32", become=(0.5, 2.0**-30)),
    Law(name="limits of 64 bits, which float64 lacks", given="float64", values=(2.0**63, -(2.0**63), 2.0**64),
        wanted="int64", become=(2**63 - 1, -(2**63), 2**63 - 1)),
    Law(name="large int64", given="int64", values=(2**62 + 1, -(2**62)), wanted="uint64", become=(2**62 + 1, 0)),
    Law(name="large uint64", given="uint64", values=(2**64 - 1, 5), wanted="int64", become=(2**63 - 1, 5)),
    Law(name="float16", given="float16", values=(0.5, 1.5, 60000, INF), wanted="uint16", become=(0, 2, 60000, 65535)),
    Law(name="yes and no are 1 and 0", given="bool", values=(0, 1), wanted="uint8", become=(0, 1)),
    Law(name="numbers become yes and no", given="float32", values=(-3, 0.4, 0.6, 9), wanted="bool",
        become=(0, 0, 1, 1)),
)  # fmt: skip


class LibraryContract:
    """Inherited by the test class of each adapter."""

    device = "cpu"

    @pytest.fixture
    def adapter(self) -> Iterator[ArrayLibrary]:
        """The adapter; skips in its own words where it cannot work. 64-bit types are kept, as the engine has it."""
        adapter = self.make_adapter()
        if (reason := adapter.why_not()) is not None:
            pytest.skip(reason)
        with adapter.keeping("int64"):
            yield adapter

    def make_adapter(self) -> ArrayLibrary:
        """The adapter, perhaps of a library that cannot work here."""
        raise AssertionError("a subclass gives the adapter")

    @pytest.fixture
    def stack(self) -> np.ndarray:
        """An aligned uint16 stack in the host's memory; each value once."""
        stack = empty_aligned(SHAPE, "uint16")
        stack[...] = np.arange(stack.size).reshape(SHAPE)
        return stack

    def test_it_is_registered(self) -> None:
        """Under its own name, and every array is one library's only; asked without the library."""
        adapter = self.make_adapter()

        assert type(LIBRARIES[adapter.memory_type]) is type(adapter)
        assert not adapter.owns([1, 2])
        assert isinstance(adapter.installed(), bool)

    def test_it_knows_its_arrays(self, adapter: ArrayLibrary, stack: np.ndarray) -> None:
        """Shape, dtype, size and device, without looking at values; and nobody else claims the array."""
        array = adapter.from_host(stack, self.device)
        facts = adapter.facts(array)

        assert library_of(array) is LIBRARIES[adapter.memory_type]
        assert (facts.shape, facts.dtype, facts.nbytes) == (SHAPE, "uint16", stack.nbytes)
        assert facts.device in (self.device, "opencl")
        assert facts.writable is not adapter.immutable
        assert facts.contiguous
        assert adapter.why_not_give(array) is None

    def test_every_dtype_that_it_claims_comes_back(self, adapter: ArrayLibrary) -> None:
        """From the host and back: the same dtype and every value; what it refuses has a reason."""
        for dtype in sorted(adapter.dtypes - {"bfloat16"}):
            assert adapter.why_not_hold(SHAPE, dtype) is None
            host = empty_aligned(SHAPE, dtype)
            host[...] = np.arange(host.size).reshape(SHAPE) % (2 if dtype == "bool" else 127)
            back = adapter.to_host(adapter.from_host(host, self.device))
            assert back.dtype == dtype
            np.testing.assert_array_equal(back, host)
        assert "no arrays of object" in str(adapter.why_not_hold(SHAPE, "object"))

    def test_a_copy_shares_nothing(self, adapter: ArrayLibrary, stack: np.ndarray) -> None:
        """The source may change; the copy does not."""
        copy = adapter.copy(adapter.from_host(stack, self.device))
        before = stack.copy()

        stack[...] = 0

        np.testing.assert_array_equal(adapter.to_host(copy), before)

    @pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
    def test_casts_round_and_clip(self, adapter: ArrayLibrary, law: Law) -> None:
        """One law for all libraries."""
        if (reason := adapter.why_not_hold(SHAPE, law.given) or adapter.why_not_hold(SHAPE, law.wanted)) is not None:
            pytest.skip(reason)
        host = self._column(law.values, law.given)
        before = host.copy()

        cast = adapter.cast(adapter.from_host(host, self.device), law.wanted)

        assert adapter.facts(cast).dtype == law.wanted
        assert library_of(cast) is LIBRARIES[adapter.memory_type]
        np.testing.assert_array_equal(adapter.to_host(cast), self._column(law.become, law.wanted))
        np.testing.assert_array_equal(host, before)

    @pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
    def test_casts_tell_what_they_lose(self, adapter: ArrayLibrary, law: Law) -> None:
        """Range, values clipped and values rounded to nothing, as ``restore_dtype`` reports them."""
        if (reason := adapter.why_not_hold(SHAPE, law.given) or adapter.why_not_hold(SHAPE, law.wanted)) is not None:
            pytest.skip(reason)
        host = self._column(law.values, law.given)
        expected, noted = list[Cast](), list[Cast]()
        restore_dtype(host, np.dtype(law.wanted), expected.append)

        adapter.cast(adapter.from_host(host, self.device), law.wanted, noted.append)

        assert noted == expected

    def test_a_cast_to_the_same_dtype_is_the_array(self, adapter: ArrayLibrary, stack: np.ndarray) -> None:
        """Nothing is copied."""
        array = adapter.from_host(stack, self.device)

        assert adapter.cast(array, "uint16") is array

    def test_nan_is_no_integer(self, adapter: ArrayLibrary) -> None:
        """It is refused with a sentence."""
        array = adapter.from_host(self._column((1, float("nan")), "float32"), self.device)

        with pytest.raises(PixelValueError, match="NaN"):
            adapter.cast(array, "uint16")

    def test_work_in_its_scope_is_done_when_it_is_waited_for(self, adapter: ArrayLibrary, stack: np.ndarray) -> None:
        """Scopes nest, and waiting and releasing leave arrays as they are."""
        with adapter.scope(self.device), adapter.scope(self.device):
            array = adapter.cast(adapter.from_host(stack, self.device), "float32")
        adapter.synchronize(self.device)
        adapter.release(self.device)

        np.testing.assert_array_equal(adapter.to_host(array), stack)

    def test_only_a_lack_of_memory_is_one(self, adapter: ArrayLibrary) -> None:
        """Python's own MemoryError is; other errors are not."""
        assert adapter.is_out_of_memory(MemoryError())
        assert not adapter.is_out_of_memory(ValueError("out of range"))

    @staticmethod
    def _column(values: tuple[float, ...], dtype: str) -> Any:
        column = empty_aligned((1, len(values), 1), dtype)
        column[0, :, 0] = np.array(values, dtype)
        return column
