"""One function with its parameters, as a plan names it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import PurePath

from openhcs_engine.laws import now
from openhcs_engine.model.artifacts import SideInput, SideOutput
from openhcs_engine.model.frozen import FrozenMap


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedFile:
    """A file that a module read while it was imported, as it was then."""

    path: str
    """Absolute. Its name alone is part of fingerprints."""
    size: int
    """Bytes."""
    mtime_ns: int

    @property
    def name(self) -> str:
        """The file's own name."""
        return PurePath(self.path).name


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionCall:
    """One function with its parameters."""

    reference: str
    """``module:qualname`` of the function."""
    importable: bool = True
    """False: a function of a notebook, ``__main__`` or another function; only runs inside the process that compiled."""
    source_sha256: str
    """Digest of its source text and of what it uses; a changed function makes its wells stale."""
    version: str
    """``distribution==version`` the function comes from, or empty for a module that is no installed package."""
    kwargs: FrozenMap = field(default_factory=FrozenMap)
    input_type: str = "numpy"
    """Array library of the stack it takes."""
    output_type: str = "numpy"
    """Array library of the stack it returns."""
    dtype: str = "preserve"
    """``preserve`` (the input's, rounded, clipped, never stretched), ``native`` (as returned), or a NumPy name."""
    collapses: bool = False
    """True: N planes become one, which stands for the whole axis."""
    slice_by_slice: bool = False
    """True: what it makes of a plane does not depend on the other planes, so that a stack may be cut into batches."""
    declared: bool = True
    """False: the function carries no decorator, and counts as NumPy."""
    coordinates: bool = False
    """True: it is also given ``coordinates``, where on the axes of its stack each plane lies."""
    lazy: bool = False
    """True: it is called with a lazy stack, whose planes are read one by one."""
    side_outputs: tuple[SideOutput, ...] = ()
    """What it returns behind its stack, in order."""
    side_inputs: tuple[SideInput, ...] = ()
    """Parameters that are filled while a well is processed."""
    cpu_twin: FunctionCall | None = None
    """What runs instead on the CPU if the device runs out of memory and the library has no CPU device."""
    source_by_law_1: str = ""
    """The digest by the first law, for wells that were published by it; no part of fingerprints."""
    revision: int = 0
    """Of a function of ours, how often its results changed since the first law; stands for its source."""
    uses: FrozenMap = field(default_factory=FrozenMap)
    """What it uses, by name: functions, classes and values with the beginning of their digest, packages with their
    version. In fingerprints all of it is in ``source_sha256``."""
    files: tuple[UsedFile, ...] = ()
    """Files that the modules which it uses read while they were imported, and files that its parameters name."""
    unfollowed: tuple[str, ...] = ()
    """What it uses and nobody can tell from another thing of its kind, each with the reason; no part of
    fingerprints."""


def call_that_counts(call: FunctionCall) -> FunctionCall:
    """A call without what is only shown to people; functions of ours are known by their revision."""
    files = tuple(replace(file, path=file.name) for file in call.files)
    call = replace(call, source_by_law_1="", uses=FrozenMap(), unfollowed=(), files=files)
    if now.is_ours(call.reference):
        call = replace(call, source_sha256="", version="")
    return call


__all__ = ["FunctionCall", "UsedFile", "call_that_counts"]
