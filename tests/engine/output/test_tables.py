"""Tables of wells: written from whatever a function returns, read back as one by every library."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import pytest

from openhcs_engine.errors import TableError
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.tables.plate import make_plate_tables
from openhcs_engine.output.tables.well import with_tables, write_table
from openhcs_engine.output.verification.verify import verify
from tests.engine.outputs import WELLS, all_files, list_wells, manifest_for, open_folder, stage

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


def test_a_table_without_rows_is_a_file_if_its_columns_have_types(tmp_path: Path) -> None:
    """An empty list says nothing of its columns, and empty objects not what they are: no other well would fit."""
    for nothing in ([], {"area": []}, polars.DataFrame({"area": [1.0], "kind": [None]}).clear()):
        assert write_table(tmp_path, "cells", "A01", nothing) is None and not list(tmp_path.iterdir())
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
    list_wells(made)
    return made


def rows_of_duckdb(place: Path) -> list[dict[str, Any]]:
    """By SQL over the file, or all files of the folder."""
    files = place if place.suffix else place / "*.parquet"
    return list(duckdb.sql(f"SELECT * FROM '{files}'").pl().to_dicts())


READERS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    "polars": lambda place: polars.scan_parquet(place).collect().to_dicts(),
    "pandas": lambda place: polars.from_pandas(pandas.read_parquet(place)).to_dicts(),
    "pyarrow": lambda place: pyarrow.dataset.dataset(place).to_table().to_pylist(),
    "duckdb": rows_of_duckdb,
}


def rows_of(folder: PlateFolder, reader: str, place: str = "cells") -> dict[str, list[dict[str, Any]]]:
    """Rows by well, each without its well."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in READERS[reader](folder.folder / "tables" / place):
        rows.setdefault(row.pop("well"), []).append(row)
    return rows


@pytest.mark.parametrize("reader", READERS)
def test_the_wells_tables_are_one_dataset(folder: PlateFolder, reader: str) -> None:
    """Each library reads the folder of all wells at once, without being told anything, and the plate's table alike."""
    make_plate_tables(folder.folder)
    expected = {
        well: [{**row, "area": row["area"] + number} for row in ROWS] for number, well in enumerate(reversed(WELLS))
    }
    assert rows_of(folder, reader) == rows_of(folder, reader, "cells.parquet") == expected


NOTHING: dict[str, Callable[[], object]] = {
    "empty list": list,
    "columns of nothing": lambda: {"site": [], "area": [], "kind": []},
    "pandas without rows": lambda: pandas.DataFrame(columns=["site", "area", "kind"]),
    "pandas filtered": lambda: pandas.DataFrame(ROWS).iloc[:0],
    "polars without types": lambda: polars.DataFrame(schema=["site", "area", "kind"]),
    "polars filtered": lambda: polars.DataFrame(ROWS).clear(),
    "fewer columns": lambda: {"site": []},
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("nothing", NOTHING)
def test_a_well_without_objects_breaks_nothing(folder: PlateFolder, nothing: str, reader: str) -> None:
    """In whatever way a function says that it found none, and though the first well is the one."""
    publish_tables(folder, "A01", {"cells": NOTHING[nothing]()})
    (made,) = make_plate_tables(folder.folder)
    assert made.left_out == ()
    for place in ("cells", "cells.parquet"):
        found = rows_of(folder, reader, place)
        assert {well: len(rows) for well, rows in found.items()} == {"A02": 2, "B01": 2}
        assert found["B01"] == ROWS


@dataclass(frozen=True)
class Unequal:
    """Columns of one name with values of different types in two wells, and what the plate's table makes of them."""

    name: str
    one: object
    other: object
    type: str
    values: list[object]

    def __str__(self) -> str:
        return self.name


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    "case",
    [
        Unequal("whole and missing", [1, 2], [None, None], "int64", [1, 2, None, None]),
        Unequal("text and missing", ["a", "b"], [None, None], "string", ["a", "b", None, None]),
        Unequal("pandas' way", [1, 2], pandas.Series([3, None]), "double", [1, 2, 3, None]),
        Unequal("whole and fractions", [1, 2], [0.5, 1.5], "double", [1, 2, 0.5, 1.5]),
        Unequal("widths", np.array([1, 2], np.int32), np.array([3, 4], np.int64), "int64", [1, 2, 3, 4]),
        Unequal("floats", np.array([1, 2], np.float32), np.array([0.1, 4]), "double", [1, 2, 0.1, 4]),
        Unequal("nobody knows", [None], [None], "double", [None, None]),
    ],
    ids=str,
)
def test_columns_of_one_pipeline_get_a_type_that_holds_all(tmp_path: Path, case: Unequal, swapped: bool) -> None:
    """Whichever well comes first; every library then reads the same numbers."""
    folder = open_folder(tmp_path)
    wells = ("A02", "A01") if swapped else ("A01", "A02")
    for well, values in zip(wells, (case.one, case.other), strict=True):
        frame = pandas.DataFrame({"x": values}) if isinstance(values, pandas.Series) else {"x": values}
        publish_tables(folder, well, {"cells": frame})
    (made,) = make_plate_tables(folder.folder)
    assert str(pyarrow.parquet.read_schema(made.path).field("x").type) == case.type
    for reader in READERS:
        found = rows_of(folder, reader, "cells.parquet")
        assert [row["x"] for well in wells for row in found[well]] == case.values


def test_duckdb_reads_unequal_wells_as_one_where_it_is_told_to(tmp_path: Path) -> None:
    """As the documentation says it; without the option it would round the fractions of the second well."""
    folder = open_folder(tmp_path)
    publish_tables(folder, "A01", {"cells": {"x": [1, 2]}})
    publish_tables(folder, "A02", {"cells": {"x": [0.5, 1.5]}})
    files = f"{folder.folder}/tables/cells/*.parquet"
    found = duckdb.sql(f"SELECT x FROM read_parquet('{files}', union_by_name = true) ORDER BY x").fetchall()
    assert found == [(0.5,), (1.0,), (1.5,), (2.0,)]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (["x"], "has values of type string in column 'x', well A01 of type int64"),
        ([True], "has values of type bool in column 'x'"),
        ([0.5], "column 'x' of well A01 cannot be double as in other wells.*9007199254740993"),
    ],
)
def test_values_that_no_type_holds_together_are_an_error(tmp_path: Path, values: list[object], sentence: str) -> None:
    """Text and numbers; and a whole number that would be another one as a fraction."""
    folder = open_folder(tmp_path)
    publish_tables(folder, "A01", {"cells": {"x": [2**53 + 1]}})
    publish_tables(folder, "A02", {"cells": {"x": values}})
    with pytest.raises(TableError, match=sentence) as caught:
        make_plate_tables(folder.folder)
    assert caught.value.column == "x" and not (folder.folder / "tables" / "cells.parquet").exists()


def test_the_column_that_cannot_be_held_is_named_and_not_one_that_can(tmp_path: Path) -> None:
    """Though both differ between the wells."""
    folder = open_folder(tmp_path)
    publish_tables(folder, "A01", {"cells": {"area": [1], "kind": ["round"]}})
    publish_tables(folder, "A02", {"cells": {"area": [1.5], "kind": [7]}})
    with pytest.raises(TableError, match="in column 'kind'") as caught:
        make_plate_tables(folder.folder)
    assert caught.value.column == "kind"


def test_a_damaged_table_is_named_with_what_to_do(folder: PlateFolder) -> None:
    """Its well can be dropped and made again."""
    table = folder.folder / "tables" / "cells" / "A02.parquet"
    table.write_bytes(b"x" * table.stat().st_size)
    with pytest.raises(TableError, match=r"well A02 cannot be read.*verify .* --repair"):
        make_plate_tables(folder.folder)


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
from openhcs_engine.output.tables.plate import make_plate_tables

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
