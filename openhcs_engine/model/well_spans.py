"""Many wells in few words: blocks of rows and columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import groupby

from openhcs_engine.model.wells import plate_order, row_and_column, well_name
from openhcs_engine.model.wording import listed_first

_Block = tuple[int, int, int, int]
"""First row, last row, first column, last column, counted from 0, all inclusive."""


def well_spans(wells: Collection[str], among: Iterable[str] = ()) -> tuple[str, ...]:
    """The wells as blocks, each named by its two corners: ``A01–B12`` is columns 1 to 12 of the rows A and B.

    Parameters
    ----------
    wells
        Canonical names.
    among
        All wells that there are, to see where no well lies between two others; a block may stretch over positions that
        hold no well. Default: every position holds one.

    Returns
    -------
    tuple of str
        In plate order of the first corners. No block holds a well of ``among`` that is not in ``wells``.
    """
    positions = {row_and_column(well) for well in wells}
    known = {row_and_column(well) for well in among} | positions if among else None
    blocks: list[_Block] = []
    for row, first, last in _runs(positions, known):
        above = next((block for block in blocks if block[2:] == (first, last) and _adjoins(block[1], row, known)), None)
        if above is None:
            blocks.append((row, row, first, last))
        else:
            blocks[blocks.index(above)] = (above[0], row, first, last)
    return tuple(_name(block) for block in blocks)


def format_spans(wells: Collection[str], among: Iterable[str] = (), most: int = 6) -> str:
    """The blocks in one line: ``A01–B12, C03``; of more than ``most`` the first, and how many wells are left."""
    spans = well_spans(wells, among)
    if len(spans) <= most:
        return ", ".join(spans)
    ordered = sorted(wells, key=plate_order)
    return listed_first(ordered, most)


def _runs(positions: set[tuple[int, int]], known: set[tuple[int, int]] | None) -> Iterable[tuple[int, int, int]]:
    """Row, first and last column of each run of neighbours, in plate order."""
    for row, of_row in groupby(sorted(positions), key=lambda position: position[0]):
        columns = [column for _, column in of_row]
        start = columns[0]
        for before, column in zip(columns, [*columns[1:], None], strict=True):
            if column is None or not _neighbours(row, before, column, known):
                yield row, start, before
                start = column if column is not None else start


def _neighbours(row: int, before: int, after: int, known: set[tuple[int, int]] | None) -> bool:
    if known is None:
        return after == before + 1
    return not any((row, column) in known for column in range(before + 1, after))


def _adjoins(before: int, row: int, known: set[tuple[int, int]] | None) -> bool:
    if known is None:
        return row == before + 1
    return not any(before < other < row for other, _ in known)


def _name(block: _Block) -> str:
    top, bottom, left, right = block
    first, last = well_name(top, left), well_name(bottom, right)
    return first if first == last else f"{first}–{last}"


__all__ = ["format_spans", "well_spans"]
