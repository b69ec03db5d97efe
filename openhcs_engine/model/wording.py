"""Counts and lists in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def counted(count: int, noun: str) -> str:
    """``1 well``, ``2 wells``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(names: Iterable[str]) -> str:
    """Names between commas; ``nothing`` for none."""
    return ", ".join(names) or "nothing"


def listed_first(values: Iterable[object], most: int = 12, separator: str = ", ") -> str:
    """Values in a row; of more than ``most`` the first, and how many more there are: ``A01, A02 and 3 more``."""
    texts = [str(value) for value in values]
    rest = f" and {len(texts) - most} more" if len(texts) > most else ""
    return separator.join(texts[:most]) + rest


def first_sentences(sentences: Sequence[str], most: int, others: str) -> list[str]:
    """The first of many like sentences, and one that says how many ``others`` there are."""
    rest = len(sentences) - most
    return [*sentences[:most], *([f"{rest} more {others}."] if rest > 0 else [])]


__all__ = ["counted", "first_sentences", "listed", "listed_first"]
