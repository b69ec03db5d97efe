"""Runs that write OME-Zarr 0.4: the same pixels, in an output that keeps to its version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator, VariableComponents
from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.execution.results import WellStatus
from openhcs_engine.functions import create_max_projection
from openhcs_engine.ngff.options import Compression, ImageOptions
from openhcs_engine.ngff.reading.reader import open_plate
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.manifest import read_manifest
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.engine.ngff_judges import judged_by_models, opened_by_ngio

PROJECT = Pipeline(
    [FunctionStep(create_max_projection, name="Project", variable_components=[VariableComponents.Z_INDEX])]
)


def run(plate: Path, output: Path, images: ImageOptions, wells: str | None = None) -> dict[str, WellStatus]:
    orchestrator = PipelineOrchestrator(plate, output=output, runner="threads", images=images).initialize()
    contexts = orchestrator.compile_pipelines(PROJECT, well_filter=wells)
    results = orchestrator.execute_compiled_plate(PROJECT, contexts, max_workers=1)
    return {well: result.status for well, result in results.items()}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = SyntheticPlate(rows=1, columns=3, sites=2, z=2, shape=(300, 260))
    return write_imagexpress(tmp_path_factory.mktemp("raw") / "plate", spec)


def test_both_versions_hold_the_same_pixels(raw: Path, tmp_path: Path) -> None:
    """Of a run of two wells of three, each output judged valid and opened whole by ngio."""
    small = Compression(codec="lz4", level=5, shuffle="bit")
    for ngff in ("0.4", "0.5"):
        done = run(raw, tmp_path / ngff, ImageOptions(ngff=ngff, compression=small), wells="A01,A03")
        assert set(done.values()) == {WellStatus.DONE}
        folder = tmp_path / ngff / "plate"
        assert verify(folder).ok and verify(folder).foreign == ()
        assert judged_by_models(folder / "images.zarr", ngff)["images"] == 4
        assert set(opened_by_ngio(folder / "images.zarr")["images"]) == {"A/01/0", "A/01/1", "A/03/0", "A/03/1"}
        storage = open_plate(folder).attributes["openhcs"]["storage"]
        assert (storage["ngff"], storage["compression"]["codec"]) == (ngff, "lz4")
    old, new = (PlateFolder(tmp_path / ngff / "plate", "zarr").open_images() for ngff in ("0.4", "0.5"))
    assert list(old) == list(new) == ["A01", "A03"] and old.all_wells == ("A01", "A02", "A03")
    for name in new:
        for site, field in new[name].items():
            for level in range(field.levels):
                np.testing.assert_array_equal(old[name][site].array(level)[...], field.array(level)[...])


def test_a_run_of_another_version_is_refused_and_of_the_same_goes_on(raw: Path, tmp_path: Path) -> None:
    """Before a well is touched; the rest of the wells can still be made in the version that is there."""
    run(raw, tmp_path, ImageOptions(ngff="0.4"), wells="A01")
    before = read_manifest(tmp_path / "plate/wells/A01.json")
    with pytest.raises(OutputPlaceError, match=r"is an OME-Zarr plate of version 0\.4.*--ngff 0\.4"):
        run(raw, tmp_path, ImageOptions(), wells="A02")
    assert run(raw, tmp_path, ImageOptions(ngff="0.4")) == {
        "A01": WellStatus.UNCHANGED,
        "A02": WellStatus.DONE,
        "A03": WellStatus.DONE,
    }
    assert read_manifest(tmp_path / "plate/wells/A01.json") == before
    assert verify(tmp_path / "plate").whole == ("A01", "A02", "A03")


@pytest.mark.parametrize("ngff", ["0.4", "0.5"])
def test_a_well_that_is_dropped_is_listed_no_more(raw: Path, tmp_path: Path, ngff: str) -> None:
    """So that programs which open every listed well still can; a run makes it again and lists it."""
    run(raw, tmp_path, ImageOptions(ngff=ngff), wells="A01,A02")
    folder = PlateFolder(tmp_path / "plate", "zarr")
    folder.drop("A01")
    assert not folder.well_folder("A01").exists()
    assert list(opened_by_ngio(folder.folder / "images.zarr")["images"]) == ["A/02/0", "A/02/1"]
    report = verify(folder.folder)
    assert (report.whole, report.missing, report.foreign) == (("A02",), ("A01",), ())
    assert list(open_plate(folder.folder)) == list(folder.open_images()) == ["A02"]
    assert run(raw, tmp_path, ImageOptions(ngff=ngff), wells="A01") == {"A01": WellStatus.DONE}
    assert list(open_plate(folder.folder)) == ["A01", "A02"]


@pytest.mark.parametrize("ngff", ["0.4", "0.5"])
def test_adding_a_well_touches_the_well_and_the_plates_group_alone(raw: Path, tmp_path: Path, ngff: str) -> None:
    """Not the rows, nor another well."""
    run(raw, tmp_path, ImageOptions(ngff=ngff), wells="A01")
    images = tmp_path / "plate/images.zarr"
    group = images / ("zarr.json" if ngff == "0.5" else ".zattrs")

    def others() -> dict[Path, int]:
        files = [path for path in images.rglob("*") if path.is_file() and "A/02" not in path.as_posix()]
        return {path: path.stat().st_mtime_ns for path in files if path != group}

    before = others()
    run(raw, tmp_path, ImageOptions(ngff=ngff), wells="A02")
    assert others() == before
