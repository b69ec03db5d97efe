"""What the engine does before array libraries meet each other: it copies, it orders, or it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from openhcs_engine.errors import LibraryUnavailableError
from openhcs_engine.memory import convert, loading
from openhcs_engine.memory.conversion.host_layout import why_copy
from openhcs_engine.memory.libraries import library


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is imported or mapped through ``loading``, in order; nothing is in this test's process yet."""
    seen: list[str] = []
    monkeypatch.setattr(loading, "is_installed", lambda package: True)
    monkeypatch.setattr(loading, "_import", lambda package: seen.append(package) or ModuleType(package))
    monkeypatch.setattr(loading, "_bind_drivers", lambda: seen.append("drivers"))
    monkeypatch.setattr(loading.importlib, "import_module", seen.append)
    monkeypatch.setattr(loading, "sys", SimpleNamespace(modules={}))
    return seen


def loader_of_the_host(present: bool) -> Any:
    """A stand-in for ``ctypes.CDLL``: the host has an OpenCL loader, or none."""

    def load(name: str) -> Any:
        if not present:
            raise OSError(f"{name}: cannot open shared object file")
        return SimpleNamespace(clGetPlatformIDs=lambda *_: 0)

    return load


@pytest.mark.parametrize(
    ("present", "order"),
    [(True, ["drivers", "tensorflow"]), (False, ["pyclesperanto", "tensorflow"])],
    ids=["a loader of the host", "the loader that pyclesperanto brings"],
)
def test_opencl_comes_before_tensorflow(
    present: bool, order: list[str], loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever OpenCL loader there is, its drivers are in the process before TensorFlow is."""
    monkeypatch.setattr(loading.ctypes, "CDLL", loader_of_the_host(present))

    loading.load_framework("tensorflow")

    assert loaded == order


def test_without_pyclesperanto_no_driver_is_loaded(loaded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would use it."""
    monkeypatch.setattr(loading, "is_installed", lambda package: package != "pyclesperanto")

    loading.load_framework("tensorflow")

    assert loaded == ["tensorflow"]


def test_drivers_are_left_alone_where_it_is_too_late(loaded: list[str]) -> None:
    """TensorFlow is there already: loading a driver now would harm the process."""
    loading.sys.modules["tensorflow"] = ModuleType("tensorflow")

    loading.load_opencl_drivers()

    assert loaded == []


def test_pyclesperanto_after_tensorflow_is_refused(loaded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the user's imported TensorFlow by itself: the error names the order that works."""
    monkeypatch.setattr(loading, "_drivers_are_loaded", lambda: False)
    loading.sys.modules["tensorflow"] = ModuleType("tensorflow")

    with pytest.raises(LibraryUnavailableError, match="tensorflow was imported before the OpenCL drivers") as refused:
        loading.load_framework("pyclesperanto")

    assert "inside your functions" in str(refused.value)
    assert loaded == []


@pytest.mark.parametrize("give", [False, True], ids=["shared", "given"])
def test_a_mapped_file_is_never_shared(give: bool, tmp_path: Path) -> None:
    """However it is viewed, and whether or not the caller gives it away: no library gets a raw file's own memory."""
    np.arange(6, dtype="uint16").tofile(tmp_path / "raw.bin")
    mapped = np.memmap(tmp_path / "raw.bin", "uint16", "r")

    for view in (mapped, mapped[2:], np.asarray(mapped), mapped.reshape(2, 3)):
        for target in ("torch", "tensorflow", "jax"):
            reason = why_copy(view, library("numpy"), library(target), give)
            assert reason == "it is a file, mapped into memory", (view.shape, target)


def test_memory_that_begins_anywhere_is_copied_for_libraries_that_want_it_aligned() -> None:
    """TensorFlow and JAX get memory of their own; PyTorch may share it."""
    aligned = np.zeros(1024 + 16, "float32")
    first = -aligned.ctypes.data % 64 // 4
    misaligned = aligned[first + 1 : first + 1025]

    reasons = {target: why_copy(misaligned, library("numpy"), library(target), True) for target in ("torch", "jax")}
    assert reasons == {"torch": None, "jax": "it does not start at a multiple of 64 bytes"}
    assert why_copy(misaligned, library("numpy"), library("tensorflow"), True) == reasons["jax"]


def test_tensorflow_and_pyclesperanto_work_in_one_process(tmp_path: Path) -> None:
    """Loaded by the engine, in an order it chooses, both compute; kernels are compiled after both are there."""
    for name in ("tensorflow", "pyclesperanto"):
        if not library(name).installed():
            pytest.skip(f"{name} is not installed")
    code = dedent(
        """
        import numpy as np
        from openhcs_engine.memory import convert
        from openhcs_engine.memory.loading import load_framework

        tf = load_framework("tensorflow")
        tensor = convert(np.arange(8, dtype="float32"), "tensorflow").array
        assert float(tf.reduce_sum(tensor + 1)) == 36
        uploaded = convert(tensor, "pyclesperanto").array
        raised = load_framework("pyclesperanto").add_image_and_scalar(uploaded, scalar=2)
        assert convert(raised, "numpy").array.tolist() == [2, 3, 4, 5, 6, 7, 8, 9]
        """
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "POCL_CACHE_DIR": str(tmp_path)},  # none is compiled already
        capture_output=True,
        text=True,
        timeout=240,
    )

    if "no OpenCL driver" in done.stderr:
        pytest.skip("this host has no OpenCL driver")
    assert done.returncode == 0, done.stderr[-2000:]


def test_an_array_of_pyclesperanto_goes_through_the_hosts_memory() -> None:
    """Its memory is OpenCL's: PyTorch never gets it directly."""
    for name in ("torch", "pyclesperanto"):
        if (reason := library(name).why_not()) is not None:
            pytest.skip(reason)
    uploaded = convert(np.arange(6, dtype="uint16").reshape(2, 3), "pyclesperanto").array

    downloaded = convert(uploaded, "torch")

    assert not downloaded.zero_copy
    assert downloaded.array.tolist() == [[0, 1, 2], [3, 4, 5]]
