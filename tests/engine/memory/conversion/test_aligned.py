"""Buffers that every library can share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from openhcs_engine.memory.conversion.aligned import address_of, copy_aligned, empty_aligned, is_aligned


@given(
    shape=hnp.array_shapes(min_dims=0, min_side=0),
    dtype=st.sampled_from(["bool", "uint8", "uint16", "int64", "float32", "complex128"]),
)
def test_a_new_buffer_begins_at_a_multiple_of_64_bytes(shape: tuple[int, ...], dtype: str) -> None:
    """Whatever its shape and dtype; it is writable and C-contiguous."""
    buffer = empty_aligned(shape, dtype)

    assert (buffer.shape, buffer.dtype) == (shape, np.dtype(dtype))
    assert address_of(buffer) % 64 == 0
    assert is_aligned(buffer) and buffer.flags.c_contiguous and buffer.flags.writeable


def test_a_number_is_a_shape_of_one_dimension() -> None:
    """As in NumPy."""
    assert empty_aligned(5, "uint8").shape == (5,)


@pytest.mark.parametrize("dtype", [">u2", "<u2", "bool", ">f8"])
def test_a_copy_has_the_values_in_this_machines_byte_order(dtype: str) -> None:
    """Read-only, reversed and foreign arrays become plain ones."""
    array = (np.arange(24) % 2).reshape(2, 3, 4).astype(dtype)[:, ::-1]
    array.flags.writeable = False

    copy = copy_aligned(array)

    assert copy.dtype.isnative and copy.flags.writeable and copy.flags.c_contiguous and is_aligned(copy)
    np.testing.assert_array_equal(copy, array)
