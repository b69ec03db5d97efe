"""The table of docs/source/functions.rst, made from the contracts whenever the documentation is built."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

from openhcs_engine import functions
from openhcs_engine.functions.any_library import any_library
from openhcs_engine.memory import MemoryType, contract_of

PLACE: Final = ".. The table of built-in functions is put in this place by tools/draw_libraries.py.\n"


def built_ins() -> Iterator[Callable[..., Any]]:
    """All functions that ``openhcs_engine.functions`` exports and a step can hold, by name."""
    for name in sorted(functions.__all__):
        function = getattr(functions, name)
        if contract_of(function).declared:
            yield function


def table() -> str:
    """A row a function."""
    lines = [
        ".. list-table::", "   :header-rows: 1", "   :widths: 30 16 36 18", "", "   * - function", "     - computes in",
        "     - promises", "     - called by hand with",
    ]  # fmt: skip
    for function in built_ins():
        lines += [
            f"   * - ``{function.__name__}``",
            f"     - {_computes_in(function)}",
            f"     - {_promises(function)}",
            f"     - {', '.join(_taken(function))}",
        ]
    return "\n".join(lines) + "\n"


def _computes_in(function: Callable[..., Any]) -> str:
    contract = contract_of(function)
    both = dict.fromkeys((contract.input_type, contract.output_type))
    return " → ".join(each.value for each in both)


def _promises(function: Callable[..., Any]) -> str:
    contract = contract_of(function)
    dtype = {"preserve": "pixel type of its stack", "native": "pixel type of its own"}.get(
        contract.dtype, contract.dtype
    )
    shape = "one plane of all" if contract.collapses else "each plane by itself" if contract.slice_by_slice else ""
    return ", ".join(filter(None, (dtype, shape)))


def _taken(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(MemoryType) if takes_any_library(function) else (contract_of(function).input_type.value,)


def takes_any_library(function: Callable[..., Any]) -> bool:
    """True for what ``any_library`` wraps, which makes the same code object for all."""
    wrapper = any_library(lambda stack: stack)
    return getattr(function, "__code__", None) is wrapper.__code__ and inspect.unwrap(function) is not function


def in_page(text: str) -> str:
    """The page with its table; ValueError if it has no place for it, or two."""
    if text.count(PLACE) != 1:
        raise ValueError(f"The page must hold this line once: {PLACE}")
    return text.replace(PLACE, table())


if __name__ == "__main__":
    sys.stdout.write(table())
