"""The benchmark of stitching measures both on the same tiles, against the truth."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import stitching


def test_errors_are_distances_from_the_truth() -> None:
    """Where all tiles lie does not count; a peer that knows the truth has none."""
    planted = stitching.plant(1, 2, seed=1)
    shifted = planted.true + np.array([[3.0, 0.0], [-3.0, 0.0]])

    assert stitching.compare(planted, 1, lambda tiles: tiles.true + 100).theirs_px == pytest.approx(0)
    found = stitching.compare(planted, 1, lambda tiles: shifted)
    assert found.theirs_px == pytest.approx(3)
    assert found.ours_px < 0.5 < found.stage_px
    assert found.ours_s > 0 and found.ratio > 0


def test_the_claim_is_about_error_and_time() -> None:
    """It does not hold if either is missed."""
    sound = stitching.Comparison(theirs_s=10, ours_s=1, ratio=0.1, theirs_px=0.5, ours_px=0.1, stage_px=10)

    assert sound.holds
    assert not stitching.Comparison(theirs_s=10, ours_s=3, ratio=0.3, theirs_px=0.5, ours_px=0.1, stage_px=10).holds
    assert not stitching.Comparison(theirs_s=10, ours_s=1, ratio=0.1, theirs_px=0.05, ours_px=0.1, stage_px=10).holds


def test_m2stitch_is_beaten_in_error_and_time() -> None:
    """On the same tiles; where m2stitch is installed."""
    pytest.importorskip("m2stitch", reason="m2stitch is not installed")
    found = stitching.compare(stitching.plant(3, 3, seed=1), 1)

    assert found.theirs_px < 2, "its axes or its offset are wrong"
    assert found.ours_px <= found.theirs_px and np.isfinite(found.ratio)
