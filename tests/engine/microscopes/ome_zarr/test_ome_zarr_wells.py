"""Wells of OME-Zarr plates by the names, paths and indices of any writer: the right well, or a refusal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator
from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.execution.results import WellResult
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.ngff.documents import Named, PlateDocument, PlateWell
from openhcs_engine.ngff.well_names import name_wells
from openhcs_engine.raw.array_plane import read_array_plane
from openhcs_engine.synthetic import SyntheticPlate, write_ome_zarr
from tests.engine.damaged_zarr import CHUNK, Version
from tests.engine.damaged_zarr import DAMAGES as KINDS
from tests.engine.damaged_zarr import Damage as Kind
from tests.engine.plates import add

Well = tuple[str, int | None, int | None]
"""Path, rowIndex, columnIndex."""
Json = dict[str, Any]  # Any: JSON


def document(rows: list[str], columns: list[str], wells: list[Well]) -> PlateDocument:
    """A plate's document."""
    return PlateDocument(
        wells=[PlateWell(path=path, row_index=row, column_index=column) for path, row, column in wells],
        rows=[Named(name=name) for name in rows],
        columns=[Named(name=name) for name in columns],
    )


@dataclass(frozen=True)
class Names:
    """Names that say which well is which."""

    writer: str
    rows: list[str]
    columns: list[str]
    wells: list[Well]
    expected: list[str]
    note: str = ""
    """How the note explains the names; empty: none is needed."""


NAMED = [
    Names("bioformats2raw", ["A", "B"], ["1", "2", "3"], [("A/1", 0, 0), ("B/3", 1, 2)], ["A01", "B03"]),
    Names("Fractal, only what is in use", ["B"], ["03", "05"], [("B/03", 0, 0), ("B/05", 0, 1)], ["B03", "B05"]),
    Names("indices on the plate", ["B"], ["03", "05"], [("B/03", 1, 2), ("B/05", 1, 4)], ["B03", "B05"]),
    Names("rows as they came", ["B", "A"], ["2", "1"], [("B/2", 0, 0), ("A/1", 1, 1)], ["B02", "A01"]),
    Names("lower case", ["a", "b"], ["1"], [("a/1", 0, 0), ("b/1", 1, 0)], ["A01", "B01"]),
    Names("1536 wells", ["Z", "AA", "AF"], ["48"], [("Z/48", 0, 0), ("AA/48", 1, 0), ("AF/48", 2, 0)],
           ["Z48", "AA48", "AF48"]),
    Names("other zeros in path and list", ["A"], ["01", "02"], [("A/2", 0, 1)], ["A02"]),
    Names("no index, no list", [], [], [("A/1", None, None), ("H/12", None, None)], ["A01", "H12"]),
    Names("columns from 0", ["A", "B"], [str(c) for c in range(12)],
           [("A/0", 0, 0), ("A/1", 0, 1), ("B/11", 1, 11)], ["A01", "A02", "B12"], "columns count from 0"),
    Names("columns from 0, 0 not in use", ["A"], ["0", "1", "2"], [("A/2", 0, 2)], ["A03"], "columns count from 0"),
    Names("columns from 0, only what is in use", ["A"], ["00", "05"], [("A/05", 0, 1), ("A/00", 0, 0)],
           ["A06", "A01"], "columns count from 0"),
    Names("iohub, numbers from 0", ["0", "1"], ["0", "1"], [("0/0", 0, 0), ("1/1", 1, 1)], ["A01", "B02"],
           "both count from 0"),
    Names("numbers from 0, row 0 not in use", ["2", "4"], ["0", "3"], [("2/0", 0, 0), ("4/3", 1, 1)],
           ["C01", "E04"], "both count from 0"),
    Names("OMERO, numbers from 1", ["1", "2"], ["1", "2", "3"], [("1/1", 0, 0), ("2/3", 1, 2)], ["A01", "B03"],
           "both count from 1"),
    Names("numbers from 1, indices on the plate", ["2"], ["5"], [("2/5", 1, 4)], ["B05"], "both count from 1"),
    Names("as in Harmony's names", ["r02"], ["c03"], [("r02/c03", 0, 0)], ["B03"], "both count from 1"),
    Names("prefixed columns", ["B"], ["col3", "col5"], [("B/col5", 0, 1)], ["B05"]),
    Names("names without numbers", ["ctrl", "drug"], ["low", "high"], [("ctrl/low", 0, 0), ("drug/high", 1, 1)],
           ["A01", "B02"], "both are names, which lie in the order of their indices"),
]  # fmt: skip


@pytest.mark.parametrize("case", NAMED, ids=lambda case: case.writer)
def test_names_paths_and_indices_that_agree_say_which_well(case: Names) -> None:
    """Each path is its well; where a person would not read it so, a note says which path became which well."""
    named = name_wells(document(case.rows, case.columns, case.wells), "zarr.json")

    assert list(named.names) == case.expected
    if not case.note:
        assert named.notes == ()
        return
    (note,) = named.notes
    assert case.note in note
    for (path, _, _), name in zip(case.wells, case.expected, strict=True):
        assert f"{path} is {name}" in note


@dataclass(frozen=True)
class Refused:
    """Names that leave a choice or contradict each other."""

    why: str
    rows: list[str]
    columns: list[str]
    wells: list[Well]
    sentence: str


MANY = [str(column) for column in range(49)]
REFUSED = [
    Refused("index of another column", ["A"], ["1", "2"], [("A/1", 0, 1)], "well A/1 has columnIndex 1, and column 1"),
    Refused("indices from 1", ["A", "B"], ["1"], [("A/1", 1, 0), ("B/1", 2, 0)], "has rowIndex 1"),
    Refused("swapped rows", ["A", "B"], ["1"], [("A/1", 1, 0), ("B/1", 0, 0)], "well A/1 has rowIndex 1"),
    Refused("the list has another name", ["A"], ["2"], [("A/1", 0, 0)], "is '2'. Correct its columnIndex"),
    Refused("names from 1, indices from 0", ["A"], [], [("A/1", 0, 1), ("A/2", 0, 2)], "contradicts itself"),
    Refused("half by the list, half on the plate", ["B", "C"], ["1"], [("B/1", 0, 0), ("C/1", 2, 0)], "rowIndex 2"),
    Refused("an index below the first", ["A"], ["1"], [("A/1", -1, 0)], "none of its list"),
    Refused("numbers of unknown base", ["2", "5"], ["3"], [("2/3", 0, 0), ("5/3", 1, 0)], "from 0 or from 1"),
    Refused("one axis from 0, the other from 1", ["1"], ["0"], [("1/0", 0, 0)], "counts one axis from 0"),
    Refused("columns before rows", ["1"], ["A"], [("1/A", 0, 0)], "may be turned"),
    Refused("c and r", ["c1"], ["r1"], [("c1/r1", 0, 0)], "may be turned"),
    Refused("two paths, one well", ["A"], ["1", "01"], [("A/1", 0, 0), ("A/01", 0, 1)], "A/1 and A/01, and both are"),
    Refused("two cases, one well", ["A", "a"], ["1"], [("A/1", 0, 0), ("a/1", 1, 0)], "both are well A01"),
    Refused("no such row", ["AG"], ["1"], [("AG/1", 0, 0)], "the row 'AG', which no plate"),
    Refused("a name of which nothing is known", ["A"], [], [("A/x", 0, None)], "does not say which column"),
    Refused("49 positions in one row", ["0"], MANY, [(f"0/{c}", 0, int(c)) for c in MANY], "column 49"),
    Refused("column 49", ["A"], ["49"], [("A/49", 0, 0)], "the largest plate has 32 rows and 48 columns"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.why)
def test_what_does_not_say_which_well_is_refused(case: Refused) -> None:
    """No well is lost or shifted: the sentence names the file, the well and what to correct."""
    with pytest.raises(UnreadablePlateError) as caught:
        name_wells(document(case.rows, case.columns, case.wells), "A.zarr/.zattrs")
    assert str(caught.value).startswith("A.zarr/.zattrs ")
    assert case.sentence in str(caught.value)


def test_48_positions_of_one_row_are_all_there() -> None:
    """A row of the largest plate is full, and every position of it a well."""
    columns = [str(column) for column in range(48)]
    named = name_wells(document(["0"], columns, [(f"0/{c}", 0, int(c)) for c in columns]), "zarr.json")
    assert named.names == tuple(f"A{column:02d}" for column in range(1, 49))


def test_the_plates_format_is_known_where_its_lists_are_whole() -> None:
    """Rows A, B and columns 0 to 11 are 2 x 12; lists of what is in use say nothing."""
    wells: list[Well] = [("A/0", 0, 0)]
    whole = name_wells(document(["A", "B"], [str(c) for c in range(12)], wells), "zarr.json")
    assert (whole.rows, whole.columns) == (2, 12)
    used = name_wells(document(["A"], ["0", "5"], wells), "zarr.json")
    assert (used.rows, used.columns) == (1, None)


# Plates by the writers themselves


def write_pixels(folder: Path, value: int) -> None:
    """An image whose every pixel has one value, by ome-zarr-py."""
    from ome_zarr.writer import write_image

    write_image(np.full((8, 8), value, np.uint16), zarr.open_group(str(folder), mode="a"), axes="yx", scale_factors=[])


def pixels_by_well(folder: Path) -> dict[str, int]:
    """The value of each well's first pixel."""
    _, index = detect_microscope(folder).read_plate()
    return {
        plane.key.well: int(read_array_plane(folder, str(plane.path), plane.array_index or ())[0, 0]) for plane in index
    }


def test_a_plate_of_ome_zarr_py_whose_columns_count_from_0(tmp_path: Path) -> None:
    """Its wells hold the pixels of their columns, and the note names every path."""
    from ome_zarr.writer import write_plate_metadata, write_well_metadata

    root = tmp_path / "zero.zarr"
    group = zarr.open_group(str(root), mode="w")
    write_plate_metadata(group, ["A", "B"], ["0", "1", "2"], ["A/0", "A/1", "B/2"])
    for path, value in (("A/0", 7), ("A/1", 8), ("B/2", 109)):
        write_well_metadata(group.require_group(path), ["0"])
        write_pixels(root / path / "0", value)

    assert pixels_by_well(root) == {"A01": 7, "A02": 8, "B03": 109}
    assert "A/0 is A01, A/1 is A02, B/2 is B03" in detect_microscope(root).read_plate()[0].notes[0]


def test_a_plate_of_ngio_that_lists_only_what_is_in_use(tmp_path: Path) -> None:
    """ngio numbers rows and columns as they stand in its lists; the names count."""
    from ngio import ImageInWellPath, create_empty_plate

    root = tmp_path / "fractal.zarr"
    images = [ImageInWellPath(row="C", column=5, path="0"), ImageInWellPath(row="B", column=12, path="0")]
    create_empty_plate(str(root), name="fractal", images=images, ngff_version="0.5")
    write_pixels(root / "C/05/0", 5)
    write_pixels(root / "B/12/0", 12)

    assert pixels_by_well(root) == {"B12": 12, "C05": 5}
    assert detect_microscope(root).read_plate()[0].notes == ()


# Damaged wells


SPEC = SyntheticPlate(name="raw", rows=1, columns=3, sites=2, z=1, shape=(40, 48), objects_per_megapixel=2000)
PIPELINE = Pipeline([FunctionStep(func=add)])


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three wells of two sites; read only."""
    return write_ome_zarr(tmp_path_factory.mktemp("raw") / "raw", SPEC)


def run(plate: Path, output: Path, on_missing: str = "error") -> dict[str, WellResult]:
    """Results of all wells."""
    orchestrator = PipelineOrchestrator(plate, output=output, runner="threads", on_missing=on_missing).initialize()
    contexts = orchestrator.compile_pipelines(PIPELINE)
    return orchestrator.execute_compiled_plate(PIPELINE, contexts, max_workers=1)


@dataclass(frozen=True)
class Damage:
    """What is wrong with well A02."""

    what: str
    path: str
    content: str | None
    """None: the file is gone."""
    error: str


ROOT = '{"zarr_format": 3, "node_type": "group", "attributes": {"ome": %s}}'
DAMAGES = [
    Damage("the well's document is cut off", "A/02/zarr.json", '{"attr', "A/02/zarr.json is damaged"),
    Damage("the well's document is gone", "A/02/zarr.json", None, "lists no image of well A02, but the folder holds"),
    Damage("the well lists nothing", "A/02/zarr.json", ROOT % '{"well": {"images": []}}', "lists no image of well A02"),
    Damage("it lists what is not in it", "A/02/zarr.json", ROOT % '{"well": {"images": [{"path": "../../etc"}]}}',
           "which is not a path below it"),
    Damage("an image's document is cut off", "A/02/1/zarr.json", '{"attr', "A/02/1/zarr.json is damaged"),
    Damage("an image's document is empty", "A/02/0/zarr.json", "", "A/02/0/zarr.json is damaged"),
    Damage("an array's document is cut off", "A/02/0/0/zarr.json", "{", "A/02/0/0/zarr.json is damaged"),
    Damage("an array's document is gone", "A/02/0/0/zarr.json", None, "declared planes have no file"),
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.what)
def test_a_damaged_well_fails_alone_and_says_why(raw: Path, tmp_path: Path, damage: Damage) -> None:
    """The plate is read, the well is on it, its run is a failure that names the file; the others are done."""
    plate = Path(shutil.copytree(raw, tmp_path / "plate"))
    path = plate / damage.path
    path.unlink() if damage.content is None else path.write_text(damage.content)

    found, index = detect_microscope(plate).read_plate()
    results = run(plate, tmp_path / "out")

    assert (found.wells, found.absent_wells) == (("A01", "A02", "A03"), ())
    assert any(plane.key.well == "A02" for plane in index.missing())
    assert {well: result.success for well, result in results.items()} == {"A01": True, "A02": False, "A03": True}
    assert str(results["A02"].error).startswith("Well A02: ")
    assert damage.error in str(results["A02"].error)


@pytest.fixture(scope="session", params=["0.4", "0.5"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Version]:
    """Three wells of one site, in zarr 2 and in zarr 3; read only."""
    spec = replace(SPEC, sites=1, shape=(32, 32))
    return write_ome_zarr(tmp_path_factory.mktemp(request.param) / "raw", spec, request.param), request.param


@pytest.mark.parametrize("damage", KINDS, ids=str)
def test_whatever_is_wrong_with_a_well_the_others_are_done(
    either: tuple[Path, Version], tmp_path: Path, damage: Kind
) -> None:
    """Documents, arrays and chunks, gone, cut off or nonsense, in both versions: one failed well, and why."""
    plate = Path(shutil.copytree(either[0], tmp_path / "plate"))
    damage.harm(plate / "A" / "02", either[1])

    results = run(plate, tmp_path / "out")

    assert {well: result.success for well, result in results.items()} == {"A01": True, "A02": False, "A03": True}
    error = str(results["A02"].error)
    assert error.startswith("Well A02: ") and ("A/02" in error or "have no file" in error)


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: (path.unlink(), path.mkdir())], ids=["gone", "a folder"])
def test_a_chunk_that_is_not_stored_is_named_at_compile(
    either: tuple[Path, Version], tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    """It reads as the fill value, which may be meant: no failure, but it is said; a folder in its stead, too."""
    plate = Path(shutil.copytree(either[0], tmp_path / "plate"))
    harm(plate / "A" / "02" / CHUNK[either[1]])

    contexts = PipelineOrchestrator(plate, output=tmp_path / "out").initialize().compile(PIPELINE).contexts

    assert any("A/02/0/0" in said and "not stored" in said for said in contexts["A02"].plate.warnings)


def test_damage_is_not_absence(raw: Path, tmp_path: Path) -> None:
    """With on_missing=skip a well goes on without an image that is gone, and fails with one that is damaged."""
    plate = Path(shutil.copytree(raw, tmp_path / "plate"))
    shutil.rmtree(plate / "A/01/1")
    (plate / "A/02/1/zarr.json").write_text("{")

    results = run(plate, tmp_path / "out", on_missing="skip")

    assert {well: result.success for well, result in results.items()} == {"A01": True, "A02": False, "A03": True}


def test_a_well_whose_images_are_all_gone_fails(raw: Path, tmp_path: Path) -> None:
    """It lists them, so they were promised: the well is not passed over."""
    plate = Path(shutil.copytree(raw, tmp_path / "plate"))
    shutil.rmtree(plate / "A/03/0")
    shutil.rmtree(plate / "A/03/1")

    assert not run(plate, tmp_path / "out")["A03"].success


def test_a_mended_well_is_done_by_the_next_run(raw: Path, tmp_path: Path) -> None:
    """What failed is made, what was done is unchanged."""
    plate = Path(shutil.copytree(raw, tmp_path / "plate"))
    whole = (plate / "A/02/zarr.json").read_bytes()
    (plate / "A/02/zarr.json").write_text("{")
    run(plate, tmp_path / "out")
    (plate / "A/02/zarr.json").write_bytes(whole)

    again = run(plate, tmp_path / "out")

    assert {well: result.status.value for well, result in again.items()} == {
        "A01": "unchanged", "A02": "done", "A03": "unchanged",
    }  # fmt: skip


def test_a_plate_of_which_nothing_can_be_read_is_refused(raw: Path, tmp_path: Path) -> None:
    """Where no well is left to go by, the first reason is the plate's."""
    plate = Path(shutil.copytree(raw, tmp_path / "plate"))
    for column in ("01", "02", "03"):
        (plate / f"A/{column}/zarr.json").write_text(json.dumps([]))
    with pytest.raises(UnreadablePlateError, match=r"^A/01/zarr\.json is not as OME-Zarr prescribes"):
        detect_microscope(plate).read_plate()
