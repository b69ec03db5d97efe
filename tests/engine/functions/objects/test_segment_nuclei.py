"""``segment_nuclei`` on planted, odd and real images."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.segmentation import clear_border

from openhcs_engine.errors import PixelValueError
from openhcs_engine.functions import segment_nuclei
from openhcs_engine.functions.objects.threshold import foreground_threshold
from tests.engine.functions.objects.planted import Image, camera, dice, disc, ellipses

RANDOM = np.random.default_rng(3)
SHAPE = (200, 240)
SIDES = [np.linspace(-1, 1, side) for side in SHAPE]


def found(image: NDArray[Any], **parameters: Any) -> tuple[NDArray[np.uint32], dict[str, Any]]:
    """Labels of one plane, and its row of the summary."""
    stack = image[None]
    same, labels, summary = segment_nuclei(stack, **parameters)
    assert same is stack and labels.shape == stack.shape and labels.dtype == np.uint32
    numbers = np.unique(labels)
    count = int(labels.max())
    assert numbers[numbers > 0].tolist() == list(range(1, count + 1)) and summary["objects"] == [count]
    return labels[0], {name: values[0] for name, values in summary.items()}


def scene(noise: float = 10) -> Image:
    """Discs of radius 10 and 14, one at the border, one of radius 3, one with a hole."""
    light = np.full(SHAPE, 300.0)
    for centre, radius in (((40, 40), 10), ((90, 60), 14), ((0, 150), 12), ((150, 60), 3), ((140, 150), 14)):
        light[disc(SHAPE, centre, radius)] = 2000
    light[disc(SHAPE, (140, 150), 5)] = 300
    return camera(light, noise, np.random.default_rng(1))


# Images without objects, and with one.

EMPTY = {
    "dark": np.zeros(SHAPE, np.uint16),
    "constant": np.full(SHAPE, 700, np.uint16),
    "saturated": np.full(SHAPE, 65535, np.uint16),
    "noise": camera(np.full((600, 600), 500.0), 25, RANDOM),
    "photons": RANDOM.poisson(15, (400, 400)).astype(np.uint16),
    "even gradient": camera(np.add.outer(np.linspace(300, 900, 200), np.zeros(240)), 5, RANDOM),
    "vignette": camera(1000 * (1 - 0.4 * np.add.outer(SIDES[0] ** 2, SIDES[1] ** 2)), 9, RANDOM),
    "mask of nothing": np.zeros(SHAPE, bool),
    "one pixel": np.full((1, 1), 9, np.uint8),
    "one row": np.full((1, 50), 9, np.uint8),
}


@pytest.mark.parametrize("threshold", ["otsu", "local"])
@pytest.mark.parametrize("name", EMPTY)
def test_an_image_without_objects_has_none(name: str, threshold: str) -> None:
    """Otsu's method would cut each of them in halves; 0 is a number, with no threshold and no diameter."""
    labels, row = found(EMPTY[name], threshold=threshold)

    assert not labels.any()
    assert row["objects"] == 0 and row["threshold"] is None and row["diameter_px"] is None


@pytest.mark.parametrize("noise", [0, 5, 50, 150])
@pytest.mark.parametrize("radius", [5, 10, 40])
def test_a_single_object_is_found_whole(radius: int, noise: float) -> None:
    """Among hundred thousands of pixels of background, whose noise Otsu's method would cut."""
    inside = disc((512, 512), (200, 300), radius)
    image = camera(500 + 1000.0 * inside, noise, np.random.default_rng(radius))

    labels, row = found(image)

    assert row["objects"] == 1
    assert dice(labels, inside) >= (0.9 if noise > 100 else 0.96)


def test_an_object_as_large_as_the_image_touches_the_border() -> None:
    """It is left out and counted, or kept; a threshold is not told from one value."""
    image = np.full(SHAPE, 900, np.uint16)

    labels, row = found(image, threshold=500)
    assert not labels.any() and row["at_border"] == 1
    assert found(image, threshold=500, border="keep")[0].min() == 1


def test_saturated_objects_are_found() -> None:
    """Where the detector ends, they are flat."""
    image = np.minimum(ellipses(24).image.astype(int) * 90, 65535).astype(np.uint16)
    assert found(image)[1]["objects"] == 64


def test_rare_objects_are_not_lost_in_noise() -> None:
    """Where Otsu's method cuts the background, the threshold lies above its noise."""
    inside = disc((512, 512), (200, 300), 5)
    image = camera(500 + 300.0 * inside, 50, np.random.default_rng(0))
    smooth = ndimage.gaussian_filter(image.astype(np.float32), 1)

    threshold = foreground_threshold(smooth)

    assert threshold_otsu(smooth) < 550 < (threshold or 0) < 800


# Thresholds.


def test_otsus_threshold_is_that_of_scikit_image() -> None:
    """Bin by bin."""
    smooth = ndimage.gaussian_filter(ellipses(20).image.astype(np.float32), 2)
    assert foreground_threshold(smooth) == pytest.approx(float(threshold_otsu(smooth)), rel=1e-6)


def test_a_threshold_may_be_a_number() -> None:
    """Of grey levels of the smoothed plane; with it, nothing is guessed of the background."""
    labels, row = found(scene(), threshold=1000, smoothing_px=0, split=False, minimum_area_px=1, border="keep")

    expected, count = ndimage.label(ndimage.binary_fill_holes(scene() > 1000), np.ones((3, 3)))
    assert row["threshold"] == 1000 and row["objects"] == count == 5
    np.testing.assert_array_equal(labels, expected)


def test_a_local_threshold_finds_objects_on_uneven_background() -> None:
    """All of those that Otsu's global threshold joins with the bright side."""
    planted = ellipses(20, count=100)
    slope = np.linspace(0, 4000, planted.image.shape[1])
    image = (planted.image + slope[None]).astype(np.uint16)

    labels, row = found(image, threshold="local")

    assert 98 <= row["objects"] <= 100 and dice(labels, planted.labels) >= 0.93
    assert found(image, threshold="otsu")[1]["objects"] < 60


# Which objects.


def test_small_ones_and_those_at_the_border_are_left_out_and_counted() -> None:
    """Holes are filled; numbers follow the first pixels."""
    labels, row = found(scene())

    assert row["objects"] == 3 and row["at_border"] == 1 and row["too_small"] == 1 and row["too_large"] == 0
    assert [labels[at] for at in ((40, 40), (90, 60), (140, 150), (0, 150), (150, 60))] == [1, 2, 3, 0, 0]


def test_bounds_are_areas_in_pixels_or_in_square_micrometres() -> None:
    """Inclusive; the same in both units."""
    areas = np.bincount(found(scene(), minimum_area_px=1, border="keep")[0].ravel())[1:]
    middle = int(np.sort(areas)[2])

    kept, row = found(scene(), minimum_area_px=middle, maximum_area_px=middle, border="keep")
    in_um, _ = found(
        scene(), minimum_area_um2=middle / 4 - 0.01, maximum_area_um2=middle / 4 + 0.01, pixel_size=0.5, border="keep"
    )

    assert np.count_nonzero(kept) % middle == 0 and row["objects"] >= 1
    assert row["too_small"] == (areas < middle).sum() and row["too_large"] == (areas > middle).sum()
    np.testing.assert_array_equal(kept, in_um)


def test_an_object_inside_a_ring_is_a_part_of_it() -> None:
    """Filling holes leaves no pixel to two objects."""
    image = np.full((80, 80), 100, np.uint16)
    image[disc(image.shape, (40, 40), 30)] = 1000
    image[disc(image.shape, (40, 40), 22)] = 100
    image[disc(image.shape, (40, 40), 8)] = 1000

    labels, row = found(image, split=False, threshold=500)

    assert row["objects"] == 1 and np.count_nonzero(labels) >= disc(image.shape, (40, 40), 29).sum()


def test_the_border_rule_is_that_of_scikit_image() -> None:
    """Whatever has a pixel in the first or last row or column."""
    random = np.random.default_rng(3)
    image = camera(ndimage.gaussian_filter(random.random((300, 300)), 5) * 60000, 0, random)

    kept = found(image, split=False, border="keep", minimum_area_px=1)[0]
    left = found(image, split=False, minimum_area_px=1)[0]

    np.testing.assert_array_equal(left > 0, clear_border(kept) > 0)


def test_planes_are_segmented_each_by_itself() -> None:
    """With numbers and a row of their own; the stack is not written to."""
    stack = np.stack([scene(), EMPTY["constant"][: SHAPE[0], : SHAPE[1]], ellipses(20, count=30).image[:200, :240]])
    stack.flags.writeable = False

    _, labels, summary = segment_nuclei(stack)

    assert summary["plane"] == [1, 2, 3] and summary["objects"][1] == 0
    for plane, image in zip(labels, stack, strict=True):
        np.testing.assert_array_equal(plane, found(image)[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64, bool, ">u2"])
def test_any_pixel_type_will_do(dtype: Any) -> None:
    """Scaled into its range, the same objects."""
    image = (scene(0) > 1000).astype(dtype) * (1 if dtype is bool else 100)
    assert found(np.asarray(image, dtype))[1]["objects"] == 3


# What is refused.


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"threshold": "otsus"}, "threshold='otsus' must be otsu, local, fit or a finite number"),
        ({"threshold": float("nan")}, "threshold=nan must be"),
        ({"threshold": True}, "threshold=True must be"),
        ({"border": "drop"}, "border='drop' is unknown (choose from exclude, keep)"),
        ({"diameter_px": -3}, "diameter_px=-3 must be a finite number of pixels above 0"),
        ({"smoothing_px": -1}, "smoothing_px=-1 must be a finite number of pixels, at least 0"),
        ({"minimum_area_px": "30"}, "minimum_area_px='30' must be a finite number of pixels above 0"),
        ({"minimum_area_um2": 30}, "the size of a pixel is not known; give minimum_area_px instead"),
        ({"diameter_um": 8}, "the size of a pixel is not known; give diameter_px instead"),
        ({"diameter_um": 8, "diameter_px": 8, "pixel_size": 1}, "are both given"),
        ({"minimum_area_px": 50, "maximum_area_px": 20}, "the smallest area, 50 px, is above the largest one, 20 px"),
        ({"minimum_area_um2": 50, "maximum_area_px": 20, "pixel_size": 0.5}, "the smallest area, 200 px, is above"),
        ({"pixel_size": 0}, "pixel_size=0 must be a finite number of µm above 0"),
        ({"split": 1}, "split=1 is neither True nor False"),
    ],
)
def test_what_makes_no_sense_is_refused(parameters: dict[str, Any], sentence: str) -> None:
    """With the parameter, what it was, and what would be right."""
    with pytest.raises(ValueError) as refused:  # its sentence is compared below
        segment_nuclei(scene()[None], **parameters)
    assert str(refused.value).startswith("segment_nuclei: ") and sentence in str(refused.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_without_a_value_are_refused(value: float) -> None:
    """Rather than spread by smoothing."""
    image = scene().astype(np.float32)
    image[50, 50] = value
    with pytest.raises(PixelValueError, match="NaN"):
        segment_nuclei(image[None])


# Real images.


@pytest.mark.parametrize(("well", "count"), [("B7", 28), ("D6", 27)])
def test_nuclei_of_schwann_cells_are_those_of_the_publishers(data_dir: Path, well: str, count: int) -> None:
    """Without splitting exactly, as connected regions; with it within a tenth; Dice at least 0.96."""
    folder = data_dir / "nf1_cytation"
    (file,) = folder.glob(f"images/{well}_*_DAPI_*.tif")
    (mask_file,) = folder.glob(f"masks/{well}_*_MaskNuclei.tiff")
    image, mask = tifffile.imread(file), tifffile.imread(mask_file)
    assert ndimage.label(mask, np.ones((3, 3)))[1] == count

    for threshold in ("otsu", "local"):
        whole, row = found(image, split=False, threshold=threshold)
        parts, of_parts = found(image, threshold=threshold)

        assert row["objects"] == count and abs(of_parts["objects"] - count) <= 0.1 * count
        assert dice(whole, mask) >= 0.96 and dice(parts, mask) >= 0.96


def test_nuclei_of_ht29_cells_are_those_of_cellprofiler(data_dir: Path) -> None:
    """289 within 5 %; each of CellProfiler's is found, and nine of ten as one of its own."""
    folder = data_dir / "examplehuman"
    image = tifffile.imread(folder / "AS_09125_050116030001_D03f00d0.tif")
    with (folder / "Nuclei.csv").open() as file:
        centres = [
            (round(float(row["Location_Center_Y"])), round(float(row["Location_Center_X"])))
            for row in csv.DictReader(file)
        ]
    assert len(centres) == 289

    labels, row = found(image)

    assert abs(row["objects"] - 289) <= 0.05 * 289
    hits = np.bincount([labels[centre] for centre in centres], minlength=row["objects"] + 1)
    assert hits[0] <= 3 and (hits[1:] == 1).sum() >= 0.9 * 289
