"""The plate's table of each name, ``tables/<name>.parquet``: all wells' rows in plate order, made anew on a change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from openhcs_engine.errors import TableError
from openhcs_engine.files.atomic import StoredFile
from openhcs_engine.files.links import refuse_links_below
from openhcs_engine.files.locks import locked
from openhcs_engine.files.present import find
from openhcs_engine.files.unfinished import unfinished_file
from openhcs_engine.model.digest import digest
from openhcs_engine.model.system_errors import explained
from openhcs_engine.output.layout import TABLES, WELLS, manifest_paths
from openhcs_engine.output.manifest import WellManifest, read_manifest
from openhcs_engine.output.preflight import output_errors

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet

_MADE_OF: Final = b"openhcs:made_of"
"""Key of a plate table's metadata: digest of the wells' tables. Files without it are not ours."""
_RULES: Final = "types of columns are unified"
"""Part of the digest: tables that were made by other rules are made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateTable:
    """One table of the whole plate."""

    name: str
    path: Path
    wells: tuple[str, ...]
    """Wells whose rows it holds, in plate order."""
    left_out: tuple[str, ...]
    """Wells with other columns, because another pipeline made them."""


@dataclass(frozen=True, slots=True)
class _WellTable:
    well: str
    file: StoredFile
    pipeline: str
    """Digest of the pipeline that made it."""
    finished: str


@dataclass(frozen=True, slots=True)
class _Columns:
    """What the file of a well's table says of it."""

    schema: pa.Schema
    rows: int
    empty: frozenset[str]
    """Columns without any value: what their type should be, nobody knows."""


def make_plate_tables(folder: Path) -> tuple[PlateTable, ...]:
    """Join the published wells' tables of each name, as far as they changed since; whole or not at all.

    A table without rows fits to any, and so does a column without values. Whole numbers in one well and fractions in
    another, as where pandas has no whole number for a missing one, become fractions.

    Raises
    ------
    TableError
        If a table has other columns than those of other wells that the same pipeline made, or values that no type
        holds together; names well and column. Also if a well's table is damaged.
    OutputPlaceError
        If the file system refuses.
    UnsafePathError
        If there is a link among the tables.
    """
    if not (folder / TABLES).is_dir():
        return ()
    refuse_links_below(folder, TABLES)
    with output_errors(folder, "making the plate's tables"), locked(folder / WELLS):
        tables = _published_tables(folder)
        _remove_orphans(folder / TABLES, tables)
        return tuple(_make(folder, name, found) for name, found in sorted(tables.items()))


def _published_tables(folder: Path) -> dict[str, list[_WellTable]]:
    """Tables that manifests list, by name, wells in plate order."""
    tables: dict[str, list[_WellTable]] = {}
    for path in manifest_paths(folder):
        manifest = read_manifest(path)
        for name, table in _tables_of(manifest) if manifest is not None else ():
            tables.setdefault(name, []).append(table)
    return tables


def _tables_of(manifest: WellManifest) -> Iterator[tuple[str, _WellTable]]:
    pipeline = str(manifest.provenance.get("pipeline_digest", ""))
    for file in manifest.files:
        if file.path.startswith(f"{TABLES}/"):
            yield file.path.split("/")[1], _WellTable(manifest.well, file, pipeline, manifest.finished)


def _make(folder: Path, name: str, tables: list[_WellTable]) -> PlateTable:
    path = folder / TABLES / f"{name}.parquet"
    made_of = digest([_RULES, *((table.file.path, table.file.crc32c) for table in tables)])
    found = {table.well: _columns_of(folder, name, table) for table in tables}
    current = max(tables, key=lambda table: table.finished).pipeline
    schema = _schema_of(name, {table.well: found[table.well] for table in tables if table.pipeline == current})
    left_out = {table.well for table in tables if table.pipeline != current and not _fits(found[table.well], schema)}
    joined = [table for table in tables if table.well not in left_out]
    if _made_of(path) != made_of:
        rows = [table for table in joined if found[table.well].rows]
        _write(path, folder, name, rows, schema.with_metadata({_MADE_OF: made_of}))
    return PlateTable(
        name=name,
        path=path,
        wells=tuple(table.well for table in joined),
        left_out=tuple(table.well for table in tables if table.well in left_out),
    )


def _columns_of(folder: Path, name: str, table: _WellTable) -> _Columns:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        found = pyarrow.parquet.read_metadata(folder / table.file.path)
    except FileNotFoundError:
        raise  # that of another run replaced the well meanwhile; what to do is the caller's to know
    except (OSError, pa.ArrowException) as error:
        raise TableError(
            f"Table {name!r}: that of well {table.well} cannot be read ({explained(error)}). Drop the well with "
            f"`openhcs verify {folder} --repair` and run it again.",
            table=name, well=table.well, column=None,
        ) from error  # fmt: skip
    schema = found.schema.to_arrow_schema().remove_metadata()
    groups = [found.row_group(number) for number in range(found.num_row_groups)]
    empty = {column for column in schema.names if all(_has_no_value(group, column) for group in groups)}
    return _Columns(schema, found.num_rows, frozenset(empty))


def _has_no_value(group: pyarrow.parquet.RowGroupMetaData, column: str) -> bool:
    """False where a file does not say."""
    for number in range(group.num_columns):
        about = group.column(number)
        if about.path_in_schema == column and about.statistics is not None and about.statistics.has_null_count:
            return bool(about.statistics.null_count == group.num_rows)
    return False


def _schema_of(name: str, wells: Mapping[str, _Columns]) -> pa.Schema:
    """Columns that the tables of all wells have, each of a type that holds all its values; TableError if none does."""
    import pyarrow as pa

    counted = {well: found for well, found in wells.items() if found.rows} or wells
    usual = _most_common(counted)
    names = counted[usual].schema.names
    for well, found in counted.items():
        if found.schema.names != names:
            raise _drift(name, well, *_first_difference(found.schema.names, names, usual))
    return pa.schema([pa.field(column, _type_of(name, column, counted, usual)) for column in names])


def _type_of(name: str, column: str, wells: Mapping[str, _Columns], usual: str) -> pa.DataType:
    """The type that holds all values of a column."""
    types = {well: found.schema.field(column).type for well, found in wells.items() if column not in found.empty}
    if not types:
        return wells[usual].schema.field(column).type
    first = usual if usual in types else next(iter(types))
    common = types[first]
    for well, found in types.items():
        wider = _holding_both(common, found)
        if wider is None:
            told = f"has values of type {found} in column {column!r}, well {first} of type {types[first]}"
            raise _drift(name, well, column, told)
        common = wider
    return common


def _holding_both(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type of values of both, such as numbers with a fraction for whole ones and those; None if there is none.

    Arrow's law and not polars' (2.1, ``concat(how="vertical_relaxed")``), which rounds whole numbers above 2**53 beside
    fractions, and turns numbers beside text into text and True into 1, without a word.
    """
    import pyarrow as pa

    both = [pa.schema([("column", found)]) for found in (one, other)]
    try:
        return pa.unify_schemas(both, promote_options="permissive").field("column").type
    except pa.ArrowException:
        return None


def _fits(table: _Columns, schema: pa.Schema) -> bool:
    """True if the plate's table can hold this one as it is."""
    if not table.rows:
        return True
    return table.schema.names == schema.names and all(
        column in table.empty or _holding_both(field.type, table.schema.field(column).type) == field.type
        for column, field in zip(schema.names, schema, strict=True)
    )


def _most_common(wells: Mapping[str, _Columns]) -> str:
    """The first well with the columns that most wells have."""
    counts = Counter(tuple(_types(found.schema).items()) for found in wells.values())
    return max(wells, key=lambda well: counts[tuple(_types(wells[well].schema).items())])


def _write(path: Path, folder: Path, name: str, tables: list[_WellTable], schema: pa.Schema) -> None:
    """One row group a well, so that a reader of one well reads one."""
    import pyarrow.parquet

    with unfinished_file(path) as (unfinished, file):
        with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            for table in tables:
                found = pyarrow.parquet.read_table(folder / table.file.path, partitioning=None)
                writer.write_table(_cast(found, name, table.well, schema))
        file.flush()
        unfinished.replace(path)


def _cast(table: pa.Table, name: str, well: str, schema: pa.Schema) -> pa.Table:
    """A well's table with the types of the plate's; TableError if a value would not be the same."""
    import pyarrow as pa

    columns = []
    for field in schema:
        column = table.column(field.name)
        if column.null_count == len(column):
            column = pa.nulls(len(column), field.type)
        try:
            columns.append(column.cast(field.type))
        except pa.ArrowException as error:
            raise TableError(
                f"Table {name!r}: column {field.name!r} of well {well} cannot be {field.type} as in other wells "
                f"({error}). Give the column one type in the function that makes the table, and run again.",
                table=name, well=well, column=field.name,
            ) from error  # fmt: skip
    return pa.table(columns, schema=schema)


def _drift(name: str, well: str, column: str, how: str) -> TableError:
    return TableError(
        f"Table {name!r}: well {well} {how}; one pipeline must give every well the same columns. Correct the function "
        "that makes the table and run again; the wells themselves are published.",
        table=name, well=well, column=column,
    )  # fmt: skip


def _first_difference(present: Sequence[str], wanted: Sequence[str], other: str) -> tuple[str, str]:
    """The column that differs, and how."""
    for column in wanted:
        if column not in present:
            return column, f"has no column {column!r}, which well {other} has"
    for column in present:
        if column not in wanted:
            return column, f"has a column {column!r}, which well {other} has not"
    column = next(first for first, second in zip(present, wanted, strict=True) if first != second)
    return column, f"has its columns in another order than well {other}, from {column!r} on"


def _types(schema: pa.Schema) -> dict[str, str]:
    return {field.name: str(field.type) for field in schema}


def _made_of(path: Path) -> str | None:
    """What a plate table was made of; None if there is none, or it is not ours."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        found = (pyarrow.parquet.read_schema(path).metadata or {}).get(_MADE_OF)
    except (OSError, pa.ArrowException):
        return None
    return None if found is None else str(found, "ascii")


def _remove_orphans(tables: Path, names: Mapping[str, object]) -> None:
    """Remove plate tables of names that no well has any more."""
    for path in find(tables, "*.parquet"):
        if path.stem not in names and _made_of(path) is not None:
            path.unlink()


__all__ = ["PlateTable", "make_plate_tables"]
