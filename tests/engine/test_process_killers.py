"""What ends a process when libraries are put together by hand, done through the engine, each in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from textwrap import dedent

import pytest

from openhcs_engine.memory.libraries import library

PREAMBLE = """
import sys
import numpy as np
from openhcs_engine.errors import LibraryUnavailableError, MemoryConversionError
from openhcs_engine.memory import convert
from openhcs_engine.memory.loading import load_framework
"""


@dataclass(frozen=True, kw_only=True)
class Killer:
    """A few lines that must end well."""

    name: str
    needs: tuple[str, ...]
    """Libraries that must be able to work here."""
    death: str
    """How a process ends that does it by hand."""
    lines: str


KILLERS = (
    Killer(
        name="negative strides into torch",
        needs=("torch",),
        death="SIGABRT in torch.from_dlpack",
        lines="""
            tensor = convert(np.arange(6, dtype="uint16").reshape(2, 3)[:, ::-1], "torch").array
            assert tensor.tolist() == [[2, 1, 0], [5, 4, 3]]
        """,
    ),
    Killer(
        name="writing through torch into a file mapped read-only",
        needs=("torch",),
        death="SIGSEGV at the write",
        lines="""
            path = sys.argv[1] + "/raw.bin"
            np.arange(6, dtype="uint16").tofile(path)
            mapped = np.memmap(path, "uint16", "r")
            for view in (mapped, mapped[2:], np.asarray(mapped), mapped.reshape(2, 3)):
                for give in (False, True):
                    convert(view, "torch", give=give).array.fill_(7)
            assert np.fromfile(path, "uint16").tolist() == [0, 1, 2, 3, 4, 5]
        """,
    ),
    Killer(
        name="an array of pyclesperanto's into torch",
        needs=("torch", "pyclesperanto"),
        death="SIGSEGV or SIGABRT in torch.from_dlpack: OpenCL memory",
        lines="""
            uploaded = convert(np.arange(6, dtype="uint16").reshape(2, 3), "pyclesperanto").array
            assert hasattr(uploaded, "__dlpack__")
            assert convert(uploaded, "torch").array.tolist() == [[0, 1, 2], [3, 4, 5]]
        """,
    ),
    Killer(
        name="TensorFlow before pyclesperanto, and memory that begins anywhere",
        needs=("tensorflow", "pyclesperanto"),
        death="SIGSEGV in clGetPlatformIDs; SIGABRT in TensorFlow's next operation (CheckTypeAndIsAligned)",
        lines="""
            tf = load_framework("tensorflow")
            assert "pyclesperanto" not in sys.modules
            misaligned = np.arange(1024, dtype="float32")[1:]
            tensor = convert(misaligned, "tensorflow").array
            assert float(tf.reduce_sum(tensor + 1)) == misaligned.sum() + 1023
            uploaded = convert(tensor[:8], "pyclesperanto").array
            raised = load_framework("pyclesperanto").add_image_and_scalar(uploaded, scalar=2)  # compiles with LLVM
            assert convert(raised, "numpy").array.tolist() == [3, 4, 5, 6, 7, 8, 9, 10]
        """,
    ),
    Killer(
        name="a user's module that imports TensorFlow first",
        needs=("tensorflow", "pyclesperanto"),
        death="SIGSEGV in clGetPlatformIDs",
        lines="""
            import tensorflow
            from openhcs_engine.memory.loading import load_opencl_drivers
            load_opencl_drivers()  # too late, and leaves the process alone
            try:
                convert(np.zeros((2, 3), "uint16"), "pyclesperanto")
            except LibraryUnavailableError as error:
                assert "tensorflow was imported before the OpenCL drivers" in str(error), error
            else:
                raise AssertionError("pyclesperanto was loaded after TensorFlow")
            assert "pyclesperanto" not in sys.modules
        """,
    ),
)


@pytest.mark.parametrize("killer", KILLERS, ids=lambda killer: killer.name)
def test_the_process_lives(killer: Killer, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The right values, or an error with a reason; never a dead process."""
    missing = [name for name in killer.needs if not library(name).installed()]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    code = PREAMBLE + dedent(killer.lines)

    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code, str(tmp_path_factory.mktemp("killer"))],
        env={**os.environ, "POCL_CACHE_DIR": str(tmp_path_factory.mktemp("kernels"))},  # none is compiled already
        capture_output=True,
        text=True,
        timeout=240,
    )

    if "no OpenCL driver" in done.stderr:
        pytest.skip("this host has no OpenCL driver")
    assert done.returncode == 0, f"{killer.death}?\n{done.stderr[-2000:]}"
