"""Colours of the report's pictures and maps that are calculated."""

from __future__ import annotations

from typing import Final

_VIRIDIS: Final = (
    "#440154", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26",
    "#fde725",
)  # fmt: skip
"""Eleven equidistant colours of matplotlib's map: dark is little, bright is much, and it prints well in grey."""


def mix(one: str, other: str, part: float) -> str:
    """The colour between two ``#rrggbb``, ``part`` of the way from the first."""
    pairs = zip(bytes.fromhex(one[1:]), bytes.fromhex(other[1:]), strict=True)
    return f"#{bytes(round(low + (high - low) * part) for low, high in pairs).hex()}"


def heat_colour(part: float) -> str:
    """The colour of 0 to 1 in a heat map."""
    position = min(max(part, 0.0), 1.0) * (len(_VIRIDIS) - 1)
    low = min(int(position), len(_VIRIDIS) - 2)
    return mix(_VIRIDIS[low], _VIRIDIS[low + 1], position - low)
