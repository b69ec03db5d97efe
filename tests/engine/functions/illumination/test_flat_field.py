"""Fields of light beside the one that the images were made with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from openhcs_engine import Sample
from openhcs_engine.errors import PixelValueError
from openhcs_engine.functions import FlatField, flat_field
from openhcs_engine.functions.illumination.flat_field import SAMPLE_SIZE
from tests.engine.lit_images import Light, rms_percent

SMALL = Light()
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # what they say stands in the remarks


@pytest.mark.parametrize(
    ("covered", "most_percent"), [(0.07, 0.35), (0.33, 1.0)], ids=["cells cover 7 %", "cells cover a third"]
)
def test_a_field_that_no_polynomial_fits_is_found(covered: float, most_percent: float) -> None:
    """Slope, vignette and a ring of dust; 96 images of 512 x 512 pixels, the offset unknown: half the error allowed."""
    light = Light(images=96, shape=(512, 512), covered=covered)

    found = flat_field(light)

    assert rms_percent(found.field, light.field) < most_percent
    assert found.offset_source == "fitted"
    assert abs(found.offset - light.offset) < 0.01 * light.background
    assert found.remarks == ()


def test_the_ring_of_dust_is_in_the_field() -> None:
    """What is finer than any smooth fit is found where it lies, as deep as it is."""
    light = Light(images=48, shape=(256, 256), covered=0.0)
    y, x = np.meshgrid(np.linspace(-1, 1, 256), np.linspace(-1, 1, 256), indexing="ij")
    ring = np.abs(np.hypot((y - 0.3) * 128, (x + 0.25) * 128) - 256 / 12) < 1

    found = flat_field(light)

    assert rms_percent(found.field[ring], light.field[ring]) < 1.0  # the ring is 5 % deep


def test_fields_have_the_images_shape_and_mean_1() -> None:
    """For edges that no power of two divides, as float32; the error that is told is about the one that was made."""
    light = replace(SMALL, shape=(133, 171))

    found = flat_field(light)

    assert (found.field.shape, found.field.dtype) == ((133, 171), np.float32)
    assert found.field.mean() == pytest.approx(1, abs=1e-5)
    assert 0.5 < 100 * found.field_error / rms_percent(found.field, light.field) < 3
    assert found.background == pytest.approx(light.background, rel=0.1)
    assert 0.1 < found.background_variation < 0.2


def test_images_are_read_one_by_one() -> None:
    """A sample may be larger than memory: no image is asked for twice, and a stack is the same as its planes."""
    asked = []

    def lazily() -> Iterator[NDArray[np.uint16]]:
        for number, image in enumerate(SMALL):
            asked.append(number)
            yield image

    found = flat_field(lazily())

    assert asked == list(range(SMALL.images)) == list(found.used)
    np.testing.assert_array_equal(found.field, flat_field(np.stack(list(SMALL))).field)


@pytest.mark.parametrize("offset", [0.0, 40.0, 1000.0])
def test_any_offset_is_found(offset: float) -> None:
    """From none to twice the background, within a few standard errors."""
    found = flat_field(replace(SMALL, offset=offset))

    assert found.offset_source == "fitted"
    assert found.offset_error is not None
    assert abs(found.offset - offset) < max(5 * found.offset_error, 3)


def test_remarks_are_warnings(recwarn: pytest.WarningsRecorder) -> None:
    """Nobody who does not look at the result misses them; a sound fit gives none."""
    flat_field(SMALL)
    assert not recwarn.list

    found = flat_field(replace(SMALL, variation=0.01))

    assert found.remarks
    assert [str(each.message) for each in recwarn.list] == list(found.remarks)
    assert {each.category for each in recwarn.list} == {UserWarning}


def test_the_result_is_a_mapping_of_what_is_known() -> None:
    """An array and numbers, as a plate step publishes them; the offset's error is there if there is one."""
    fitted, given = flat_field(SMALL), flat_field(SMALL, offset=150)

    assert list(fitted)[:3] == ["field", "offset", "offset_error"]
    assert len(fitted) == len(given) + 1 and "offset_error" not in given
    assert fitted["field"] is fitted.field and fitted["offset_error"] == fitted.offset_error
    assert all(np.isfinite(value).all() for value in fitted.values())
    with pytest.raises(KeyError):
        fitted["used"]


def test_samples_of_plates_are_as_large_as_a_field_needs() -> None:
    """48 images unless the plate step says otherwise; a covered sample of 48 is said to be small, 96 are enough."""
    assert Sample().images == SAMPLE_SIZE == 48
    covered = Light(images=96, shape=(64, 64), covered=0.33)

    assert any(
        "96 images tell the field better than these 48" in each for each in flat_field(list(covered)[:48]).remarks
    )
    assert not any("images tell the field better" in each for each in flat_field(covered).remarks)


@pytest.mark.parametrize("variation", [0.0, 0.01, 0.03])
@pytest.mark.parametrize("covered", [0.07, 0.33])
def test_an_offset_that_cannot_be_told_is_never_made_up(variation: float, covered: float) -> None:
    """Backgrounds that hardly vary: the offset is assumed, and the result says so and what to do."""
    found = flat_field(replace(SMALL, variation=variation, covered=covered))

    assert (found.offset, found.offset_source, found.offset_error) == (0.0, "assumed", None)
    assert not found.knows_offset
    assert any("tell the camera's offset" in remark and "give offset=" in remark for remark in found.remarks)


def test_an_offset_may_be_given() -> None:
    """Then images of one brightness are enough."""
    light = replace(SMALL, variation=0.0)

    found = flat_field(light, offset=light.offset)

    assert (found.offset, found.offset_source, found.knows_offset) == (light.offset, "given", True)
    assert rms_percent(found.field, light.field) < 0.7


def test_an_even_light_needs_no_offset() -> None:
    """The field is 1, and the result says why no offset was found."""
    found = flat_field(replace(SMALL, even=True))

    assert rms_percent(found.field, np.ones_like(found.field)) < 0.3
    assert found.offset_source == "assumed"
    assert any("The light is so even" in remark for remark in found.remarks)


def test_brighter_images_of_another_gain_give_the_same_field() -> None:
    """Floats with twice the counts: the same field, twice the offset."""
    found, twice = flat_field(SMALL), flat_field(2 * image.astype(np.float32) for image in SMALL)

    assert rms_percent(twice.field, found.field) < 0.02
    assert twice.offset == pytest.approx(2 * found.offset, abs=0.5)


def test_few_covered_images_are_said_to_be_few() -> None:
    """12 images, a third covered: more are asked for, and pixels are named that show no background."""
    found = flat_field(replace(SMALL, images=12, covered=0.33))

    assert any("96 images tell the field better than these 12" in remark for remark in found.remarks)
    assert any("show background in fewer than 3 images" in remark for remark in found.remarks)


def spoilt(image: NDArray[Any], kind: str) -> NDArray[Any]:
    """An image that no field can be fitted on."""
    match kind:
        case "constant":
            return np.full_like(image, 700)
        case "saturated":
            return np.minimum(image, np.uint16(np.median(image)))
        case _:
            damaged = image.astype(np.float32)
            damaged[3, 4] = np.nan if kind == "NaN" else np.inf
            return damaged


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("constant", "is constant (700)"),
        ("saturated", "is saturated ("),
        ("NaN", "holds NaN or infinite pixels"),
        ("infinite", "holds NaN or infinite pixels"),
    ],
)
def test_images_that_cannot_be_used_are_left_out_and_named(kind: str, reason: str) -> None:
    """The field is that of the others."""
    images = list(SMALL)

    found = flat_field([spoilt(image, kind) if number == 5 else image for number, image in enumerate(images)])

    assert 5 not in found.used
    assert len(found.used) == len(images) - 1
    assert [(each.image, each.reason.startswith(reason)) for each in found.left_out] == [(5, True)]
    assert str(found.left_out[0]).startswith(f"image 5 {reason}")
    assert found.remarks[0].startswith(f"1 image of the sample was left out: image 5 {reason}")
    without = flat_field([image for number, image in enumerate(images) if number != 5])
    np.testing.assert_array_equal(found.field, without.field)


PLANE = next(iter(SMALL))


@dataclass(frozen=True)
class Refusal:
    """A sample that is refused, and the sentence."""

    images: Any
    words: str
    kind: type[Exception] = ValueError
    options: dict[str, Any] | None = None


REFUSALS = {
    "no images": Refusal([], "flat_field got no images; give a sample of 8 or more"),
    "too few": Refusal([PLANE] * 7, "needs 8 images at least, but can use 7 of 7"),
    "too few of use": Refusal(
        [np.zeros_like(PLANE)] * 9, r"can use 0 of 9 \(image 0 is constant \(0\); image 1 is constant"
    ),
    "shapes": Refusal([PLANE, PLANE[:-1]], r"image 1 has the shape \(127, 128\), the ones before have \(128, 128\)"),
    "stacks": Refusal([np.stack([PLANE] * 2)], "give planes"),
    "tiny": Refusal([PLANE[:8]], "a field needs 16 pixels an edge"),
    "masks": Refusal([PLANE > 600], "image 0 has bool pixels", PixelValueError),
    "minimum": Refusal([PLANE] * 9, "minimum=2 must be a whole number of images, at least 4", options={"minimum": 2}),
    "offset": Refusal([PLANE] * 9, "offset=nan must be a finite number", options={"offset": float("nan")}),
    "high offset": Refusal([PLANE] * 9, "does not rise above the offset of 5000", options={"offset": 5000.0}),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS)
def test_what_is_no_sample_is_refused(case: Refusal) -> None:
    """In a sentence that names the image."""
    with pytest.raises(case.kind, match=case.words):
        flat_field(case.images, **(case.options or {}))


def test_results_are_the_same_each_time() -> None:
    """Nothing is drawn by chance."""
    first, second = (flat_field(SMALL) for _ in range(2))

    assert isinstance(first, FlatField)
    np.testing.assert_array_equal(first.field, second.field)
    assert first.offset == second.offset
