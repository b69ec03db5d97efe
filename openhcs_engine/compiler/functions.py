"""From a declared function to a frozen call that another process can find again."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import metadata

from openhcs_engine.context import COORDINATES, FrozenMap, FunctionCall
from openhcs_engine.function_reference import resolve, source_sha256
from openhcs_engine.memory.decorators import FunctionContract, contract_of
from openhcs_engine.memory.libraries import library
from openhcs_engine.memory.side_data import NOTHING, side_data_of
from openhcs_engine.model.artifacts import SideData, SideInput
from openhcs_engine.pipeline.patterns import DeclaredCall, StackFunction


class UnusableFunctionError(Exception):
    """Why a function cannot be part of a plan; becomes a violation."""


@dataclass(slots=True)
class FunctionTable:
    """Functions by reference, for runs inside this process; grows while a pipeline is compiled."""

    functions: dict[str, StackFunction] = field(default_factory=dict)

    def reference(self, function: StackFunction) -> tuple[str, bool]:
        """``module:qualname`` of a function, and whether another process can import it by that name."""
        module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
        if not module or not name:
            raise UnusableFunctionError(
                f"{function!r} has no name that another process could import; use a function defined with def "
                "(and give parameters as (function, {…}), not as functools.partial)."
            )
        reference = base = f"{module}:{name}"
        importable = module != "__main__" and "<" not in name and _resolves(base, function)
        copies = 1
        while self.functions.get(reference, function) is not function:
            copies += 1
            reference = f"{base}#{copies}"
        self.functions[reference] = function
        return reference, importable and copies == 1


def freeze_call(call: DeclaredCall, table: FunctionTable) -> FunctionCall:
    """Freeze one declared call, and the CPU function that may stand in for it.

    Raises
    ------
    UnusableFunctionError
        If the function has no importable form, does not take its parameters, speaks a library that is not installed,
        or a parameter cannot be frozen; and if any of this holds for its CPU function.
    """
    contract, side = contract_of(call.function), side_data_of(call.function)
    frozen = _freeze(call, contract, side, table)
    if contract.cpu is None:
        return frozen
    twin = _freeze_twin(call, contract, side, table)
    return replace(frozen, cpu_twin=twin, importable=frozen.importable and twin.importable)


def _freeze(call: DeclaredCall, contract: FunctionContract, side: SideData, table: FunctionTable) -> FunctionCall:
    reference, importable = table.reference(call.function)
    _check_kind(call.function)
    inputs = tuple(SideInput(name=name) for name in side.inputs if name not in call.kwargs)
    _check_parameters(call, contract, inputs)
    _check_libraries(call, contract)
    try:
        kwargs = FrozenMap.of(call.kwargs)
    except (TypeError, ValueError) as error:
        raise UnusableFunctionError(f"{_name(call.function)}: parameter {error}") from error
    return FunctionCall(
        reference=reference,
        importable=importable,
        source_sha256=source_sha256(call.function),
        version=_version(call.function),
        kwargs=kwargs,
        input_type=str(contract.input_type),
        output_type=str(contract.output_type),
        dtype=contract.dtype,
        collapses=contract.collapses,
        slice_by_slice=contract.slice_by_slice,
        coordinates=contract.coordinates,
        declared=contract.declared,
        side_outputs=side.outputs,
        side_inputs=inputs,
    )


def _freeze_twin(call: DeclaredCall, contract: FunctionContract, side: SideData, table: FunctionTable) -> FunctionCall:
    """The call of a function's CPU twin: the same parameters, and the same promises about its result."""
    twin = contract.cpu
    assert twin is not None
    own = contract_of(twin)
    whose = f"the CPU function {_name(twin)} of {_name(call.function)}"
    for memory_type in (own.input_type, own.output_type):
        if not library(memory_type).has_cpu:
            raise UnusableFunctionError(
                f"{whose} speaks {memory_type} arrays, which need a GPU; give a function that runs on the CPU."
            )
    if own.declared and (own.dtype, own.collapses) != (contract.dtype, contract.collapses):
        raise UnusableFunctionError(
            f"{whose} promises other results (dtype={own.dtype}, collapses={own.collapses}) than it "
            f"(dtype={contract.dtype}, collapses={contract.collapses}); declare both alike."
        )
    if side_data_of(twin) not in (NOTHING, side):
        raise UnusableFunctionError(
            f"{whose} declares other special inputs or outputs than it; declare both alike, or leave them off the CPU "
            "function."
        )
    promised = replace(
        own,
        dtype=contract.dtype,
        collapses=contract.collapses,
        slice_by_slice=contract.slice_by_slice,
        coordinates=contract.coordinates,
        cpu=None,
    )
    try:
        return _freeze(DeclaredCall(twin, call.kwargs), promised, side, table)
    except UnusableFunctionError as error:
        raise UnusableFunctionError(f"{whose} cannot stand in for it: {error}") from error


def _check_libraries(call: DeclaredCall, contract: FunctionContract) -> None:
    for memory_type in (contract.input_type, contract.output_type):
        adapter = library(memory_type)
        if not adapter.installed():
            raise UnusableFunctionError(
                f"{_name(call.function)} speaks {memory_type} arrays, but {adapter.package} is not installed here "
                f"(pip install 'openhcs-dagster[{adapter.extra}]')."
            )


def _check_kind(function: StackFunction) -> None:
    """Refuse functions whose call returns no array at all."""
    generates = inspect.isgeneratorfunction(function)
    if generates or inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        kind = "a generator" if generates else "an async function"
        raise UnusableFunctionError(
            f"{_name(function)} is {kind}, whose call returns no array; write a plain function that returns the stack."
        )


def _check_parameters(call: DeclaredCall, contract: FunctionContract, inputs: Iterable[SideInput]) -> None:
    """Refuse parameters that the function does not take, and a missing one that it needs."""
    if not all(isinstance(key, str) for key in call.kwargs):
        raise UnusableFunctionError(f"{_name(call.function)}: parameter names must be text, got {list(call.kwargs)!r}.")
    if contract.coordinates and COORDINATES in call.kwargs:
        raise UnusableFunctionError(
            f"{_name(call.function)} is declared with coordinates=True, so that the engine gives it coordinates; take "
            "the parameter out of the step."
        )
    wanted = [each.name for each in inputs]
    given = dict.fromkeys((*call.kwargs, *([COORDINATES] if contract.coordinates else []), *wanted))
    try:
        signature = inspect.signature(call.function)
    except (TypeError, ValueError):
        return  # functions written in C may not tell
    lacking = [name for name in wanted if not _takes(signature, name)]
    if lacking:
        raise UnusableFunctionError(
            f"{_name(call.function)}{signature} is declared with special_inputs({', '.join(map(repr, lacking))}), but "
            "has no parameter of that name that can be given by keyword; add it behind the stack."
        )
    try:
        signature.bind(object(), **given)
    except TypeError as error:
        names = [name for name in list(signature.parameters)[1:] if not name.startswith("_")]
        raise UnusableFunctionError(
            f"{_name(call.function)}{signature} cannot be called with (stack{_shown(given)}): {error} "
            f"(its parameters: {', '.join(names) or 'none'})."
        ) from error


def _takes(signature: inspect.Signature, name: str) -> bool:
    """Whether a function takes a keyword, the stack aside."""
    behind = list(signature.parameters.values())[1:]
    return any(
        each.kind is each.VAR_KEYWORD
        or (each.name == name and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY))
        for each in behind
    )


def _shown(kwargs: Iterable[str]) -> str:
    return "".join(f", {name}=…" for name in kwargs)


def _name(function: StackFunction) -> str:
    return str(getattr(function, "__name__", repr(function)))


def _resolves(reference: str, function: StackFunction) -> bool:
    try:
        return resolve(reference) is function
    except (ImportError, AttributeError):
        return False


def _version(function: StackFunction) -> str:
    return package_version(function.__module__.partition(".")[0])


@cache
def package_version(package: str) -> str:
    """``name==version`` of an importable package; empty for a module that is no installed package."""
    name = "openhcs-dagster" if package in {"openhcs_engine", "openhcs_dagster"} else package
    try:
        return f"{name}=={metadata.version(name)}"
    except metadata.PackageNotFoundError:
        version = getattr(sys.modules.get(package), "__version__", None)
        return f"{name}=={version}" if version else ""
