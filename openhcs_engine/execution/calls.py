"""One function called on one stack, under the laws of library, shape and dtype."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeAlias

from openhcs_engine.errors import ExecutionError, SideDataError, StackShapeError
from openhcs_engine.execution.placement import libraries_of
from openhcs_engine.execution.results import StepRecord
from openhcs_engine.laws import one
from openhcs_engine.memory.conversion.aligned import copy_aligned, empty_aligned
from openhcs_engine.memory.conversion.cast_loss import listening
from openhcs_engine.memory.conversion.convert import convert
from openhcs_engine.memory.conversion.entry_dtype import entry_dtype
from openhcs_engine.memory.decorators import NATIVE, PRESERVE
from openhcs_engine.memory.lazy_stack import LazyStack
from openhcs_engine.memory.libraries import library, library_of
from openhcs_engine.memory.libraries.contract import AnyArray, ArrayLibrary, HostArray
from openhcs_engine.memory.types import MemoryType
from openhcs_engine.model.frozen import FrozenMap
from openhcs_engine.model.image_index import Stack
from openhcs_engine.plan.context import COORDINATES, CPU, FunctionCall, UsedFile
from openhcs_engine.plan.function_reference import resolve
from openhcs_engine.uses.follow import follow_together
from openhcs_engine.uses.opened_files import OpenedFile

_Known: TypeAlias = tuple[str, str, tuple[UsedFile, ...]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A stack ``(plane, y, x)`` as a function receives it."""

    array: AnyArray
    shape: tuple[int, ...]
    dtype: str
    """Pixel type of the stack before the library's own way with it: what ``preserve`` preserves."""
    private: bool
    """True: whatever the function does to the array, the stack that it was made of stays as it is."""


def apply_call(
    call: FunctionCall,
    function: Callable[..., Any],
    stack: AnyArray,
    device: str,
    record: StepRecord,
    given: Mapping[str, object] = MappingProxyType({}),
) -> AnyArray:
    """Call a function without artifacts on a stack of any library; its result is held to all laws.

    Raises
    ------
    MemoryConversionError
        If the stack cannot become an array of the function's library.
    StackShapeError
        If the result is no stack of the declared library with as many planes as it got, or with one.
    """
    result, _ = call_entered(call, function, enter(call, stack, device, record), device, record, given)
    return result


def enter(call: FunctionCall, stack: AnyArray, device: str, record: StepRecord) -> Entry:
    """Bring a stack into a function's library, on a device, in a pixel type that the library can compute with.

    The caller gives up the stack: the function may write into it, unless the entry is ``private``.
    """
    if call.lazy:
        lazy = stack if isinstance(stack, LazyStack) else LazyStack.of(stack)
        return Entry(array=lazy, shape=lazy.shape, dtype=lazy.dtype.name, private=True)
    source, takes = library_of(stack), library(MemoryType(call.input_type))
    assert source is not None  # the engine made it, or checked what the function before returned
    facts = source.facts(stack)
    dtype = entry_dtype(takes, call.dtype, facts.dtype)
    cast = dtype != facts.dtype
    with takes.scope(_device_for(takes, device)), takes.keeping(facts.dtype), takes.keeping(dtype):
        # A function may return an array that it keeps: of an immutable kind, it must stay as it is.
        conversion = convert(stack, takes.memory_type, device=_device_for(takes, device), give=not source.immutable)
        if not takes.immutable and not takes.facts(conversion.array).writable:
            own = takes.copy(conversion.array)
            conversion = replace(conversion, array=own, zero_copy=False, copied="it is read-only")
        array = takes.cast(conversion.array, dtype) if cast else conversion.array
    record.converted(conversion, f"{facts.dtype} as {dtype}" if cast else "")
    return Entry(
        array=array,
        shape=facts.shape,
        dtype=facts.dtype,
        private=takes.immutable or cast or not conversion.zero_copy,
    )


def call_entered(
    call: FunctionCall,
    function: Callable[..., Any],
    entry: Entry,
    device: str,
    record: StepRecord,
    given: Mapping[str, object] = MappingProxyType({}),
) -> tuple[AnyArray, tuple[object, ...]]:
    """Call a function on a stack that entered its library, and hold the result to the laws.

    ``given`` are artifacts that it takes. The second value are those that it made, as the function returned them.
    """
    gives = library(MemoryType(call.output_type))
    with ExitStack() as scopes:
        for adapter in libraries_of(call):
            scopes.enter_context(adapter.scope(_device_for(adapter, device)))
            for dtype in (entry.dtype, call.dtype):
                scopes.enter_context(adapter.keeping(dtype))
        note = record.noting_casts(call.reference)
        with listening(note):
            returned = function(entry.array, **call.kwargs.thaw(), **given)
        result, sides = _split(call, returned)
        if call.lazy and result is entry.array:
            _check_shape(call, entry.shape, entry)
            _check_same_type(call, entry)
            return result, sides  # its planes stay as they are
        _check_library(call, gives, result, entry)
        _check_shape(call, gives.facts(result).shape, entry)
        if call.dtype != NATIVE:
            wanted = entry.dtype if call.dtype == PRESERVE else call.dtype
            result = gives.cast(result, wanted, note)
        if device != CPU:
            gives.synchronize(_device_for(gives, device))  # so that what goes wrong on the device is this call's
    return result, sides


def call_in_batches(
    call: FunctionCall,
    function: Callable[..., Any],
    stack: HostArray,
    device: str,
    planes: int,
    record: StepRecord,
    given: Mapping[str, object] = MappingProxyType({}),
) -> HostArray:
    """Call a function, declared ``slice_by_slice``, on a few planes of a host's stack at a time.

    Only one batch is on the device at once; the stack itself is never handed out.

    Raises
    ------
    StackShapeError
        If the batches' results do not make one stack with as many planes.
    """
    joined: HostArray | None = None
    for start in range(0, len(stack), planes):
        batch = copy_aligned(stack[start : start + planes])
        result = to_host(apply_call(call, function, batch, device, record, given), record)
        if joined is None:
            joined = empty_aligned((len(stack), *result.shape[1:]), result.dtype)
        if len(result) != len(batch) or result.shape[1:] != joined.shape[1:] or result.dtype != joined.dtype:
            raise StackShapeError(
                f"{call.reference} is declared slice_by_slice, but made {result.shape} {result.dtype} of a batch of "
                f"{len(batch)} planes, which does not fit the other batches' {joined.shape[1:]} {joined.dtype}; remove "
                "the declaration if the planes depend on each other.",
                function=call.reference,
            )
        joined[start : start + planes] = result
    assert joined is not None  # no stack is empty
    return joined


def to_host(array: AnyArray, record: StepRecord) -> HostArray:
    """A result as a NumPy array; read-only where its library shares an array that must not change."""
    conversion = convert(array, MemoryType.NUMPY, give=True)
    record.converted(conversion)
    host: HostArray = conversion.array
    return host


def _split(call: FunctionCall, returned: Any) -> tuple[Any, tuple[object, ...]]:  # Any: whatever a function returns
    """The stack and the artifacts that a function returned."""
    if not call.side_outputs:
        if isinstance(returned, tuple):
            raise StackShapeError(
                f"{call.reference} returned a tuple of {len(returned)}; return the stack alone, or declare what comes "
                "behind it with @special_outputs from openhcs_engine.memory.",
                function=call.reference,
            )
        return returned, ()
    names = [output.name for output in call.side_outputs]
    if not isinstance(returned, tuple) or len(returned) != 1 + len(names):
        found = f"a tuple of {len(returned)}" if isinstance(returned, tuple) else f"one {type(returned).__name__}"
        raise SideDataError(
            f"{call.reference} must return a tuple of {1 + len(names)}, (stack, {', '.join(names)}), but returned "
            f"{found}.",
            function=call.reference,
            name=names[0],
        )
    return returned[0], returned[1:]


def _device_for(adapter: ArrayLibrary, device: str) -> str:
    return CPU if adapter.memory_type is MemoryType.NUMPY else device


def _check_library(call: FunctionCall, gives: ArrayLibrary, result: object, entry: Entry) -> None:
    if gives.owns(result):
        if (reason := gives.why_not_give(result)) is not None:
            raise StackShapeError(
                f"{call.reference} returned a {type(result).__name__} that the engine cannot use: {reason}.",
                function=call.reference,
            )
        return
    found = library_of(result)
    if found is None:
        raise StackShapeError(
            f"{call.reference} returned a {type(result).__name__}; {_what_it_owes(call, entry)}.",
            function=call.reference,
        )
    if call.declared:
        state, advice = f"is declared to return {gives.memory_type} arrays", f'output_type="{found.memory_type}"'
    else:
        state, advice = "has no decorator, so that it counts as NumPy", f"@{found.memory_type}"
    raise StackShapeError(
        f"{call.reference} {state}, but returned a {found.memory_type} array; convert the result in the function, or "
        f"declare {advice}.",
        function=call.reference,
    )


def _check_shape(call: FunctionCall, shape: tuple[int, ...], entry: Entry) -> None:
    if len(shape) != 3:
        raise StackShapeError(
            f"{call.reference} returned an array of shape {shape}; {_what_it_owes(call, entry)}.",
            function=call.reference,
        )
    allowed = {1} if call.collapses else {1, entry.shape[0]}
    if shape[0] not in allowed:
        raise StackShapeError(
            f"{call.reference} got {entry.shape[0]} planes and returned {shape[0]}; it must return "
            f"{' or '.join(str(count) for count in sorted(allowed))}.",
            function=call.reference,
        )


def _check_same_type(call: FunctionCall, entry: Entry) -> None:
    if call.dtype not in (PRESERVE, NATIVE, entry.dtype):
        raise StackShapeError(
            f"{call.reference} promises {call.dtype}, but returned the lazy stack that it was given, whose planes are "
            f"{entry.dtype}; leave dtype out of its declaration, or return an array.",
            function=call.reference,
        )


def _what_it_owes(call: FunctionCall, entry: Entry) -> str:
    owes = (
        f"it got a stack (plane, y, x) = {entry.shape} and must return one as a {call.output_type} array, with "
        f"{entry.shape[0]} planes or with 1"
    )
    return f"{owes}, or the very stack that it got" if call.lazy else owes


def with_coordinates(calls: tuple[FunctionCall, ...], stack: Stack) -> tuple[FunctionCall, ...]:
    """Calls on a stack; those that ask for it are given the number of each plane on each axis of the stack.

    Behind a function that collapses the stack, the one plane left has None on each axis.
    """
    if not any(call.coordinates for call in calls):
        return calls
    coordinates = {axis.value: tuple(plane.key.get(axis) for plane in stack.planes) for axis in stack.variable}
    given = []
    for call in calls:
        given.append(_given_coordinates(call, FrozenMap.of(coordinates)))
        if call.collapses:
            coordinates = dict.fromkeys(coordinates, (None,))
    return tuple(given)


def _given_coordinates(call: FunctionCall, coordinates: FrozenMap) -> FunctionCall:
    if not call.coordinates:
        return call
    twin = call.cpu_twin and _given_coordinates(call.cpu_twin, coordinates)
    return replace(call, kwargs=FrozenMap.of({**call.kwargs, COORDINATES: coordinates}), cpu_twin=twin)


@dataclass(frozen=True, slots=True)
class FunctionSource:
    """Gives the function of a call: from a table where it lives only in this process, else by import."""

    local: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    verified: dict[_Known, Callable[..., Any]] = field(default_factory=dict)
    """By reference, source and files: each is found and verified once."""

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


def _known(call: FunctionCall) -> _Known:
    return call.reference, call.source_sha256, call.files


def _verified(call: FunctionCall, function: Callable[..., Any], sha256: str) -> Callable[..., Any]:
    if call.source_sha256 != sha256 and call.source_sha256 != one.source_sha256(function):
        raise ExecutionError(
            f"Function {call.reference} is not the one that was compiled (its source, or what it uses, changed); "
            "compile the plate again."
        )
    for file in call.files:
        if OpenedFile(file.path, file.size, file.mtime_ns).has_changed:
            raise ExecutionError(
                f"{file.path}, which {call.reference} reads, or its modules while they are imported, is another "
                "file now than when the plate was compiled; compile the plate again."
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
