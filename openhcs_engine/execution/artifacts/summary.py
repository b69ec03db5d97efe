"""Measurements of objects, summarised: a row for each place of a well that was measured, and one for the well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.execution.artifacts.tables import OBJECT
from openhcs_engine.model.components import Component
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.output.tables.well import WELL

if TYPE_CHECKING:
    import pyarrow as pa

_AXES: Final = (Component.SITE, Component.CHANNEL, Component.Z_INDEX, Component.TIMEPOINT)
_COORDINATES: Final = frozenset({WELL, OBJECT, *(axis.value for axis in _AXES)})

Place = tuple[int | None, ...]
"""The values on the axes that a table has columns of; None everywhere: the whole well."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The measurements of the objects of one stack."""

    scope: ImageKey
    rows: pa.Table


def summary(measured: Mapping[str, Sequence[Measured]]) -> pa.Table:
    """The table of a well that summarises the measurements of its objects.

    Parameters
    ----------
    measured
        By the name of the table, at least one; the measurements of all stacks of a well, those without an object, too.

    Returns
    -------
    pyarrow.Table
        Columns ``well``, ``site`` (and other coordinates that the measurements have), then for each table
        ``Count_<Table>`` (int64), and ``Mean_``, ``Median_`` and ``MAD_`` of each column of numbers (float64), except
        of those that number objects. Null is where there is no value; values that are null do not count. A row for each
        place in the order of the stacks, and one, with null as its coordinates, for the whole well. MAD is the median
        of the absolute differences from the median, not scaled.
    """
    import pyarrow as pa

    axes = _axes_of(measured)
    places = dict.fromkeys(place for stacks in measured.values() for each in stacks for place in _places(each, axes))
    whole: Place = (None,) * len(axes)
    rows = [*(place for place in places if place != whole), whole]
    well = next(each.scope.well for stacks in measured.values() for each in stacks)
    columns: dict[str, pa.Array] = {WELL: pa.array([well] * len(rows), pa.string())}
    for number, axis in enumerate(axes):
        columns[axis.value] = pa.array([place[number] for place in rows], pa.int64())
    for name, stacks in measured.items():
        columns |= _columns(name, stacks, axes, rows)
    return pa.table(columns)


def _axes_of(measured: Mapping[str, Sequence[Measured]]) -> tuple[Component, ...]:
    """The site, and the other axes that a table has columns of."""
    named = {column for stacks in measured.values() for each in stacks for column in each.rows.column_names}
    return tuple(axis for axis in _AXES if axis is Component.SITE or axis.value in named)


def _places(each: Measured, axes: Sequence[Component]) -> list[Place]:
    """Places of the rows of one stack; that of the stack itself if it has none."""
    if not each.rows.num_rows:
        return [tuple(each.scope.get(axis) for axis in axes)]
    return list(dict.fromkeys(_rows_places(each.rows, axes)))


def _rows_places(rows: pa.Table, axes: Sequence[Component]) -> list[Place]:
    named = set(rows.column_names)
    values = [rows.column(axis.value).to_pylist() if axis.value in named else [None] * rows.num_rows for axis in axes]
    return list(zip(*values, strict=True))


def _columns(
    name: str, stacks: Sequence[Measured], axes: Sequence[Component], rows: Sequence[Place]
) -> dict[str, pa.Array]:
    """The columns of one table of measurements."""
    import pyarrow as pa

    filled = [each.rows for each in stacks if each.rows.num_rows] or [stacks[0].rows]
    table = pa.concat_tables(filled, promote_options="permissive")
    names = [column.name for column in table.schema if _is_summarised(column)]
    values = np.full((table.num_rows, len(names)), np.nan)
    for number, column in enumerate(names):
        values[:, number] = table.column(column).cast(pa.float64()).to_numpy()
    number_of = {place: number for number, place in enumerate(rows)}
    owner = np.array([number_of[place] for place in _rows_places(table, axes)], np.intp)
    groups = [values[owner == number] for number in range(len(rows) - 1)] + [values]
    prefix = name[:1].upper() + name[1:]
    found: dict[str, pa.Array] = {f"Count_{prefix}": pa.array([len(group) for group in groups], pa.int64())}
    stated = np.stack([_stated(group) for group in groups])  # (row, statistic, column)
    for statistic, word in enumerate(("Mean", "Median", "MAD")):
        for number, column in enumerate(names):
            title = column if column.startswith(f"{prefix}_") else f"{prefix}_{column}"
            cells = stated[:, statistic, number]
            found[f"{word}_{title}"] = pa.array(cells, pa.float64(), mask=np.isnan(cells))
    return found


def _is_summarised(column: pa.Field) -> bool:
    import pyarrow as pa

    kind = column.type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    names_objects = "ObjectNumber" in column.name or column.name.endswith("Object_Number")
    return is_number and column.name not in _COORDINATES and not names_objects


def _stated(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean, median and MAD of each column of ``(row, column)``; NaN is no value."""
    number = np.isfinite(values).sum(axis=0)
    total = np.where(np.isfinite(values), values, 0).sum(axis=0)
    mean = np.divide(total, number, out=np.full(values.shape[1], np.nan), where=number > 0)
    middle = _medians(values, number)
    return np.stack((mean, middle, _medians(np.abs(values - middle), number)))


def _medians(values: NDArray[np.float64], number: NDArray[Any]) -> NDArray[np.float64]:
    if not len(values):
        return np.full(values.shape[1], np.nan)
    ranked = np.sort(values, axis=0)  # NaN comes last
    column = np.arange(values.shape[1])
    low, high = ranked[np.maximum(number - 1, 0) // 2, column], ranked[number // 2, column]
    return np.where(number > 0, (low + high) / 2, np.nan)


__all__ = ["Measured", "summary"]
