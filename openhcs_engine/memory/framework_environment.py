"""What must be set for array libraries before they are imported, and right after.

A worker process is started with :func:`worker_environment` in its environment, and calls :func:`settle` once before its
first well. Both hold it to one thread of the CPU, and to a share of its GPU's memory that grows as needed: by default
JAX takes 75 % of a GPU and TensorFlow nearly all of it, and nothing is left for the library that comes next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from openhcs_engine.memory.libraries import LIBRARIES
from openhcs_engine.memory.types import MemoryType

ONE_THREAD: Final[Mapping[str, str]] = MappingProxyType(
    dict.fromkeys(
        (
            "BLOSC_NTHREADS",
            "MKL_NUM_THREADS",
            "NUMBA_NUM_THREADS",
            "NUMEXPR_NUM_THREADS",
            "OMP_NUM_THREADS",
            "OPENBLAS_NUM_THREADS",
            "VECLIB_MAXIMUM_THREADS",
            "ZARR_THREADING__MAX_WORKERS",
        ),
        "1",
    )
)
"""Variables of worker processes, which share the machine's cores; a pool inside each would only fight the others."""

_OTHER_NAMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"PYTORCH_ALLOC_CONF": ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")}
)
"""Older names of a variable: a user who set one of them has decided."""

_FLAG_LISTS: Final = frozenset({"XLA_FLAGS"})
"""Variables that hold several ``--name=value``, separated by blanks."""

_USE_CUDA: Final = frozenset({MemoryType.CUPY, MemoryType.TORCH, MemoryType.TENSORFLOW, MemoryType.JAX})


def worker_environment(
    libraries: Iterable[MemoryType | str], gpu_uuid: str | None, given: Mapping[str, str]
) -> dict[str, str]:
    """Say which variables a worker process needs beside those that it inherits.

    What the user has set stays, with one exception: which GPU a worker sees is decided by its lease.

    Parameters
    ----------
    libraries
        The array libraries of its plan; those that it does not use need nothing.
    gpu_uuid
        The driver's name of the GPU that it has leased, ``GPU-…``; in every library this is then ``gpu:0``.
        None: it has none, and libraries that could use one see none. Workers of plain NumPy functions see what the
        user let them see: what such functions start is their own business.
    given
        The environment that it inherits, as ``os.environ``.

    Returns
    -------
    dict
        Variables to set or replace in ``given``.
    """
    wanted = sorted({MemoryType(library) for library in libraries})
    variables: dict[str, str] = {}
    for memory_type in wanted:
        for name, value in LIBRARIES[memory_type].environment.items():
            if name in _FLAG_LISTS:
                variables[name] = _with_flags(variables.get(name, given.get(name, "")), value)
            elif not any(known in given for known in (name, *_OTHER_NAMES.get(name, ()))):
                variables[name] = value
    return variables | _visible_devices(frozenset(wanted), gpu_uuid, given)


def settle(libraries: Iterable[MemoryType | str]) -> None:
    """Set up the libraries of a plan, in a worker process and before its first well, where variables cannot.

    Imports them. Only for processes that are the engine's own: in a user's process these settings are the user's.
    """
    for memory_type in sorted({MemoryType(library) for library in libraries}):
        LIBRARIES[memory_type].settle()


def _visible_devices(wanted: frozenset[MemoryType], gpu_uuid: str | None, given: Mapping[str, str]) -> dict[str, str]:
    if gpu_uuid is not None:
        # Source: CUDA_VISIBLE_DEVICES in the CUDA C++ programming guide, environment variables.
        return {"CUDA_VISIBLE_DEVICES": gpu_uuid}
    if not wanted & _USE_CUDA:
        return {}
    hidden = {"CUDA_VISIBLE_DEVICES": ""}
    if MemoryType.JAX in wanted and "JAX_PLATFORMS" not in given:
        hidden["JAX_PLATFORMS"] = "cpu"  # a JAX that is built for GPUs complains at each start that it sees none
    return hidden


def _with_flags(given: str, wanted: str) -> str:
    """Add the flags that are not given, whatever value they are given."""
    flags = given.split()
    names = {flag.partition("=")[0] for flag in flags}
    return " ".join([*flags, *(flag for flag in wanted.split() if flag.partition("=")[0] not in names)])


__all__ = ["settle", "worker_environment"]
