"""Outlines of a trial: where they lie, and that small objects do not vanish."""

from __future__ import annotations

import numpy as np
from imagecodecs import png_decode

from openhcs_engine.trials.combinations import combinations_of
from openhcs_engine.trials.page import number
from openhcs_engine.trials.pictures import count_objects, outlines

RED = (255, 0, 0)


def _alpha(labels: np.ndarray) -> np.ndarray:
    return np.asarray(png_decode(outlines(labels, RED)))[..., 3] > 0


def test_an_outline_is_the_rim_inside_the_object() -> None:
    """A square of five pixels has a ring of sixteen; nothing is drawn outside of it."""
    labels = np.zeros((12, 12), np.uint32)
    labels[3:8, 3:8] = 1
    ring = labels.astype(bool)
    ring[4:7, 4:7] = False
    assert np.array_equal(_alpha(labels), ring)


def test_objects_that_touch_are_apart() -> None:
    """Each has its own rim at the border between them."""
    labels = np.zeros((9, 12), np.uint32)
    labels[2:7, 2:6], labels[2:7, 6:10] = 1, 2
    assert _alpha(labels)[4, 5:7].all()
    assert not _alpha(labels)[4, 3:5].any()


def test_an_object_of_one_pixel_is_drawn_in_a_large_image() -> None:
    """An image that is drawn smaller keeps every object's outline."""
    labels = np.zeros((2400, 1300), np.uint32)
    labels[1001, 501] = 7
    drawn = _alpha(labels)
    assert drawn.shape == (1200, 650)
    assert drawn.sum() == 1
    assert drawn[500, 250]


def test_objects_are_counted_by_their_numbers() -> None:
    """Gaps do not count; 0 is no object."""
    assert count_objects(np.array([[0, 3, 3], [9, 0, 0]], np.uint32)) == 2
    assert count_objects(np.zeros((3, 3), np.uint32)) == 0


def test_values_with_commas_are_separated_by_semicolons() -> None:
    """A list is one value."""
    tried = combinations_of(["measure.features=shape,count;intensity", "x=1,2"], {})
    assert [each.settings({"y": 3}) for each in tried] == [
        {"y": 3, "measure.features": features, "x": x} for features in ("shape,count", "intensity") for x in "12"
    ]


def test_numbers_are_written_as_people_write_them() -> None:
    """Thousands with commas, small ones with four digits, none as a dash."""
    assert [number(value) for value in (None, 0, 12345, 3.0, 0.01234567, 12345.6)] == [
        "–", "0", "12,345", "3", "0.01235", "12,346",
    ]  # fmt: skip
