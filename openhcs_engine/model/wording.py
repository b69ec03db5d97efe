"""Counts and lists in sentences."""

from __future__ import annotations

from collections.abc import Iterable


def counted(count: int, noun: str) -> str:
    """``1 well``, ``2 wells``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(names: Iterable[str]) -> str:
    """Names between commas; ``nothing`` for none."""
    return ", ".join(names) or "nothing"


__all__ = ["counted", "listed"]
