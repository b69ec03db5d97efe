"""What the packages of the array libraries tell without being imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

import pytest

from openhcs_engine.memory import MemoryType, packages
from openhcs_engine.memory.packages import cpu_builds, versions_of


@dataclass(frozen=True)
class Build:
    """Packages of an environment, and the libraries in it that cannot use a GPU."""

    installed: Mapping[str, str]
    without_gpu: set[MemoryType]
    jax_plugins: bool = False


BUILDS = {
    "cpu wheels": Build(
        {"torch": "2.9.0+cpu", "tensorflow-cpu": "2.20", "jax": "0.8", "jaxlib": "0.8"},
        {MemoryType.TORCH, MemoryType.TENSORFLOW, MemoryType.JAX},
    ),
    "gpu wheels": Build({"torch": "2.9.0+cu128", "tensorflow": "2.20", "jax": "0.8"}, set(), jax_plugins=True),
    "untold": Build({"torch": "2.9.0", "tensorflow": "2.20"}, set()),
    "nothing installed": Build({}, set()),
}


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS.keys())
def test_builds_without_gpu_support_are_known_by_their_packages(monkeypatch: pytest.MonkeyPatch, build: Build) -> None:
    """A library is only called a CPU build if its package says so."""
    monkeypatch.setattr(packages, "_version", build.installed.get)
    monkeypatch.setattr(packages, "_jax_has_plugins", lambda: build.jax_plugins)
    monkeypatch.setattr(packages, "_providers", dict)

    found = cpu_builds()

    assert set(found) == build.without_gpu
    assert all(sentence.endswith("is built without GPU support") for sentence in found.values())


def test_versions_are_those_of_the_installed_packages() -> None:
    """A library may be made of several packages; NumPy is always there."""
    assert versions_of(MemoryType.NUMPY) == (f"numpy=={metadata.version('numpy')}",)


def test_a_library_under_another_packages_name_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its package is the one that provides the module."""
    monkeypatch.setattr(packages, "_version", {"numpy-special": "1.0"}.get)
    monkeypatch.setattr(packages, "_providers", lambda: {"numpy": ("numpy-special",)})

    assert versions_of(MemoryType.NUMPY) == ("numpy-special==1.0",)
