"""How a function says which arrays it takes and returns.

A decorator attaches a frozen :class:`FunctionContract` and returns the very same function: signature, docstring and
pickling stay those of the user's own code. What the contract promises is kept by the engine, around the call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar, overload

from openhcs_engine.memory.types import MemoryType

ATTRIBUTE: Final = "__openhcs__"
"""Where a decorated function carries its contract."""

PRESERVE: Final = "preserve"
NATIVE: Final = "native"
PIXEL_DTYPES: Final = (
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64",
)  # fmt: skip
"""NumPy names of the pixel types that a function may promise."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionContract:
    """What a function promises about the stacks it takes and returns."""

    input_type: MemoryType = MemoryType.NUMPY
    """Library of the stack it is called with."""
    output_type: MemoryType = MemoryType.NUMPY
    """Library of the stack it returns."""
    dtype: str = PRESERVE
    """``preserve`` (the input's dtype, rounded and clipped), ``native`` (as returned), or a NumPy name."""
    collapses: bool = False
    """True: returns one plane that stands for all planes of the stack."""
    slice_by_slice: bool = False
    """True: what it makes of a plane does not depend on the other planes; the engine may call it with fewer at once."""
    cpu: Callable[..., Any] | None = None
    """A function with the same parameters and results that runs on the CPU: where the library has no CPU device, the
    last rung when a GPU runs out of memory."""
    declared: bool = True
    """False: the function was not decorated, and counts as NumPy."""


UNDECLARED: Final = FunctionContract(declared=False)
"""The contract of plain functions."""


class MemoryDecorator(Protocol):
    """A decorator, usable bare or with arguments."""

    @overload
    def __call__(self, func: F, /) -> F: ...

    @overload
    def __call__(
        self,
        *,
        input_type: MemoryType | str | None = None,
        output_type: MemoryType | str | None = None,
        dtype: str = PRESERVE,
        collapses: bool = False,
        slice_by_slice: bool = False,
        cpu: Callable[..., Any] | None = None,
    ) -> Callable[[F], F]: ...


def contract_of(func: Callable[..., Any]) -> FunctionContract:
    """The contract that ``func`` declares; that of a plain NumPy function if it declares none."""
    contract = getattr(func, ATTRIBUTE, UNDECLARED)
    return contract if isinstance(contract, FunctionContract) else UNDECLARED


def memory_decorator(memory_type: MemoryType) -> MemoryDecorator:
    """Make the decorator of one array library."""

    def decorate(
        func: F | None = None,
        /,
        *,
        input_type: MemoryType | str | None = None,
        output_type: MemoryType | str | None = None,
        dtype: str = PRESERVE,
        collapses: bool = False,
        slice_by_slice: bool = False,
        cpu: Callable[..., Any] | None = None,
    ) -> Any:  # the overloads of MemoryDecorator say what
        contract = FunctionContract(
            input_type=_memory_type(input_type, memory_type),
            output_type=_memory_type(output_type, memory_type),
            dtype=_dtype_policy(dtype),
            collapses=collapses,
            slice_by_slice=slice_by_slice,
            cpu=cpu,
        )
        return (lambda target: _attach(contract, target)) if func is None else _attach(contract, func)

    decorate.__name__ = decorate.__qualname__ = memory_type.value
    decorate.__doc__ = f"""Declare that a function takes and returns {memory_type.value} stacks ``(plane, y, x)``.

    Parameters
    ----------
    input_type, output_type
        Other libraries than ``{memory_type.value}``, by name.
    dtype
        ``preserve``: the engine brings the result back to the input's dtype, rounded half to even and clipped, never
        stretched. ``native``: the result stays as it is. Or the NumPy name of the dtype that the result shall have.
    collapses
        True if the one plane returned stands for the whole stack, as a projection does.

    Raises
    ------
    ValueError
        If a type or dtype is unknown, or the function was declared otherwise before.
    """
    return decorate


def _memory_type(wanted: MemoryType | str | None, default: MemoryType) -> MemoryType:
    try:
        return default if wanted is None else MemoryType(wanted)
    except ValueError:
        raise ValueError(f"{wanted!r} is not a memory type; the memory types are {', '.join(MemoryType)}.") from None


def _dtype_policy(dtype: str) -> str:
    if dtype not in (PRESERVE, NATIVE, *PIXEL_DTYPES):
        names = ", ".join((PRESERVE, NATIVE, *PIXEL_DTYPES))
        raise ValueError(f"dtype={dtype!r} is not known; dtype may be {names}.")
    return dtype


def _attach(contract: FunctionContract, func: F) -> F:
    name = getattr(func, "__qualname__", repr(func))
    if not callable(func):
        raise TypeError(f"{func!r} is not a function; decorate a function, and give options by keyword.")
    before = contract_of(func)
    if before.declared and before != contract:
        raise ValueError(
            f"{name} is already declared as {_describe(before)} and cannot be declared as {_describe(contract)} too; "
            f"use one decorator, of {', '.join(MemoryType)}."
        )
    try:
        setattr(func, ATTRIBUTE, contract)
    except (AttributeError, TypeError):
        raise TypeError(
            f"{name} is compiled code and cannot be decorated; call it in a function of your own."
        ) from None
    return func


def _describe(contract: FunctionContract) -> str:
    types = f"{contract.input_type} -> {contract.output_type}, dtype={contract.dtype}"
    return types + (", collapses" if contract.collapses else "")


numpy = memory_decorator(MemoryType.NUMPY)
cupy = memory_decorator(MemoryType.CUPY)
torch = memory_decorator(MemoryType.TORCH)
tensorflow = memory_decorator(MemoryType.TENSORFLOW)
jax = memory_decorator(MemoryType.JAX)
pyclesperanto = memory_decorator(MemoryType.PYCLESPERANTO)
