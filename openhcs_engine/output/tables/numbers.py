"""The numbers of a well that a person looks at first, out of its tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from openhcs_engine.model.artifacts import WELLS_TABLE
from openhcs_engine.model.components import Component
from openhcs_engine.output.layout import TABLES
from openhcs_engine.output.manifest import WellManifest
from openhcs_engine.output.tables.well import WELL, table_path

if TYPE_CHECKING:
    import pyarrow as pa

QUALITY: Final = "quality"
"""The table of ``measure_quality``."""
COUNT: Final = "Count_"
MEDIAN: Final = "Median_"
"""How the columns of the table of summaries begin that are looked at."""
_COORDINATES: Final = frozenset({WELL, "object", "plane", *(axis.value for axis in Component)})
_USUAL: Final = re.compile(r"_AreaShape_Area$|_Intensity_MeanIntensity_")
"""Of many measurements, those that are main ones: how large, how bright."""
_FEW: Final = 8
"""So many numbers of one table are all main ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WellNumber:
    """One number of a well."""

    table: str
    """Name of the table that it was taken of."""
    name: str
    """As ``Count_Nuclei``, ``Median_Nuclei_AreaShape_Area``, ``quality: blank_fraction, DAPI``."""
    value: float | int | None
    """None: there is nothing to take it of."""
    is_main: bool


def numbers_of(tables: Mapping[str, pa.Table], channels: Mapping[int, str]) -> tuple[WellNumber, ...]:
    """The numbers of a well.

    Parameters
    ----------
    tables
        Its tables by name; of one that is summarised nothing but the name is asked for.
    channels
        Number of a channel → what people call it.

    Returns
    -------
    tuple
        Of the table of summaries (``wells``) the counts, and the medians over the objects of the well; of every other
        table that is not summarised there, its number of rows, and the value of each column of numbers: of one row
        its own, of several their median, a channel apart from the others where the table has some. Image quality and
        counts are main numbers; so is all of a table that has few, and the area and mean intensity of one that has
        many, or else its first few.
    """
    summary = tables.get(WELLS_TABLE)
    counted = _summarised(summary) if summary is not None else {}
    found: list[WellNumber] = []
    for columns in counted.values():
        (title, count), *medians = columns
        found.append(WellNumber(table=WELLS_TABLE, name=title, value=count, is_main=True))
        main = _main([name for name, _ in medians])
        found += [
            WellNumber(table=WELLS_TABLE, name=name, value=value, is_main=name in main) for name, value in medians
        ]
    for name in tables:
        if name != WELLS_TABLE and f"{name[:1].upper()}{name[1:]}" not in counted:
            found += _of_table(name, tables[name], channels)
    return tuple(found)


def tables_of(folder: Path, manifest: WellManifest) -> Mapping[str, pa.Table]:
    """The tables of a published well that lies in an output folder, by name; each is read when it is asked for."""
    names = [file.path.split("/")[1] for file in manifest.files if file.path.startswith(f"{TABLES}/")]
    return _StoredTables({name: folder / table_path(name, manifest.well) for name in names})


@dataclass(frozen=True, slots=True)
class _StoredTables(Mapping[str, "pa.Table"]):
    paths: Mapping[str, Path]

    def __getitem__(self, name: str) -> pa.Table:
        import pyarrow.parquet

        return pyarrow.parquet.read_table(self.paths[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


def _summarised(table: pa.Table) -> dict[str, list[tuple[str, float | int | None]]]:
    """The row of the whole well: by what was counted, its count, then the medians."""
    axes = [axis.value for axis in Component if axis is not Component.WELL and axis.value in table.column_names]
    whole = [row for row in table.to_pylist() if all(row[axis] is None for axis in axes)]
    if len(whole) != 1:  # somebody's own table of that name
        return {}
    (row,) = whole
    prefixes = [name.removeprefix(COUNT) for name in table.column_names if name.startswith(COUNT)]
    return {
        prefix: [
            (f"{COUNT}{prefix}", row[f"{COUNT}{prefix}"]),
            *((name, row[name]) for name in table.column_names if name.startswith(f"{MEDIAN}{prefix}_")),
        ]
        for prefix in prefixes
    }


def _of_table(name: str, table: pa.Table, channels: Mapping[int, str]) -> Iterator[WellNumber]:
    names = [field.name for field in table.schema if _is_number(field)]
    main = names if name == QUALITY else _main(names)
    yield WellNumber(table=name, name=f"{name}: rows", value=table.num_rows, is_main=name != QUALITY)
    for title, rows in _by_channel(table, channels):
        for column in names:
            yield WellNumber(
                table=name,
                name=f"{name}: {column}{title}",
                value=_median(rows, column),
                is_main=column in main,
            )


def _by_channel(table: pa.Table, channels: Mapping[int, str]) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each channel; all together where the table does not tell channels apart."""
    axis = Component.CHANNEL.value
    if axis not in table.column_names:
        yield "", table
        return
    numbers = table.column(axis).to_pylist()
    for number in dict.fromkeys(numbers):
        title = f", {channels.get(number, number)}" if number is not None else ""
        yield title, table.filter(np.array([each == number for each in numbers], bool))


def _is_number(field: pa.Field) -> bool:
    import pyarrow as pa

    return field.name not in _COORDINATES and (pa.types.is_integer(field.type) or pa.types.is_floating(field.type))


def _median(rows: pa.Table, column: str) -> float | int | None:
    values = [value for value in rows.column(column).to_pylist() if value is not None and np.isfinite(value)]
    if len(values) == 1:
        only: float | int = values[0]
        return only
    return float(np.median(values)) if values else None


def _main(names: Sequence[str]) -> Sequence[str]:
    usual = [name for name in names if _USUAL.search(name)]
    return names if len(names) <= _FEW else usual[:_FEW] or names[:_FEW]


__all__ = ["QUALITY", "WellNumber", "numbers_of", "tables_of"]
