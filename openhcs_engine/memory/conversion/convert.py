"""Arrays of one library become arrays of another: the same values, shape and dtype; shared where that is safe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from openhcs_engine.errors import LibraryUnavailableError, MemoryConversionError, OpenHCSError
from openhcs_engine.memory.conversion.aligned import ALIGNMENT, copy_aligned
from openhcs_engine.memory.conversion.host_layout import (
    NOT_ALIGNED,
    NOT_CONTIGUOUS,
    is_memory_mapped,
    why_copy,
    why_not_owned,
    why_not_readable,
)
from openhcs_engine.memory.conversion.routes import ROUTES, Route
from openhcs_engine.memory.devices import CPU, GPU, find_inventory
from openhcs_engine.memory.libraries import LIBRARIES, library, library_of
from openhcs_engine.memory.libraries.contract import AnyArray, ArrayFacts, ArrayLibrary
from openhcs_engine.memory.types import MemoryType

OPENCL: Final = "opencl"
"""Where pyclesperanto's arrays lie, whatever device the driver runs on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conversion:
    """An array in the library that was wanted, and how it got there."""

    array: AnyArray
    source: MemoryType
    target: MemoryType
    route: Route
    zero_copy: bool
    """True: source and result have the same address; so they are two names of one memory."""
    nbytes: int
    """Bytes of values."""
    dtype: str
    """NumPy's name of the dtype, which is the source's."""
    device: str
    """Where the result lies: ``cpu``, ``gpu:N`` or ``opencl``."""
    copied: str | None = None
    """Why the values were copied, as a clause about the source; None: they were not."""

    def describe(self) -> str:
        """One line for results, such as ``numpy -> torch: DLPack, zero copy``."""
        names = f"{self.source} -> {self.target}: {self.route}"
        if self.route is Route.SAME and self.zero_copy:
            return names
        return f"{names}, zero copy" if self.zero_copy else f"{names}, copied ({self.copied})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Passage:
    """One array on its way."""

    array: AnyArray
    source: ArrayLibrary
    target: ArrayLibrary
    facts: ArrayFacts
    device: str
    give: bool

    def refusal(self, reason: str) -> MemoryConversionError:
        """The error that it cannot be done."""
        what = f"{self.facts.dtype} array of shape {self.facts.shape}"
        return _error(f"A {self.source.memory_type} {what} cannot become", self.source.memory_type, self.target, reason)


def convert(array: AnyArray, to: MemoryType | str, device: str | None = None, give: bool = False) -> Conversion:
    """Convert an array to another library: the same values, shape and dtype; nothing is ever cast.

    Parameters
    ----------
    array
        An array of any of the six libraries.
    to
        The library that is wanted, or its name.
    device
        ``cpu`` or ``gpu:N``; None: where the array lies, if the library can work there, otherwise its first device.
    give
        True if the caller hands over the only reference. Then arrays of immutable kinds (JAX, TensorFlow) are shared
        with libraries that write. Arrays that are read-only or mapped from a file are copied all the same.

    Returns
    -------
    Conversion
        With the array, its route, and whether it shares the source's memory. If it does, what is written to one is
        seen in the other. NumPy gets read-only views of arrays of immutable kinds.

    Raises
    ------
    MemoryConversionError
        If the library has no such array: its dtype, its dimensions, values that are not in memory.
    LibraryUnavailableError
        If the library is not installed or cannot work on this host; for CuPy, without a GPU.
    ValueError
        If ``to`` is not the name of a library.
    """
    target = library(to)
    source = library_of(array)
    if source is None:
        raise _no_array(array, target)
    facts = source.facts(array)
    if source is target and _stays(facts, device) and not (facts.writable and _is_file(array, source)):
        return _conversion(array, facts, source, Route.SAME, facts, None)
    if (reason := target.why_not()) is not None:
        raise LibraryUnavailableError(reason, library=target.memory_type.value)
    passage = _Passage(
        array=array,
        source=source,
        target=target,
        facts=facts,
        device=_destination(facts, source, target, device),
        give=give,
    )
    _refuse(passage)
    return _travel(passage)


def _stays(facts: ArrayFacts, device: str | None) -> bool:
    return device is None or facts.device in (device, OPENCL)


def _is_file(array: AnyArray, source: ArrayLibrary) -> bool:
    return source.memory_type is MemoryType.NUMPY and is_memory_mapped(array)


def _destination(facts: ArrayFacts, source: ArrayLibrary, target: ArrayLibrary, device: str | None) -> str:
    if device is not None:
        return device
    if not target.has_cpu and not facts.device.startswith(GPU):
        return f"{GPU}:0"
    return CPU if facts.device == OPENCL or target.memory_type is MemoryType.NUMPY else facts.device


def _refuse(passage: _Passage) -> None:
    source, target, facts = passage.source, passage.target, passage.facts
    if (reason := source.why_not_give(passage.array)) is not None:
        raise passage.refusal(reason)
    if (reason := target.why_not_hold(facts.shape, facts.dtype)) is not None:
        raise passage.refusal(reason)
    if passage.device == CPU and not target.has_cpu:
        raise passage.refusal(f"{target.memory_type} has no CPU device; convert it to another library")
    if passage.device != CPU and target.memory_type is MemoryType.NUMPY:
        raise passage.refusal(f"NumPy works in the host's memory, not on {passage.device}; leave the device out")


def _travel(passage: _Passage) -> Conversion:
    """Try the routes of the table; the first that arrives with the same dtype and shape counts."""
    failures: list[str] = []
    for route in ROUTES[passage.source.memory_type][passage.target.memory_type]:
        if not _is_open(route, passage):
            continue
        try:
            arrived, copied = _WAYS[route](passage)
            facts = passage.target.facts(arrived)
        except OpenHCSError:
            raise
        except (BufferError, TypeError, ValueError, RuntimeError) as error:
            if passage.target.is_out_of_memory(error) or passage.source.is_out_of_memory(error):
                raise
            failures.append(f"{route}: {error}")
            continue
        if (wrong := _difference(passage, facts)) is None:
            return _conversion(arrived, facts, passage.source, route, passage.facts, copied)
        failures.append(f"{route}: {wrong}")
    no_gpu = find_inventory().why_no_gpu() if passage.device.startswith(GPU) else None
    raise passage.refusal("; ".join(([no_gpu] if no_gpu else []) + failures))


def _is_open(route: Route, passage: _Passage) -> bool:
    """Whether a route leads to where the array is wanted; memory can only be shared on one device."""
    if route is Route.SAME:
        return False  # was looked at before
    if route is Route.HOST:
        return True
    here = passage.facts.device == passage.device
    return here and (route is Route.DLPACK or passage.device.startswith(GPU))


def _by_dlpack(passage: _Passage) -> tuple[AnyArray, str | None]:
    source, target = passage.source, passage.target
    if passage.device == CPU and passage.facts.dtype in LIBRARIES[MemoryType.NUMPY].dtypes:
        host = source.to_host(passage.array)
        if (reason := why_copy(host, source, target, passage.give)) is not None:
            return target.from_host(copy_aligned(host), CPU), reason
        return target.from_dlpack(source.to_dlpack(passage.array), CPU), None
    unfit, frozen = _why_unfit(passage), why_not_owned(source, target, passage.give)
    array = passage.array if unfit is None else source.copy(passage.array)
    arrived = target.from_dlpack(source.to_dlpack(array), passage.device)
    return arrived if frozen is None else target.copy(arrived), frozen or unfit


def _by_cuda_array(passage: _Passage) -> tuple[AnyArray, str | None]:
    return passage.target.from_cuda_array(passage.array, passage.device), None


def _through_host(passage: _Passage) -> tuple[AnyArray, str | None]:
    source, target = passage.source, passage.target
    host = source.to_host(passage.array)
    if passage.device == CPU and target.dlpack:
        downloaded = passage.facts.device != CPU
        reason = why_copy(host, LIBRARIES[MemoryType.NUMPY] if downloaded else source, target, passage.give)
        if reason is None and target.immutable and not host.flags.writeable:
            reason = "it is read-only"
        arrived = target.from_host(host if reason is None else copy_aligned(host), CPU)
        return arrived, f"it lay in the memory of {_device_name(passage.facts.device)}" if downloaded else reason
    arrived = target.from_host(host if why_not_readable(host) is None else copy_aligned(host), passage.device)
    return arrived, f"{target.memory_type} works in the memory of {_device_name(target.facts(arrived).device)}"


def _device_name(device: str) -> str:
    return "an OpenCL device" if device == OPENCL else device


_WAYS: Final = {Route.DLPACK: _by_dlpack, Route.CUDA: _by_cuda_array, Route.HOST: _through_host}


def _why_unfit(passage: _Passage) -> str | None:
    """Why memory that NumPy cannot see, for its device or its dtype, cannot be shared as it lies there."""
    if passage.target.borrows_strided:
        return None
    if not passage.facts.contiguous:
        return NOT_CONTIGUOUS
    misaligned = passage.device == CPU and (passage.facts.pointer or 0) % ALIGNMENT
    return NOT_ALIGNED if misaligned else None


def _difference(passage: _Passage, arrived: ArrayFacts) -> str | None:
    before = passage.facts
    if arrived.dtype != before.dtype:
        return f"{passage.target.memory_type} made {arrived.dtype} of {before.dtype}"
    if arrived.shape != before.shape:
        return f"{passage.target.memory_type} made the shape {arrived.shape} of {before.shape}"
    if arrived.device not in (passage.device, OPENCL):
        return f"{passage.target.memory_type} put it on {arrived.device} instead of {passage.device}"
    return None


def _conversion(
    array: AnyArray, facts: ArrayFacts, source: ArrayLibrary, route: Route, before: ArrayFacts, copied: str | None
) -> Conversion:
    zero_copy = route is Route.SAME or (facts.pointer is not None and facts.pointer == before.pointer)
    owner = library_of(array) or source
    return Conversion(
        array=array,
        source=source.memory_type,
        target=owner.memory_type,
        route=route,
        zero_copy=zero_copy,
        nbytes=before.nbytes,
        dtype=before.dtype,
        device=facts.device,
        copied=None if zero_copy else copied or f"{owner.memory_type} made a copy of its own",
    )


def _no_array(array: object, target: ArrayLibrary) -> MemoryConversionError:
    kind = f"{type(array).__module__}.{type(array).__qualname__}".removeprefix("builtins.")
    known = ", ".join(LIBRARIES)
    reason = f"it is an array of none of the libraries {known}; make a NumPy array of it first (numpy.asarray)"
    return _error(f"A {kind} cannot become", kind, target, reason)


def _error(opening: str, source: str, target: ArrayLibrary, reason: str) -> MemoryConversionError:
    return MemoryConversionError(
        f"{opening} a {target.memory_type} array: {reason.rstrip('.')}.",
        source=str(source),
        target=target.memory_type.value,
        reason=reason,
    )


__all__ = ["Conversion", "convert"]
