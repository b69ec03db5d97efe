"""The numbers of a well that a person looks at first."""

from __future__ import annotations

import pyarrow as pa

from openhcs_engine.output.tables.numbers import numbers_of

CHANNELS = {1: "DAPI", 2: "GFP"}


def _main(tables: dict[str, pa.Table]) -> dict[str, float | int | None]:
    return {each.name: each.value for each in numbers_of(tables, CHANNELS) if each.is_main}


def _summary(**columns: list[float | None]) -> pa.Table:
    return pa.table({"well": ["A01"] * 3, "site": [1, 2, None], **columns})


def test_of_summaries_the_row_of_the_whole_well_is_taken() -> None:
    """Counts and medians of it; the table that was summarised is not looked at again; 0 objects is a number."""
    summary = _summary(Count_Nuclei=[1, 2, 3], Mean_Nuclei_Area=[1, 2, 9], Median_Nuclei_Area=[4.0, 6.0, 5.0])
    objects = pa.table({"well": ["A01"] * 3, "object": [1, 2, 3], "Nuclei_Area": [4.0, 5.0, 6.0]})
    assert _main({"wells": summary, "nuclei": objects}) == {"Count_Nuclei": 3, "Median_Nuclei_Area": 5.0}
    none = pa.table({"well": ["A01"], "site": pa.array([None], pa.int64()), "Count_Nuclei": [0]})
    assert _main({"wells": none}) == {"Count_Nuclei": 0}


def test_of_many_measurements_area_and_mean_intensity_are_main_ones() -> None:
    """Not all of eighty, and none of the edges' intensities; the others are there and are no main ones."""
    names = [f"Median_Nuclei_AreaShape_{number}" for number in range(20)]
    names += ["Median_Nuclei_AreaShape_Area", "Median_Nuclei_Intensity_MeanIntensity_GFP"]
    names += ["Median_Nuclei_Intensity_MeanIntensityEdge_GFP"]
    tables = {"wells": _summary(Count_Nuclei=[1, 1, 2], **{name: [0.0, 0.0, 1.0] for name in names})}
    assert list(_main(tables)) == [
        "Count_Nuclei", "Median_Nuclei_AreaShape_Area", "Median_Nuclei_Intensity_MeanIntensity_GFP",
    ]  # fmt: skip
    assert len(numbers_of(tables, CHANNELS)) == 1 + len(names)


def test_image_quality_is_a_median_for_each_channel() -> None:
    """All of its columns are main numbers; null does not count, and where all is null there is no number."""
    quality = pa.table(
        {"well": ["A01"] * 4, "site": [1, 2, 1, 2], "channel": [1, 1, 2, 2], "focus": [1.0, 3.0, None, None]}
    )
    assert _main({"quality": quality}) == {
        "quality: focus, DAPI": 2.0,
        "quality: focus, GFP": None,
    }


def test_any_table_gives_its_rows_and_its_columns_of_numbers() -> None:
    """Of one row the values, whole ones as whole ones; coordinates and texts are no numbers."""
    table = pa.table({"well": ["A01"], "site": [3], "count": [7], "name": ["x"], "ratio": [0.5]})
    assert _main({"cells": table}) == {"cells: rows": 1, "cells: count": 7, "cells: ratio": 0.5}
    empty = table.slice(0, 0)
    assert _main({"cells": empty}) == {"cells: rows": 0, "cells: count": None, "cells: ratio": None}
    own = pa.table({"well": ["A01", "A01"], "value": [1.0, 2.0]})
    assert _main({"wells": own}) == {}
