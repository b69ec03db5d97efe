"""The built-in functions, beside their definitions in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from openhcs_engine.functions import (
    create_composite,
    create_max_projection,
    create_mean_projection,
    percentile_from_histogram,
    stack_percentile_normalize,
)
from openhcs_engine.functions.intensity.histogram import count_values, percentiles_of
from openhcs_engine.memory import contract_of

Pixels = NDArray[Any]
STACK_SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)
COUNTED = hnp.arrays(st.sampled_from([np.uint8, np.uint16]), STACK_SHAPES)
ANY_STACK = st.one_of(
    hnp.arrays(st.sampled_from([np.bool_, np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32]), STACK_SHAPES),
    hnp.arrays(st.sampled_from([np.float32, np.float64]), STACK_SHAPES, elements=st.floats(-1e6, 1e6, width=32)),
)
PERCENTILES = st.one_of(st.integers(0, 100).map(float), st.floats(0, 100))
PAIRS = st.tuples(PERCENTILES, PERCENTILES).map(sorted).filter(lambda pair: pair[0] < pair[1])


def camera_stack(planes: int = 3, size: int = 300) -> Pixels:
    """A uint16 stack as a camera gives it: offset, noise, bright spots; larger than one block of the histogram."""
    random = np.random.default_rng(7)
    stack = random.normal(600, 40, (planes, size, size))
    stack[:, 20:40, 30:60] += 20_000
    return np.clip(stack, 0, 65535).astype(np.uint16)


def naive_normalize(stack: Pixels, low: float, high: float, bottom: float, top: float) -> Pixels:
    """The definition, written down."""
    p_low, p_high = np.percentile(stack.astype(np.float64), [low, high])
    if p_low == p_high:
        return np.full(stack.shape, bottom)
    scaled = (np.clip(stack.astype(np.float64), p_low, p_high) - p_low) * (top - bottom) / (p_high - p_low) + bottom
    return np.asarray(np.clip(scaled, bottom, top))


@given(stack=COUNTED, percentiles=st.lists(PERCENTILES, min_size=1, max_size=6))
@example(stack=np.zeros((1, 1, 1), np.uint16), percentiles=[0.0, 50.0, 100.0])
@settings(max_examples=400)
def test_a_histogram_percentile_is_numpys_percentile(stack: Pixels, percentiles: list[float]) -> None:
    """Bit for bit, for any pixels and percentiles."""
    ours = percentile_from_histogram(count_values(stack), percentiles)

    theirs = np.percentile(stack, percentiles)
    assert ours.dtype == theirs.dtype
    assert ours.tobytes() == theirs.tobytes()


@given(
    histogram=hnp.arrays(np.int64, st.integers(1, 40), elements=st.integers(0, 50)).filter(lambda counts: counts.any()),
    percentile=PERCENTILES,
)
def test_any_histogram_will_do(histogram: NDArray[np.int64], percentile: float) -> None:
    """A histogram of any length and one single percentile: NumPy's number for the pixels it counts."""
    pixels = np.repeat(np.arange(len(histogram), dtype=np.uint16), histogram)

    assert percentile_from_histogram(histogram, percentile) == np.percentile(pixels, percentile)


def test_the_percentiles_of_a_camera_stack_are_numpys() -> None:
    """Over several blocks of the histogram too."""
    stack = camera_stack()
    wanted = [0, 0.1, 1, 33.3, 50, 99, 99.9, 100]

    assert count_values(stack).sum() == stack.size
    assert percentiles_of(stack, wanted).tolist() == np.percentile(stack, wanted).tolist()


@given(stack=ANY_STACK, percentiles=st.lists(PERCENTILES, min_size=1, max_size=4))
def test_other_dtypes_have_float64_percentiles(stack: Pixels, percentiles: list[float]) -> None:
    """Where values cannot be counted, the percentile is NumPy's of the pixels as float64."""
    expected = np.percentile(stack.astype(np.float64), percentiles)

    assert percentiles_of(stack, percentiles).tolist() == expected.tolist()


@pytest.mark.parametrize("histogram", [np.zeros(0, int), np.zeros(256, int)], ids=["no bins", "no pixels"])
def test_an_empty_histogram_has_no_percentile(histogram: NDArray[np.int64]) -> None:
    """Zero pixels are refused in words."""
    with pytest.raises(ValueError, match=r"counts no pixels"):
        percentile_from_histogram(histogram, 50)


@pytest.mark.parametrize("percentile", [-0.1, 100.5, float("nan")])
def test_a_percentile_outside_0_to_100_is_refused(percentile: float) -> None:
    """So is NaN."""
    with pytest.raises(ValueError, match=r"between 0 and 100"):
        percentile_from_histogram(np.ones(4, int), percentile)


@given(stack=ANY_STACK, pair=PAIRS)
@settings(max_examples=300)
def test_normalising_equals_the_float64_formula(stack: Pixels, pair: list[float]) -> None:
    """Any dtype: the definition, rounded half to even; dtype and shape stay, and so does the input."""
    before = stack.copy()
    top = 1.0 if stack.dtype.kind in "fb" else float(min(np.iinfo(stack.dtype).max, 65535))
    expected = naive_normalize(stack, pair[0], pair[1], 0.0, top)

    normalized = stack_percentile_normalize(stack, pair[0], pair[1])

    rounded = expected if stack.dtype.kind == "f" else np.rint(expected)
    assert normalized.dtype == stack.dtype
    np.testing.assert_array_equal(normalized, rounded.astype(stack.dtype))
    np.testing.assert_array_equal(stack, before)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32"])
def test_normalising_a_camera_stack_equals_the_formula(dtype: str) -> None:
    """The same on realistic pixels, with targets of one's own, whatever the memory layout."""
    stack = (camera_stack() // 128).astype(dtype)
    expected = naive_normalize(stack, 2, 98, 10, 100)
    rounded = expected.astype(dtype) if dtype == "float32" else np.rint(expected).astype(dtype)

    for layout in (stack, np.asfortranarray(stack), stack[::-1, :, ::-1]):
        normalized = stack_percentile_normalize(layout, 2, 98, target_min=10, target_max=100)
        flipped = normalized[::-1, :, ::-1] if layout.strides[0] < 0 else normalized
        np.testing.assert_array_equal(flipped, rounded)


def test_a_normalised_stack_fills_the_dtype() -> None:
    """By default the darkest per cent becomes 0 and the brightest the dtype's maximum, over the stack as a whole."""
    stack = camera_stack()

    normalized = stack_percentile_normalize(stack)

    assert (normalized.min(), normalized.max()) == (0, 65535)
    assert (normalized == 65535).mean() == pytest.approx(0.01, rel=0.05)
    assert stack_percentile_normalize(stack.astype(np.float32)).max() == 1.0


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64"])
def test_a_camera_stack_in_wider_integers_is_normalised_alike(dtype: str) -> None:
    """Libraries without arithmetic for uint16 hold it in int32: what fills 16 bits there fills 16 bits here."""
    stack = camera_stack()

    widened = stack_percentile_normalize(stack.astype(dtype))

    assert widened.dtype == dtype
    np.testing.assert_array_equal(widened, stack_percentile_normalize(stack))


def test_planes_of_a_stack_share_one_scale() -> None:
    """A plane that is darker than the others stays darker."""
    stack = np.stack([np.full((8, 8), 100), np.full((8, 8), 200)]).astype(np.uint16)

    normalized = stack_percentile_normalize(stack)

    assert normalized[0].max() == 0
    assert normalized[1].min() == 65535


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "bool"])
@pytest.mark.filterwarnings("error")
def test_a_constant_stack_becomes_the_lower_target(dtype: str) -> None:
    """Equal percentiles leave nothing to stretch: everything is target_min, without a warning."""
    stack = np.ones((2, 5, 5), dtype)

    assert (stack_percentile_normalize(stack) == 0).all()


def test_read_only_stacks_are_fine() -> None:
    """Functions read their input, so a frozen one will do."""
    stack = camera_stack(2, 40)
    stack.flags.writeable = False

    results = [function(stack) for function in (stack_percentile_normalize, create_max_projection, create_composite)]

    assert all(result.flags.writeable for result in results)


@dataclass(frozen=True)
class Refusal:
    """A wrong call and what it is answered."""

    call: Callable[[], object]
    sentence: str


STACK = np.arange(32, dtype=np.uint16).reshape(2, 4, 4)
REFUSALS = {
    "percentiles in the wrong order": Refusal(
        lambda: stack_percentile_normalize(STACK, 99, 1),
        "low_percentile=99 and high_percentile=1 do not fit; they lie between 0 and 100, the low one below the high",
    ),
    "percentile above 100": Refusal(
        lambda: stack_percentile_normalize(STACK, 1, 101), "high_percentile=101 do not fit"
    ),
    "targets in the wrong order": Refusal(
        lambda: stack_percentile_normalize(STACK, target_min=5, target_max=5), "target_min=5 is not below target_max=5"
    ),
    "target beyond the dtype": Refusal(
        lambda: stack_percentile_normalize(STACK, target_max=70000), "0.0 to 70000 do not fit into uint16"
    ),
    "NaN pixels": Refusal(
        lambda: stack_percentile_normalize(np.full((1, 2, 2), np.nan)), "The stack holds NaN (not a number)"
    ),
    "infinite pixels": Refusal(
        lambda: stack_percentile_normalize(np.array([[[0, 1, np.inf]]])), "replace infinite pixels first"
    ),
    "a single image": Refusal(
        lambda: create_max_projection(STACK[0]), "works on a stack (plane, y, x), but got an array of shape (4, 4)"
    ),
    "no planes": Refusal(lambda: create_composite(STACK[:0]), "create_composite got an empty stack of shape (0, 4, 4)"),
    "complex pixels": Refusal(lambda: create_max_projection(STACK * 1j), "the stack has dtype complex128"),
    "too few weights": Refusal(
        lambda: create_composite(STACK, [1.0]), "got 1 weights for a stack of 2 planes; give one weight a plane"
    ),
    "weights that cancel": Refusal(
        lambda: create_composite(STACK, (1, -1)), "[1.0, -1.0]; they must be finite and not add up to 0"
    ),
    "weights that are no numbers": Refusal(lambda: create_composite(STACK, (1, float("nan"))), "must be finite"),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS.keys())
def test_wrong_calls_are_answered_with_a_sentence(case: Refusal) -> None:
    """Parameters and stacks that cannot work raise ValueError, which says what would."""
    with pytest.raises(ValueError) as caught:
        case.call()

    assert case.sentence in str(caught.value)


@given(stack=ANY_STACK)
def test_the_projection_keeps_the_brightest_pixel(stack: Pixels) -> None:
    """One plane of the same dtype, the maximum over the planes."""
    projection = create_max_projection(stack)

    assert projection.dtype == stack.dtype
    assert projection.shape == (1, *stack.shape[1:])
    np.testing.assert_array_equal(projection[0], np.max(stack, axis=0))


@given(stack=ANY_STACK)
def test_the_mean_projection_is_the_composite_of_equal_weights(stack: Pixels) -> None:
    """One plane of the same dtype: the mean over the planes, rounded half to even; the input stays."""
    before = stack.copy()
    mean = np.mean(stack.astype(np.float64), axis=0, keepdims=True)

    projection = create_mean_projection(stack)

    assert projection.dtype == stack.dtype
    np.testing.assert_array_equal(projection, create_composite(stack))
    np.testing.assert_allclose(projection, mean if stack.dtype.kind == "f" else np.rint(mean), rtol=1e-6, atol=1e-3)
    np.testing.assert_array_equal(stack, before)


def test_the_mean_of_full_planes_is_full() -> None:
    """Whatever the number of planes, sums do not overflow."""
    stack = np.broadcast_to(np.uint16(65535), (70_000, 1, 2))

    assert create_mean_projection(stack).tolist() == [[[65535, 65535]]]


@given(stack=ANY_STACK, data=st.data())
def test_the_composite_is_the_weighted_mean(stack: Pixels, data: st.DataObject) -> None:
    """Summed in float64, divided by the sum of the weights, back to the dtype rounded half to even; input untouched."""
    before = stack.copy()
    weights = data.draw(st.none() | st.lists(st.integers(1, 9), min_size=len(stack), max_size=len(stack)))
    factors = weights or [1] * len(stack)
    mean = sum(plane * float(factor) for plane, factor in zip(stack.astype(np.float64), factors, strict=True))
    mean = np.asarray(mean) / sum(factors)
    expected = mean if stack.dtype.kind == "f" else np.rint(mean)

    composite = create_composite(stack, weights)

    assert composite.dtype == stack.dtype
    np.testing.assert_array_equal(composite, expected.astype(stack.dtype)[np.newaxis])
    np.testing.assert_array_equal(stack, before)


def test_only_the_ratios_of_weights_matter() -> None:
    """Weights are normalised: 1:3 is 0.25:0.75, and equal weights are no weights."""
    stack = camera_stack(2, 40)

    np.testing.assert_array_equal(create_composite(stack, (1, 3)), create_composite(stack, (0.25, 0.75)))
    np.testing.assert_array_equal(create_composite(stack, (7, 7)), create_composite(stack))


def test_a_composite_rounds_half_to_even() -> None:
    """The mean of 1 and 2 is 2, of 2 and 3 is 2 as well; of two full pixels full, without overflow."""
    stack = np.array([[[1, 2, 65535]], [[2, 3, 65535]]], np.uint16)

    assert create_composite(stack).tolist() == [[[2, 2, 65535]]]


def test_projection_and_composite_declare_that_they_collapse() -> None:
    """The engine learns from the contract which planes stand for a whole axis."""
    assert contract_of(create_max_projection).collapses
    assert contract_of(create_mean_projection).collapses
    assert contract_of(create_composite).collapses
    assert not contract_of(stack_percentile_normalize).collapses
