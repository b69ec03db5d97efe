"""CellVoyager plates: real measurements against their published facts."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from openhcs_engine.model.image_index import ImageKey, PlaneKind
from openhcs_engine.model.plate import Channel, Grid, StageFrame
from openhcs_engine.raw.plane import read_plane
from tests.engine.cellvoyager_folders import read

WITH_RECORDS = ("cv8000_minimal", "cv7000_z_processed_meta_only")
Facts = dict[str, Any]  # Any: the JSON of the published facts


def facts_of(data_dir: Path, name: str) -> Facts:
    """The published truth of one set."""
    facts: Facts = json.loads((data_dir / "facts.json").read_text(encoding="utf-8"))[name]
    return facts


@pytest.mark.parametrize("name", WITH_RECORDS)
def test_planes_are_those_of_the_facts(data_dir: Path, name: str) -> None:
    """Every record is one row, in its well, field, channel and time point, at its place and height."""
    facts = facts_of(data_dir, name)
    is_projected = facts["zproc"] == ["Maximum"]

    plate, index = read(data_dir / name)

    assert plate.microscope == "cellvoyager"
    assert len(index) == facts["n_img_records"]
    assert len(index.present()) == facts["n_present"]
    assert Counter(plane.key.well for plane in index) == facts["n_per_well"]
    assert {plane.kind for plane in index} == {PlaneKind.PROJECTION if is_projected else PlaneKind.PLANE}
    assert sorted({plane.key.z_index for plane in index if plane.key.z_index}) == ([] if is_projected else facts["zs"])
    assert list(plate.sites) == facts["fields"]
    assert list(plate.timepoints) == facts["ts"]
    assert [channel.index for channel in plate.channels] == facts["channels"]
    assert sorted({plane.z_um for plane in index if plane.z_um is not None}) == facts["z_um"]
    assert {(str(plane.key.site), plane.x_um, plane.y_um) for plane in index} == {
        (site, x, y) for site, (x, y) in facts["field_xy_um"].items()
    }


@pytest.mark.parametrize("name", WITH_RECORDS)
def test_single_records_are_those_of_the_facts(data_dir: Path, name: str) -> None:
    """The channel of a plane is its channel, not its action; the file is the record's, below the folder given."""
    facts = facts_of(data_dir, name)
    folder = facts["mlf"].removesuffix("MeasurementData.mlf")

    _, index = read(data_dir / name)

    found = {plane.path: plane for plane in index}
    for record in facts["records_first3"]:
        plane = found[folder + record["file"]]
        z_index = None if record["zproc"] else record["z"]
        assert plane.key == ImageKey(record["well"], record["field"], record["channel"], z_index, record["t"])
        assert (plane.x_um, plane.y_um, plane.z_um) == (record["x"], record["y"], record["z_um"])
        assert plane.present is record["exists"]


@pytest.mark.parametrize("name", WITH_RECORDS)
def test_metadata_are_those_of_the_facts(data_dir: Path, name: str) -> None:
    """Plate format, pixel size, shape, grid and frame are what the instrument wrote."""
    facts = facts_of(data_dir, name)
    detail = facts["mrf_channels"]

    plate, _ = read(data_dir / name)

    assert (str(plate.rows), str(plate.columns)) == (facts["mrf"]["RowCount"], facts["mrf"]["ColumnCount"])
    assert {plate.pixel_size_um} == {detail[str(channel.index)]["px_um"] for channel in plate.channels}
    assert [list(channel.shape or ()) for channel in plate.channels] == [
        detail[str(channel.index)]["size"] for channel in plate.channels
    ]
    assert plate.grid == Grid(rows=facts["grid"]["n_rows"], columns=facts["grid"]["n_cols"])
    assert plate.stage_frame == StageFrame(origin="well centre", y_axis="up")
    assert plate.errors == tuple(facts["errors"])


def test_a_whole_measurement_is_no_reason_to_warn(data_dir: Path) -> None:
    """Shading and dark images beside the planes are no data; a note says that they were left out."""
    plate, index = read(data_dir / "cv8000_minimal")
    assert (plate.warnings, plate.absent_wells) == ((), ())
    (note,) = plate.notes
    assert note.startswith("6 images that are no planes (shading, dark images or others) were left out")
    assert plate.name == "CV8000-Minimal-DataSet-2C-3W-4S-FP2-stack"
    assert plate.wells == ("D08", "E03", "F08")
    assert (plate.z_step_um, plate.dtype) == (3.0, "uint16")
    assert [(channel.name, channel.wavelength_nm) for channel in plate.channels] == [("405", 445.0), ("488", 525.0)]
    assert not any("/SC_" in str(plane.path) or "/DC_" in str(plane.path) for plane in index)


def test_pixels_of_tiffs_are_those_of_the_facts(data_dir: Path) -> None:
    """The listed paths lead to the pixels that the facts give for them."""
    folder = data_dir / "cv8000_minimal"
    prefix = facts_of(data_dir, "cv8000_minimal")["mlf"].removesuffix("MeasurementData.mlf")
    for record in facts_of(data_dir, "cv8000_minimal")["records_first3"]:
        assert hashlib.sha256(read_plane(folder, prefix + record["file"]).tobytes()).hexdigest() == record["sha256"]


def test_metadata_alone_give_the_complete_table(data_dir: Path) -> None:
    """Without images every plane is listed and none is present; wells are the declared ones, the pixel type unknown."""
    plate, index = read(data_dir / "cv7000_z_processed_meta_only")
    declared = facts_of(data_dir, "cv7000_z_processed_meta_only")["wells"]
    assert {plane.key.well for plane in index} == set(plate.wells) == set(declared)
    assert (len(plate.absent_wells), plate.absent_wells[-1]) == (24 - len(declared), "N04")
    assert plate.warnings == ("The folder has the records of a measurement, but no image.",)
    assert (plate.name, plate.dtype, plate.z_step_um) == ("AssayPlate_Cellvis_#384-1.5H-N", None, None)
    assert [channel.wavelength_nm for channel in plate.channels] == [445.0, 600.0, 676.0]


def test_names_alone_are_read_where_the_records_are_lost(data_dir: Path) -> None:
    """PNG planes are read by their names; what only the records knew is None, whatever lies beside them."""
    tiles = [tile for tile in facts_of(data_dir, "cv7000_hipsc_png")["tiles"] if tile["exists"]]

    plate, index = read(data_dir / "cv7000_hipsc_png")

    assert [plane.path for plane in index] == ["data/" + tile["path"] for tile in tiles]
    assert [plane.key for plane in index] == [ImageKey("B03", int(tile["fov"]), 1, 1, 1) for tile in tiles]
    for plane, tile in zip(index, tiles, strict=True):
        pixels = read_plane(data_dir / "cv7000_hipsc_png", str(plane.path))
        assert hashlib.sha256(pixels.tobytes()).hexdigest() == tile["sha256"]
    assert plate.channels == (Channel(index=1, shape=(2160, 2560), dtype="uint16"),)
    unknown = (plate.pixel_size_um, plate.z_step_um, plate.grid, plate.stage_frame, plate.rows)
    assert unknown == (None, None, None, None, None)
    assert {(plane.x_um, plane.y_um, plane.z_um) for plane in index} == {(None, None, None)}
    (warning,) = plate.warnings
    assert warning.startswith(
        "There is no MeasurementData.mlf: planes were read by the names of their files, and pixel"
    )


def test_the_raw_folder_is_left_as_it_was(data_dir: Path) -> None:
    """Reading a plate writes nothing into its folder."""

    def snapshot() -> dict[Path, tuple[int, int]]:
        found = ((path, path.stat()) for path in (data_dir / "cv8000_minimal").rglob("*"))
        return {path: (status.st_size, status.st_mtime_ns) for path, status in found}

    before = snapshot()
    read(data_dir / "cv8000_minimal")
    assert snapshot() == before
