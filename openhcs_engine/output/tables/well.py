"""Tables of wells: one parquet file a well, and the plate's table made of them.

``tables/<name>/<well>.parquet`` is tidy: one row an object or a site, the well in the column ``well``. The files of a
name are one dataset for polars, pandas, pyarrow and duckdb: ``polars.scan_parquet("tables/cells/*.parquet")``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from openhcs_engine.errors import TableError
from openhcs_engine.files.atomic import StoredFile, write_new
from openhcs_engine.output.layout import TABLES
from openhcs_engine.output.manifest import StagedWell
from openhcs_engine.output.preflight import output_errors

if TYPE_CHECKING:
    import pyarrow as pa

WELL: Final = "well"
"""The column that every table has, the first."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


def table_path(name: str, well: str) -> str:
    """Where a well's table lies, relative to the output folder."""
    return f"{TABLES}/{name}/{well}.parquet"


def is_table_name(name: str) -> bool:
    """True for what can name a table: letters, digits, ``_`` and ``-``, at most 64."""
    return _NAME.fullmatch(name) is not None


def write_table(staging: Path, name: str, well: str, table: object) -> StoredFile | None:
    """Write one table of a well below its staging folder.

    Nothing is written, and None returned, where there are no rows and it is not known of what type a column is, as of
    an empty list or an empty column of Python objects: no other well's table would fit to it.

    Parameters
    ----------
    staging
        ``StagedWell.folder``: laid out as the output folder.
    name
        Of the table; the wells' tables of one name have the same columns.
    well
        Becomes the first column, ``well``.
    table
        A polars or pandas frame, a pyarrow table, a mapping of columns, a list of mappings (rows), or a NumPy array
        with named fields. Columns without a value become numbers. An index of pandas that has a name becomes a column.

    Raises
    ------
    TableError
        If it is none of these, has columns that cannot be stored, or rows of another well.
    OutputPlaceError
        If the folder is full or refuses.
    """
    import pyarrow as pa

    if not is_table_name(name):
        raise TableError(
            f"Well {well}: {name!r} cannot name a table; use letters, digits, '_' and '-', at most 64, starting with a "
            "letter or digit.",
            table=name, well=well, column=None,
        )  # fmt: skip
    found = as_arrow(name, well, table)
    if found.num_columns == 1 or any(pa.types.is_null(kind) for kind in found.schema.types):
        return None
    with output_errors(staging, f"writing table {name!r} of well {well}"):
        return write_new(staging, table_path(name, well), _parquet(found))


def with_tables(staged: StagedWell, tables: Mapping[str, object]) -> StagedWell:
    """The staged well with tables beside its images, by name; see ``write_table``."""
    written = [write_table(staged.folder, name, staged.well, table) for name, table in tables.items()]
    files = tuple(file for file in written if file is not None)
    return replace(staged, places=(*staged.places, *(file.path for file in files)), files=(*staged.files, *files))


def as_arrow(name: str, well: str, table: object) -> pa.Table:
    """A table of any kind as pyarrow's, the well in front; TableError if it cannot be.

    Columns without a value are of numbers; in a table without rows they have no type.
    """
    import pyarrow as pa

    try:
        found = _arrow(table)
    except (pa.ArrowException, TypeError, ValueError, AttributeError) as error:
        raise TableError(
            f"Well {well}: table {name!r} cannot be stored ({error}). Give a polars or pandas frame, a pyarrow table, "
            "a dict of columns, a list of dicts, or a NumPy array with named fields; one kind of value in each column.",
            table=name, well=well, column=None,
        ) from error  # fmt: skip
    _check_columns(found, name, well)
    return _with_well(_plain(found), name, well)


def _arrow(table: Any) -> pa.Table:  # Any: whatever a user's function returned
    import pyarrow as pa

    if isinstance(table, np.ndarray):
        if table.dtype.names is None or table.ndim != 1:
            raise TypeError(f"an array of {table.dtype} with shape {table.shape} has no columns")
        return pa.table({field: _column(table[field]) for field in table.dtype.names})
    if type(table).__module__.partition(".")[0] == "pandas":
        return pa.Table.from_pandas(_with_named_index(table), preserve_index=False)
    if isinstance(table, pa.Table):
        return table
    if type(table).__module__.partition(".")[0] == "polars":
        return table.to_arrow(compat_level=_oldest_polars())
    if hasattr(table, "__arrow_c_stream__"):
        return pa.table(table)
    if isinstance(table, Mapping):
        return pa.table({str(key): _column(values) for key, values in table.items()})
    if isinstance(table, Sequence) and all(isinstance(row, Mapping) for row in table):
        columns = {str(key): None for row in table for key in row}
        return pa.table({key: _column([row.get(key) for row in table]) for key in columns})
    raise TypeError(f"it is a {type(table).__name__}")


def _oldest_polars() -> Any:
    """Text as every program knows it: pyarrow cannot cast categories of polars' own kind of text."""
    import polars

    return polars.CompatLevel.oldest()


def _column(values: Any) -> pa.Array:
    """Values of a column; NumPy scalars in a list are numbers."""
    import pyarrow as pa

    if isinstance(values, np.ndarray):
        return pa.array(values)
    return pa.array([value.item() if isinstance(value, np.generic) else value for value in values])


def _with_named_index(frame: Any) -> Any:
    return frame.reset_index() if any(name is not None for name in frame.index.names) else frame


def _check_columns(table: pa.Table, name: str, well: str) -> None:
    seen = set[str]()
    for column in table.column_names:
        if not column or column in seen:
            raise TableError(
                f"Well {well}: table {name!r} has {'two columns' if column else 'a column'} named {column!r}; give "
                "each a name of its own.",
                table=name, well=well, column=column,
            )  # fmt: skip
        seen.add(column)


def _plain(table: pa.Table) -> pa.Table:
    """Types that differ between libraries as one, and no metadata: two wells' tables compare by their columns."""
    import pyarrow as pa

    unknown = pa.float64() if table.num_rows else pa.null()
    fields = [pa.field(field.name, _plain_type(field.type, unknown)) for field in table.schema]
    return table.cast(pa.schema(fields)).replace_schema_metadata(None)


def _plain_type(kind: pa.DataType, unknown: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_null(kind):
        return unknown
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type, unknown)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return kind


def _with_well(table: pa.Table, name: str, well: str) -> pa.Table:
    import pyarrow as pa

    if WELL in table.column_names:
        others = {str(value) for value in table.column(WELL).unique().to_pylist()} - {well}
        if others:
            raise TableError(
                f"Well {well}: table {name!r} has rows of {', '.join(sorted(others)[:3])} in its column {WELL!r}; "
                "leave the column out, it is added.",
                table=name, well=well, column=WELL,
            )  # fmt: skip
        table = table.drop_columns([WELL])
    return table.add_column(0, pa.field(WELL, pa.string()), pa.array([well] * table.num_rows, pa.string()))


def _parquet(table: pa.Table) -> bytes:
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


__all__ = ["WELL", "as_arrow", "is_table_name", "table_path", "with_tables", "write_table"]
