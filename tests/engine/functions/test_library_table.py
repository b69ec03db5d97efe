"""The documentation's table of built-in functions and array libraries: complete, and true."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from openhcs_engine import functions
from openhcs_engine.memory import MemoryType, contract_of, convert
from openhcs_engine.memory.libraries import library
from tools import draw_libraries

PAGE: Final = Path(__file__).resolve().parents[3] / "docs" / "source" / "functions.rst"
LIBRARIES: Final = [MemoryType.TORCH, MemoryType.TENSORFLOW, MemoryType.JAX, MemoryType.PYCLESPERANTO]
TAKING_ALL: Final = [each for each in draw_libraries.built_ins() if draw_libraries.takes_any_library(each)]


def _stack() -> NDArray[np.uint16]:
    """Two planes, each with three bright discs on noise."""
    y, x = np.mgrid[:64, :64]
    stack = np.random.default_rng(3).normal(300, 10, (2, 64, 64))
    for row, column in ((16, 16), (16, 44), (44, 30)):
        stack += 5000 * ((y - row) ** 2 + (x - column) ** 2 < 49)
    return stack.astype(np.uint16)


def _labels() -> NDArray[np.uint32]:
    labels = np.zeros((2, 64, 64), np.uint32)
    labels[:, 12:20, 12:20], labels[:, 12:20, 40:48] = 1, 2
    return labels


NEEDED: Final[dict[str, dict[str, Any]]] = {
    "cytoplasm": {"cells": _labels() * 0 + 1, "nuclei": _labels()},
    "measure": {"labels": _labels()},
    "measure_translocation": {"nuclei": _labels(), "cytoplasm": _labels()},
    "segment_cells": {"nuclei": _labels()},
    "spots": {"diameter_px": 14},
}
"""What functions need beside a stack."""


def test_the_page_has_a_row_for_each_built_in() -> None:
    """Every exported function with a contract, with the library of its contract; the page is made from them."""
    page = draw_libraries.in_page(PAGE.read_text(encoding="utf-8"))
    exported = [getattr(functions, name) for name in functions.__all__]
    rows = {each.__name__: contract_of(each) for each in exported if contract_of(each).declared}
    assert len(rows) > 10
    for name, contract in rows.items():
        row = page.partition(f"   * - ``{name}``\n")[2].partition("   * - ")[0]
        assert row.splitlines()[0] == f"     - {contract.input_type}"
        assert ("one plane of all" in row) is contract.collapses
        assert ("each plane by itself" in row) is contract.slice_by_slice


def test_a_page_without_a_place_for_the_table_is_an_error() -> None:
    """Not a page without a table."""
    with pytest.raises(ValueError, match="once"):
        draw_libraries.in_page("Functions\n=========\n")


@pytest.mark.parametrize("memory_type", LIBRARIES)
@pytest.mark.parametrize("function", TAKING_ALL, ids=lambda function: function.__name__)
def test_what_the_table_says_takes_all_libraries_gives_the_same_in_each(
    function: Callable[..., Any], memory_type: MemoryType
) -> None:
    """The stack comes back as the library's that came, with NumPy's values; so do labels and tables."""
    adapter = library(memory_type)
    if (reason := adapter.why_not()) is not None:
        pytest.skip(reason)
    needed = NEEDED.get(function.__name__, {})
    parameters = list(inspect.signature(function).parameters.values())[1:]
    if lacking := [each.name for each in parameters if each.default is each.empty and each.name not in needed]:
        pytest.skip(f"{function.__name__} needs {', '.join(lacking)}, of which this test knows no value")
    expected, *sides = _several(function(_stack(), **needed))

    result, *made = _several(function(convert(_stack(), memory_type).array, **needed))

    assert adapter.owns(result)
    np.testing.assert_array_equal(adapter.to_host(result), expected)
    assert len(made) == len(sides)
    for side, wanted in zip(made, sides, strict=True):
        if isinstance(wanted, np.ndarray):
            np.testing.assert_array_equal(side, wanted)
        else:
            assert side == wanted


def _several(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)
