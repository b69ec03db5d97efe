"""Functions that take long, for pipelines in tests."""

from __future__ import annotations

import time
from pathlib import Path

from openhcs_engine.memory.stack import Array


def hang_once(stack: Array, marker: str) -> Array:
    """Whoever is first never comes back; all others pass."""
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return stack
    print("first, and never done", flush=True)
    time.sleep(3600)
    return stack


def wait_for(stack: Array, file: str) -> Array:
    """Comes back when the file is there."""
    while not Path(file).exists():
        time.sleep(0.01)
    return stack
