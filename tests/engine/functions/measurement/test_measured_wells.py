"""Measurements in pipelines: labels by name, one table an object class, its summary, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator, VariableComponents
from openhcs_engine.compiler import compile_plate
from openhcs_engine.errors import CompilationError
from openhcs_engine.functions import create_max_projection, measure
from openhcs_engine.functions.measurement import cellprofiler
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json
from openhcs_engine.plan.facts.facts import facts_of_plan
from openhcs_engine.plan.facts.rows import step_rows
from tests.engine.functions.measurement import planted_steps as steps
from tests.engine.plates import make_plate, output_plan

CHANNEL, SITE, Z = VariableComponents.CHANNEL, VariableComponents.SITE, VariableComponents.Z_INDEX
PROJECT = FunctionStep(create_max_projection, variable_components=[Z])


def planting(**parameters: Any) -> FunctionStep:
    """Labels of channel DAPI alone."""
    return FunctionStep({"DAPI": (steps.plant, parameters)}, uncovered="pass", variable_components=[SITE])


def measuring(**parameters: Any) -> FunctionStep:
    """All channels of a site at once."""
    return FunctionStep((measure, parameters), variable_components=[CHANNEL])


def run(plate: Path, output: Path, *steps: FunctionStep, wells: str = "A01,A02") -> Path:
    """Compile and execute; where the tables are."""
    orchestrator = PipelineOrchestrator(plate, output=output, runner="threads").initialize()
    pipeline = Pipeline(steps)
    contexts = orchestrator.compile_pipelines(pipeline_definition=pipeline, well_filter=wells)
    results = orchestrator.execute_compiled_plate(pipeline, contexts, max_workers=1)
    assert [result.error for result in results.values()] == [None] * len(results)
    return output / "small" / "tables"


def refused(*steps: FunctionStep) -> list[str]:
    """Why the steps are refused on a plate of the channels DAPI and GFP."""
    plate, index = make_plate()
    with pytest.raises(CompilationError) as caught:
        compile_plate(plate, index, Pipeline(steps), output=output_plan())
    return [violation.message for violation in caught.value.violations]


@pytest.fixture(scope="module")
def tables(small_plate: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nuclei of two sites and two channels, one at site 1 and two at site 2."""
    return run(small_plate, tmp_path_factory.mktemp("measured"), PROJECT, planting(), measuring())


def test_a_table_has_a_row_an_object_and_says_where_it_is(tables: Path) -> None:
    """Well, site and object in front; columns of all channels in one row; published, joined and verified."""
    rows = pl.read_parquet(tables / "nuclei" / "A01.parquet")

    assert rows.columns[:4] == ["well", "site", "object", "timepoint"]
    assert rows.select("well", "site", "object").rows() == [("A01", 1, 1), ("A01", 2, 1), ("A01", 2, 2)]
    assert rows["Nuclei_AreaShape_Area"].to_list() == [9, 9, 9]
    assert {"Nuclei_Intensity_MeanIntensity_DAPI", "Nuclei_Intensity_MeanIntensity_GFP"} <= set(rows.columns)
    joined = pl.read_parquet(tables / "nuclei.parquet")
    assert joined["well"].to_list() == ["A01"] * 3 + ["A02"] * 3 and joined.schema == rows.schema
    assert verify(tables.parent).ok


def test_intensities_are_those_of_the_channels_pixels(tables: Path, small_plate: Path) -> None:
    """Read from the raw files by other means than ours."""
    rows = pl.read_parquet(tables / "nuclei" / "A01.parquet").filter((pl.col("site") == 2) & (pl.col("object") == 2))
    for number, channel in ((1, "DAPI"), (2, "GFP")):
        files = sorted(file for file in small_plate.rglob(f"*_A01_s2_w{number}*") if "thumb" not in file.name)
        projected = np.max([tifffile.imread(file) for file in files], axis=0)
        assert rows[f"Nuclei_Intensity_MeanIntensity_{channel}"].item() == pytest.approx(projected[7:10, 2:5].mean())


def test_the_table_wells_summarises_each_site_and_the_well(tables: Path) -> None:
    """Counts, means, medians and deviations; the well's own row has no site."""
    rows = pl.read_parquet(tables / "wells" / "A01.parquet")
    objects = pl.read_parquet(tables / "nuclei" / "A01.parquet")["Nuclei_Intensity_MeanIntensity_GFP"]

    assert rows["site"].to_list() == [1, 2, None] and rows["Count_Nuclei"].to_list() == [1, 2, 3]
    whole = rows.row(2, named=True)
    assert whole["Mean_Nuclei_Intensity_MeanIntensity_GFP"] == pytest.approx(objects.mean())
    assert whole["Median_Nuclei_Intensity_MeanIntensity_GFP"] == pytest.approx(objects.median())
    deviation = (objects - objects.median()).abs().median()
    assert whole["MAD_Nuclei_Intensity_MeanIntensity_GFP"] == pytest.approx(deviation)
    assert not any("ObjectNumber" in name or "_object" in name for name in rows.columns)
    assert pl.read_parquet(tables / "wells.parquet").height == 6


def test_a_well_without_objects_has_the_same_columns(small_plate: Path, tmp_path: Path, tables: Path) -> None:
    """No rows of the same types, and counts of 0 with nulls; readers of all wells at once see one schema."""
    nothing = run(small_plate, tmp_path, PROJECT, planting(empty=[1, 2]), measuring(), wells="A01")
    rows, counts = (pl.read_parquet(nothing / name / "A01.parquet") for name in ("nuclei", "wells"))

    assert rows.height == 0 and rows.schema == pl.read_parquet(tables / "nuclei" / "A01.parquet").schema
    assert counts.schema == pl.read_parquet(tables / "wells" / "A01.parquet").schema
    assert counts["site"].to_list() == [1, 2, None] and counts["Count_Nuclei"].to_list() == [0, 0, 0]
    assert counts["Mean_Nuclei_AreaShape_Area"].to_list() == [None] * 3


def test_a_site_without_objects_counts_0_beside_one_that_has_some(
    small_plate: Path, tmp_path: Path, tables: Path
) -> None:
    """Columns that are null in a whole well keep their type: with one object there is no other one."""
    one = run(small_plate, tmp_path, PROJECT, planting(empty=[2]), measuring(), wells="A01")

    assert pl.read_parquet(one / "nuclei" / "A01.parquet").schema == pl.read_parquet(tables / "nuclei.parquet").schema
    assert pl.read_parquet(one / "wells" / "A01.parquet")["Count_Nuclei"].to_list() == [1, 0, 1]


def test_the_plan_says_what_is_taken_and_made(small_plate: Path) -> None:
    """The labels by name, the table under the same name; a document of it is the same plan."""
    plate, index = make_plate()
    compiled = compile_plate(plate, index, Pipeline([planting(), measuring(features="shape")]), output=output_plan())
    (call,) = compiled.contexts["A01"].steps[1].routes[0].calls

    assert [(made.name, made.kind) for made in call.side_outputs] == [("nuclei", "measurements")]
    (labels,) = (taken for taken in call.side_inputs if taken.target == "labels")
    assert labels.name == "nuclei" and [source.step for source in labels.sources] == [1]
    assert contexts_from_json(contexts_to_json(compiled.contexts)) == compiled.contexts
    shown = step_rows(facts_of_plan(compiled.contexts))[1]["makes"]
    assert "nuclei (measurements), kept in tables/nuclei, summarised in tables/wells" in shown


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"features": ["shape", "texure"]}, "Did you mean 'texture'?"),
        ({"features": []}, "features is empty"),
        ({"features": 3}, "must be names of measurements"),
        ({"channels": ["Cy5"]}, "channel 'Cy5' is not there (there are: DAPI, GFP)"),
        ({"channels": "DAPI"}, "must be a list of channels' names"),
        ({"neighbors": -1}, "neighbors=-1 must be 'adjacent', 'expanded'"),
        ({"neighbors": "near"}, "neighbors='near' must be"),
        ({"maximum": 0}, "maximum=0 must be a number above 0"),
        ({"texture_scale": 0}, "texture_scale=0 must be a whole number"),
        ({"features": "texture"}, "texture needs maximum="),
        ({"objects": "cells"}, "takes 'cells', which no step before it makes"),
        ({"objects": "no name"}, "cannot name side data"),
        ({"objects": 7}, "cannot name side data"),
        ({"feature": "shape"}, "did you mean 'features'?"),
    ],
)
def test_wrong_parameters_are_refused_when_compiling(parameters: dict[str, Any], sentence: str) -> None:
    """Before a pixel is read, with what would be right."""
    assert any(sentence in message for message in refused(planting(), measuring(**parameters)))


def test_all_that_is_wrong_is_refused_together() -> None:
    """One compilation names every parameter."""
    found = refused(planting(), measuring(features="colour", channels=["Cy5"], neighbors=0, maximum=-1))
    assert len(found) == 4 and all(message.startswith("measure: ") for message in found)

    both = refused(planting(), measuring(features=["shap", "Texture_Entropy_00_256"]))
    assert any("'shap'" in message for message in both) and any("texture needs maximum" in message for message in both)


def test_what_cp_measure_computes_is_refused_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of the package, and how to get it."""
    monkeypatch.setattr(cellprofiler, "find_spec", lambda name: None)
    (message,) = refused(planting(), measuring(features=["shape", "granularity", "zernike"]))

    assert "granularity, zernike is computed by the package cp_measure" in message
    assert "openhcs-dagster[measure]" in message


def test_the_name_of_the_summary_is_taken() -> None:
    """A table or measurements called wells, before or behind others, are refused."""
    table = FunctionStep(steps.a_table_of_wells, variable_components=[CHANNEL])

    assert any("'wells' summarises all measurements" in message for message in refused(planting(), measuring(), table))
    assert any("'wells' summarises all measurements" in message for message in refused(table, planting(), measuring()))


def test_measurements_of_ones_own_are_summarised_too(small_plate: Path, tmp_path: Path) -> None:
    """NaN is null, the object comes behind the site, and the columns get the table's name in the summary."""
    made = run(small_plate, tmp_path, PROJECT, FunctionStep(steps.ratios, variable_components=[CHANNEL]), wells="A01")
    rows = pl.read_parquet(made / "ratios" / "A01.parquet")
    counts = pl.read_parquet(made / "wells" / "A01.parquet")

    assert rows.columns == ["well", "site", "object", "timepoint", "ratio"]
    assert rows["ratio"].to_list() == [1.0, None, 4.0] * 2
    assert counts["Count_Ratios"].to_list() == [3, 3, 6] and counts["Median_Ratios_ratio"].to_list() == [2.5] * 3


def test_measurements_without_numbered_objects_fail_the_well(small_plate: Path, tmp_path: Path) -> None:
    """The well's error names the column that is needed."""
    orchestrator = PipelineOrchestrator(small_plate, output=tmp_path, runner="threads").initialize()
    pipeline = Pipeline([PROJECT, FunctionStep(steps.unnumbered, variable_components=[CHANNEL])])
    contexts = orchestrator.compile_pipelines(pipeline_definition=pipeline, well_filter="A01")
    (result,) = orchestrator.execute_compiled_plate(pipeline, contexts, max_workers=1).values()

    assert "need a column 'object'" in str(result.error) and "unnumbered" in str(result.error)
