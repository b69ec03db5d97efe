"""The functions of a plan, found again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openhcs_engine.context import FunctionCall
from openhcs_engine.errors import ExecutionError
from openhcs_engine.function_reference import resolve
from openhcs_engine.laws import one
from openhcs_engine.uses.follow import follow_together
from openhcs_engine.uses.opened_files import OpenedFile


@dataclass(frozen=True, slots=True)
class FunctionSource:
    """Gives the function of a call: from a table where it lives only in this process, else by import."""

    local: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    verified: dict[tuple[str, str], Callable[..., Any]] = field(default_factory=dict)
    """By reference and source: each is found and verified once."""

    def get(self, call: FunctionCall) -> Callable[..., Any]:
        """The function; refused if its source is not the one that was compiled."""
        if _known(call) not in self.verified:
            self.verify([call])
        return self.verified[_known(call)]

    def verify(self, calls: Sequence[FunctionCall]) -> None:
        """Find and verify all functions of a plan, before one of them runs and leaves something for another.

        Raises
        ------
        ExecutionError
            If one cannot be found, or is not what was compiled.
        """
        if all(_known(call) in self.verified for call in calls):
            return
        found = [(call, self.local.get(call.reference) or _import(call)) for call in calls]
        uses = follow_together(function for _, function in found)
        for call, function in found:
            self.verified[_known(call)] = _verified(call, function, uses[id(function)].sha256)


def _known(call: FunctionCall) -> tuple[str, str]:
    return call.reference, call.source_sha256


def _verified(call: FunctionCall, function: Callable[..., Any], sha256: str) -> Callable[..., Any]:
    if call.source_sha256 != sha256 and call.source_sha256 != one.source_sha256(function):
        raise ExecutionError(
            f"Function {call.reference} is not the one that was compiled (its source, or what it uses, changed); "
            "compile the plate again."
        )
    for file in call.files:
        if OpenedFile(file.path, file.size, file.mtime_ns).has_changed:
            raise ExecutionError(
                f"{file.path}, which the modules of {call.reference} read while they are imported, is another file now "
                "than when the plate was compiled; compile the plate again."
            )
    return function


def _import(call: FunctionCall) -> Callable[..., Any]:
    if not call.importable:
        raise ExecutionError(
            f"Function {call.reference} lives only in the process that compiled it; run it there with "
            'runner="threads", or move it to a module.'
        )
    try:
        return resolve(call.reference)
    except (ImportError, AttributeError) as error:
        raise ExecutionError(f"Function {call.reference} cannot be imported here: {error}.") from error
