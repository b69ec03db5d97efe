"""Cells around nuclei, cytoplasm, spots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from openhcs_engine.errors import PixelValueError
from openhcs_engine.functions import cytoplasm, segment_cells, segment_nuclei, spots
from tests.engine.functions.objects.planted import camera, dice, disc

SHAPE = (160, 200)
CENTRES = [(50, 50), (50, 94), (110, 70), (110, 150)]
"""The first two cells, of radius 24, touch."""


def planted() -> tuple[NDArray[Any], NDArray[np.uint32], NDArray[np.int32]]:
    """An image of cells, the nuclei inside, and the cells' own numbers."""
    nuclei, cells = np.zeros(SHAPE, np.uint32), np.zeros(SHAPE, np.int32)
    nearest = np.argmin([np.hypot(*(np.indices(SHAPE) - np.array(at)[:, None, None])) for at in CENTRES], axis=0) + 1
    for number, centre in enumerate(CENTRES, 1):
        nuclei[disc(SHAPE, centre, 8)] = number
        cells[disc(SHAPE, centre, 24) & (nearest == number)] = number
    light = ndimage.gaussian_filter(200 + 500.0 * (cells > 0) + 300 * (nuclei > 0), 1)
    return camera(light, 15, np.random.default_rng(1))[None], nuclei[None], cells


def test_a_cell_has_its_nucleus_number_and_holds_it() -> None:
    """And meets its neighbour half-way, where both are as bright."""
    stack, nuclei, cells = planted()

    same, found = segment_cells(stack, nuclei)

    assert same is stack and found.dtype == np.uint32
    assert (found[nuclei > 0] == nuclei[nuclei > 0]).all()
    assert np.unique(found).tolist() == [0, 1, 2, 3, 4]
    for number in range(1, 5):
        assert dice(found[0] == number, cells == number) >= 0.95


def test_cells_meet_in_a_dark_line_near_by() -> None:
    """Not half-way."""
    stack, nuclei, _ = planted()
    dark = stack.copy()
    dark[0, :, 77:80] = 420

    left, right = (segment_cells(image, nuclei)[1][0] for image in (stack, dark))

    edge = [int(np.flatnonzero(found[50] == 1).max()) for found in (left, right)]
    assert 70 <= edge[0] <= 74 and 76 <= edge[1] <= 80


def test_a_cell_reaches_as_far_as_is_asked() -> None:
    """In pixels or in µm."""
    stack, nuclei, _ = planted()

    near = segment_cells(stack, nuclei, reach_px=5)[1][0]

    distance = ndimage.distance_transform_edt(nuclei[0] == 0)
    assert ((near > 0) <= (distance <= 5)).all() and (near > 0).sum() > 0.9 * (distance <= 5).sum()
    np.testing.assert_array_equal(near, segment_cells(stack, nuclei, reach_um=2.5, pixel_size=0.5)[1][0])


@pytest.mark.parametrize("level", [0, 300, 65535])
def test_where_nothing_is_brighter_the_cell_is_the_nucleus(level: int) -> None:
    """As in an empty, a constant or a saturated channel; without nuclei there are no cells."""
    stack, nuclei, _ = planted()
    flat = np.full_like(stack, level)

    np.testing.assert_array_equal(segment_cells(flat, nuclei)[1], nuclei)
    assert not segment_cells(stack, np.zeros_like(nuclei))[1].any()


def test_cytoplasm_is_the_cell_without_its_nucleus() -> None:
    """With the same number."""
    stack, nuclei, _ = planted()
    cells = segment_cells(stack, nuclei)[1]

    found = cytoplasm(stack, nuclei, cells)[1]

    np.testing.assert_array_equal(found, np.where(nuclei > 0, 0, cells))


def test_cytoplasm_may_be_a_ring() -> None:
    """Of a width in pixels or in µm, each pixel the nearest nucleus', no nucleus in it; inside cells, if there are."""
    stack, nuclei, _ = planted()
    nuclei[0, 110:118, 80:84] = 5  # two pixels from nucleus 3

    ring = cytoplasm(stack, nuclei, ring_px=4)[1]
    in_cells = cytoplasm(stack, nuclei, cells=np.where(nuclei == 1, 1, 0).astype(np.uint32), ring_px=4)[1]

    distances = np.array([ndimage.distance_transform_edt(nuclei[0] != number) for number in range(1, 6)])
    assert ((ring[0] > 0) == ((distances.min(0) <= 4) & (nuclei[0] == 0))).all()
    at = ring[0] > 0
    np.testing.assert_allclose(
        np.take_along_axis(distances, ring.astype(int) - 1, axis=0)[0][at], distances.min(0)[at], atol=1e-9
    )
    np.testing.assert_array_equal(ring, cytoplasm(stack, nuclei, ring_um=2, pixel_size=0.5)[1])
    assert not in_cells.any()


def test_one_plane_of_labels_serves_all_planes() -> None:
    """As labels of a projection do."""
    stack, nuclei, _ = planted()
    several = np.concatenate([stack, stack[:, ::-1], stack])

    found = segment_cells(several, nuclei)[1]

    assert found.shape == several.shape
    np.testing.assert_array_equal(found[0], found[2])


def test_spots_are_found_where_they_are() -> None:
    """Each one, none of noise, none of a large bright area; discs of the diameter around their centres."""
    random, shape = np.random.default_rng(2), (200, 200)
    light = np.full(shape, 400.0)
    centres = [(y, x) for y in range(20, 190, 24) for x in range(20, 190, 24)]
    for y, x in centres:
        light[disc(shape, (y, x), 2)] += 300
    light += 500 * (np.indices(shape)[1] > 150)
    stack = camera(ndimage.gaussian_filter(light, 0.7), 15, random)[None]

    _, found = spots(stack, diameter_px=5)

    assert found.dtype == np.uint32 and np.unique(found).tolist() == list(range(int(found.max()) + 1))
    middles = ndimage.center_of_mass(found[0] > 0, found[0], range(1, int(found.max()) + 1))
    inner = [(y, x) for y, x in centres if abs(x - 150) > 6]
    assert all(min(np.hypot(y - a, x - b) for a, b in middles) <= 1 for y, x in inner)
    assert len([at for at in middles if abs(at[1] - 150) > 8]) == len([at for at in inner if abs(at[1] - 150) > 8])
    areas = np.bincount(found.ravel())[1:]
    assert areas.min() >= 13 and areas.max() <= 25
    np.testing.assert_array_equal(found, spots(stack, diameter_um=1, pixel_size=0.2)[1])


def test_the_threshold_of_spots_is_their_height() -> None:
    """Of discs of the diameter, in the middle."""
    shape = (60, 60)
    stack = np.where(disc(shape, (30, 30), 5), 1000.0, 200.0)[None].astype(np.float32)

    assert spots(stack, diameter_px=10, threshold=600)[1].max() == 1
    assert spots(stack, diameter_px=10, threshold=1000)[1].max() == 0


@pytest.mark.parametrize("name", ["constant", "saturated", "noise", "gradient"])
def test_an_image_without_spots_has_none(name: str) -> None:
    """0 is a number."""
    random = np.random.default_rng(4)
    image = {
        "constant": np.full((100, 100), 300, np.uint16),
        "saturated": np.full((100, 100), 65535, np.uint16),
        "noise": camera(np.full((500, 500), 500.0), 20, random),
        "gradient": np.add.outer(np.arange(100), np.arange(100)).astype(np.uint16),
    }[name]
    assert spots(image[None], diameter_px=4)[1].max() == 0


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda stack, nuclei: segment_cells(stack, nuclei[:, 1:]), "nuclei has shape (1, 159, 200)"),
        (lambda stack, nuclei: segment_cells(stack, nuclei * 0.5), "give whole numbers (plane, y, x)"),
        (lambda stack, nuclei: segment_cells(stack, nuclei.astype(int) - 1), "numbers below 0"),
        (lambda stack, nuclei: segment_cells(stack, nuclei, reach_um=3), "the size of a pixel is not known"),
        (lambda stack, nuclei: segment_cells(stack, nuclei, threshold="mean"), "threshold='mean' must be otsu, local"),
        (lambda stack, nuclei: cytoplasm(stack, nuclei), "no function before it makes 'cells', and no ring is given"),
        (lambda stack, nuclei: cytoplasm(stack, nuclei, ring_px=-2), "ring_px=-2 must be a finite number of pixels"),
        (lambda stack, nuclei: spots(stack), "needs the diameter of a spot"),
        (lambda stack, nuclei: spots(stack, diameter_px=1), "1 px, must be at least 2 px"),
        (lambda stack, nuclei: spots(stack, diameter_px=4, threshold=-1), "threshold=-1 must be a finite number"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, sentence: str) -> None:
    """With the function, and what would be right."""
    stack, nuclei, _ = planted()
    with pytest.raises(ValueError) as refused:  # its sentence is compared below
        call(stack, nuclei)
    assert sentence in str(refused.value)


def test_pixels_without_a_value_are_refused() -> None:
    """In cells and spots, too."""
    stack, nuclei, _ = planted()
    broken = stack.astype(np.float32)
    broken[0, 3, 3] = np.nan
    for call in (lambda: segment_cells(broken, nuclei), lambda: spots(broken, diameter_px=4)):
        with pytest.raises(PixelValueError, match="NaN"):
            call()


def test_nuclei_cells_and_cytoplasm_are_related() -> None:
    """From one image to the next: as many cells as nuclei, whatever is left out."""
    stack, nuclei, _ = planted()
    light = camera(200 + 900.0 * (nuclei > 0), 10, np.random.default_rng(5))

    _, found, summary = segment_nuclei(light, minimum_area_px=30)
    cells = segment_cells(stack, found)[1]
    body = cytoplasm(stack, found, cells)[1]

    assert summary["objects"] == [4] == [int(cells.max())]
    assert set(np.unique(body)) == set(np.unique(cells)) == set(np.unique(found))


def test_a_ring_may_be_given_in_diameters() -> None:
    """It scales with the nuclei, and begins behind a gap if one is asked for."""
    for radius in (8, 16):
        y, x = np.mgrid[:120, :120]
        away = np.hypot(y - 60, x - 60)
        nuclei = (away <= radius).astype(np.uint32)[None]
        ring = cytoplasm(nuclei, nuclei, ring_diameters=0.25, gap_diameters=0.25)[1][0] > 0

        assert away[ring].min() == pytest.approx(1.5 * radius, abs=1.5)
        assert away[ring].max() == pytest.approx(2 * radius, abs=1.5)
    assert not cytoplasm(nuclei, np.zeros_like(nuclei), ring_diameters=0.25)[1].any()


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"ring_diameters": 0}, "ring_diameters=0 must be a finite number above 0"),
        ({"ring_diameters": 0.2, "ring_px": 3}, "another parameter says, too"),
        ({"ring_px": 3, "gap_diameters": -1}, "gap_diameters=-1 must be a finite number, at least 0"),
        ({"gap_diameters": 0.2, "cells": np.ones((1, 9, 9), np.uint32)}, "but no ring is given"),
    ],
)
def test_a_ring_in_diameters_may_be_wrong(parameters: Any, sentence: str) -> None:
    """Refused with what would be right."""
    nuclei = np.ones((1, 9, 9), np.uint32)
    with pytest.raises(ValueError, match=sentence):
        cytoplasm(nuclei, nuclei, **parameters)
