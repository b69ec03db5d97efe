"""Stacks with every dtype's awkward values: limits, halves, infinities, and what lies just beyond other dtypes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.memory.conversion.aligned import empty_aligned
from openhcs_engine.memory.conversion.cast_loss import Cast, CastNote
from openhcs_engine.memory.conversion.dtype import restore_dtype
from openhcs_engine.memory.decorators import PIXEL_DTYPES
from openhcs_engine.memory.libraries.contract import ArrayLibrary

PAIRS: Final = tuple(product(PIXEL_DTYPES, PIXEL_DTYPES))
"""Every dtype to every dtype."""

TELLING_PAIRS: Final = tuple(
    (source, wanted)
    for source, wanted in PAIRS
    if source != wanted and (source.startswith("float") or wanted in ("bool", "uint8", "int64", "float32"))
)
"""Fewer, for libraries that compile each: every float to everything, integers to what is narrow, wide and float."""

_FLOATS: Final = (0, 0.5, 1.5, 2.5, -0.5, -1.5, 254.5, 255.5, 65534.5, 65535.5, -32768.5, 127.49, np.inf, -np.inf)
_LIMITS: Final = tuple(
    sign * number for number in (2.0**7, 2.0**8, 2.0**15, 2.0**31, 2.0**32, 2.0**63, 2.0**64, 1e30) for sign in (1, -1)
)


def awkward_stack(dtype: str) -> NDArray[Any]:
    """An aligned stack of shape (2, n, 1) with the values that casts get wrong."""
    values = np.array(_numbers(np.dtype(dtype)), dtype)
    stack = empty_aligned((2, len(values), 1), dtype)
    stack[...] = values[:, None]
    return stack


def low_stack(dtype: str) -> NDArray[Any]:
    """An aligned stack of shape (2, n, 1) from 0 to little more than 1, of which rounding leaves next to nothing."""
    stack = empty_aligned((2, 16, 1), dtype)
    stack[...] = np.linspace(0, 1.6, 32).reshape(2, 16, 1)
    return stack


def assert_cast_as_by_law(
    library: ArrayLibrary, cast: Callable[[Any, str, CastNote], Any], source: str, wanted: str
) -> None:
    """What ``cast`` makes of awkward stacks is what ``restore_dtype`` makes of them, and it tells the same losses."""
    for stack in (awkward_stack(source), low_stack(source)):
        lost, noted = list[Cast](), list[Cast]()
        with np.errstate(all="ignore"):
            expected = restore_dtype(stack, np.dtype(wanted), lost.append)
            result = library.to_host(cast(library.from_host(stack, "cpu"), wanted, noted.append))

        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected, err_msg=f"{source} to {wanted}")
        assert noted == lost, f"{source} to {wanted}"


def _numbers(dtype: np.dtype[Any]) -> list[Any]:
    if dtype.kind == "b":
        return [False, True]
    if dtype.kind == "f":
        largest = float(np.finfo(dtype).max)
        return [number for number in (*_FLOATS, *_LIMITS) if abs(number) <= largest or np.isinf(number)]
    info = np.iinfo(dtype)
    inside = [2**power + step for power in (7, 8, 15, 16, 31, 32, 63) for step in (-1, 0)]
    return [info.min, info.max, 0, 1, *(n for n in inside if n <= info.max), *(-n for n in inside if -n >= info.min)]
