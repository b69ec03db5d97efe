"""Tables that functions made of single stacks, as one tidy table of their well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from openhcs_engine.errors import TableError
from openhcs_engine.model.components import Component
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.output.tables.well import WELL, as_arrow

if TYPE_CHECKING:
    import pyarrow as pa

OBJECT: Final = "object"
"""The column that numbers the objects of measurements: their labels."""
_KEYS: Final = (Component.SITE, Component.CHANNEL, Component.Z_INDEX, Component.TIMEPOINT)
"""Columns behind the well, where the stack has one value of them."""


def table_rows(name: str, scope: ImageKey, table: object) -> pa.Table:
    """A table that was made of one stack, with the stack's coordinates in front.

    Raises
    ------
    TableError
        If it is no table, or has a column of a coordinate with other values.
    """
    import pyarrow as pa

    found = as_arrow(name, scope.well, table)
    if found.num_columns == 1:  # nothing but the well: an empty list, of unknown columns
        return found.slice(0, 0)
    position = 1
    for axis in _KEYS:
        value = scope.get(axis)
        if value is None:
            continue
        if axis.value in found.column_names:
            _refuse_others(found, name, scope, axis, value)
            found = found.drop_columns([axis.value])
        found = found.add_column(position, axis.value, pa.array([value] * found.num_rows, pa.int64()))
        position += 1
    return found


def object_rows(name: str, scope: ImageKey, table: object) -> pa.Table:
    """Measurements of one stack: well, site and object in front, further coordinates behind them; nulls, never NaN.

    Raises
    ------
    TableError
        If it is no table, has no column ``object`` of whole numbers, or two rows of one object in one place.
    """
    import pyarrow as pa

    found = table_rows(name, scope, table)
    kind = found.schema.field(OBJECT).type if OBJECT in found.column_names else None
    if kind is None or not (pa.types.is_integer(kind) or pa.types.is_null(kind)) or found.column(OBJECT).null_count:
        raise TableError(
            f"Well {scope.well}: the measurements {name!r} need a column {OBJECT!r}, which numbers the objects with "
            "whole numbers.",
            table=name, well=scope.well, column=OBJECT,
        )  # fmt: skip
    axes = [axis.value for axis in _KEYS if axis.value in found.column_names]
    front = [WELL, *(axis for axis in axes if axis == Component.SITE.value), OBJECT]
    front += [axis for axis in axes if axis not in front]
    found = found.select([*front, *(column for column in found.column_names if column not in front)])
    if found.select(front).group_by(front).aggregate([]).num_rows < found.num_rows:
        raise TableError(
            f"Well {scope.well}: the measurements {name!r} have several rows of one object; give each object one row.",
            table=name, well=scope.well, column=OBJECT,
        )  # fmt: skip
    return pa.table([_finite(column) for column in found.columns], schema=found.schema)


def _finite(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Null instead of NaN and infinity."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_floating(column.type):
        return column
    return pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))


def position_rows(planes: Sequence[ImageKey], positions: NDArray[Any]) -> pa.Table:
    """Positions ``(plane, (y, x))`` in pixels as a table, with the coordinates of each plane."""
    import pyarrow as pa

    columns: dict[str, Any] = {WELL: pa.array([plane.well for plane in planes], pa.string())}
    for axis in _KEYS:
        values = [plane.get(axis) for plane in planes]
        if any(value is not None for value in values):
            columns[axis.value] = pa.array(values, pa.int64())
    return pa.table({**columns, "y_px": positions[:, 0], "x_px": positions[:, 1]})


def join_rows(name: str, tables: Sequence[pa.Table]) -> pa.Table:
    """The tables of a well's stacks below each other; columns that some lack are empty there.

    Raises
    ------
    TableError
        If a column holds different kinds of values in different stacks.
    """
    import pyarrow as pa

    filled = [table for table in tables if table.num_rows] or [max(tables, key=lambda table: table.num_columns)]
    try:
        return pa.concat_tables([_without_guesses(table) for table in filled], promote_options="permissive")
    except pa.ArrowException as error:
        well = filled[0].column(WELL)[0].as_py() if filled[0].num_rows else ""
        raise TableError(
            f"Well {well}: the stacks' tables {name!r} do not fit together ({error}); give a column the same kind of "
            "values in every stack.",
            table=name, well=well, column=None,
        ) from error  # fmt: skip


def _without_guesses(table: pa.Table) -> pa.Table:
    """Columns without any value get the type that they have in other stacks."""
    import pyarrow as pa

    for number, column in enumerate(table.columns):
        # A column of other numbers had its type from who made it.
        if table.num_rows and column.null_count == table.num_rows and column.type == pa.float64():
            table = table.set_column(number, table.column_names[number], pa.nulls(table.num_rows))
    return table


def _refuse_others(table: pa.Table, name: str, scope: ImageKey, axis: Component, value: int) -> None:
    others = {str(found) for found in table.column(axis.value).unique().to_pylist()} - {str(value)}
    if others:
        raise TableError(
            f"Well {scope.well}: table {name!r} has {', '.join(sorted(others)[:3])} in its column {axis.value!r}, but "
            f"was made of {axis.value} {value}; leave the column out, it is added.",
            table=name, well=scope.well, column=axis.value,
        )  # fmt: skip


__all__ = ["OBJECT", "join_rows", "object_rows", "position_rows", "table_rows"]
