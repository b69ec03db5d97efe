"""What workers are told before and after they import array libraries."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from openhcs_engine.memory.framework_environment import settle, worker_environment
from openhcs_engine.memory.libraries import LIBRARIES
from openhcs_engine.memory.types import MemoryType

UUID = "GPU-8f2a4c6e-0000-0000-0000-000000000001"


def test_libraries_share_a_gpu_that_only_this_worker_sees() -> None:
    """No library takes more of the GPU than it needs, and the leased GPU is the only one."""
    variables = worker_environment(["torch", "tensorflow", "jax", "cupy"], UUID, {})

    assert variables["CUDA_VISIBLE_DEVICES"] == UUID
    assert variables["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert variables["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert variables["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"
    assert "JAX_PLATFORMS" not in variables


def test_each_library_brings_only_its_own_variables() -> None:
    """A worker's environment says nothing of libraries that its plan does not name."""
    assert set(worker_environment(["jax"], UUID, {})) == {
        "XLA_PYTHON_CLIENT_PREALLOCATE", "XLA_FLAGS", "PJRT_NPROC", "CUDA_VISIBLE_DEVICES",
    }  # fmt: skip
    assert set(worker_environment(["numpy", "torch"], UUID, {})) == {"PYTORCH_ALLOC_CONF", "CUDA_VISIBLE_DEVICES"}
    assert worker_environment(["numpy", "pyclesperanto"], None, {}) == {}


def test_a_worker_without_a_gpu_sees_none() -> None:
    """A GPU that somebody else leased is not touched by libraries that would take the first they see."""
    variables = worker_environment([MemoryType.TORCH, MemoryType.JAX], None, {"CUDA_VISIBLE_DEVICES": "0,1"})

    assert variables["CUDA_VISIBLE_DEVICES"] == ""
    assert variables["JAX_PLATFORMS"] == "cpu"
    assert worker_environment(["numpy"], None, {"CUDA_VISIBLE_DEVICES": "0,1"}) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("XLA_PYTHON_CLIENT_PREALLOCATE", "true"),
        ("TF_FORCE_GPU_ALLOW_GROWTH", "false"),
        ("TF_NUM_INTRAOP_THREADS", "4"),
        ("PYTORCH_ALLOC_CONF", "backend:cudaMallocAsync"),
        ("PJRT_NPROC", "4"),
        ("JAX_PLATFORMS", "cuda"),
    ],
)
def test_what_the_user_has_set_stays(name: str, value: str) -> None:
    """Whatever a user chose, they had a reason."""
    assert name not in worker_environment(list(LIBRARIES), None, {name: value})


def test_an_older_name_counts_as_set() -> None:
    """torch reads both names; setting the newer one would overrule the user."""
    given = {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:128"}

    assert "PYTORCH_ALLOC_CONF" not in worker_environment(["torch"], UUID, given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", "--xla_cpu_multi_thread_eigen=false"),
        ("--xla_dump_to=/tmp/a", "--xla_dump_to=/tmp/a --xla_cpu_multi_thread_eigen=false"),
        ("--xla_cpu_multi_thread_eigen=true --xla_a", "--xla_cpu_multi_thread_eigen=true --xla_a"),
    ],
)
def test_flags_are_added_to_the_users(given: str, expected: str) -> None:
    """A variable of flags is completed; a flag that is given keeps its value, and two libraries add it once."""
    assert worker_environment(["jax", "tensorflow"], UUID, {"XLA_FLAGS": given})["XLA_FLAGS"] == expected


def test_the_environment_given_is_left_alone() -> None:
    """The function only answers."""
    given = {"XLA_FLAGS": "--xla_dump_to=/tmp/a"}
    worker_environment(list(LIBRARIES), UUID, given)

    assert given == {"XLA_FLAGS": "--xla_dump_to=/tmp/a"}


def test_settling_numpy_imports_nothing_else() -> None:
    """A worker of plain functions stays lean."""
    before = set(sys.modules)
    settle(["numpy"])

    assert not {"torch", "tensorflow", "jax", "cupy", "pyclesperanto"} & (set(sys.modules) - before)


WORKER = """
import os
import numpy as np
from openhcs_engine.memory.framework_environment import settle
from openhcs_engine.memory.loading import load_framework

names = [name for name in ("torch", "tensorflow", "jax") if name in os.environ["INSTALLED"].split()]
settle(names)
for name in names:
    module = load_framework(name)
    if name == "torch":
        assert module.get_num_threads() == module.get_num_interop_threads() == 1
        assert not module.cuda.is_available()
        square = module.ones((50, 50)) @ module.ones((50, 50))
    elif name == "tensorflow":
        assert module.config.threading.get_intra_op_parallelism_threads() == 1
        square = module.ones((50, 50)) @ module.ones((50, 50))
    else:
        square = module.jit(lambda x: x @ x)(module.numpy.ones((50, 50)))
        assert module.default_backend() == "cpu"
    assert np.asarray(square).max() == 50, name
settle(names)
print("settled", *names)
"""


def test_a_worker_so_told_computes_on_one_thread() -> None:
    """All libraries accept the variables (an unknown XLA flag ends a process), and the settings hold."""
    names = [name for name in ("torch", "tensorflow", "jax") if LIBRARIES[MemoryType(name)].installed()]
    if not names:
        pytest.skip("none of torch, tensorflow and jax is installed")
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        env={
            **os.environ,
            **worker_environment(names, None, os.environ),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "INSTALLED": " ".join(names),
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["settled", *names]
