"""``fit_nuclei``: threshold, diameter and bounds of the area, fitted once a plate and taken by ``segment_nuclei``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator, PlateStep, Sample
from openhcs_engine.compiler import compile_plate
from openhcs_engine.errors import CompilationError, PixelValueError
from openhcs_engine.functions import fit_nuclei, segment_nuclei
from openhcs_engine.functions.objects.nuclei_fit import area_bounds
from openhcs_engine.model.plate_map import PlateMap, WellRole
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.pipeline.settings import configured
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.engine.functions.objects.planted import BACKGROUND, Image, camera, ellipses
from tests.engine.plates import make_plate, output_plan

PLANTED = [ellipses(22, seed=seed).image for seed in range(4)]
EMPTY = [camera(np.full((400, 400), float(BACKGROUND)), 20, np.random.default_rng(seed)) for seed in range(5)]
DAPI = Sample(images=8, minimum=2, channels="DAPI")
FIT = PlateStep(fit_nuclei, sample=DAPI)
NUCLEI = FunctionStep({"DAPI": (segment_nuclei, {"threshold": "fit"})}, uncovered="pass")


def counted(image: Image, **parameters: Any) -> dict[str, Any]:
    """The row of the summary of one plane."""
    _, _, summary = segment_nuclei(image[None], **parameters)
    return {name: values[0] for name, values in summary.items()}


def refusals(*steps: Any, **changes: Any) -> list[tuple[str | None, str]]:
    """Key and sentence of each violation, on a plate without files."""
    plate, index = make_plate([f"A{column:02d}" for column in range(1, 13)])
    with pytest.raises(CompilationError) as refused:
        compile_plate(replace(plate, **changes), index, Pipeline(steps), output=output_plan())
    return [(each.key, each.message) for each in refused.value.violations]


# What is fitted.


def test_the_fit_has_the_size_of_what_was_planted_and_bounds_on_both_sides_of_it() -> None:
    """Diameter within 15 %; all planted areas lie within them, a tenth and ten times the median beyond."""
    fit = fit_nuclei(PLANTED)
    planted = np.concatenate([np.bincount(ellipses(22, seed=seed).labels.ravel())[1:] for seed in range(4)])

    assert fit["images"] == 4 and fit["nuclei"] == fit["areas_px"].size == planted.size
    assert abs(fit["diameter_px"] - 22) <= 0.15 * 22
    assert fit["minimum_area_px"] <= planted.min() and planted.max() <= fit["maximum_area_px"]
    assert 0.1 * np.median(planted) < fit["minimum_area_px"] and fit["maximum_area_px"] < 10 * np.median(planted)
    assert fit["example"].dtype == np.uint8 and max(fit["example"].shape) <= 512 and (fit["example"] == 255).any()


def test_empty_wells_have_no_say() -> None:
    """With more empty images than others, all is as without them."""
    alone, among = fit_nuclei(PLANTED), fit_nuclei([*EMPTY, *PLANTED])

    assert {name: among[name] for name in ("threshold", "minimum_area_px", "maximum_area_px")} == {
        name: alone[name] for name in ("threshold", "minimum_area_px", "maximum_area_px")
    }


def test_a_sample_without_nuclei_says_so_and_each_plane_is_judged_by_itself() -> None:
    """A warning; no value is made up, and 0 nuclei are a number."""
    with pytest.warns(UserWarning, match="none of the 5 images of the sample shows nuclei"):
        fit = fit_nuclei(EMPTY)
    with pytest.warns(UserWarning, match="none of the 5 images"):
        assert fit_nuclei(EMPTY, diameter_px=22) == fit

    assert fit == {"images": 0, "nuclei": 0}
    assert counted(EMPTY[0], threshold="fit", fit=fit)["objects"] == 0
    assert counted(PLANTED[0], threshold="fit", fit=fit) == counted(PLANTED[0])


def test_few_nuclei_give_a_threshold_and_a_diameter_but_no_bounds() -> None:
    """And a warning with their number."""
    with pytest.warns(UserWarning, match="shows 9 nuclei in 1 images, too few"):
        fit = fit_nuclei([ellipses(22, count=9).image])

    assert {"threshold", "diameter_px"} < fit.keys() and not {"minimum_area_px", "maximum_area_px"} & fit.keys()


def test_debris_and_clumps_lie_beyond_the_bounds() -> None:
    """They do not move the bounds that the nuclei have, as many as there are."""
    random = np.random.default_rng(1)
    nuclei = np.exp(random.normal(np.log(380), 0.3, 400)).astype(np.int64)
    debris, clumps = np.full(600, 40), np.full(60, 4000)

    low, high = area_bounds(nuclei, 22)
    assert np.mean((nuclei >= low) & (nuclei <= high)) >= 0.99
    assert area_bounds(np.concatenate([debris, nuclei, clumps]), 22) == (low, high)
    assert low > 40 and high < 4000


def test_sizes_may_be_in_micrometres_and_wrong_ones_are_refused() -> None:
    """As those of segment_nuclei; NaN is no grey level."""
    assert fit_nuclei(PLANTED, diameter_um=11, pixel_size=0.5)["diameter_px"] == 22
    with pytest.raises(ValueError, match="fit_nuclei: diameter_um=11 is in µm, but the size of a pixel is not known"):
        fit_nuclei(PLANTED, diameter_um=11)
    with pytest.raises(PixelValueError, match="NaN"):
        fit_nuclei([np.full((40, 40), np.nan, np.float32)])


# Who takes it.


def test_nuclei_are_found_by_the_fit_unless_the_step_says_otherwise() -> None:
    """Its sizes always, its threshold where that is asked for; what the step gives comes first."""
    fit = fit_nuclei(PLANTED)
    row = counted(PLANTED[1], threshold="fit", fit=fit)
    assert row["threshold"] == fit["threshold"] and row["diameter_px"] == fit["diameter_px"] and row["objects"] == 64
    assert counted(PLANTED[1], fit=fit)["threshold"] != fit["threshold"]

    large = {**fit, "minimum_area_px": 1e6, "maximum_area_px": 2e6}
    assert counted(PLANTED[1], fit=large)["too_small"] == 64
    assert counted(PLANTED[1], fit=large, minimum_area_px=9)["objects"] == 64
    assert counted(PLANTED[1], fit=fit, diameter_px=30)["diameter_px"] == 30
    with pytest.raises(ValueError, match='threshold="fit" is that of a plate step'):
        counted(PLANTED[1], threshold="fit")
    with pytest.raises(ValueError, match="must be a finite number of grey levels"):
        counted(PLANTED[1], fit={**fit, "threshold": np.inf})


def test_all_wells_of_a_plate_have_the_threshold_and_the_diameter_of_its_fit(tmp_path: Path) -> None:
    """Published with its numbers, the areas and a picture; ``--set`` reaches its parameters and those of its taker."""
    spec = SyntheticPlate(name="fitted", rows=2, columns=2, sites=2, z=1, channels=("DAPI", "GFP"), shape=(160, 160))
    plate = write_imagexpress(tmp_path / "fitted", spec)
    lab = PipelineOrchestrator(plate, output=tmp_path / "out", runner="threads").initialize()
    step = FunctionStep({"DAPI": segment_nuclei}, uncovered="pass")
    pipeline = configured(Pipeline([FIT, step]), {"segment_nuclei.threshold": "fit", "fit_nuclei.diameter_px": "14"})
    results = lab.execute_compiled_plate(pipeline, lab.compile_pipelines(pipeline), max_workers=1)

    assert [result.error for result in results.values()] == [None] * 4
    (path,) = (tmp_path / "out" / "fitted" / "fits" / "fit_nuclei").glob("*/fit.json")
    record = json.loads(path.read_text())
    (part,) = record["parts"]
    numbers = {value["name"]: value.get("number") for value in part["values"]}
    assert part["label"] == "DAPI" and numbers["diameter_px"] == 14
    assert (path.parent / "w1.areas_px.npy").exists() and (path.parent / "picture.png").exists()
    summary = pl.read_parquet(tmp_path / "out" / "fitted" / "tables" / "nuclei_summary.parquet")
    assert len(summary) == 8 and set(summary["threshold"]) == {numbers["threshold"]}
    assert set(summary["diameter_px"]) == {14.0} and summary["objects"].sum() > 0
    assert verify(tmp_path / "out" / "fitted").ok


def test_the_negative_controls_alone_may_be_the_sample() -> None:
    """By the plate map; the plan names their images."""
    wells = [f"A{column:02d}" for column in range(1, 13)]
    plate, index = make_plate(wells)
    roles = tuple(WellRole.NEGATIVE if well in ("A02", "A05") else WellRole.SAMPLE for well in wells)
    plate_map = PlateMap(name="map.csv", wells=tuple(wells), conditions=(), roles=roles, cells=("",) * len(wells))
    step = replace(FIT, sample=Sample(images=8, minimum=2, channels="DAPI", wells="role:negative"))
    compiled = compile_plate(
        replace(plate, plate_map=plate_map), index, Pipeline([step, NUCLEI]), output=output_plan()
    ).contexts

    assert {plane.key.well for plane in compiled["A01"].fits[0].planes} == {"A02", "A05"}


def test_a_threshold_of_a_fit_without_a_fit_is_refused_before_the_run() -> None:
    """With the step that would make it; and a fit of another channel is none."""
    ((key, sentence),) = refusals(NUCLEI)
    assert key == "threshold" and "put PlateStep(fit_nuclei, sample=Sample(channels=…)) first" in sentence
    of_gfp = replace(FIT, sample=Sample(images=8, minimum=2, channels="GFP"))
    assert any(
        "'fit_nuclei', which is not fitted for channel DAPI" in sentence for _, sentence in refusals(of_gfp, NUCLEI)
    )


def test_wrong_parameters_of_a_plate_step_are_refused_before_the_run() -> None:
    """By the check of its own function, as those of other steps are; an optional value that the plate lacks is none."""
    wrong = replace(FIT, fit=(fit_nuclei, {"diameter_px": -3}))
    assert ("diameter_px", "fit_nuclei: diameter_px=-3 must be a finite number of pixels above 0.") in refusals(
        wrong, NUCLEI
    )
    in_um = replace(FIT, fit=(fit_nuclei, {"diameter_um": 9}))
    assert [key for key, _ in refusals(in_um, NUCLEI, pixel_size_um=None)] == ["diameter_um"]
    plate, index = make_plate([f"A{column:02d}" for column in range(1, 13)])
    compiled = compile_plate(
        replace(plate, pixel_size_um=None), index, Pipeline([FIT, NUCLEI]), output=output_plan()
    ).contexts
    assert compiled["A01"].fits[0].step.call.kwargs.thaw() == {}


# Real images.


def test_real_nuclei_are_counted_by_a_fit_as_their_publishers_do(data_dir: Path) -> None:
    """Within a tenth on Schwann cells, within 5 % on HT29 cells, by one threshold and one size for all images."""
    schwann = [tifffile.imread(file) for file in sorted((data_dir / "nf1_cytation" / "images").glob("*_DAPI_*.tif"))]
    fit = fit_nuclei(schwann)
    counts = [counted(image, threshold="fit", fit=fit)["objects"] for image in schwann]
    assert len(counts) == 2 and all(
        abs(count - true) <= 0.1 * true for count, true in zip(counts, (28, 27), strict=True)
    )

    human = tifffile.imread(data_dir / "examplehuman" / "AS_09125_050116030001_D03f00d0.tif")
    assert abs(counted(human, threshold="fit", fit=fit_nuclei([human]))["objects"] - 289) <= 0.05 * 289
