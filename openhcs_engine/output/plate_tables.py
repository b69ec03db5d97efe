"""The plate's table of each name, ``tables/<name>.parquet``: all wells' rows in plate order, made anew on a change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from openhcs_engine.context import digest
from openhcs_engine.errors import TableError
from openhcs_engine.model.wells import plate_order
from openhcs_engine.output.layout import TABLES, WELLS, is_well
from openhcs_engine.output.manifest import WellManifest, read_manifest
from openhcs_engine.output.place import locked, output_errors
from openhcs_engine.vfs.files import StoredFile
from openhcs_engine.vfs.unfinished import unfinished_file

if TYPE_CHECKING:
    import pyarrow as pa

_MADE_OF: Final = b"openhcs:made_of"
"""Key of a plate table's metadata: digest of the wells' tables. Files without it are not ours."""


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


def make_plate_tables(folder: Path) -> tuple[PlateTable, ...]:
    """Join the published wells' tables of each name, as far as they changed since; whole or not at all.

    Raises
    ------
    TableError
        If a table has other columns than those of other wells that the same pipeline made; names well and column.
    OutputPlaceError
        If the file system refuses.
    """
    if not (folder / TABLES).is_dir():
        return ()
    with output_errors(folder, "making the plate's tables"), locked(folder / WELLS):
        tables = _published_tables(folder)
        _remove_orphans(folder / TABLES, tables)
        return tuple(_make(folder, name, found) for name, found in sorted(tables.items()))


def _published_tables(folder: Path) -> dict[str, list[_WellTable]]:
    """Tables that manifests list, by name, wells in plate order."""
    tables: dict[str, list[_WellTable]] = {}
    names = [path.stem for path in (folder / WELLS).glob("*.json") if is_well(path.stem)]
    for well in sorted(names, key=plate_order):
        manifest = read_manifest(folder / WELLS / f"{well}.json")
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
    made_of = digest([(table.file.path, table.file.crc32c) for table in tables])
    schemas = {table.well: _schema(folder / table.file.path) for table in tables}
    current = max(tables, key=lambda table: table.finished).pipeline
    usual = _most_common({table.well: schemas[table.well] for table in tables if table.pipeline == current})
    wanted = schemas[usual]
    strangers = [table for table in tables if schemas[table.well] != wanted]
    for table in strangers:
        if table.pipeline == current:
            raise _drift(name, table.well, schemas[table.well], usual, wanted)
    left_out = {table.well for table in strangers}
    joined = [table for table in tables if table.well not in left_out]
    if _made_of(path) != made_of:
        _write(path, folder, joined, wanted.with_metadata({_MADE_OF: made_of}))
    return PlateTable(
        name=name,
        path=path,
        wells=tuple(table.well for table in joined),
        left_out=tuple(table.well for table in strangers),
    )


def _most_common(schemas: dict[str, pa.Schema]) -> str:
    """The first well with the columns that most wells have."""
    counts = Counter(tuple(_types(schema).items()) for schema in schemas.values())
    return max(schemas, key=lambda well: counts[tuple(_types(schemas[well]).items())])


def _write(path: Path, folder: Path, tables: list[_WellTable], schema: pa.Schema) -> None:
    """One row group a well, so that a reader of one well reads one."""
    import pyarrow.parquet

    with unfinished_file(path) as (unfinished, file):
        with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            for table in tables:
                found = pyarrow.parquet.read_table(folder / table.file.path, partitioning=None)
                writer.write_table(found.replace_schema_metadata(schema.metadata))
        file.flush()
        unfinished.replace(path)


def _drift(name: str, well: str, found: pa.Schema, other: str, wanted: pa.Schema) -> TableError:
    column, told = _first_difference(_types(found), _types(wanted), other)
    return TableError(
        f"Table {name!r}: well {well} {told}; one pipeline must give every well the same columns. Correct the function "
        "that makes the table and run again; the wells themselves are published.",
        table=name, well=well, column=column,
    )  # fmt: skip


def _first_difference(found: dict[str, str], wanted: dict[str, str], other: str) -> tuple[str, str]:
    """The column that differs, and how."""
    for column, usual in wanted.items():
        if column not in found:
            return column, f"has no column {column!r}, which well {other} has"
        if found[column] != usual:
            return column, f"has values of type {found[column]} in column {column!r}, well {other} of type {usual}"
    for column in found:
        if column not in wanted:
            return column, f"has a column {column!r}, which well {other} has not"
    column = next(first for first, second in zip(found, wanted, strict=True) if first != second)
    return column, f"has its columns in another order than well {other}, from {column!r} on"


def _types(schema: pa.Schema) -> dict[str, str]:
    return {field.name: str(field.type) for field in schema}


def _schema(path: Path) -> pa.Schema:
    import pyarrow.parquet

    return pyarrow.parquet.read_schema(path).remove_metadata()


def _made_of(path: Path) -> str | None:
    """What a plate table was made of; None if there is none, or it is not ours."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        found = (pyarrow.parquet.read_schema(path).metadata or {}).get(_MADE_OF)
    except (OSError, pa.ArrowException):
        return None
    return None if found is None else str(found, "ascii")


def _remove_orphans(tables: Path, kept: Mapping[str, object]) -> None:
    """Remove plate tables of names that no well has any more."""
    for path in tables.glob("*.parquet"):
        if path.stem not in kept and _made_of(path) is not None:
            path.unlink()


__all__ = ["PlateTable", "make_plate_tables"]
