"""From a declared function to a frozen call that another process can find again."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata

from openhcs_engine.context import FrozenMap, FunctionCall
from openhcs_engine.function_reference import resolve, source_sha256
from openhcs_engine.memory import contract_of
from openhcs_engine.pipeline.patterns import DeclaredCall, StackFunction

_RUNNABLE = ("numpy",)
"""Array libraries with an adapter."""


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
    """Freeze one declared call.

    Raises
    ------
    UnusableFunctionError
        If the function has no importable form, does not take its parameters, or a parameter cannot be frozen.
    """
    reference, importable = table.reference(call.function)
    _check_parameters(call)
    contract = contract_of(call.function)
    for library in (str(contract.input_type), str(contract.output_type)):
        if library not in _RUNNABLE:
            raise UnusableFunctionError(
                f"{_name(call.function)} speaks {library} arrays; this version runs functions on "
                f"{', '.join(_RUNNABLE)} arrays."
            )
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
    )


def _check_parameters(call: DeclaredCall) -> None:
    """Refuse parameters that the function does not take, and a missing one that it needs."""
    if not all(isinstance(key, str) for key in call.kwargs):
        raise UnusableFunctionError(f"{_name(call.function)}: parameter names must be text, got {list(call.kwargs)!r}.")
    try:
        signature = inspect.signature(call.function)
    except (TypeError, ValueError):
        return  # functions written in C may not tell
    try:
        signature.bind(object(), **call.kwargs)
    except TypeError as error:
        names = [name for name in list(signature.parameters)[1:] if not name.startswith("_")]
        raise UnusableFunctionError(
            f"{_name(call.function)}{signature} cannot be called with (stack{_shown(call.kwargs)}): {error} "
            f"(its parameters: {', '.join(names) or 'none'})."
        ) from error


def _shown(kwargs: Mapping[str, object]) -> str:
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
