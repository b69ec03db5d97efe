"""Pieces of an array small enough for the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

BAND_ELEMENTS: Final = 2**16
"""Half a megabyte of float64: the second-level cache of one core."""


def row_bands(shape: tuple[int, ...], elements: int = BAND_ELEMENTS) -> Iterator[tuple[int | slice, ...]]:
    """Indexes that cut an array ``(…, y, x)`` into bands of whole rows, of about ``elements`` each, in memory order.

    Every element is in exactly one band; each band is at least one row.
    """
    if len(shape) < 2:
        yield (slice(None),) * len(shape)
        return
    rows, columns = shape[-2:]
    height = max(1, elements // max(1, columns))
    for plane in np.ndindex(shape[:-2]):
        for top in range(0, rows, height):
            yield (*plane, slice(top, top + height))
