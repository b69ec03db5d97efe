"""Ready pipelines: their tables against the truth of synthetic plates, against plain numpy, and on real plates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from openhcs_engine import PipelineOrchestrator
from openhcs_engine.cli.commands import openhcs
from openhcs_engine.errors import CompilationError
from openhcs_engine.ngff.reading.reader import open_plate
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.pipeline import load_pipeline
from openhcs_engine.pipelines import count_nuclei, project_and_composite, translocation
from openhcs_engine.synthetic import SyntheticPlate, SyntheticScene, truth_path, write_imagexpress
from openhcs_engine.synthetic.truth import truth_folder


def run(plate: Path, output: Path, pipeline: Any, wells: str | None = None, **options: Any) -> Path:
    """The output of a plate whose wells were all done."""
    orchestrator = PipelineOrchestrator(plate, output=output, runner="threads", **options).initialize()
    contexts = orchestrator.compile_pipelines(pipeline, well_filter=wells)
    results = orchestrator.execute_compiled_plate(pipeline, contexts, max_workers=1)
    assert [result.error for result in results.values()] == [None] * len(contexts)
    found = output / orchestrator.plate.plate_id
    assert verify(found).ok
    return found


def table(output: Path, name: str) -> pl.DataFrame:
    """A table of the plate."""
    return pl.read_parquet(output / "tables" / f"{name}.parquet")


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four wells of two sites, three z planes, with their truth beside them."""
    spec = SyntheticPlate(name="ready", rows=2, columns=2, shape=(192, 192), objects_per_megapixel=300)
    return write_imagexpress(tmp_path_factory.mktemp("plates") / "ready", spec)


@pytest.fixture(scope="module")
def moved(plate: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of ``translocation``."""
    return run(plate, tmp_path_factory.mktemp("moved"), translocation, settings={"reporter": "GFP"})


def planted(plate: Path) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """The nuclei of each well and site."""
    wells = json.loads(truth_path(plate).read_text(encoding="utf-8"))["wells"]
    return {(well, int(site)): spots for well, of in wells.items() for site, spots in of["sites"].items()}


def test_nuclei_are_counted_one_row_each(plate: Path, tmp_path: Path) -> None:
    """As many as were planted, where they were planted; sites and wells are summed up in the table ``wells``."""
    output = run(plate, tmp_path, count_nuclei)
    nuclei, wells, truth = table(output, "nuclei"), table(output, "wells"), planted(plate)

    assert nuclei.columns[:3] == ["well", "site", "object"]
    assert {"Nuclei_AreaShape_Area", "Nuclei_Intensity_MeanIntensity_GFP"} <= set(nuclei.columns)
    for (well, site), spots in truth.items():
        rows = nuclei.filter(well=well, site=site)
        centres = rows.select("Nuclei_Location_Center_Y", "Nuclei_Location_Center_X").to_numpy()
        away = np.linalg.norm(centres[:, None] - np.array([(spot["y"], spot["x"]) for spot in spots]), axis=2)
        assert len(rows) == len(spots) and away.min(axis=0).max() < 1.5
        assert wells.filter(well=well, site=site)["Count_Nuclei"].item() == len(spots)
    assert wells.filter(pl.col("site").is_null())["Count_Nuclei"].sum() == sum(map(len, truth.values()))


def test_bounds_follow_from_the_nuclei_and_are_said(plate: Path, tmp_path: Path) -> None:
    """Of each site: the smallest area is a tenth of a disc of the diameter, or what was set."""
    summary = table(run(plate, tmp_path / "own", count_nuclei, wells="A01"), "nuclei_summary")
    set_to = {"minimum_area_px": "70", "segment_nuclei.diameter_px": 12}
    given = table(run(plate, tmp_path / "set", count_nuclei, wells="A01", settings=set_to), "nuclei_summary")

    assert (summary["minimum_area_px"] == np.maximum(9, 0.1 * np.pi / 4 * summary["diameter_px"].to_numpy() ** 2)).all()
    assert given["minimum_area_px"].to_list() == [70, 70] and given["diameter_px"].to_list() == [12, 12]
    assert given["too_small"].sum() == summary["objects"].sum() - given["objects"].sum() > 0


def test_bounds_may_follow_from_a_sample_of_the_plate(plate: Path, tmp_path: Path) -> None:
    """The same for all sites, as the fit says; nothing of the count is lost by it."""
    output = run(plate, tmp_path, count_nuclei, settings={"sizes": "plate"})
    summary = table(output, "nuclei_summary")
    (record,) = output.glob("fits/fit_nuclei/*/fit.json")
    values = json.dumps(json.loads(record.read_text(encoding="utf-8")))

    assert summary["diameter_px"].n_unique() == summary["minimum_area_px"].n_unique() == 1
    assert str(summary["minimum_area_px"][0]) in values and str(summary["diameter_px"][0]) in values
    assert summary["objects"].sum() == sum(map(len, planted(plate).values()))


def ratios(image: NDArray[Any], nuclei: NDArray[Any]) -> list[float | None]:
    """The ratio of each cell, cell by cell: its ring lies 0.12 to 0.27 diameters from it, nearer to no other."""
    count = int(nuclei.max())
    diameter = 2 * np.sqrt((nuclei > 0).sum() / count / np.pi)
    away = np.stack([ndimage.distance_transform_edt(nuclei != number) for number in range(1, count + 1)])
    dark = np.percentile(ndimage.gaussian_filter(image.astype(float), 2, mode="nearest"), 2)
    found: list[float | None] = []
    for number in range(1, count + 1):
        mine = away[number - 1]
        ring = (mine > 0.12 * diameter) & (mine <= (0.12 + 0.15) * diameter) & (mine == away.min(axis=0))
        inside, around = image[nuclei == number].mean() - dark, image[ring].mean() - dark if ring.any() else 0
        found.append(inside / around if ring.sum() >= 20 and around > 0 else None)
    return found


def test_translocation_is_the_ratio_of_means_above_the_background(moved: Path) -> None:
    """A row a cell, as plain numpy computes it from the published image and labels; a well's value is the median."""
    rows, wells = table(moved, "translocation"), table(moved, "wells")

    assert rows.columns[:3] == ["well", "site", "object"]
    for well in ("A01", "B02"):
        expected = []
        for site in (1, 2):
            field = open_plate(moved / "images.zarr")[well][site]
            image, nuclei = field.plane(channel=2), np.squeeze(np.asarray(field.label("nuclei").array()))
            assert image is not None
            expected += ratios(image, nuclei)
        found = rows.filter(well=well).sort("site", "object")["ratio"]
        assert [value is None for value in found] == [value is None for value in expected]
        np.testing.assert_allclose(found.drop_nulls(), [value for value in expected if value is not None], rtol=0.02)
        (middle,) = wells.filter(pl.col("site").is_null(), well=well)["Median_Translocation_ratio"]
        assert middle == pytest.approx(found.median())


def test_translocation_finds_the_planted_ratios(tmp_path: Path) -> None:
    """Of cells whose bodies are around their nuclei: wells' values within 7 %, and nearly every cell has one."""
    channels = ("DAPI", "GFP", "Cy5")
    spec = SyntheticPlate(
        rows=1, columns=2, sites=1, z=1, seed=4, shape=(448, 448), channels=channels, scene=SyntheticScene(cells=True)
    )
    cells = write_imagexpress(tmp_path / "cells", spec)
    output = run(cells, tmp_path / "out", translocation, settings={"reporter": "GFP"})
    truth = pl.read_parquet(truth_folder(cells) / "nuclei.parquet")
    rows = table(output, "translocation")

    assert len(rows) == len(truth) and rows["ratio"].is_not_null().mean() > 0.97
    for well in ("A01", "A02"):
        planted_ratio, found = (each.filter(well=well)["ratio"].median() for each in (truth, rows))
        assert found == pytest.approx(planted_ratio, rel=0.07)


def test_every_nucleus_is_a_cell(plate: Path, moved: Path) -> None:
    """Also those that an image cuts, since they would lie in their neighbours' rings."""
    summary = table(moved, "nuclei_summary")

    assert summary["at_border"].sum() == 0
    assert summary["objects"].sum() == len(table(moved, "translocation")) == sum(map(len, planted(plate).values()))


def test_a_composite_is_made_of_kept_projections(plate: Path, tmp_path: Path) -> None:
    """One plane a site; with weights and without stretching it is their weighted mean."""
    settings = {"stretch": "false", "weights": "3, 1"}
    output = run(plate, tmp_path, project_and_composite, wells="A01", settings=settings)
    mixed = open_plate(output / "images.zarr")["A01"][1]
    channels = open_plate(output / "projections.zarr")["A01"][1]
    one, two, both = (
        np.asarray(each, float)
        for each in (channels.plane(channel=1), channels.plane(channel=2), mixed.array(level=0)[0, 0, 0])
    )

    assert mixed.array(level=0).shape[1] == 1
    np.testing.assert_allclose(both, (3 * one + two) / 4, atol=0.5)
    stretched = open_plate(run(plate, tmp_path / "own", project_and_composite, wells="A01") / "images.zarr")
    assert np.asarray(stretched["A01"][1].array(level=0)).max() > 10 * both.max()


@pytest.mark.parametrize(
    ("pipeline", "settings", "key", "sentence"),
    [
        (
            translocation,
            {},
            "reporter",
            "needs 'reporter'; give it: --set reporter=… (channels of this plate: DAPI, GFP)",
        ),
        (translocation, {"reporter": "Cy5"}, "Cy5", "channel 'Cy5' is not on this plate (has: DAPI, GFP)"),
        (translocation, {"reporter": "GFP", "ring_diameters": -1}, "ring_diameters", "a finite number above 0"),
        (count_nuclei, {"nuclei": "Hoechst"}, "Hoechst", "channel 'Hoechst' is not on this plate (has: DAPI, GFP)"),
        (count_nuclei, {"minimum_area_px": -3}, "minimum_area_px", "must be a finite number of pixels above 0"),
        (count_nuclei, {"segment_nuclei.minimum_area_um2": "30"}, "minimum_area_um2", "size of a pixel is not known"),
        (count_nuclei, {"nucleus": "DAPI"}, "nucleus", "did you mean 'nuclei'?"),
        (project_and_composite, {"projection": "sum"}, "projection", "one of max, mean"),
    ],
)
def test_what_cannot_be_is_refused_before_the_run(
    plate: Path, tmp_path: Path, pipeline: Any, settings: dict[str, object], key: str, sentence: str
) -> None:
    """With the channels there are, where a role is missing or none of them."""
    orchestrator = PipelineOrchestrator(plate, output=tmp_path, settings=settings).initialize()
    orchestrator._read = _without_pixel_size(orchestrator)

    with pytest.raises(CompilationError) as error:
        orchestrator.compile_pipelines(pipeline)

    assert any(each.key == key and sentence in each.message for each in error.value.violations), str(error.value)


def _without_pixel_size(orchestrator: PipelineOrchestrator) -> Any:  # Any: the orchestrator's own pair
    from dataclasses import replace

    plate, index = orchestrator.read
    return replace(plate, pixel_size_um=None), index


def test_a_missing_role_is_refused_on_the_command_line(plate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2 and the channels; a role that is set is compiled."""
    named = ["compile", str(plate), "--pipeline", "openhcs_engine.pipelines:translocation"]
    with pytest.raises(SystemExit) as ended:
        openhcs(named)
    assert ended.value.code == 2 and "(channels of this plate: DAPI, GFP)" in capsys.readouterr().err

    with pytest.raises(SystemExit) as ended:
        openhcs([*named, "--set", "reporter=2", "--set", "nuclei=1"])
    assert not ended.value.code


@pytest.mark.parametrize("name", ["count_nuclei", "project_and_composite", "translocation"])
def test_a_ready_pipeline_has_a_name_and_keyword_parameters(name: str) -> None:
    """It is found by ``module:attribute``; a default is compiled as such."""
    settings = {"reporter": "GFP"} if name == "translocation" else {}

    assert load_pipeline(f"openhcs_engine.pipelines:{name}", settings=settings).name.startswith(name)


def test_nuclei_of_a_real_plate_are_counted(data_dir: Path, tmp_path: Path) -> None:
    """Of nf1_cytation, which says no pixel size, 28 and 27 within a tenth: split ones are more."""
    output = run(data_dir / "nf1_cytation", tmp_path, count_nuclei)
    counts = dict(table(output, "wells").filter(pl.col("site").is_null()).select("well", "Count_Nuclei").iter_rows())

    assert abs(counts["B07"] - 28) <= 2.8 and abs(counts["D06"] - 27) <= 2.7


def test_translocation_separates_the_controls_of_a_real_plate(data_dir: Path, tmp_path: Path) -> None:
    """Z' of the medians of wells of sbs_translocation is above 0.6, without a pixel size.

    What is expected of any sound pipeline there is 0.5; a plain baseline has from 0.67 to 0.84.
    """
    roles = {"reporter": "1", "nuclei": "2"}
    wells = "A01,A02,B01,B02,C01,C02,D01,D02,col:12"
    output = run(data_dir / "sbs_translocation", tmp_path, translocation, wells=wells, settings=roles)
    summed = table(output, "wells").filter(pl.col("site").is_null())
    median = dict(summed.select("well", "Median_Translocation_ratio").iter_rows())
    positive, negative = (
        np.array([value for well, value in median.items() if (well[1:] == "12") is is_positive])
        for is_positive in (True, False)
    )

    assert (len(positive), len(negative)) == (4, 8)
    z_prime = 1 - 3 * (positive.std(ddof=1) + negative.std(ddof=1)) / abs(positive.mean() - negative.mean())
    assert z_prime > 0.6 and negative.max() < 1 and positive.min() > 3.5
    assert table(output, "translocation")["ratio"].is_not_null().mean() > 0.97


def test_what_is_read_of_a_file_is_what_is_measured(data_dir: Path) -> None:
    """The roles of sbs_translocation: its first channel is the reporter, in the cytoplasm of negative controls."""
    reporter, stain = (
        tifffile.imread(data_dir / "sbs_translocation" / f"Channel{channel}-01-A-01.tif") for channel in (1, 2)
    )
    bright = stain > np.percentile(stain, 90)

    assert reporter[ndimage.binary_dilation(bright, iterations=4) & ~bright].mean() > reporter[bright].mean()
