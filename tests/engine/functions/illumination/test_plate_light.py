"""Fields of light as plate steps: fitted on the plate's own images, published, and taken by each well."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator, PlateStep, Sample
from openhcs_engine.errors import CompilationError, ExecutionError
from openhcs_engine.execution import WellResult, WellStatus
from openhcs_engine.functions import basic_flat_field, correct_illumination, flat_field
from openhcs_engine.functions.illumination import basic
from openhcs_engine.functions.illumination.basic_environment import (
    BASICPY_VERSION,
    basic_folder,
    basic_is_missing,
    basic_python,
)
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.engine.lit_images import Light, rms_percent

LIGHT = Light(images=24, shape=(64, 64), offset=200.0)
CHANNELS = ("DAPI", "GFP")
SAMPLE = Sample(images=24, minimum=8)
PIPELINE = Pipeline([PlateStep(flat_field, sample=SAMPLE), FunctionStep(correct_illumination)])
NO_BASICPY = basic_is_missing(basic_folder())
needs_basicpy = pytest.mark.skipif(NO_BASICPY is not None, reason=str(NO_BASICPY))


def write_lit(folder: Path, light: Light) -> Path:
    """Six wells of four sites, whose channels are lit alike; GFP upside down."""
    spec = SyntheticPlate(
        name="lit", rows=2, columns=3, sites=4, z=1, channels=CHANNELS, shape=light.shape, thumbnails=False
    )
    plate = write_imagexpress(folder, spec)
    images = list(light)
    for channel, turned in enumerate((1, -1), start=1):
        paths = sorted(plate.rglob(f"*_w{channel}*.tif"))
        for path, image in zip(paths, images, strict=True):
            page = tifffile.memmap(path, mode="r+")
            page[...] = image[::turned]
            page.flush()
    return plate


@pytest.fixture(scope="module")
def lit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plate whose backgrounds vary by 15 %; read only."""
    return write_lit(tmp_path_factory.mktemp("plates") / "lit", LIGHT)


def run(plate: Path, output: Path, pipeline: Sequence[Any] = PIPELINE) -> dict[str, WellResult]:
    """Compile and execute, in threads."""
    orchestrator = PipelineOrchestrator(plate, output=output, runner="threads").initialize()
    return orchestrator.execute_compiled_plate(pipeline, orchestrator.compile_pipelines(pipeline), max_workers=2)


def published(output: Path) -> tuple[dict[str, Any], list[NDArray[np.float32]], list[dict[str, Any]]]:
    """``fit.json``, and by channel the field and the other values."""
    (path,) = (output / "lit" / "fits" / "flat_field").glob("*/fit.json")
    record = json.loads(path.read_text())
    parts = [{value["name"]: value for value in part["values"]} for part in record["parts"]]
    return record, [np.load(output / "lit" / part["field"]["path"]) for part in parts], parts


def test_a_plate_is_divided_by_its_own_light(lit: Path, tmp_path: Path) -> None:
    """Each channel has a field of its own with its offset; wells are the raw planes less the one, over the other."""
    results = run(lit, tmp_path / "out")

    assert {result.status for result in results.values()} == {WellStatus.DONE}
    record, fields, parts = published(tmp_path / "out")
    assert len(record["used"]) == 48 and record["asked"] == 24
    assert rms_percent(fields[0], LIGHT.field) < 1.0 and rms_percent(fields[1], LIGHT.field[::-1]) < 1.0
    images = zarr.open_group(tmp_path / "out" / "lit" / "images.zarr", mode="r")
    for channel, (field, part) in enumerate(zip(fields, parts, strict=True)):
        offset = part["offset"]["number"]
        assert abs(offset - LIGHT.offset) < max(5 * part["offset_error"]["number"], 5)
        plane = tifffile.imread(next(lit.rglob(f"*_A02_s3_w{channel + 1}*.tif")))
        corrected = np.asarray(images["A/02/2/0"])[0, channel, 0]
        np.testing.assert_array_equal(corrected, correct_illumination(plane[None], field, offset)[0])


def test_an_offset_that_is_assumed_is_a_warning_of_each_well(tmp_path: Path) -> None:
    """Backgrounds of one brightness: a wrong field is never taken without a word; with the offset given it is none."""
    plate = write_lit(tmp_path / "lit", Light(images=24, shape=(64, 64), variation=0.01))

    results = run(plate, tmp_path / "out")
    given = run(
        plate,
        tmp_path / "given",
        Pipeline([PlateStep((flat_field, {"offset": 150}), sample=SAMPLE), FunctionStep(correct_illumination)]),
    )

    for result in results.values():
        assert any("too little to tell the camera's offset" in each for each in result.warnings)
    assert published(tmp_path / "out")[2][0]["offset"]["number"] == 0
    assert not any("offset" in each for result in given.values() for each in result.warnings)
    assert rms_percent(published(tmp_path / "given")[1][0], LIGHT.field) < 1.0


def test_images_that_are_left_out_are_named_by_well_and_site(tmp_path: Path) -> None:
    """In the warning of each well: the sample of a plate says where its images were taken."""
    plate = write_lit(tmp_path / "lit", LIGHT)
    page = tifffile.memmap(next(plate.rglob("*_B02_s3_w1*.tif")), mode="r+")
    page[...] = 700
    page.flush()

    results = run(plate, tmp_path / "out")

    left_out = "1 image of the sample was left out: well B02, site 3 is constant (700)."
    assert all(any(left_out in each for each in result.warnings) for result in results.values())


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        (
            [PlateStep((flat_field, {"minimum": 2})), FunctionStep(correct_illumination)],
            "minimum=2 must be a whole number of images, at least 4",
        ),
        (
            [PlateStep((flat_field, {"offset": "dark"})), FunctionStep(correct_illumination)],
            "offset='dark' must be a finite number of counts",
        ),
        (
            [PlateStep(flat_field), FunctionStep((correct_illumination, {"offset": "150"}))],
            "offset='150' must be a finite number of counts",
        ),
        (
            [PlateStep(flat_field), FunctionStep((correct_illumination, {"pedestal": None}))],
            "pedestal=None must be a finite number of counts",
        ),
    ],
    ids=["minimum", "offset of the fit", "offset", "pedestal"],
)
def test_values_that_cannot_be_are_refused_at_compile(
    lit: Path, tmp_path: Path, pipeline: Sequence[Any], words: str
) -> None:
    """Before an image is read."""
    orchestrator = PipelineOrchestrator(lit, output=tmp_path / "out").initialize()
    with pytest.raises(CompilationError, match=words):
        orchestrator.compile_pipelines(pipeline)


def test_a_fit_without_a_field_is_named(lit: Path) -> None:
    """What another function fitted under this name."""
    with pytest.raises(ValueError, match="what was fitted has 'threshold', but no 'field'"):
        correct_illumination(next(iter(LIGHT))[None], {"threshold": 3})


def test_a_dark_field_may_have_a_number_a_pixel() -> None:
    """As BaSiC fits it: it is subtracted pixel by pixel, and its shape is that of the planes."""
    stack = np.stack(list(LIGHT))[:2]
    dark = np.linspace(100, 160, 64 * 64, dtype=np.float32).reshape(64, 64)

    corrected = correct_illumination(stack, {"field": LIGHT.field, "offset": dark})

    wanted = np.clip((stack - dark.astype(np.float64)) / LIGHT.field, 0, None)
    assert np.abs(corrected - wanted).max() <= 0.51
    with pytest.raises(ValueError, match=r"the offset is a float32 array of shape \(32, 64\)"):
        correct_illumination(stack, LIGHT.field, dark[::2])


# BaSiC.

BASIC = [PlateStep(basic_flat_field, name="flat_field", sample=SAMPLE), FunctionStep(correct_illumination)]


def with_basicpy(folder: Path, version: str) -> Path:
    """What an environment with some basicpy looks like."""
    python = basic_python(folder)
    packages = folder / ("Lib" if python.suffix else "lib/python3.11") / "site-packages"
    (packages / f"basicpy-{version}.dist-info").mkdir(parents=True)
    python.parent.mkdir(parents=True)
    python.touch()
    return folder


@pytest.mark.parametrize("version", [None, "1.2.0"], ids=["no environment", "another basicpy"])
def test_basic_is_refused_at_compile_where_its_environment_is_absent(
    lit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    """With the sentence that says how to make it; a call says the same."""
    folder = tmp_path / "basicpy" if version is None else with_basicpy(tmp_path / "basicpy", version)
    monkeypatch.setattr(basic, "basic_folder", lambda: folder)
    orchestrator = PipelineOrchestrator(lit, output=tmp_path / "out").initialize()

    with pytest.raises(
        CompilationError, match=f"basicpy {BASICPY_VERSION}, which needs .* Create it with `make basicpy`"
    ):
        orchestrator.compile_pipelines(BASIC)
    with pytest.raises(ExecutionError, match="Create it with `make basicpy`"):
        basic_flat_field(list(LIGHT))


def test_an_environment_with_the_right_basicpy_is_seen(tmp_path: Path) -> None:
    """Nothing is started to see it."""
    assert basic_is_missing(with_basicpy(tmp_path / "basicpy", BASICPY_VERSION)) is None


@needs_basicpy
def test_basic_fits_a_plate(lit: Path, tmp_path: Path) -> None:
    """Real code of basicpy: a field near the true one, a dark field a pixel, and corrected wells."""
    results = run(
        lit,
        tmp_path / "out",
        [
            PlateStep(basic_flat_field, name="flat_field", sample=Sample(images=24, channels="DAPI")),
            FunctionStep({"DAPI": correct_illumination}, uncovered="pass"),
        ],
    )

    assert {result.status for result in results.values()} == {WellStatus.DONE}
    _, (field,), (part,) = published(tmp_path / "out")
    dark = np.load(tmp_path / "out" / "lit" / part["offset"]["path"])
    assert rms_percent(field, LIGHT.field) < 4
    assert dark.shape == LIGHT.shape
    assert abs(float(dark.mean()) - LIGHT.offset) < 0.2 * LIGHT.background


FAILS = "sys.exit('Traceback\\nRuntimeError: Estimated flatfield is zero.')"
FINDS_NONE = """
import numpy as np
np.save(sys.argv[-1] + "/field.npy", np.full((64, 64), np.nan))
np.save(sys.argv[-1] + "/dark_field.npy", np.zeros((64, 64)))
"""


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (FAILS, "basicpy ended with exit status 1 and said: Traceback / RuntimeError: Estimated flatfield is zero"),
        (FINDS_NONE, "basicpy found no field on these images: its lowest value is nan"),
    ],
    ids=["it fails", "it finds no number"],
)
def test_what_goes_wrong_in_basicpy_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, words: str
) -> None:
    """In its own words; and no field of NaN is taken, which it returns for images without light."""
    folder = with_basicpy(tmp_path / "basicpy", BASICPY_VERSION)
    basic_python(folder).write_text(f"#!{sys.executable}\nimport sys\n{program}")
    basic_python(folder).chmod(0o755)
    monkeypatch.setattr(basic, "basic_folder", lambda: folder)

    with pytest.raises(ExecutionError, match=words):
        basic_flat_field(list(LIGHT))


@pytest.mark.parametrize("images", [[], [np.ones((16, 16))], [np.ones((16, 16)), np.ones((16, 18))]])
def test_basic_needs_planes_of_one_shape(images: list[NDArray[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before it is asked."""
    monkeypatch.setattr(basic, "basic_is_missing", lambda folder: None)
    with pytest.raises(ValueError, match="needs 2 or more planes"):
        basic_flat_field(images)
