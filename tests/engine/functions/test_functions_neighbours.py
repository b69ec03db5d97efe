"""Functions that look at a pixel's neighbours, beside SciPy and scikit-image on whole planes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage
from skimage.exposure import equalize_adapthist

from openhcs_engine.functions import denoise_images, enhance_contrast, subtract_background
from openhcs_engine.functions.intensity.neighbourhood import filter_planes
from openhcs_engine.memory import contract_of

Pixels = NDArray[Any]
SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, max_side=12)
GREY = st.one_of(
    hnp.arrays(st.sampled_from([np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32]), SHAPES),
    hnp.arrays(st.sampled_from([np.float32, np.float64]), SHAPES, elements=st.floats(-1e6, 1e6, width=32)),
)
ANY_STACK = st.one_of(GREY, hnp.arrays(np.bool_, SHAPES))
FUNCTIONS = (denoise_images, enhance_contrast, subtract_background)


def tall_stack(planes: int = 2, rows: int = 700, columns: int = 500, dtype: str = "uint16") -> Pixels:
    """Noise and bright spots on a slope; several bands high."""
    random = np.random.default_rng(3)
    stack = random.normal(600, 40, (planes, rows, columns)) + np.arange(columns)
    stack[:, 20:40, 30:60] += 20_000
    return np.clip(stack, 0, 65535).astype(dtype)


def planewise(stack: Pixels, function: Callable[[Pixels], Pixels]) -> Pixels:
    """A function of one image, on each plane."""
    return np.stack([function(plane) for plane in stack])


def as_dtype(values: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """Rounded half to even, if the dtype holds no fractions."""
    return values.astype(dtype) if dtype.kind == "f" else np.rint(values).astype(dtype)


@given(stack=ANY_STACK, radius=st.integers(1, 4))
@settings(max_examples=200)
def test_the_median_is_scipys(stack: Pixels, radius: int) -> None:
    """For any dtype, radius and plane, however small: the very same values; the input stays."""
    before = stack.copy()
    expected = planewise(stack, lambda plane: ndimage.median_filter(plane, 2 * radius + 1, mode="nearest"))

    denoised = denoise_images(stack, radius=radius)

    assert denoised.dtype == stack.dtype
    np.testing.assert_array_equal(denoised, expected)
    np.testing.assert_array_equal(stack, before)


@given(stack=ANY_STACK, sigma=st.floats(0.2, 5))
@settings(max_examples=200)
def test_the_gaussian_is_scipys_in_float64(stack: Pixels, sigma: float) -> None:
    """Rounded half to even for integers."""
    expected = planewise(
        stack, lambda plane: ndimage.gaussian_filter(plane.astype(np.float64), sigma, mode="nearest", truncate=4)
    )

    denoised = denoise_images(stack, "gaussian", sigma=sigma)

    assert denoised.dtype == stack.dtype
    np.testing.assert_array_equal(denoised, as_dtype(expected, stack.dtype))


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_bands_of_rows_leave_no_seams(dtype: str) -> None:
    """On planes of several bands, too, the result is that of the whole plane, in every bit."""
    stack = tall_stack(dtype=dtype)

    for layout in (stack, np.asfortranarray(stack), stack[:, ::-1]):
        wide = planewise(layout, lambda plane: ndimage.gaussian_filter(plane.astype(np.float64), 9.0, mode="nearest"))
        median = planewise(layout, lambda plane: ndimage.median_filter(plane, 3, mode="nearest"))
        np.testing.assert_array_equal(denoise_images(layout, "gaussian", sigma=9.0), as_dtype(wide, layout.dtype))
        np.testing.assert_array_equal(denoise_images(layout), median)


def test_every_row_is_filtered_once_and_sees_its_neighbours() -> None:
    """The pieces that a filter gets hold as many rows around them as it looks far, except at the border."""
    stack = tall_stack(planes=1)
    seen: list[tuple[int, int]] = []

    def note(piece: Pixels) -> Pixels:
        first = int(np.flatnonzero((stack[0] == piece[0]).all(axis=1))[0])
        seen.append((first, first + len(piece)))
        return piece

    filtered = filter_planes(stack, note, reach=5)

    np.testing.assert_array_equal(filtered, stack)
    assert len(seen) > 2 and (seen[0][0], seen[-1][1]) == (0, 700)
    assert all(following[0] == before[1] - 10 for before, following in pairwise(seen))


def test_the_median_removes_a_hot_pixel_and_keeps_an_edge() -> None:
    """What the default is for."""
    stack = np.zeros((1, 20, 20), np.uint16)
    stack[:, :, 10:] = 1000
    clean = stack.copy()
    stack[0, 5, 4] = 65535

    np.testing.assert_array_equal(denoise_images(stack), clean)


@given(stack=GREY, radius=st.integers(1, 8))
@settings(max_examples=200)
def test_the_background_is_the_opening(stack: Pixels, radius: int) -> None:
    """What is left is the plane less its opening by a square, never below 0, clipped where the dtype ends."""
    before = stack.copy()
    opening = planewise(stack, lambda plane: ndimage.grey_opening(plane, 2 * radius + 1, mode="nearest"))
    if stack.dtype.kind == "f":
        expected = stack - opening
    else:
        difference = stack.astype(np.int64) - opening.astype(np.int64)
        expected = np.clip(difference, 0, np.iinfo(stack.dtype).max).astype(stack.dtype)

    flat = subtract_background(stack, radius)

    assert flat.dtype == stack.dtype and flat.min() >= 0
    np.testing.assert_array_equal(flat, expected)
    np.testing.assert_array_equal(stack, before)


def test_the_background_of_half_precision_is_that_of_single() -> None:
    """SciPy has no filter of float16."""
    stack = np.random.default_rng(1).integers(0, 500, (2, 9, 11)).astype(np.float16)

    result = subtract_background(stack, radius=2)

    assert result.dtype == np.float16
    np.testing.assert_array_equal(result, subtract_background(stack.astype(np.float32), radius=2))


def test_a_slow_slope_goes_and_an_object_stays() -> None:
    """Objects that fit into the square keep their height above the slope."""
    slope = np.broadcast_to(np.arange(0, 600, 2, dtype=np.uint16), (1, 200, 300))
    spot = np.zeros_like(slope)
    spot[0, 90:100, 140:150] = 5000

    flat = subtract_background(slope + spot, radius=10)

    assert flat[0, 90:100, 140:150].min() >= 4900
    assert np.where(spot > 0, 0, flat)[:, :, 20:-20].max() <= 40


@pytest.mark.parametrize("clip_limit", [0.01, 0.03, 1.0])
@pytest.mark.parametrize("tile", [None, 16, (10, 25)])
def test_contrast_is_scikit_images_within_the_planes_own_range(
    clip_limit: float, tile: int | tuple[int, int] | None
) -> None:
    """``equalize_adapthist`` of each plane, brought from 0..1 to the plane's minimum..maximum."""
    stack = tall_stack(rows=90, columns=120)
    stack[1] //= 7
    low, high = (limit(stack, axis=(1, 2), keepdims=True).astype(np.float64) for limit in (np.min, np.max))
    equalized = planewise(stack, lambda plane: equalize_adapthist(plane, tile, clip_limit))

    enhanced = enhance_contrast(stack, clip_limit=clip_limit, tile_size=tile)

    np.testing.assert_array_equal(enhanced, np.rint(equalized * (high - low) + low).astype(np.uint16))


@given(stack=ANY_STACK, clip_limit=st.floats(0.001, 1))
@settings(max_examples=150)
@pytest.mark.filterwarnings("error")
def test_contrast_stays_within_the_planes_range(stack: Pixels, clip_limit: float) -> None:
    """Whatever the dtype, no plane gets darker or brighter than it was, and a constant one stays as it is."""
    before = stack.copy()

    enhanced = enhance_contrast(stack, clip_limit)

    assert (enhanced.dtype, enhanced.shape) == (stack.dtype, stack.shape)
    for plane, original in zip(enhanced, stack, strict=True):
        assert original.min() <= plane.min() and plane.max() <= original.max()
        assert original.min() < original.max() or (plane == original).all()
    np.testing.assert_array_equal(stack, before)


def test_contrast_is_raised_where_it_is_low() -> None:
    """A faint pattern far away from a bright spot becomes stronger; more so with a higher limit."""
    stack = tall_stack(planes=1)
    corner = (0, slice(500, None), slice(300, None))

    spread = [enhance_contrast(stack, clip_limit=limit)[corner].std() for limit in (0.005, 0.03, 1.0)]

    assert stack[corner].std() < spread[0] < spread[1] < spread[2]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_planes_do_not_depend_on_each_other(function: Callable[..., Pixels]) -> None:
    """Declared so, and so it is: the engine may call with fewer planes at once."""
    stack = tall_stack(planes=3, rows=60, columns=70)

    assert contract_of(function).slice_by_slice
    np.testing.assert_array_equal(function(stack), np.concatenate([function(stack[n : n + 1]) for n in range(3)]))


@pytest.mark.parametrize(
    ("call", "planes"),
    [
        (lambda stack: denoise_images(stack), 1),
        (lambda stack: denoise_images(stack, "gaussian"), 1),
        (lambda stack: subtract_background(stack), 2.5),
        (lambda stack: enhance_contrast(stack), 30),
    ],
    ids=["median", "gaussian", "background", "contrast"],
)
def test_memory_beside_the_result_is_a_matter_of_planes(call: Callable[[Pixels], Pixels], planes: float) -> None:
    """However many planes a stack has, functions need that of one plane, most only that of some rows."""
    stack = tall_stack(planes=12, rows=1000, columns=1000)
    call(stack[:1, :50])
    tracemalloc.start()
    try:
        result = call(stack)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak - result.nbytes < planes * stack[0].nbytes


@dataclass(frozen=True)
class Refusal:
    """A wrong call and what it is answered."""

    call: Callable[[], object]
    sentence: str


STACK = np.arange(32, dtype=np.uint16).reshape(2, 4, 4)
REFUSALS = {
    "unknown method": Refusal(
        lambda: denoise_images(STACK, "magic"),  # type: ignore[arg-type] # that it is wrong is the point
        "method='magic' is unknown (choose from median, gaussian)",
    ),
    "sigma of a median": Refusal(
        lambda: denoise_images(STACK, sigma=2), "sigma=2 has no meaning for method='median'; the median takes radius"
    ),
    "radius of a Gaussian": Refusal(
        lambda: denoise_images(STACK, "gaussian", radius=2), "radius=2 has no meaning for method='gaussian'"
    ),
    "no radius": Refusal(lambda: denoise_images(STACK, radius=0), "radius=0 must be a whole number of pixels"),
    "half a pixel": Refusal(
        lambda: denoise_images(STACK, radius=1.5),  # type: ignore[arg-type] # that it is wrong is the point
        "radius=1.5 must be a whole number of pixels",
    ),
    "no sigma": Refusal(lambda: denoise_images(STACK, "gaussian", sigma=0.0), "sigma=0.0 must be a finite number"),
    "an image to denoise": Refusal(lambda: denoise_images(STACK[0]), "denoise_images works on a stack (plane, y, x)"),
    "clip limit 0": Refusal(lambda: enhance_contrast(STACK, clip_limit=0), "clip_limit=0 must lie above 0"),
    "clip limit 3": Refusal(lambda: enhance_contrast(STACK, clip_limit=3), "clip_limit=3 must lie above 0"),
    "tile too large": Refusal(
        lambda: enhance_contrast(STACK, tile_size=5), "tile_size=5 must be one or two whole numbers of pixels, from 1"
    ),
    "three edges": Refusal(lambda: enhance_contrast(STACK, tile_size=[1, 2, 3]), "tile_size=[1, 2, 3] must be one or"),
    "one bin": Refusal(lambda: enhance_contrast(STACK, bins=1), "bins=1 must be a whole number from 2 to 16384"),
    "contrast of NaN": Refusal(
        lambda: enhance_contrast(np.full((1, 9, 9), np.nan)), "a plane holds NaN or infinite pixels; replace them"
    ),
    "background of nothing": Refusal(lambda: subtract_background(STACK[:0]), "subtract_background got an empty stack"),
    "background radius": Refusal(lambda: subtract_background(STACK, -1), "radius=-1 must be a whole number of pixels"),
    "background of a mask": Refusal(lambda: subtract_background(STACK > 3), "works on grey values, but the stack is"),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS.keys())
def test_wrong_calls_are_answered_with_a_sentence(case: Refusal) -> None:
    """Parameters and stacks that cannot work raise ValueError, which says what would."""
    with pytest.raises(ValueError) as caught:
        case.call()

    assert case.sentence in str(caught.value)
