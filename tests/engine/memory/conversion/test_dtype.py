"""The dtype law: rounded half to even, clipped, never stretched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from openhcs_engine.errors import PixelValueError
from openhcs_engine.memory.conversion.bands import row_bands
from openhcs_engine.memory.conversion.dtype import restore_dtype

INTEGERS = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")


@dataclass(frozen=True)
class Law:
    """A value of one dtype and what it becomes in another."""

    given: tuple[Any, ...]
    source: str
    wanted: str
    becomes: tuple[Any, ...]


LAWS = {
    "ties go to the even neighbour": Law((0.5, 1.5, 2.5, 3.49), "float64", "uint16", (0, 2, 2, 3)),
    "below and above are clipped": Law((-3.0, 65535.4, 65536.0, 1e9), "float32", "uint16", (0, 65535, 65535, 65535)),
    "infinity is clipped": Law((-np.inf, np.inf), "float64", "int16", (-32768, 32767)),
    "a small range is not stretched": Law((0.25, 100.0), "float64", "uint16", (0, 100)),
    "wide integers are clipped, not wrapped": Law((-1, 300, 70000), "int32", "uint8", (0, 255, 255)),
    "unsigned to signed": Law((2**64 - 1, 5), "uint64", "int64", (2**63 - 1, 5)),
    "64-bit limits do not wrap": Law((2.0**63, -(2.0**63), 7.0), "float64", "int64", (2**63 - 1, -(2**63), 7)),
    "half precision reaches into wide integers": Law((65504.0, np.inf), "float16", "int32", (65504, 2**31 - 1)),
    "a mask becomes 0 and 1": Law((True, False), "bool", "uint16", (1, 0)),
    "numbers become a mask by rounding and clipping": Law((0.4, 0.6, 7.0, -2.0), "float64", "bool", (0, 1, 1, 0)),
    "integers become a mask": Law((-1, 0, 1, 9), "int16", "bool", (0, 0, 1, 1)),
    "what a float cannot hold is infinite": Law((70000, -70000, 2049), "int32", "float16", (np.inf, -np.inf, 2048)),
    "floats keep NaN among floats": Law((0.5, np.nan), "float64", "float32", (0.5, np.nan)),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())
def test_values_are_rounded_and_clipped(law: Law) -> None:
    """Each row of the table holds, for vectors and for stacks, without a warning."""
    for shape in ((-1,), (1, -1, 1), (-1, 1, 1)):
        values = np.array(law.given, law.source).reshape(shape)

        restored = restore_dtype(values, np.dtype(law.wanted))

        assert restored.dtype == np.dtype(law.wanted)
        np.testing.assert_array_equal(restored, np.array(law.becomes, law.wanted).reshape(shape))


def test_the_same_dtype_is_returned_as_it_is() -> None:
    """No copy is made where nothing is to do."""
    stack = np.zeros((1, 2, 2), np.uint16)

    assert restore_dtype(stack, stack.dtype) is stack


def test_nan_cannot_become_an_integer() -> None:
    """NaN anywhere is refused by name, not turned into some number."""
    stack = np.zeros((2, 300, 400))
    stack[1, 299, 399] = np.nan

    with pytest.raises(PixelValueError, match=r"holds NaN .* no place in uint16"):
        restore_dtype(stack, np.dtype(np.uint16))


def test_complex_values_are_refused() -> None:
    """A Fourier transform is no image."""
    with pytest.raises(PixelValueError, match=r"complex128 values cannot become uint16"):
        restore_dtype(np.zeros((1, 2, 2), complex), np.dtype(np.uint16))


def test_an_empty_array_becomes_an_empty_array() -> None:
    """Nothing in, nothing out, of the wanted dtype."""
    assert restore_dtype(np.zeros((0, 4, 4)), np.dtype(np.uint8)).shape == (0, 4, 4)
    assert restore_dtype(np.zeros((2, 4, 0)), np.dtype(np.uint8)).dtype == np.uint8


@given(
    values=hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int32, np.uint64]),
        hnp.array_shapes(min_dims=1, max_dims=4, max_side=5),
        elements=st.integers(0, 2**20),
    ),
    scale=st.sampled_from([1, -1]),
    wanted=st.sampled_from(INTEGERS),
)
def test_the_law_equals_python_arithmetic(values: np.ndarray[Any, Any], scale: int, wanted: str) -> None:
    """For any array the result is Python's own round, clipped to the range; the input stays as it was."""
    source = (values / 8 * scale).astype(values.dtype) if values.dtype.kind == "f" else values
    before = source.copy()
    low, high = (0, 1) if wanted == "bool" else (int(np.iinfo(wanted).min), int(np.iinfo(wanted).max))

    restored = restore_dtype(source, np.dtype(wanted))

    expected = [min(max(round(value), low), high) for value in source.ravel().tolist()]
    assert restored.ravel().tolist() == expected
    np.testing.assert_array_equal(source, before)


@given(shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7), elements=st.integers(1, 40))
def test_bands_cover_every_element_once(shape: tuple[int, ...], elements: int) -> None:
    """Bands are a partition of the array."""
    visits = np.zeros(shape, int)

    for band in row_bands(shape, elements):
        visits[band] += 1

    assert (visits == 1).all()
