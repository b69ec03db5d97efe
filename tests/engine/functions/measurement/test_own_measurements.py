"""Our own measurements against cp_measure, scikit-image, and the definitions written out pixel by pixel."""

from __future__ import annotations

import itertools
import json
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import regionprops_table

from openhcs_engine.functions import measure
from openhcs_engine.functions.measurement.neighbors import measure_neighbors
from openhcs_engine.functions.measurement.objects import objects_of
from openhcs_engine.functions.measurement.outline import rim_of
from tests.engine.functions.measurement.planted import STORED, awkward, by_cp_measure, pixels

ROUND = ("AreaShape_Orientation", "AreaShape_Eccentricity")
SHAPE = ("shape", "intensity", "location")
small_labels = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3))


def measured(labels: NDArray[Any], plane: NDArray[Any], **parameters: Any) -> dict[str, NDArray[np.float64]]:
    """Columns by measurement, null as NaN."""
    _, table = measure(plane[None], labels[None], **({"features": SHAPE} | parameters))
    columns = table.to_pydict()
    return {
        name.removeprefix("Nuclei_").removesuffix("_1"): np.array(values, np.float64)
        for name, values in columns.items()
    }


def assert_same(ours: dict[str, NDArray[Any]], theirs: dict[str, NDArray[Any]], tolerance: float = 1e-6) -> None:
    """Every column of theirs that we have; where they have something that is not finite, we have null."""
    eccentric = np.nan_to_num(theirs["AreaShape_Eccentricity"]) > 0.05
    shared = [name for name in ours if name in theirs]
    for name in shared:
        of = eccentric if name in ROUND else np.ones(len(eccentric), bool)
        expected = np.where(np.isfinite(theirs[name]), theirs[name], np.nan)[of]
        np.testing.assert_allclose(ours[name][of], expected, rtol=tolerance, atol=1e-9, err_msg=name)
    assert len(shared) >= 46


def test_awkward_objects_have_cp_measures_numbers() -> None:
    """A pixel, lines, rings, parts, objects that touch: what cp_measure 0.3.0 made of them, stored."""
    stored = {name: np.array(values, np.float64) for name, values in json.loads(STORED.read_text()).items()}

    assert_same(measured(awkward(), pixels()), stored)


@pytest.mark.skipif(find_spec("cp_measure") is None, reason="cp_measure is not installed (the extra 'measure')")
@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "int32", "uint32", "float32", "float64"])
def test_each_pixel_type_has_cp_measures_numbers(kind: str) -> None:
    """Sorted as one number with the object, or not: the same."""
    rng = np.random.default_rng(3)
    labels = np.kron(rng.integers(0, 40, (12, 13)), np.ones((5, 5), int)) * (rng.random((60, 65)) > 0.15)
    plane = (
        rng.permutation(labels.size).reshape(labels.shape) % 251 if kind == "uint8" else rng.permutation(labels.size)
    )
    plane = plane.reshape(labels.shape).astype(kind) - np.asarray(300 if "u" not in kind else 0, kind)

    theirs = by_cp_measure(labels, plane)
    if kind == "uint8":  # several brightest pixels: cp_measure takes the first, as we do
        assert (theirs["Location_MaxIntensity_X"] == measured(labels, plane)["Location_MaxIntensity_X"]).all()
    assert_same(measured(labels, plane), theirs)


@settings(max_examples=60)
@given(small_labels, st.randoms(use_true_random=False))
def test_any_labels_have_scikit_images_shape(labels: NDArray[np.uint8], random: Any) -> None:
    """Areas, boxes, hulls, ellipses, outlines and Euler numbers of whatever pixels."""
    props = regionprops_table(
        labels,
        properties=(
            "label", "area", "area_bbox", "bbox", "centroid", "area_convex", "euler_number", "perimeter", "solidity",
            "axis_major_length", "axis_minor_length", "extent", "equivalent_diameter_area",
        ),
    )  # fmt: skip
    plane = np.array([random.randrange(1000) for _ in range(labels.size)], np.uint16).reshape(labels.shape)
    ours = measured(labels, plane, features="shape")

    pairs = {
        "object": "label", "AreaShape_Area": "area", "AreaShape_BoundingBoxArea": "area_bbox",
        "AreaShape_BoundingBoxMinimum_Y": "bbox-0", "AreaShape_BoundingBoxMaximum_X": "bbox-3",
        "AreaShape_Center_X": "centroid-1", "AreaShape_Center_Y": "centroid-0", "AreaShape_ConvexArea": "area_convex",
        "AreaShape_EulerNumber": "euler_number", "AreaShape_Perimeter": "perimeter", "AreaShape_Solidity": "solidity",
        "AreaShape_MajorAxisLength": "axis_major_length", "AreaShape_MinorAxisLength": "axis_minor_length",
        "AreaShape_Extent": "extent", "AreaShape_EquivalentDiameter": "equivalent_diameter_area",
    }  # fmt: skip
    for name, prop in pairs.items():
        # The minor axis of a line is 0, of which scikit-image leaves some rounding.
        np.testing.assert_allclose(ours[name], props[prop], rtol=1e-6, atol=2e-6, err_msg=name)


@settings(max_examples=60)
@given(small_labels)
def test_depths_and_widths_are_those_of_their_definitions(labels: NDArray[np.uint8]) -> None:
    """Distances to the nearest pixel outside, and between the pixels' middles, each pair by itself."""
    ours = measured(labels, labels, features="shape")

    for number, label in enumerate(ours["object"]):
        inside = np.pad(labels == label, 1)
        depths = ndimage.distance_transform_edt(inside)[inside]
        found = [ours[f"AreaShape_{name}Radius"][number] for name in ("Maximum", "Mean", "Median")]
        np.testing.assert_allclose(found, [depths.max(), depths.mean(), np.median(depths)], rtol=1e-9)
        points = np.argwhere(inside).astype(float)
        apart = [one - other for one, other in itertools.permutations(points, 2)]
        widest = max((np.hypot(*step) for step in apart), default=0)
        across = [np.ptp(points @ (-step[1], step[0])) / np.hypot(*step) for step in apart]
        np.testing.assert_allclose(ours["AreaShape_MaxFeretDiameter"][number], widest, rtol=1e-9)
        np.testing.assert_allclose(ours["AreaShape_MinFeretDiameter"][number], min(across, default=0), atol=1e-9)


@settings(max_examples=60)
@given(small_labels, st.sampled_from(["uint8", "int16", "uint16", "float32", "float64"]), st.integers(0, 99))
def test_values_have_numpys_ranks_and_moments(labels: NDArray[np.uint8], kind: str, seed: int) -> None:
    """With ties, and of each pixel type."""
    plane = np.random.default_rng(seed).integers(0, 9, labels.shape).astype(kind)
    ours = measured(labels, plane, features="intensity")

    for number, label in enumerate(ours["object"]):
        values = plane[labels == label].astype(float)
        median = np.median(values)
        expected = {
            "IntegratedIntensity": values.sum(),
            "MeanIntensity": values.mean(),
            "StdIntensity": values.std(),
            "MinIntensity": values.min(),
            "MaxIntensity": values.max(),
            "LowerQuartileIntensity": np.percentile(values, 25),
            "MedianIntensity": median,
            "UpperQuartileIntensity": np.percentile(values, 75),
            "MADIntensity": np.median(np.abs(values - median)),
        }
        for name, value in expected.items():
            np.testing.assert_allclose(ours[f"Intensity_{name}"][number], value, rtol=1e-9, atol=1e-12, err_msg=name)


def test_undefined_is_null_and_never_0_or_infinite() -> None:
    """A pixel has no form and no direction, darkness no centre of mass, what fills the image no edge."""
    _, table = measure(np.zeros((1, 4, 4), np.uint16), np.array([[[0, 0, 0, 0], [0, 1, 0, 0], [0] * 4, [0] * 4]]))
    row = table.to_pylist()[0]
    null = {name for name, value in row.items() if value is None}

    assert {name.removeprefix("Nuclei_") for name in null} == {
        "AreaShape_Eccentricity", "AreaShape_FormFactor", "AreaShape_Orientation", "Intensity_MassDisplacement_1",
        "Location_CenterMassIntensity_X_1", "Location_CenterMassIntensity_Y_1", "Location_CenterMassIntensity_Z_1",
        "Neighbors_AngleBetweenNeighbors_Adjacent", "Neighbors_FirstClosestDistance_Adjacent",
        "Neighbors_FirstClosestObjectNumber_Adjacent", "Neighbors_SecondClosestDistance_Adjacent",
        "Neighbors_SecondClosestObjectNumber_Adjacent",
    }  # fmt: skip
    assert row["Nuclei_Neighbors_NumberOfNeighbors_Adjacent"] == 0

    _, whole = measure(np.ones((1, 3, 3)), np.ones((1, 3, 3), int), features="intensity")
    edge = {name: value for name, value in whole.to_pylist()[0].items() if "Edge" in name}
    assert len(edge) == 5 and set(edge.values()) == {None}


def test_values_that_are_not_finite_do_not_count() -> None:
    """The other pixels of the object do; an object without any has nulls, but its shape."""
    plane = np.array([[1.0, np.nan, 3.0, np.inf], [5.0, 7.0, -np.inf, np.nan]])
    labels = np.array([[1, 1, 1, 2], [1, 1, 0, 2]])
    _, table = measure(plane[None], labels[None])
    one, two = table.to_pylist()

    assert one["Nuclei_Intensity_MeanIntensity_1"] == 4 and one["Nuclei_Intensity_MedianIntensity_1"] == 4
    assert one["Nuclei_Intensity_MaxIntensity_1"] == 7 and one["Nuclei_Location_MaxIntensity_Y_1"] == 1
    assert {value for name, value in two.items() if "Intensity" in name} == {None}
    assert two["Nuclei_AreaShape_Area"] == 2


def neighbours(labels: NDArray[Any], reach: str | int) -> dict[str, NDArray[np.float64]]:
    """The neighbours of objects whose centres are those of their pixels."""
    objects = objects_of(labels)
    centres = np.array([np.argwhere(labels == label).mean(axis=0) for label in objects.labels]).reshape(-1, 2)
    return dict(measure_neighbors(objects, rim_of(objects), centres[:, 0], centres[:, 1], reach))


@settings(max_examples=60)
@given(small_labels, st.sampled_from(["adjacent", 1, 2, "expanded"]))
def test_neighbours_are_those_of_their_definition(labels: NDArray[np.uint8], reach: str | int) -> None:
    """Each object dilated by itself; ``expanded`` after the background went to the nearest object."""
    plane = labels
    if reach == "expanded" and labels.any():
        nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
        plane = labels[tuple(nearest)]
    far = reach if isinstance(reach, int) else 1
    y, x = np.mgrid[-far : far + 1, -far : far + 1]
    disk = y**2 + x**2 <= far**2

    found = neighbours(labels, reach)
    for number, label in enumerate(np.unique(labels[labels > 0])):
        around = ndimage.binary_dilation(plane == label, disk)
        assert found["NumberOfNeighbors"][number] == len(set(plane[around].tolist()) - {0, label})


def test_the_nearest_objects_are_others() -> None:
    """Never the object itself; their labels, distances between centres, and the angle between them."""
    labels = np.zeros((20, 20), np.uint16)
    labels[2, 2], labels[2, 5], labels[8, 2], labels[18, 18] = 7, 3, 9, 1
    found = neighbours(labels, "adjacent")  # of the objects 1, 3, 7, 9

    assert found["FirstClosestObjectNumber"].tolist() == [9, 7, 3, 7]
    assert found["SecondClosestObjectNumber"].tolist() == [3, 9, 9, 3]
    assert found["FirstClosestDistance"][2] == 3 and found["SecondClosestDistance"][2] == 6
    assert found["AngleBetweenNeighbors"][2] == pytest.approx(90)


@pytest.mark.skipif(find_spec("cp_measure") is None, reason="cp_measure is not installed (the extra 'measure')")
@pytest.mark.parametrize(("reach", "method"), [("adjacent", "Adjacent"), (3, "Within a specified distance")])
def test_neighbours_have_cp_measures_numbers(reach: str | int, method: str) -> None:
    """Except for the number of the closest object, which is its own in cp_measure 0.3.0."""
    from cp_measure.multimask.measureobjectneighbors import measureobjectneighbors

    rng = np.random.default_rng(1)
    labels = np.kron(rng.permutation(144).reshape(12, 12), np.ones((5, 5), int)) * (rng.random((60, 60)) > 0.2)
    labels[20:40, 20:30] = 0
    labels = np.searchsorted(np.unique(labels), labels)
    found = neighbours(labels, reach)
    theirs = measureobjectneighbors(labels, labels, method, 3)

    for name, values in theirs.items():
        if "ObjectNumber" not in name:
            np.testing.assert_allclose(found[name.split("_")[1]], values, rtol=1e-6, atol=1e-5, err_msg=name)
    scale = "Adjacent" if reach == "adjacent" else reach
    assert theirs[f"Neighbors_FirstClosestObjectNumber_{scale}"].tolist() == list(range(1, labels.max() + 1))


def test_labels_with_gaps_and_above_16_bits_are_one_object_each() -> None:
    """The number of the object is its label."""
    labels = np.zeros((6, 6), np.uint32)
    labels[1:3, 1:3], labels[4, 4], labels[0, 5] = 3_000_000_000, 70_000, 2
    found = measured(labels, labels.astype(float))

    assert found["object"].tolist() == [2, 70_000, 3_000_000_000]
    assert found["AreaShape_Area"].tolist() == [1, 1, 4]
