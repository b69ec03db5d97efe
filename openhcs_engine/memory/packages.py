"""The installed packages of the array libraries: their versions, and whether they were built for GPUs.

Asked from the packages' metadata: nothing here imports an array library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata
from types import MappingProxyType
from typing import Final

from openhcs_engine.memory.loading import is_installed
from openhcs_engine.memory.types import MemoryType

_DISTRIBUTIONS: Final[Mapping[MemoryType, tuple[str, ...]]] = MappingProxyType(
    {
        MemoryType.NUMPY: ("numpy",),
        MemoryType.CUPY: ("cupy", "cupy-cuda12x", "cupy-cuda13x", "cupy-cuda11x"),
        MemoryType.TORCH: ("torch",),
        MemoryType.TENSORFLOW: ("tensorflow", "tensorflow-cpu"),
        MemoryType.JAX: ("jax", "jaxlib"),
        MemoryType.PYCLESPERANTO: ("pyclesperanto",),
    }
)
"""Names under which a library is published."""


def versions_of(memory_type: MemoryType) -> tuple[str, ...]:
    """``distribution==version`` of the packages that make up a library; empty if it is not installed."""
    known = _installed(_DISTRIBUTIONS[memory_type])
    if known or not is_installed(memory_type.value):
        return known
    return _installed(_providers().get(memory_type.value, ()))


def cpu_builds() -> dict[MemoryType, str]:
    """Libraries that are installed without GPU support, as far as their packages say, each with a clause that says so.

    >>> cpu_builds()  # doctest: +SKIP
    {MemoryType.TORCH: 'torch==2.13.0+cpu is built without GPU support'}
    """
    built_for_gpus: dict[MemoryType, Callable[[tuple[str, ...]], bool]] = {
        MemoryType.TORCH: lambda versions: "+cpu" not in versions[0],
        MemoryType.TENSORFLOW: lambda versions: not versions[0].startswith("tensorflow-cpu=="),
        MemoryType.JAX: lambda _: _jax_has_plugins(),
    }
    return {
        memory_type: f"{versions[0]} is built without GPU support"
        for memory_type, built_for_gpu in built_for_gpus.items()
        if (versions := versions_of(memory_type)) and not built_for_gpu(versions)
    }


def _jax_has_plugins() -> bool:
    # Where jax itself looks for other devices than the CPU.
    return is_installed("jax_plugins") or bool(metadata.entry_points(group="jax_plugins"))


def _installed(distributions: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}=={version}" for name in distributions if (version := _version(name)) is not None)


@cache
def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


@cache
def _providers() -> dict[str, tuple[str, ...]]:
    """Distributions by what they are imported as; slow (it reads every package's list of files)."""
    return {module: tuple(sorted(set(names))) for module, names in metadata.packages_distributions().items()}


__all__ = ["cpu_builds", "versions_of"]
