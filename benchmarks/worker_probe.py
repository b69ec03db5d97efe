"""Functions for pipelines that write down what the worker they run in has cost so far."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measure import peak_mb
from openhcs_engine.memory.decorators import memory_decorator
from openhcs_engine.memory.types import MemoryType

Stack = Any  # an array of whichever library


def loaded() -> list[str]:
    """The array libraries that this process has imported."""
    return [name for name in MemoryType if name in sys.modules]


def write_down(path: str) -> None:
    """Append seconds since this process began, memory and libraries to a file."""
    seconds = time.time() - psutil.Process(os.getpid()).create_time()
    with Path(path).open("a") as stream:
        stream.write(json.dumps({"seconds": seconds, "mb": peak_mb(), "loaded": loaded()}) + "\n")


def _probe(memory_type: MemoryType) -> Callable[..., Stack]:
    def probe(stack: Stack, path: str) -> Stack:
        """Write down, and return the stack."""
        write_down(path)
        return stack

    probe.__qualname__ = probe.__name__ = f"in_{memory_type}"  # by which a worker finds it here
    return memory_decorator(memory_type)(probe)


in_numpy = _probe(MemoryType.NUMPY)
in_torch = _probe(MemoryType.TORCH)
in_tensorflow = _probe(MemoryType.TENSORFLOW)
in_jax = _probe(MemoryType.JAX)
in_pyclesperanto = _probe(MemoryType.PYCLESPERANTO)

PROBES = {
    MemoryType.NUMPY: in_numpy,
    MemoryType.TORCH: in_torch,
    MemoryType.TENSORFLOW: in_tensorflow,
    MemoryType.JAX: in_jax,
    MemoryType.PYCLESPERANTO: in_pyclesperanto,
}
"""By the library that the worker must import for them."""
