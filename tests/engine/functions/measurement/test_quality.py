"""Image quality against what was planted, and against the definitions of others."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy import fft, ndimage

from openhcs_engine import FunctionStep, VariableComponents
from openhcs_engine.functions import create_max_projection, measure_quality
from openhcs_engine.functions.measurement.quality import QUALITY, laplacian_variance, power_log_log_slope
from tests.engine.functions.measurement.test_measured_wells import refused, run


def field(gradient: float = 100.0, covered: float = 0.2) -> NDArray[np.uint16]:
    """A background of 500 to 500 + gradient from left to right, with noise, and bright cells on it."""
    random = np.random.default_rng(11)
    plane = 500 + gradient * np.linspace(0, 1, 400)[None, :] + random.normal(0, 10, (320, 400))
    cells = ndimage.gaussian_filter(random.normal(size=plane.shape), 8)
    plane[cells > np.quantile(cells, 1 - covered)] += 900
    return plane.round().astype(np.uint16)


def quality(plane: NDArray[Any], **parameters: Any) -> dict[str, float | None]:
    """The row of one plane."""
    _, table = measure_quality(plane[None], **parameters)
    (row,) = table.to_pylist()
    return row


def cellprofilers_slope(image: NDArray[Any]) -> float:
    """CellProfiler's own lines (centrosome's ``rps``, MeasureImageQuality), without ``ptp``, lost in NumPy 2."""
    radii2 = np.arange(image.shape[0]).reshape((-1, 1)) ** 2 + np.arange(image.shape[1]) ** 2
    radii2 = np.minimum(radii2, np.flipud(radii2))
    radii2 = np.minimum(radii2, np.fliplr(radii2))
    image = image / np.median(abs(image - image.mean()))
    magnitude = abs(fft.fft2(image - np.mean(image)))
    radii = np.floor(np.sqrt(radii2)).astype(int) + 1
    labels = np.arange(2, np.floor(min(image.shape) / 8.0)).astype(int)
    power = ndimage.sum(magnitude**2, radii, labels)
    return float(np.linalg.lstsq(np.stack((np.log(labels), np.ones(len(labels))), 1), np.log(power), rcond=None)[0][0])


@pytest.mark.parametrize("shape", [(64, 64), (97, 120), (200, 121)])
def test_the_slope_is_cellprofilers(shape: tuple[int, int]) -> None:
    """Of even and odd edges."""
    plane = ndimage.gaussian_filter(np.random.default_rng(11).normal(size=shape), 1.5)

    assert power_log_log_slope(plane) == pytest.approx(cellprofilers_slope(plane), rel=1e-9)


def test_blur_lowers_the_slope_and_the_laplacian() -> None:
    """Both tell the sharper of two images; noise alone has a slope of about 1."""
    sharp = ndimage.gaussian_filter(np.random.default_rng(11).normal(size=(256, 256)), 1)
    blurred = ndimage.gaussian_filter(sharp, 4)

    assert power_log_log_slope(blurred) < power_log_log_slope(sharp) - 1
    assert laplacian_variance(blurred) < 0.1 * laplacian_variance(sharp)
    assert power_log_log_slope(np.random.default_rng(11).normal(size=(512, 512))) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("shape", [(1, 9), (2, 2), (40, 31)])
def test_the_laplacian_is_scipys(shape: tuple[int, int]) -> None:
    """With the border mirrored at the outermost pixels, as OpenCV does by default."""
    plane = np.random.default_rng(11).normal(size=shape)
    mode = "mirror" if min(shape) > 1 else "nearest"

    assert laplacian_variance(plane) == pytest.approx(ndimage.laplace(plane, mode=mode).var())


@pytest.mark.parametrize(("gradient", "covered"), [(0, 0.07), (100, 0.2), (300, 0.33)])
def test_level_and_gradient_of_the_background_are_those_planted(gradient: float, covered: float) -> None:
    """Under cells that cover a third, too: within the noise's standard deviation, 10."""
    found = quality(field(gradient, covered))

    assert found["background_level"] == pytest.approx(500 + gradient / 2, abs=10)
    assert found["background_gradient"] == pytest.approx(gradient, abs=10)


def test_saturated_and_blank_pixels_are_counted() -> None:
    """A camera of 12 bits in 16: 4095 is full; a dark strip is at the smallest value."""
    plane = field()
    plane[:32] = 0
    plane[100:120, :40] = 4095
    found = quality(plane)

    assert found["saturated_fraction"] == 800 / plane.size and found["blank_fraction"] == 32 * 400 / plane.size
    assert quality(plane, maximum=65535)["saturated_fraction"] == 0
    assert quality(field())["saturated_fraction"] == 0
    assert quality(plane.astype(np.float32))["saturated_fraction"] is None
    assert quality(plane.astype(np.float32), maximum=4095)["saturated_fraction"] == 800 / plane.size


def test_constant_and_empty_planes_have_nulls_and_no_error() -> None:
    """Nothing is sharp or lit unevenly in them, and all of a constant one is blank."""
    constant = quality(np.full((64, 64), 7, np.uint16))
    assert constant == {
        "channel": 1, "power_log_log_slope": None, "laplacian_variance": 0.0, "saturated_fraction": 0.0,
        "blank_fraction": 1.0, "background_level": 7.0, "background_gradient": pytest.approx(0, abs=1e-9),
    }  # fmt: skip
    assert {value for name, value in quality(np.full((40, 40), math.nan)).items() if name in QUALITY} == {None}
    random = np.random.default_rng(11)
    partly = np.where(random.random((64, 64)) > 0.9, np.nan, 5.0 + random.normal(size=(64, 64)))
    assert None not in quality(partly, maximum=9).values()
    assert quality(np.array([[3]], np.uint8))["background_level"] == pytest.approx(3)


def test_in_a_pipeline_there_is_a_row_a_site_and_channel(small_plate: Path, tmp_path: Path) -> None:
    """With stacks along the channels or one by one, of the same images: the same numbers."""
    project = FunctionStep(create_max_projection, variable_components=[VariableComponents.Z_INDEX])
    found = []
    for number, axis in enumerate((VariableComponents.CHANNEL, VariableComponents.SITE)):
        step = FunctionStep(measure_quality, variable_components=[axis])
        tables = run(small_plate, tmp_path / str(number), project, step, wells="A01")
        rows = pl.read_parquet(tables / "quality" / "A01.parquet")
        assert set(rows.columns) == {"well", "site", "channel", "timepoint", *QUALITY}
        found.append(rows.sort("site", "channel").select(sorted(rows.columns)))

    assert found[0].select("site", "channel").rows() == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert found[0].equals(found[1])


def test_a_wrong_maximum_is_refused_when_compiling() -> None:
    """And when called by hand."""
    (message,) = refused(FunctionStep((measure_quality, {"maximum": -5})))

    assert "maximum=-5 must be a number above 0" in message
    with pytest.raises(ValueError, match="above 0"):
        measure_quality(np.ones((1, 4, 4)), maximum=0)
