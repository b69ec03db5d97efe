"""How a function says which arrays it takes and returns.

A decorator attaches a frozen :class:`FunctionContract` and returns the very same function: signature, docstring and
pickling stay those of the user's own code. What the contract promises is kept by the engine, around the call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar, overload

from openhcs_engine.memory.types import MemoryType

ATTRIBUTE: Final = "__openhcs__"
"""Where a decorated function carries its contract."""
SIDE_DATA: Final = "__openhcs_side_data__"
"""Where it carries what it makes and takes beside its stack, see ``memory.artifacts``."""

PRESERVE: Final = "preserve"
NATIVE: Final = "native"
PIXEL_DTYPES: Final = (
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64",
)  # fmt: skip
"""NumPy names of the pixel types that a function may promise."""

_FLAGS: Final = ("collapses", "slice_by_slice", "coordinates", "lazy")

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
    coordinates: bool = False
    """True: the engine also gives the function ``coordinates``, where on the axes of its stack each plane lies."""
    lazy: bool = False
    """True: it is called with a ``LazyStack``, whose planes are read one by one, in place of an array."""
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
        coordinates: bool = False,
        lazy: bool = False,
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
        coordinates: bool = False,
        lazy: bool = False,
        cpu: Callable[..., Any] | None = None,
    ) -> Any:  # the overloads of MemoryDecorator say what
        contract = FunctionContract(
            input_type=_memory_type(input_type, memory_type),
            output_type=_memory_type(output_type, memory_type),
            dtype=_dtype_policy(dtype),
            collapses=collapses,
            slice_by_slice=slice_by_slice,
            coordinates=coordinates,
            lazy=lazy,
            cpu=cpu,
        )
        _refuse_contradictions(contract)
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
    slice_by_slice
        True if what becomes of a plane does not depend on the other planes. The engine may then call the function with
        fewer planes at once, which it does where a stack does not fit into a device's memory.
    coordinates
        True if the function has a parameter ``coordinates`` and wants to be told where its planes lie: a dict with the
        axes of the stack (``site``, ``channel``, ``z_index``, ``timepoint``), each with one number a plane, in the
        order of the planes. With several axes, the first of the step's ``variable_components`` is the slowest.
    lazy
        True, of NumPy functions only, if it takes a ``LazyStack`` in place of an array: a sequence whose planes are
        read when they are asked for, so that all of them never lie in memory together. It returns that very stack,
        whose planes then stay as they are, or an array as any other function.
    cpu
        A function with the same parameters and results that runs on the CPU, decorated or plain. It takes over where a
        GPU runs out of memory and ``{memory_type.value}`` itself cannot go on in the host's memory.

    Raises
    ------
    ValueError
        If a type or dtype is unknown, two options contradict each other, or the function was declared otherwise before.
    TypeError
        If it is not given a function, or one that cannot carry a declaration: a class, a bound method, compiled code.
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


def _refuse_contradictions(contract: FunctionContract) -> None:
    for option in _FLAGS:
        if not isinstance(value := getattr(contract, option), bool):
            raise ValueError(f"{option}={value!r} is neither True nor False; give one of them.")
    if contract.collapses and contract.slice_by_slice:
        raise ValueError(
            "collapses=True makes one plane of all planes of a stack, slice_by_slice=True makes each plane of one "
            "plane alone; a function does one or the other, so leave one of them out."
        )
    if contract.coordinates and contract.slice_by_slice:
        raise ValueError(
            "coordinates=True says where all planes of a stack lie, but slice_by_slice=True lets a function be called "
            "with some of them; leave one of them out."
        )
    if contract.lazy and (contract.slice_by_slice or contract.cpu is not None):
        raise ValueError(
            "lazy=True gives a function its planes one by one, which leaves nothing to slice_by_slice=True and to "
            "cpu=…; leave them out."
        )
    if contract.lazy and {contract.input_type, contract.output_type} != {MemoryType.NUMPY}:
        raise ValueError(
            "lazy=True gives planes as NumPy arrays, so that only a NumPy function can be lazy; use @numpy(lazy=True)."
        )
    if contract.cpu is not None and not callable(contract.cpu):
        raise TypeError(f"cpu={contract.cpu!r} is not a function; give the function that runs on the CPU instead.")


def _attach(contract: FunctionContract, func: F) -> F:
    name = getattr(func, "__qualname__", repr(func))
    refuse_non_functions(func, name)
    if getattr(getattr(func, SIDE_DATA, None), "outputs", ()):
        refuse_batches_with_outputs(contract, name)
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


def refuse_batches_with_outputs(contract: FunctionContract, name: str) -> None:
    """ValueError for a function that makes artifacts and may be called with a part of a stack."""
    if contract.slice_by_slice:
        raise ValueError(
            f"{name} is declared slice_by_slice=True, so that it may be called with a part of a stack, but its special "
            "outputs are those of a whole one; leave slice_by_slice out."
        )


def refuse_non_functions(func: object, name: str) -> None:
    """TypeError for what cannot carry a declaration."""
    if isinstance(func, staticmethod | classmethod):
        wrapper = type(func).__name__
        raise TypeError(
            f"{name} is wrapped in @{wrapper}, which would hide the declaration; put the decorator below @{wrapper}."
        )
    if not callable(func):
        raise TypeError(f"{func!r} is not a function; decorate a function, and give options by keyword.")
    if isinstance(func, type):
        raise TypeError(f"{name} is a class and cannot be decorated; decorate a function that uses it.")
    if inspect.ismethod(func):
        raise TypeError(f"{name} is a bound method and cannot be decorated; decorate the function in its class.")


def _describe(contract: FunctionContract) -> str:
    parts = [f"{contract.input_type} -> {contract.output_type}", f"dtype={contract.dtype}"]
    parts += [flag for flag in _FLAGS if getattr(contract, flag)]
    if contract.cpu is not None:
        parts.append(f"cpu={getattr(contract.cpu, '__qualname__', repr(contract.cpu))}")
    return ", ".join(parts)


numpy = memory_decorator(MemoryType.NUMPY)
cupy = memory_decorator(MemoryType.CUPY)
torch = memory_decorator(MemoryType.TORCH)
tensorflow = memory_decorator(MemoryType.TENSORFLOW)
jax = memory_decorator(MemoryType.JAX)
pyclesperanto = memory_decorator(MemoryType.PYCLESPERANTO)
