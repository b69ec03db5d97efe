"""The numbers of a well in its record: what was counted, medians, image quality; the UI plots them over the wells."""

from __future__ import annotations

import dagster as dg
import polars
import pytest

from tests.dagster.deployments import Deployment
from tests.dagster.test_plate_graph import recorded

MEASURED = """
from openhcs_engine import FunctionStep, GroupBy, Pipeline, VariableComponents
from openhcs_engine.functions import create_max_projection, measure, measure_quality, segment_nuclei

pipeline = Pipeline([
    FunctionStep(create_max_projection, variable_components=[VariableComponents.Z_INDEX]),
    FunctionStep({"DAPI": segment_nuclei}, group_by=GroupBy.CHANNEL, uncovered="pass"),
    FunctionStep([measure, measure_quality], variable_components=[VariableComponents.CHANNEL]),
])
"""


def test_a_wells_record_has_its_main_numbers_and_its_image_quality(deployment: Deployment) -> None:
    """As numbers, equal to the tables; a well that is recorded again, unchanged, has them, too."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("measured", text=MEASURED))
    for _ in range(2):
        deployment.run(entry, "A01")

        metadata = recorded(deployment, "P001")["A01"].metadata
        tables = entry.output_plan.folder / "tables"
        objects = polars.read_parquet(tables / "nuclei" / "A01.parquet")
        quality = polars.read_parquet(tables / "quality" / "A01.parquet").filter(channel=1)

        assert metadata["Count_Nuclei"] == dg.MetadataValue.int(objects.height)
        area = metadata["Median_Nuclei_AreaShape_Area"].value
        assert area == objects["Nuclei_AreaShape_Area"].median()
        slopes = metadata["quality: power_log_log_slope, DAPI"]
        assert isinstance(slopes, dg.FloatMetadataValue)
        assert slopes.value == pytest.approx(quality["power_log_log_slope"].median())
        for name in ("laplacian_variance", "saturated_fraction", "blank_fraction", "background_level"):
            for channel in ("DAPI", "GFP"):
                assert isinstance(metadata[f"quality: {name}, {channel}"], dg.FloatMetadataValue)


def test_a_well_without_tables_has_no_numbers(deployment: Deployment) -> None:
    """Its record is as it was."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("sound"))
    deployment.run(entry, "A01")
    metadata = recorded(deployment, "P001")["A01"].metadata
    assert not [name for name in metadata if name.startswith(("Count_", "Median_", "quality"))]
    assert "numbers" not in metadata
