"""Taking apart what touches: true h-maxima, and how often they are right on planted objects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import h_maxima, local_maxima, reconstruction

from openhcs_engine.functions import segment_nuclei
from openhcs_engine.functions.objects.splitting import Basins, split_by_depth
from tests.engine.functions.objects.planted import disc, ellipses

HEIGHTS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
    elements=st.sampled_from([0.0, 1.0, 1.5, 2.0, 3.0, 3.25, 4.0]),
)


@given(heights=HEIGHTS, depth=st.sampled_from([0.5, 1.0, 2.0]))
@settings(max_examples=300)  # the first one imports
def test_parts_are_the_true_h_maxima(heights: NDArray[np.float32], depth: float) -> None:
    """As many as regional maxima of the reconstruction, and each holds one of them whole."""
    heights = np.pad(heights, 1)
    mask = heights > 0

    parts = split_by_depth(heights, mask, depth)

    left = np.round(reconstruction(heights.astype(np.float64) - depth, heights.astype(np.float64)), 6)
    markers, count = ndimage.label(local_maxima(left) & mask, np.ones((3, 3)))
    whole, _ = ndimage.label(mask, np.ones((3, 3)))
    lower = {int(number) for number in np.unique(whole[mask])} - {
        int(number) for number in np.unique(whole[markers > 0])
    }
    assert int(parts.max()) == count + len(lower)  # a region below the depth has no marker, and stays one part
    assert ((parts > 0) == mask).all()
    for number in range(1, count + 1):
        assert len(np.unique(parts[markers == number])) == 1


def test_equal_peaks_without_a_deep_pass_are_one() -> None:
    """Which scikit-image's ``h_maxima`` keeps apart: it cuts an ellipse on a grid of pixels in two."""
    heights = np.zeros((5, 11), np.float32)
    heights[2, 1:10] = [1, 2, 3, 2.8, 2.8, 2.8, 3, 2, 1]

    assert split_by_depth(heights, heights > 0, 0.5).max() == 1
    assert split_by_depth(heights, heights > 0, 0.1).max() == 2
    assert ndimage.label(h_maxima(heights, 0.5), np.ones((3, 3)))[1] == 2


def test_a_flat_top_is_one_part() -> None:
    """Of whatever form, though the climbs on it end at several pixels."""
    flat = np.zeros((30, 30), np.float32)
    flat[5:25, 5:25] = 1
    flat[10:25, 10:20] = 0
    found = Basins.of(flat, flat > 0)

    assert found.peaks.size > 1
    assert split_by_depth(flat, flat > 0, 0.0).max() == 1


@pytest.mark.parametrize("diameter", [14, 20, 33, 60])
def test_planted_pairs_are_split_and_single_ellipses_are_not_cut(diameter: int) -> None:
    """Centres 1.7 mean radii apart: 95 % or more; 1.6: 90 % or more; of axes up to 1 : 1.8, at most 2 % are cut."""
    far, near = ellipses(diameter, distance=1.7), ellipses(diameter, distance=1.6, seed=2)
    single = ellipses(diameter, axes=1.8, count=100, seed=3)

    found = {kind: segment_nuclei(planted.image[None])[1][0] for kind, planted in
             {"far": far, "near": near, "single": single}.items()}  # fmt: skip

    assert far.split_pairs(found["far"]) >= 0.95
    assert near.split_pairs(found["near"]) >= 0.90
    assert single.cut(found["single"]) <= 0.02


def test_noise_cuts_no_ellipse() -> None:
    """At a signal of six to fourteen times the noise of a pixel."""
    single = ellipses(24, axes=1.8, count=100, noise=100)
    assert single.cut(segment_nuclei(single.image[None])[1][0]) <= 0.02


def test_splitting_scales_with_the_diameter() -> None:
    """An image with each pixel doubled has the same objects; so has one whose diameter is given."""
    planted = ellipses(20, distance=1.7, count=36)
    doubled = np.kron(planted.image, np.ones((2, 2), np.uint16))

    _, labels, summary = segment_nuclei(planted.image[None])
    _, larger, of_larger = segment_nuclei(doubled[None])
    _, given_diameter, _ = segment_nuclei(planted.image[None], diameter_px=20)

    assert summary["objects"] == [72] and 71 <= of_larger["objects"][0] <= 72
    assert of_larger["diameter_px"][0] == pytest.approx(2 * summary["diameter_px"][0], rel=0.1)
    assert given_diameter.max() == labels.max() == 72 and larger.max() == of_larger["objects"][0]


def test_what_lies_at_the_border_is_split_as_if_it_went_on() -> None:
    """The border of the image is no outline of an object."""
    image = np.full((60, 60), 100, np.uint16)
    image[disc(image.shape, (0, 30), 20)] = 1000

    assert segment_nuclei(image[None], border="keep")[1].max() == 1
    assert segment_nuclei(image[None])[1].max() == 0
