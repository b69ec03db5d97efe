"""The ratio of nuclear and cytoplasmic intensity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from openhcs_engine.functions import measure_translocation

NUCLEI, CYTOPLASM = np.zeros((1, 60, 60), np.uint32), np.zeros((1, 60, 60), np.uint32)
NUCLEI[0, 10:20, 10:20], CYTOPLASM[0, 22:32, 10:20] = 1, 1
NUCLEI[0, 10:20, 40:50], CYTOPLASM[0, 22:31, 40:42] = 4, 4
"""Two cells; the second has 18 pixels of cytoplasm, and there are no numbers between."""


def image(inside: float = 900, around: float = 400, background: float = 100) -> np.ndarray[Any, Any]:
    """A plane with cells on an even background."""
    plane = np.full((1, 60, 60), background, np.float32)
    plane[NUCLEI > 0], plane[CYTOPLASM > 0] = inside, around
    return plane


def test_the_background_of_the_site_does_not_count() -> None:
    """(900 - 100) / (400 - 100); adding an offset to the camera changes nothing."""
    stack, table = measure_translocation(image(), NUCLEI, CYTOPLASM)
    brighter = measure_translocation(image() + 500, NUCLEI, CYTOPLASM)[1]

    assert (stack == image()).all()
    assert table["object"].to_pylist() == [1, 4]
    assert table["ratio"][0].as_py() == pytest.approx(800 / 300, rel=1e-4)
    assert brighter["ratio"][0].as_py() == pytest.approx(800 / 300, rel=1e-4)
    assert table["nuclear_mean"].to_pylist() == [900, 900] and table["cytoplasmic_mean"].to_pylist() == [400, 400]
    assert table["background"][0].as_py() == pytest.approx(100)


def test_a_cytoplasm_of_few_pixels_has_no_ratio() -> None:
    """Fewer than 20, or than is asked for: null, never NaN; 20 are enough."""
    few = measure_translocation(image(), NUCLEI, CYTOPLASM)[1]
    wider = CYTOPLASM.copy()
    wider[0, 31, 40:42] = 4

    assert few["cytoplasm_px"].to_pylist() == [100, 18] and few["ratio"].to_pylist()[1] is None
    assert measure_translocation(image(), NUCLEI, wider)[1]["ratio"].null_count == 0
    assert measure_translocation(image(), NUCLEI, CYTOPLASM, minimum_cytoplasm_px=18)[1]["ratio"].null_count == 0


@pytest.mark.parametrize("around", [100, 60, np.nan])
def test_a_cytoplasm_that_is_not_brighter_than_the_background_has_no_ratio(around: float) -> None:
    """Division by nothing, a negative ratio, or pixels that are no numbers."""
    table = measure_translocation(image(around=around), NUCLEI, CYTOPLASM)[1]

    assert table["ratio"].to_pylist() == [None, None]
    assert all(np.isfinite(table[name].drop_null().to_numpy()).all() for name in table.column_names)


def test_no_cells_are_no_rows() -> None:
    """With the same columns and types, also of integers, of one value and of saturated planes."""
    none = np.zeros_like(NUCLEI)
    filled = measure_translocation(image(), NUCLEI, CYTOPLASM)[1]
    for plane in (np.zeros((1, 60, 60), np.uint16), np.full((1, 60, 60), 65535, np.uint16)):
        table = measure_translocation(plane, none, none)[1]
        assert table.num_rows == 0 and table.schema == filled.schema
        assert measure_translocation(plane, NUCLEI, CYTOPLASM)[1]["ratio"].to_pylist() == [None, None]


def test_a_cytoplasm_without_its_nucleus_is_no_cell() -> None:
    """Numbers that only the cytoplasm has are left out, whether they are larger or between."""
    strangers = CYTOPLASM.copy()
    strangers[0, 50:60, :30], strangers[0, 50:60, 30:] = 9, 2

    table = measure_translocation(image(), NUCLEI, strangers)[1]
    assert table["object"].to_pylist() == [1, 4] and table["cytoplasm_px"].to_pylist() == [100, 18]


def test_planes_are_measured_by_themselves() -> None:
    """Rows say the coordinates that the engine gives; labels of one plane serve all."""
    stack = np.concatenate((image(), image(inside=400)))
    keys = [{"site": 3, "channel": 2, "z_index": None, "timepoint": time} for time in (1, 2)]
    table = measure_translocation(stack, NUCLEI, CYTOPLASM, plane_keys=keys)[1]

    assert table["site"].to_pylist() == [3] * 4 and table["timepoint"].to_pylist() == [1, 1, 2, 2]
    assert "z_index" not in table.column_names
    assert table["ratio"].to_pylist()[::2] == pytest.approx([800 / 300, 1], rel=1e-4)


def test_what_is_wrong_is_said() -> None:
    """Labels of another shape; a number of pixels that is none."""
    with pytest.raises(ValueError, match="cytoplasm has shape"):
        measure_translocation(image(), NUCLEI, CYTOPLASM[:, :50])
    for wrong in (0, 2.5, True):
        with pytest.raises(ValueError, match="must be a whole number of pixels, at least 1"):
            measure_translocation(image(), NUCLEI, CYTOPLASM, minimum_cytoplasm_px=wrong)  # type: ignore[arg-type] # no
