"""Plate steps: fitted once on a frozen sample, published whole, given to each well; partial where images are lost."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile
import zarr

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator, PlateStep, Sample
from openhcs_engine.cli.diff import compare_given
from openhcs_engine.execution import WellResult, WellStatus
from openhcs_engine.memory.stack import Array
from openhcs_engine.output.opening import open_output
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.document import contexts_to_json
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.engine import fit_functions as fits

SPEC = SyntheticPlate(name="lit", rows=2, columns=3, sites=2, z=1, shape=(32, 40), objects_per_megapixel=2000)
SAMPLE = Sample(images=12, minimum=4)
FIELD = PlateStep(fits.mean_image, name="field", sample=SAMPLE)
SUBTRACT = FunctionStep(fits.subtract_field)
TWICE = PlateStep((fits.mean_image, {"scale": 2}), name="field", sample=SAMPLE)
PIPELINE = Pipeline([FIELD, SUBTRACT])


@pytest.fixture(scope="module")
def lit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six wells, two sites, two channels; read only."""
    return write_imagexpress(tmp_path_factory.mktemp("plates") / "lit", SPEC)


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file for each call of ``mean_image``, in whatever process."""
    folder = tmp_path / "counted"
    folder.mkdir()
    monkeypatch.setenv("FITS_COUNTED", str(folder))
    return folder


def compiled(plate: Path, output: Path, pipeline: Sequence[Any] = PIPELINE, **options: Any) -> Any:
    """An orchestrator and the contexts of all wells."""
    orchestrator = PipelineOrchestrator(plate, output=output, **options).initialize()
    return orchestrator, orchestrator.compile_pipelines(pipeline)


def run(
    plate: Path, output: Path, pipeline: Sequence[Any] = PIPELINE, wells: Any = None, **options: Any
) -> dict[str, WellResult]:
    """Compile and execute in one go, in threads unless said otherwise."""
    orchestrator = PipelineOrchestrator(plate, output=output, **{"runner": "threads", **options}).initialize()
    contexts = orchestrator.compile_pipelines(pipeline, wells)
    return orchestrator.execute_compiled_plate(pipeline, contexts, max_workers=2)


def statuses(results: dict[str, WellResult]) -> set[WellStatus]:
    return {result.status for result in results.values()}


def record_of(output: Path, name: str = "field") -> dict[str, Any]:
    """``fit.json`` of the only fit of a name."""
    (path,) = (output / "lit" / "fits" / name).glob("*/fit.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def raw(plate: Path, path: str) -> Array:
    return tifffile.imread(plate / path)


def ways(context: ProcessingContext) -> list[str]:
    """Files of the sample."""
    return [str(plane.path) for plane in context.fits[0].planes]


# What is fitted.


@pytest.mark.parametrize("runner", ["threads", "processes"])
def test_a_plate_is_fitted_once_and_each_well_is_given_the_fit_of_its_channel(
    lit: Path, tmp_path: Path, counted: Path, runner: str
) -> None:
    """The result is the mean of the sample's raw images, by channel; the wells are the raw planes less it."""
    results = run(lit, tmp_path / "out", runner=runner)
    assert statuses(results) == {WellStatus.DONE} and not any(result.warnings for result in results.values())
    assert len(list(counted.iterdir())) == 2  # once a channel
    record = record_of(tmp_path / "out")
    images = zarr.open_group(tmp_path / "out" / "lit" / "images.zarr", mode="r")
    for part in record["parts"]:
        used = [raw(lit, each["path"]) for each in record["used"] if each["key"]["channel"] == part["channel"]]
        field = np.load(tmp_path / "out" / "lit" / part["values"][0]["path"])
        assert len(used) == part["images"] == 12 and field.dtype == np.float32
        np.testing.assert_allclose(field, np.mean(used, axis=0), rtol=1e-6)
        plane = next(lit.rglob(f"*_A02_s1_w{part['channel']}*"))
        image = np.asarray(images["A/02/0/0"])[0, part["channel"] - 1, 0]
        wanted = np.clip(tifffile.imread(plane).astype(np.float32) - field, 0, None)
        np.testing.assert_array_equal(image, wanted.round())


def test_the_fit_says_what_it_is_and_is_listed_by_the_wells(lit: Path, tmp_path: Path) -> None:
    """``fit.json`` names function, parameters, images and files, and there is a picture; manifests name the fit."""
    run(
        lit,
        tmp_path / "out",
        Pipeline([PlateStep((fits.mean_image, {"scale": 2}), name="field", sample=SAMPLE), SUBTRACT]),
    )
    record = record_of(tmp_path / "out")
    assert record["function"] == "tests.engine.fit_functions:mean_image" and record["parameters"] == {"scale": 2}
    assert len(record["used"]) == 24 and not record["missing"] and record["asked"] == 12
    for file in record["files"]:
        assert (tmp_path / "out" / "lit" / file["path"]).stat().st_size == file["size"]
    assert (tmp_path / "out" / "lit" / record["picture"]).read_bytes().startswith(b"\x89PNG")
    manifest = json.loads((tmp_path / "out" / "lit" / "wells" / "A01.json").read_text())
    assert manifest["provenance"]["fits"] == {"field": record["fingerprint"]}


def test_results_may_be_dicts_tables_and_numbers(lit: Path, tmp_path: Path) -> None:
    """Each is kept in an open format and given as it was returned."""
    for name, fit, taker in (
        ("dict", fits.moments, fits.add_mean),
        ("table", fits.places, fits.add_table),
        ("number", fits.doubtful, fits.add_number),
    ):
        sample = Sample(images=12, minimum=4, per_channel=False)
        pipeline = Pipeline([PlateStep(fit, name="field", sample=sample), FunctionStep(taker)])
        results = run(lit, tmp_path / name, pipeline)
        assert statuses(results) == {WellStatus.DONE}
        record = record_of(tmp_path / name)
        (part,) = record["parts"]
        values = {value["name"]: value for value in part["values"]}
        if name == "dict":
            assert values["count"]["number"] == 12 and values["field"]["path"].endswith("all.field.npy")
            added = round(values["mean"]["number"])
        elif name == "table":
            table = pl.read_parquet(tmp_path / name / "lit" / values[""]["path"])
            assert table.columns == ["well", "site", "channel", "z_index", "timepoint", "mean"]
            added = table.height
        else:
            added = round(values[""]["number"])
            assert results["A01"].warnings == ("field: the offset cannot be told",)
        image = np.asarray(zarr.open_group(tmp_path / name / "lit" / "images.zarr", mode="r")["A/01/0/0"])[0, 0, 0]
        np.testing.assert_array_equal(image, tifffile.imread(next(lit.rglob("*_A01_s1_w1*"))) + added)


# When it is fitted again.


def test_a_well_made_again_does_not_fit_again(lit: Path, tmp_path: Path, counted: Path) -> None:
    """The fit depends neither on the wells that are run nor on those that are there."""
    run(lit, tmp_path / "out", wells="A01")
    assert len(list(counted.iterdir())) == 2
    open_output(tmp_path / "out" / "lit").drop("A01")
    results = run(lit, tmp_path / "out", wells="A01,B02")
    assert statuses(results) == {WellStatus.DONE} and len(list(counted.iterdir())) == 2
    assert statuses(run(lit, tmp_path / "out", wells="A01,B02")) == {WellStatus.UNCHANGED}


def test_another_parameter_or_raw_file_makes_the_wells_that_use_the_fit_stale(lit: Path, tmp_path: Path) -> None:
    """A well whose steps take no fit keeps its fingerprint."""
    plate = shutil.copytree(lit, tmp_path / "lit")
    pipeline = [FIELD, FunctionStep(fits.subtract_field, wells="A01,A02,A03"), FunctionStep(fits.same)]
    before = compiled(plate, tmp_path / "out", pipeline)[1]
    other = [TWICE, *pipeline[1:]]
    after = compiled(plate, tmp_path / "out", other)[1]
    changed = {well for well, context in after.items() if context.fingerprint != before[well].fingerprint}
    assert changed == {"A01", "A02", "A03"}
    b03 = next(way for way in ways(before["A01"]) if "_B03_" in way)
    tifffile.imwrite(plate / b03, raw(plate, b03) + 1)
    after = compiled(plate, tmp_path / "out", pipeline)[1]
    changed = {well for well, context in after.items() if context.fingerprint != before[well].fingerprint}
    assert changed == {"A01", "A02", "A03", "B03"}


def test_a_fit_that_is_gone_is_made_again_though_no_well_is(lit: Path, tmp_path: Path, counted: Path) -> None:
    """Every run ends with the fits of its plan in the output."""
    run(lit, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "lit" / "fits")
    assert statuses(run(lit, tmp_path / "out")) == {WellStatus.UNCHANGED}
    assert record_of(tmp_path / "out") and len(list(counted.iterdir())) == 4


# Images that cannot be read.


def test_fewer_images_than_asked_make_a_partial_fit_until_they_can_be_read(
    lit: Path, tmp_path: Path, counted: Path
) -> None:
    """Each well that uses it says so; it is kept while nothing changed, and fitted again when the image is back."""
    plate = shutil.copytree(lit, tmp_path / "lit")
    _, contexts = compiled(plate, tmp_path / "out")
    way = next(way for way in ways(contexts["A01"]) if "_B01_" in way and "_w1" in way)
    whole = (plate / way).read_bytes()
    pipeline = Pipeline([FIELD, FunctionStep(fits.subtract_field)])
    wells = "A01,A02"
    (plate / way).write_bytes(whole[: len(whole) // 2])
    results = run(plate, tmp_path / "out", pipeline, wells)
    assert statuses(results) == {WellStatus.DONE}
    (warning,) = results["A01"].warnings
    assert warning.startswith("field is fitted on 11 of the 12 images of channel DAPI") and way in warning
    record = record_of(tmp_path / "out")
    assert [each["path"] for each in record["missing"]] == [way] and record["missing"][0]["reason"]
    assert way not in {each["path"] for each in record["used"]} and len(record["used"]) == 23
    fitted = len(list(counted.iterdir()))

    again = run(plate, tmp_path / "out", pipeline, wells)
    assert statuses(again) == {WellStatus.UNCHANGED} and again["A01"].warnings == (warning,)
    assert len(list(counted.iterdir())) == fitted

    (plate / way).write_bytes(whole)
    mended = run(plate, tmp_path / "out", pipeline, wells)
    assert statuses(mended) == {WellStatus.DONE} and not mended["A01"].warnings
    assert len(list(counted.iterdir())) == fitted + 2


def test_an_image_that_comes_back_with_its_own_time_is_found_all_the_same(lit: Path, tmp_path: Path) -> None:
    """A share that did not answer: the file is the very one that was planned, so only reading it tells."""
    plate = shutil.copytree(lit, tmp_path / "lit")
    orchestrator, contexts = compiled(plate, tmp_path / "out", runner="threads")
    way = plate / ways(contexts["A01"])[0]
    way.rename(tmp_path / "away")
    one = {"A02": contexts["A02"]} if "_A01_" in way.name else {"A01": contexts["A01"]}
    (first,) = orchestrator.execute_compiled_plate(PIPELINE, one).values()
    assert first.status is WellStatus.DONE and "11 of the 12 images" in first.warnings[0]
    (kept,) = orchestrator.execute_compiled_plate(PIPELINE, one).values()
    assert kept.status is WellStatus.UNCHANGED
    (tmp_path / "away").rename(way)
    (then,) = orchestrator.execute_compiled_plate(PIPELINE, one).values()
    assert then.status is WellStatus.DONE and not then.warnings
    assert then.fingerprint == one[then.well].fingerprint != first.fingerprint


def test_a_plan_differs_in_nothing_from_an_output_whose_fit_is_partial(lit: Path, tmp_path: Path) -> None:
    """As long as nobody has read the missing image, its wells are those that the plan makes."""
    plate = shutil.copytree(lit, tmp_path / "lit")
    orchestrator = PipelineOrchestrator(plate, output=tmp_path / "out", runner="threads").initialize()
    contexts = orchestrator.compile_pipelines(PIPELINE, "A01,A02")
    way = plate / next(way for way in ways(contexts["A01"]) if "_B01_" in way)
    time = way.stat().st_mtime_ns
    way.write_bytes(bytes(way.stat().st_size))
    os.utime(way, ns=(time, time))
    results = orchestrator.execute_compiled_plate(PIPELINE, contexts)
    assert all("11 of the 12 images" in result.warnings[0] for result in results.values())

    (tmp_path / "plan.json").write_bytes(contexts_to_json(contexts))
    compared = compare_given(str(tmp_path / "out" / "lit"), str(tmp_path / "plan.json"))
    assert compared.diff.equal and compared.published == ("A01", "A02")


def test_a_warning_of_a_fit_names_the_channels_on_which_it_was_given(lit: Path, tmp_path: Path) -> None:
    """Once for all of them."""
    step = PlateStep(fits.doubtful, name="field", sample=SAMPLE)
    results = run(lit, tmp_path / "out", Pipeline([step, FunctionStep(fits.add_number)]), "A01")
    assert results["A01"].warnings == ("field: the offset cannot be told (channel DAPI, GFP)",)


def test_with_fewer_images_than_the_minimum_the_wells_that_use_the_fit_fail_with_the_reason(
    lit: Path, tmp_path: Path
) -> None:
    """The others are run."""
    plate = shutil.copytree(lit, tmp_path / "lit")
    step = PlateStep(fits.mean_image, name="field", sample=Sample(images=12, minimum=12))
    pipeline = Pipeline([step, FunctionStep(fits.subtract_field, wells="A01,A02,A03"), FunctionStep(fits.same)])
    _, contexts = compiled(plate, tmp_path / "out", pipeline)
    way = next(way for way in ways(contexts["A01"]) if "_A01_" in way)
    (plate / way).write_bytes(b"no image")
    results = run(plate, tmp_path / "out", pipeline)
    assert [well for well, result in results.items() if result.status is WellStatus.DONE] == ["B01", "B02", "B03"]
    error = str(results["A02"].error)
    assert error.startswith("Well A02: plate step 'field', channel ") and way in error
    assert "only 11 images of its sample can be read, and it takes at least 12" in error
    assert not list((tmp_path / "out" / "lit" / "fits").rglob("fit.json"))


@pytest.mark.parametrize(
    ("fit", "reason"),
    [
        (fits.fails, "fails raised ValueError: no light"),
        (fits.not_finite, "returned an array with 1 of 1280 values that are not finite"),
        (fits.bright_text, "returned a str; a fit returns a NumPy array, a table"),
    ],
)
def test_a_fit_that_fails_fails_its_wells_and_publishes_nothing(
    lit: Path, tmp_path: Path, fit: Any, reason: str
) -> None:
    """The sentence names the well, the step, the channel and the function."""
    results = run(lit, tmp_path / "out", Pipeline([PlateStep(fit, name="field", sample=SAMPLE), SUBTRACT]), "A01")
    error = str(results["A01"].error)
    assert error.startswith("Well A01: plate step 'field', channel DAPI: ") and reason in error
    assert not (tmp_path / "out" / "lit" / "wells" / "A01.json").exists()
    assert not list((tmp_path / "out" / "lit" / "fits").rglob("fit.json"))


def test_a_fit_that_takes_its_process_along_fails_its_wells_alone(lit: Path, tmp_path: Path) -> None:
    """It runs in a worker, as wells do."""
    pipeline = Pipeline(
        [
            PlateStep(fits.dies, name="field", sample=SAMPLE),
            FunctionStep(fits.add_number, wells="A01"),
            FunctionStep(fits.same),
        ]
    )
    results = run(lit, tmp_path / "out", pipeline, "A01,A02", runner="processes")
    assert results["A02"].status is WellStatus.DONE
    assert "the worker process ended with code 3 while it was fitted" in str(results["A01"].error)


def test_a_damaged_fit_fails_the_well_that_reads_it(lit: Path, tmp_path: Path) -> None:
    """A byte that changed on the disk is no field."""
    run(lit, tmp_path / "out", wells="A01")
    (file,) = (tmp_path / "out" / "lit" / "fits").rglob("w1.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    results = run(lit, tmp_path / "out", wells="A02")
    assert "w1.npy was changed after it was written (checksum)" in str(results["A02"].error)
