"""Sizes in bytes, as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine.model.quantities.sizes import format_bytes, parse_bytes

UNITS = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("500MB", 500_000_000),
        ("2GB", 2_000_000_000),
        ("2GiB", 2_147_483_648),
        ("2 gib", 2_147_483_648),
        (" 1.5kB ", 1500),
        ("0.1GB", 100_000_000),
        ("512", 512),
        (512, 512),
        (2e9, 2_000_000_000),
    ],
)
def test_a_size_is_what_it_says(size: str | float, expected: int) -> None:
    """Powers of 1000 or of 1024, in any case, with a space or without one; numbers are bytes."""
    assert parse_bytes(size) == expected


@pytest.mark.parametrize(
    "size", ["", "much", "5 bananas", "-1GB", "1e9", "2G", "1,5GB", "GB", "²GB", float("nan"), True]
)
def test_what_is_no_size_is_refused_with_those_that_are(size: str | float) -> None:
    """The sentence shows how one is written."""
    with pytest.raises(ValueError, match=r"is no size; write bytes, or a number with kB, .* such as 500MB or 2GiB"):
        parse_bytes(size)


@given(count=st.integers(0, 10**12), unit=st.sampled_from(sorted(UNITS)))
def test_every_unit_multiplies(count: int, unit: str) -> None:
    """Exactly, whatever the number."""
    assert parse_bytes(f"{count}{unit}") == count * UNITS[unit]


@given(count=st.integers(0, 10**15))
def test_what_is_told_is_near_what_was_meant(count: int) -> None:
    """One digit behind the point."""
    number, unit = format_bytes(count).split()
    if unit == "bytes":
        assert int(number) == count
    else:
        assert abs(parse_bytes(f"{number}{unit}") - count) <= 0.06 * UNITS[unit]
