"""Modules of ours that moved, and the names that plans and fingerprints still give them.

A module that holds what pipelines may name (functions, classes) gets a line here when it moves, and no other change: a
stored plan then finds its functions, and no well becomes stale by a move.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MOVED: Final[Mapping[str, str]] = {
    "openhcs_engine.functions.background": "openhcs_engine.functions.intensity.background",
    "openhcs_engine.functions.composite": "openhcs_engine.functions.planes.composite",
    "openhcs_engine.functions.contrast": "openhcs_engine.functions.intensity.contrast",
    "openhcs_engine.functions.denoise": "openhcs_engine.functions.intensity.denoise",
    "openhcs_engine.functions.histogram": "openhcs_engine.functions.intensity.histogram",
    "openhcs_engine.functions.normalize": "openhcs_engine.functions.intensity.normalize",
    "openhcs_engine.functions.positions": "openhcs_engine.functions.tiles.positions",
    "openhcs_engine.functions.projection": "openhcs_engine.functions.planes.projection",
    "openhcs_engine.memory.aligned": "openhcs_engine.memory.conversion.aligned",
    "openhcs_engine.memory.convert": "openhcs_engine.memory.conversion.convert",
    "openhcs_engine.memory.dtype": "openhcs_engine.memory.conversion.dtype",
    "openhcs_engine.memory.side_data": "openhcs_engine.memory.artifacts",
}
"""By the name under which plans know a module, the one that it has now."""

_STORED: Final[Mapping[str, str]] = {now: stored for stored, now in MOVED.items()}


def stored_name(module: str) -> str:
    """The name of a module in plans and fingerprints."""
    return _STORED.get(module, module)


def current_name(module: str) -> str:
    """The name by which a module is imported that a plan names."""
    return MOVED.get(module, module)


__all__ = ["MOVED", "current_name", "stored_name"]
