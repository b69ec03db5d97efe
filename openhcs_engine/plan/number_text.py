"""Numbers in few characters: runs for positions and axes, base 36 for times and sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final, TypeAlias

from msgspec import Struct

Runs: TypeAlias = list[int | tuple[int, int]]
"""Integers in order: one by itself, or (first, last) of a run."""

Numbers: TypeAlias = int | str
"""A column of one well: the value that all its planes have, or one a plane in base 36."""

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_PAIRS: Final = tuple(high + low for high in _DIGITS for low in _DIGITS)


def to_runs(values: Iterable[int]) -> Runs:
    """The same integers in the same order, neighbours that count upwards together."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return [first if first == last else (first, last) for first, last in runs]


def count_runs(runs: Runs) -> int:
    """How many integers the runs stand for, without making them.

    Raises
    ------
    ValueError
        If a run ends before it begins.
    """
    total = 0
    for run in runs:
        first, last = (run, run) if isinstance(run, int) else run
        if last < first:
            raise ValueError(f"the run {first} to {last} ends before it begins")
        total += last - first + 1
    return total


def from_runs(runs: Runs) -> Iterator[int]:
    """The integers; count them first."""
    for run in runs:
        if isinstance(run, int):
            yield run
        else:
            yield from range(run[0], run[1] + 1)


class Column(Struct, frozen=True, forbid_unknown_fields=True):
    """What the values of a column have in common: each is ``first`` and some multiple of ``unit``."""

    first: int = 0
    unit: int = 1

    @classmethod
    def of(cls, values: Iterable[int]) -> Column:
        """Smallest value, and greatest common step: file systems keep times in 1, 100, or 10⁹ ns."""
        distinct = set(values)
        first = min(distinct, default=0)
        return cls(first=first, unit=math.gcd(*(value - first for value in distinct)) or 1)

    def encode(self, values: Sequence[int], *, differences: bool) -> Numbers:
        """The multiples of one well's planes; with ``differences``, each behind the first as change from the last."""
        first, unit = self.first, self.unit
        multiples = [(value - first) // unit for value in values]
        if len(set(multiples)) <= 1:
            return multiples[0] if multiples else 0
        if differences:
            multiples = [multiples[0], *(after - before for before, after in pairwise(multiples))]
        return " ".join(map(base36, multiples))

    def decode(self, numbers: Numbers, count: int, *, differences: bool) -> list[int]:
        """The values of ``count`` planes; the other way round.

        Raises
        ------
        ValueError
            If there are more or fewer, or a word is no number.
        """
        if isinstance(numbers, int):
            return [self.first + self.unit * numbers] * count
        words = numbers.split(" ")
        if len(words) != count:
            raise ValueError(f"{len(words)} numbers stand for {count} planes")
        multiples: Iterable[int] = (int(word, 36) for word in words)
        first, unit = self.first, self.unit
        return [first + unit * multiple for multiple in (accumulate(multiples) if differences else multiples)]


def base36(value: int) -> str:
    """The number with the digits 0 to z, as ``int(text, 36)`` reads it."""
    if value < 0:
        return "-" + base36(-value)
    text = ""
    while value >= 1296:  # two digits at a time: plates have 100,000 of these numbers
        value, low = divmod(value, 1296)
        text = _PAIRS[low] + text
    return (_PAIRS[value] if value >= 36 else _DIGITS[value]) + text


__all__ = ["Column", "Numbers", "Runs", "base36", "count_runs", "from_runs", "to_runs"]
