"""One law of what is missing, for every format, command and record."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator
from openhcs_engine.execution.results import WellResult
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.model.completeness import describe_missing, missing_planes, with_missing
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane
from openhcs_engine.model.plate import Plate, StageFrame
from openhcs_engine.ngff.reading.reader import open_plate
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json
from openhcs_engine.synthetic import (
    SyntheticPlate,
    write_cellvoyager,
    write_imagexpress,
    write_ome_zarr,
    write_opera_phenix,
)
from tests.engine.harmony_exports import index_text, record, write_export
from tests.engine.plates import add, make_plate

SPEC = SyntheticPlate(
    name="plate", rows=1, columns=3, sites=2, channels=("DAPI", "GFP"), z=2, shape=(40, 48), thumbnails=False
)
VENDORS = {"imagexpress": write_imagexpress, "harmony": write_opera_phenix, "cellvoyager": write_cellvoyager}


def read(folder: Path, **options: str) -> tuple[Plate, ImageIndex]:
    """The plate of a folder."""
    return ReadOptions(**options).detect(str(folder)).read_plate()


def lacking(folder: Path, **options: str) -> set[ImageKey]:
    """Coordinates of all missing planes."""
    missing = missing_planes(*read(folder, **options))
    keys = {plane.key for plane in missing}
    assert len(keys) == len(missing) and not any(plane.present for plane in missing)
    return keys


def keys_of(spec: SyntheticPlate, index: ImageIndex, **wanted: object) -> set[ImageKey]:
    """The planes of a synthetic plate that have some coordinates, with the index's own time points."""
    times = sorted({plane.key.timepoint or 0 for plane in index})
    found = (key.replace(timepoint=times[(key.timepoint or 1) - 1]) for key in spec.image_keys())
    return {key for key in found if all(getattr(key, name) == value for name, value in wanted.items())}


def remove(folder: Path, paths: Iterable[ImagePlane]) -> None:
    """Delete the files of some planes."""
    for plane in paths:
        (folder / str(plane.path)).unlink()


GAPS: dict[str, dict[str, object]] = {
    "a plane": {"well": "A02", "site": 2, "channel": 1, "z_index": 1},
    "a site of a well": {"well": "A02", "site": 2},
    "a channel of a well": {"well": "A01", "channel": 2},
    "a well": {"well": "A03"},
    "a site of the plate": {"site": 2},
    "a channel of the plate": {"channel": 2},
    "a z plane of the plate": {"z_index": 2},
}


@pytest.mark.parametrize("write", VENDORS.values(), ids=VENDORS)
@pytest.mark.parametrize("gap", GAPS.values(), ids=GAPS)
def test_what_the_metadata_promise_and_the_folder_lacks_is_missing(
    tmp_path: Path, write: Callable[[Path, SyntheticPlate], Path], gap: dict[str, object]
) -> None:
    """Every file that is gone counts, single or by the whole channel, and nothing else does."""
    folder = write(tmp_path / "plate", SPEC)
    _, index = read(folder)
    gone = keys_of(SPEC, index, **gap)
    remove(folder, (plane for plane in index if plane.key in gone))

    assert not lacking(write(tmp_path / "whole", SPEC))
    assert lacking(folder) == gone
    assert describe_missing(*read(folder)).startswith(f"{len(gone)} plane")


@pytest.mark.parametrize("gap", [GAPS["a plane"], GAPS["a site of a well"], GAPS["a channel of a well"]])
def test_what_a_record_of_its_well_never_named_is_missing_where_other_wells_have_it(
    tmp_path: Path, gap: dict[str, object]
) -> None:
    """An acquisition that was broken off leaves no record: Harmony's index and CellVoyager's records say nothing."""
    harmony = write_opera_phenix(tmp_path / "harmony", SPEC)
    cellvoyager = write_cellvoyager(tmp_path / "cellvoyager", SPEC)
    for folder, tag, records in (
        (harmony, "Image", "*ndex*.xml"),
        (cellvoyager, "bts:MeasurementRecord", "MeasurementData.mlf"),
    ):
        _, index = read(folder)
        gone = keys_of(SPEC, index, **gap)
        names = {Path(str(plane.path)).name for plane in index if plane.key in gone}
        remove(folder, (plane for plane in index if plane.key in gone))
        (path,) = folder.rglob(records)
        for found in re.findall(f"<{tag} .*?</{tag}>", text := path.read_text(encoding="utf-8-sig"), re.DOTALL):
            text = text.replace(found, "") if any(name in found for name in names) else text
        path.write_text(text)
        plate, after = read(folder)

        assert not len(after.missing())
        assert lacking(folder) == gone
        assert any("as others have them" in note for note in plate.notes)


def test_a_plate_of_names_alone_misses_what_most_wells_have(tmp_path: Path) -> None:
    """No metadata at all; with nothing to be seen, it says that nobody knows."""
    folder = tmp_path / "plate"
    folder.mkdir()
    for well in ("A01", "A02", "A03"):
        for site, channel in ((0, 0), (0, 1), (1, 0), (1, 1)):
            tifffile.imwrite(folder / f"{well}f0{site}d{channel}.tif", np.zeros((8, 6), np.uint16))

    assert describe_missing(*read(folder)) == "none seen; nothing says what was to be acquired"

    (folder / "A02f01d1.tif").unlink()
    assert lacking(folder) == {ImageKey("A02", 1, 1, 1, 1)}


def test_a_listed_plane_without_its_file_is_missing(tmp_path: Path) -> None:
    """A table of planes promises, as a vendor's metadata do."""
    (tmp_path / "plate").mkdir()
    tifffile.imwrite(tmp_path / "plate" / "a.tif", np.zeros((8, 6), np.uint16))
    (tmp_path / "planes.csv").write_text("path,well,channel\na.tif,A01,1\nb.tif,A01,2\n")

    assert lacking(tmp_path / "plate", planes_csv=str(tmp_path / "planes.csv")) == {ImageKey("A01", 1, 2, 1, 1)}


def test_a_listed_well_of_an_ome_zarr_plate_misses_the_planes_of_the_others(tmp_path: Path) -> None:
    """The plate's group promises the well, the other wells what belongs into it."""
    folder = write_ome_zarr(tmp_path / "plate.zarr", SPEC)
    shutil.rmtree(folder / "A" / "02")
    shutil.rmtree(folder / "A" / "03" / "1")

    assert lacking(folder) == {
        key for key in SPEC.image_keys() if key.well == "A02" or (key.well, key.site) == ("A03", 2)
    }


def test_images_that_the_instrument_recorded_as_failed_are_missing(tmp_path: Path) -> None:
    """They were to be acquired; the run is not stopped by them, as no copy can bring them."""
    write_export(tmp_path, index_text([record(), record(field=2, State="Failed")]), [])
    tifffile.imwrite(tmp_path / "Images" / "r01c01f01p01-ch1sk1fk1fl1.tiff", np.zeros((8, 12), np.uint16))

    plate, index = read(tmp_path)

    assert len(plate.errors) == 1 and not len(index.missing())
    assert lacking(tmp_path) == {ImageKey("A01", 2, 1, 1, 0)}


def test_metadata_alone_miss_what_they_declare(data_dir: Path) -> None:
    """The published indexes without images: as many planes as the facts count, none inferred."""
    facts = json.loads((data_dir / "facts.json").read_text())
    phenix, cellvoyager = "phenix_BR00121482_xml_only", "cv7000_z_processed_meta_only"

    assert len(lacking(data_dir / phenix)) == len(facts[phenix]["missing"])
    assert len(lacking(data_dir / cellvoyager)) == facts[cellvoyager]["completeness"]["expected_full_cross"]


@pytest.mark.parametrize(
    "name",
    [
        "ix_singlechannel_zstep", "ix_timelapse_zmix", "operetta_ball_384", "cv8000_minimal", "cv7000_hipsc_png",
        "omezarr_apx_2d.zarr", "omezarr_v04_3434_dapi.zarr", "sbs_translocation", "nf1_cytation", "examplehuman",
    ],
)  # fmt: skip
def test_real_exports_that_lack_nothing_miss_nothing(data_dir: Path, name: str) -> None:
    """Neither cycles as images of their own, nor wells with sites of their own, nor half a plate are gaps."""
    assert not lacking(data_dir / name)


def plate_of(wells: dict[str, Iterable[tuple[int, int]]], **facts: object) -> tuple[Plate, ImageIndex]:
    """Planes by site and channel in each well."""
    plate, _ = make_plate(wells)
    planes = (
        ImagePlane(key=ImageKey(well, site, channel, 1, 1), path=f"{well}{site}{channel}.tif")
        for well, inside in wells.items()
        for site, channel in inside
    )
    return replace(plate, **facts), ImageIndex.of(planes)  # type: ignore[arg-type]


def missed(wells: dict[str, Iterable[tuple[int, int]]], **facts: object) -> set[tuple[str, int | None, int | None]]:
    """(well, site, channel) of what is missing."""
    keys = (plane.key for plane in missing_planes(*plate_of(wells, **facts)))
    return {(key.well, key.site, key.channel) for key in keys}


FOUR = [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_halves_that_differ_by_intent_lack_nothing() -> None:
    """Two stainings, or sites of their own; a well that only lacks something lacks it."""
    assert not missed({"A01": [(1, 1), (1, 2)], "A02": [(1, 1), (1, 3)]})
    assert not missed({"A01": [(2, 1)], "A02": [(5, 1)]})
    assert missed({"A01": FOUR, "A02": FOUR[:3]}) == {("A02", 2, 2)}
    assert missed({"A01": FOUR, "A02": FOUR[:2]}) == {("A02", 2, 1), ("A02", 2, 2)}


def test_a_well_with_more_than_the_others_makes_no_gap() -> None:
    """What most wells have decides."""
    assert not missed({"A01": [*FOUR, (3, 1), (3, 2)], "A02": FOUR, "A03": FOUR})


def test_in_a_plate_of_one_well_the_sites_are_compared() -> None:
    """Three sites show two channels, one does not."""
    assert missed({"A01": [*FOUR, (3, 1), (3, 2), (4, 1)]}) == {("A01", 4, 2)}


def test_a_well_that_was_selected_and_never_recorded_misses_what_belongs_into_every_well() -> None:
    """Selected by the settings, named by no record."""
    wells = {"A01": FOUR, "A02": FOUR}
    assert missed(wells, absent_wells=("B01",)) == {("B01", site, channel) for site, channel in FOUR}


def test_fields_chosen_by_what_they_show_are_expected_in_no_well() -> None:
    """Where a site lies elsewhere in each well, wells have as many as objects were found."""
    frame = StageFrame(origin="well centre", y_axis="up")
    plate, index = plate_of({"A01": FOUR, "A02": FOUR, "A03": FOUR[:2]}, stage_frame=frame)
    offsets = {"A01": 0.0, "A02": 90.0, "A03": 180.0}
    moved = ImageIndex.of(
        plane.replace(x_um=offsets[plane.key.well], y_um=float(plane.key.site or 0)) for plane in index
    )
    fixed = ImageIndex.of(plane.replace(x_um=0.0, y_um=float(plane.key.site or 0)) for plane in index)

    assert not len(missing_planes(plate, moved))
    assert len(missing_planes(plate, fixed)) == 2


def test_the_whole_table_is_in_order_and_holds_each_plane_once() -> None:
    """What ``planes`` lists: present, declared and inferred."""
    plate, index = plate_of({"A01": FOUR, "A02": FOUR[:2], "A03": FOUR})
    *others, last = index
    whole = with_missing(plate, ImageIndex.of((*others, last.replace(present=False))))

    assert whole == ImageIndex.of(whole.planes)
    assert len(whole) == len({plane.key for plane in whole}) == 12
    assert len(whole.missing()) == 3


# What a run does with them.


def run(folder: Path, output: Path, **options: object) -> dict[str, WellResult]:
    """Every well's result."""
    orchestrator = PipelineOrchestrator(folder, output=output, runner="threads", **options).initialize()  # type: ignore[arg-type]
    pipeline = Pipeline([FunctionStep(add)])
    contexts = orchestrator.compile_pipelines(pipeline)
    assert contexts_from_json(contexts_to_json(contexts)) == contexts
    return orchestrator.execute_compiled_plate(pipeline, contexts, max_workers=1)


def test_a_channel_that_no_well_has_stops_no_well_and_is_told_by_each(tmp_path: Path) -> None:
    """By default: done, with gaps in result, manifest and log; and again when nothing is computed anew."""
    folder = write_imagexpress(tmp_path / "plate", replace(SPEC, sites=1, z=1))
    for path in folder.rglob("*_w2.tif"):
        path.unlink()

    for status in ("done", "unchanged"):
        results = run(folder, tmp_path / "out")
        assert {result.status for result in results.values()} == {status}
        assert {result.missing_planes for result in results.values()} == {1}
        assert all(
            any("1 plane of the well is missing" in note for note in result.notes) for result in results.values()
        )
    manifest = json.loads((tmp_path / "out" / "plate" / "wells" / "A01.json").read_bytes())
    assert manifest["provenance"]["missing_beyond_plan"] == 1
    logs = "".join(path.read_text() for path in (tmp_path / "out" / "plate" / "logs").iterdir())
    assert "note: 1 plane of the well is missing" in logs
    assert open_plate(tmp_path / "out" / "plate" / "images.zarr")["A01"][1].channel_labels == ("DAPI",)


def test_what_only_other_wells_let_expect_stops_no_well(tmp_path: Path) -> None:
    """The well is done and says what it lacks; the others lack nothing."""
    folder = tmp_path / "plate"
    folder.mkdir()
    for name in ("A01f00d0", "A01f00d1", "A02f00d0", "A02f00d1", "A03f00d0"):
        tifffile.imwrite(folder / f"{name}.tif", np.zeros((8, 6), np.uint16))

    results = run(folder, tmp_path / "out")

    assert all(result.success for result in results.values())
    assert {well: result.missing_planes for well, result in results.items()} == {"A01": 0, "A02": 0, "A03": 1}
    assert not results["A01"].notes or "missing" not in "".join(results["A01"].notes)


@pytest.mark.parametrize("policy", ["error", "skip", "blank"])
def test_a_gap_of_one_well_is_dealt_with_as_asked_and_counted(tmp_path: Path, policy: str) -> None:
    """It fails the well, or the result says how many planes it lacks."""
    folder = write_imagexpress(tmp_path / "plate", replace(SPEC, sites=1))
    next(folder.rglob("ZStep_2/*_A02_s1_w1.tif")).unlink()

    results = run(folder, tmp_path / "out", on_missing=policy)

    assert results["A01"].success and results["A01"].missing_planes == 0
    assert results["A02"].success is (policy != "error")
    if policy == "error":
        assert "1 of 4 declared planes have no file (site 1, channel 1, z 2" in str(results["A02"].error)
    else:
        manifest = json.loads((tmp_path / "out" / "plate" / "wells" / "A02.json").read_bytes())
        assert results["A02"].missing_planes == 1
        assert manifest["provenance"]["missing"] == ["site 1, channel 1, z 2, time 1"]
