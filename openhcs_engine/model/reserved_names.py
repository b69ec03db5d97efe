"""Names that Windows keeps for devices: no folder or file of a network drive can be opened there under one."""

from __future__ import annotations

from typing import Final

_RESERVED: Final = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}
)
"""*Source*: Microsoft, "Naming Files, Paths, and Namespaces"."""


def is_reserved_on_windows(name: str) -> bool:
    """True for ``CON``, ``nul.tif``, ``com1.`` and their like: what follows the first dot does not count there."""
    return name.partition(".")[0].rstrip(" ").lower() in _RESERVED


__all__ = ["is_reserved_on_windows"]
