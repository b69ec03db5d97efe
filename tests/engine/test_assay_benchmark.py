"""The assay's benchmark compares like with like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import assay, assay_sides
from benchmarks.measuring import COLUMNS
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.synthetic import SyntheticImages

assay_script = pytest.importorskip("benchmarks.assay_script")


@pytest.mark.parametrize("objects", [190, 500])
def test_both_sides_find_the_planted_nuclei(objects: int) -> None:
    """All of them, apart or in touching pairs, with one foreground."""
    images = SyntheticImages(assay.field_spec(objects, 540))
    planted = len(images.objects("A01", 1))

    found = assay.compare_field(images.plane(ImageKey("A01", 1, 1, 1, 1)), planted, repeat=1)

    assert planted == round(objects * 540**2 / 1080**2)
    assert found.counts == (planted, planted)
    assert found.dice >= 0.995 and found.matched >= 0.995
    assert min(found.script_s, found.ours_s, found.ratio, found.measuring) > 0


def test_both_sides_have_the_same_settings_and_columns() -> None:
    """The script's smallest size, and its columns for one channel."""
    plane = SyntheticImages(assay.field_spec(190, 300)).plane(ImageKey("A01", 1, 1, 1, 1))
    columns = assay_script.measure(assay_script.segment(plane), plane)

    assert set(columns) == set(COLUMNS) and len(columns) == 20
    assert assay_sides.SETTINGS["minimum_area_px"] == assay_script.SMALLEST_PX


def test_dice_and_matches_are_those_of_small_examples() -> None:
    """An object is matched where more than half of the union is shared; without objects all is matched."""
    first = np.zeros((4, 12), np.uint32)
    first[:, :4], first[:, 6:10] = 1, 2
    second = np.zeros_like(first)
    second[:, :3], second[:, 9:12] = 5, 6

    assert assay.matched(first, second) == 0.5
    assert assay.dice(first, second) == pytest.approx(2 * (12 + 4) / (32 + 24))
    assert assay.matched(first, first) == assay.dice(first, first) == 1
    assert assay.matched(np.zeros_like(first), second) == 1
    assert assay.dice(np.zeros_like(first), np.zeros_like(first)) == 1


def test_memory_is_that_of_a_process_of_its_own(tmp_path: Path) -> None:
    """The peak is not below what the imports take."""
    plane = SyntheticImages(assay.field_spec(190, 200)).plane(ImageKey("A01", 1, 1, 1, 1))
    for side in assay_sides.SIDES:
        imports, peak = assay.memory_of(side, plane, tmp_path)
        assert 0 < imports <= peak


@pytest.mark.slow
def test_whole_runs_count_the_same_in_each_well(tmp_path: Path) -> None:
    """Script and ``openhcs run`` on one plate of two channels."""
    ran = assay.compare_runs(2, 190, 300, tmp_path, diameter=28)

    assert ran.different == 0
    assert min(ran.script.cpu_s, ran.ours.cpu_s) > 0
