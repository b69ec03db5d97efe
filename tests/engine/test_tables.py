"""Tables of wells: written from whatever a function returns, read back as one by every library."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import pytest

from openhcs_engine.errors import TableError
from openhcs_engine.output.plate_folder import PlateFolder
from openhcs_engine.output.plate_tables import make_plate_tables
from openhcs_engine.output.tables import with_tables, write_table
from openhcs_engine.output.verify import verify
from tests.engine.outputs import WELLS, all_files, manifest_for, open_folder, stage

ROWS: list[dict[str, Any]] = [{"site": 1, "area": 10.5, "kind": "round"}, {"site": 2, "area": 7.0, "kind": "flat"}]


@dataclass(frozen=True)
class Kind:
    """A form in which a function may return the same two rows."""

    name: str
    make: Callable[[], object]

    def __str__(self) -> str:
        return self.name


KINDS = (
    Kind("list of dicts", lambda: ROWS),
    Kind("dict of lists", lambda: {key: [row[key] for row in ROWS] for key in ROWS[0]}),
    Kind("dict of arrays", lambda: {key: np.array([row[key] for row in ROWS]) for key in ROWS[0]}),
    Kind("NumPy scalars", lambda: [{**row, "site": np.int64(row["site"])} for row in ROWS]),
    Kind("polars", lambda: polars.DataFrame(ROWS)),
    Kind(
        "polars categorical", lambda: polars.DataFrame(ROWS).with_columns(polars.col("kind").cast(polars.Categorical))
    ),
    Kind("pandas", lambda: pandas.DataFrame(ROWS)),
    Kind("pandas with a named index", lambda: pandas.DataFrame(ROWS).set_index("site")),
    Kind("pandas filtered", lambda: pandas.DataFrame([*ROWS, *ROWS]).iloc[2:]),
    Kind("pyarrow", lambda: pyarrow.Table.from_pylist(ROWS)),
    Kind("with its well", lambda: polars.DataFrame([{"well": "A01", **row} for row in ROWS])),
    Kind(
        "named fields",
        lambda: np.array(
            [tuple(row.values()) for row in ROWS], [("site", np.int64), ("area", np.float64), ("kind", "U5")]
        ),
    ),
)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_of_table_becomes_the_same_file(tmp_path: Path, kind: Kind) -> None:
    """Equal in values, types and order, with the well in front: wells' tables of one function always fit together."""
    file = write_table(tmp_path, "cells", "A01", kind.make())
    assert file is not None and file.path == "tables/cells/A01.parquet"
    found = pyarrow.parquet.read_table(tmp_path / file.path, partitioning=None)
    assert found.schema.names == ["well", "site", "area", "kind"] and not found.schema.metadata
    assert [str(field.type) for field in found.schema] == ["string", "int64", "double", "string"]
    assert found.to_pylist() == [{"well": "A01", **row} for row in ROWS]


def test_a_table_without_columns_is_no_file_and_one_without_rows_is(tmp_path: Path) -> None:
    """An empty list says nothing of its columns, so that no other well's table could fit to it."""
    assert write_table(tmp_path, "cells", "A01", []) is None and not list(tmp_path.iterdir())
    assert write_table(tmp_path, "cells", "A01", polars.DataFrame(schema={"area": polars.Float64})) is not None


def test_a_column_without_values_is_of_numbers(tmp_path: Path) -> None:
    """So that it fits to other wells, where some of them are known."""
    file = write_table(tmp_path, "cells", "A01", [{"area": None}])
    assert file is not None
    assert str(pyarrow.parquet.read_schema(tmp_path / file.path).field("area").type) == "double"


@pytest.mark.parametrize(
    ("name", "table", "sentence"),
    [
        ("../cells", ROWS, "cannot name a table"),
        ("cells", 7, "it is a int"),
        ("cells", "text", "it is a str"),
        ("cells", np.zeros((2, 2)), "has no columns"),
        ("cells", {"a": [1, 2], "b": [1]}, "cannot be stored"),
        ("cells", {"a": [1, "x"]}, "cannot be stored"),
        ("cells", [{"a": object()}], "cannot be stored"),
        ("cells", [{"well": "B07", "a": 1}], "rows of B07"),
        ("cells", pyarrow.table([[1], [2]], names=["a", "a"]), "two columns named 'a'"),
    ],
)
def test_what_is_no_table_is_refused_by_name(tmp_path: Path, name: str, table: object, sentence: str) -> None:
    """The sentence says which table, and of which well; nothing is written."""
    with pytest.raises(TableError, match=sentence) as caught:
        write_table(tmp_path, name, "A01", table)
    assert name in str(caught.value) and caught.value.well == "A01" and not list(tmp_path.iterdir())


def publish_tables(folder: PlateFolder, well: str, tables: dict[str, object], plan: str = "plan 1") -> None:
    with folder.staging("run") as staging:
        staged = with_tables(stage(folder, staging, well, plan=plan), tables)
        folder.publish(staged, manifest_for(folder, staged, plan))


@pytest.fixture
def folder(tmp_path: Path) -> PlateFolder:
    """Three wells with two cells each."""
    made = open_folder(tmp_path)
    for number, well in enumerate(reversed(WELLS)):
        publish_tables(made, well, {"cells": [{**row, "area": row["area"] + number} for row in ROWS]})
    return made


READERS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    "polars": lambda cells: polars.scan_parquet(cells / "*.parquet").collect().to_dicts(),
    "pandas": lambda cells: pandas.read_parquet(cells).to_dict("records"),
    "pyarrow": lambda cells: pyarrow.dataset.dataset(cells).to_table().to_pylist(),
}


@pytest.mark.parametrize("reader", READERS)
def test_the_wells_tables_are_one_dataset(folder: PlateFolder, reader: str) -> None:
    """Each library reads them all at once, without being told anything."""
    rows = READERS[reader](folder.folder / "tables" / "cells")
    assert sorted({row["well"] for row in rows}) == sorted(WELLS) and len(rows) == 6
    assert {row["kind"] for row in rows} == {"round", "flat"}


def test_duckdb_reads_the_dataset(folder: PlateFolder) -> None:
    """By SQL over the files."""
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed; pyarrow.dataset reads the same files above")
    query = f"SELECT well, count(*) FROM '{folder.folder}/tables/cells/*.parquet' GROUP BY well ORDER BY well"
    assert duckdb.sql(query).fetchall() == [(well, 2) for well in WELLS]


def test_tables_belong_to_their_well(folder: PlateFolder) -> None:
    """They are whole with it, damaged with it, replaced with it and dropped with it."""
    table = folder.folder / "tables" / "cells" / "A01.parquet"
    assert verify(folder.folder).whole == WELLS and verify(folder.folder).foreign == ()
    table.write_bytes(b"x" * table.stat().st_size)
    (found,) = verify(folder.folder).damaged
    assert found.well == "A01" and "tables/cells/A01.parquet was changed" in found.reasons[0]
    assert found.reasons[1:] == ()

    publish_tables(folder, "A01", {"sites": ROWS})
    assert not table.exists() and (folder.folder / "tables" / "sites" / "A01.parquet").exists()
    folder.drop("A01")
    assert not (folder.folder / "tables" / "sites").exists() and verify(folder.folder).foreign == ()


def test_the_plates_table_is_all_wells_in_plate_order(folder: PlateFolder) -> None:
    """Beside the folder of the wells' own; verification knows it."""
    (made,) = make_plate_tables(folder.folder)
    assert (made.name, made.wells, made.left_out) == ("cells", WELLS, ())
    assert made.path == folder.folder / "tables" / "cells.parquet"
    assert polars.read_parquet(made.path)["well"].to_list() == [well for well in WELLS for _ in ROWS]
    assert verify(folder.folder).ok and verify(folder.folder).foreign == ()


def test_the_plates_table_is_made_again_only_when_a_well_changed(folder: PlateFolder) -> None:
    """Readers of the old one keep it."""
    (first,) = make_plate_tables(folder.folder)
    before = first.path.stat().st_ino
    assert make_plate_tables(folder.folder) == (first,) and first.path.stat().st_ino == before
    publish_tables(folder, "A02", {"cells": [{**ROWS[0], "area": 99.0}]})
    make_plate_tables(folder.folder)
    assert 99.0 in polars.read_parquet(first.path)["area"].to_list() and len(polars.read_parquet(first.path)) == 5


def test_a_plate_table_that_no_well_has_any_more_goes(folder: PlateFolder) -> None:
    """Numbers of a pipeline that nobody runs any more would pass for current; a user's own table stays."""
    make_plate_tables(folder.folder)
    polars.DataFrame(ROWS).write_parquet(folder.folder / "tables" / "mine.parquet")
    for well in WELLS:
        publish_tables(folder, well, {"sites": ROWS})
    make_plate_tables(folder.folder)
    assert {name for name in all_files(folder.folder / "tables") if "/" not in name} == {
        "sites.parquet",
        "mine.parquet",
    }


@pytest.mark.parametrize(
    ("row", "column", "sentence"),
    [
        ({"site": 1, "kind": "round"}, "area", "has no column 'area', which well"),
        ({**ROWS[0], "extra": 1}, "extra", "has a column 'extra', which well"),
        ({**ROWS[0], "area": "big"}, "area", "has values of type string in column 'area'"),
        (dict(reversed(ROWS[0].items())), "kind", "another order"),
    ],
)
def test_wells_with_other_columns_are_an_error(
    folder: PlateFolder, row: dict[str, object], column: str, sentence: str
) -> None:
    """It names table, well and column; the wells stay, and so does the plate's table of before."""
    make_plate_tables(folder.folder)
    before = (folder.folder / "tables" / "cells.parquet").read_bytes()
    publish_tables(folder, "A02", {"cells": [row]})
    with pytest.raises(TableError, match=sentence) as caught:
        make_plate_tables(folder.folder)
    assert "'cells'" in str(caught.value) and "A02" in str(caught.value) and caught.value.column == column
    assert (folder.folder / "tables" / "cells.parquet").read_bytes() == before and verify(folder.folder).ok


def test_wells_of_another_pipeline_with_other_columns_are_left_out(folder: PlateFolder, tmp_path: Path) -> None:
    """They are stale, not wrong; the table is of the pipeline that ran last, and says whom it lacks."""
    for well in ("A01", "A02"):
        publish_tables(folder, well, {"cells": [{"other": 1}]}, plan="plan 2")
    manifest = folder.folder / "wells" / "B01.json"
    manifest.write_text(manifest.read_text().replace('"finished": "2', '"finished": "1'))
    (made,) = make_plate_tables(folder.folder)
    assert (made.wells, made.left_out) == (("A01", "A02"), ("B01",))
    assert polars.read_parquet(made.path).columns == ["well", "other"]


KILLED = """
import os, sys
from pathlib import Path
import pyarrow.parquet
from openhcs_engine.output.plate_tables import make_plate_tables

pyarrow.parquet.ParquetWriter.close = lambda self: os._exit(9)
make_plate_tables(Path(sys.argv[1]))
"""


def test_a_plate_table_killed_half_way_keeps_the_old_one(folder: PlateFolder) -> None:
    """What is left of the new one is swept."""
    (made,) = make_plate_tables(folder.folder)
    before = made.path.read_bytes()
    publish_tables(folder, "A02", {"cells": [ROWS[0]]})
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder.folder)], capture_output=True, check=False)
    assert killed.returncode == 9, killed.stderr
    assert made.path.read_bytes() == before
    folder.sweep()
    assert all_files(folder.folder / "tables") == {"cells.parquet", *(f"cells/{well}.parquet" for well in WELLS)}
