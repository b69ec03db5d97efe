"""Segmentation as steps: compiled, run, kept as labels and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator, VariableComponents
from openhcs_engine.compiler import compile_plate
from openhcs_engine.errors import CompilationError
from openhcs_engine.functions import create_max_projection, cytoplasm, segment_cells, segment_nuclei, spots
from openhcs_engine.memory import checked_by, numpy, special_inputs
from openhcs_engine.memory.stack import Array
from openhcs_engine.ngff.reading.reader import open_plate
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.pipeline.settings import configured
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json
from tests.engine.plates import make_plate, output_plan

Z, TIME = [VariableComponents.Z_INDEX], [VariableComponents.TIMEPOINT]
NUCLEI = FunctionStep({"DAPI": segment_nuclei}, uncovered="pass", variable_components=TIME)
CELLS = FunctionStep({"GFP": segment_cells}, uncovered="pass", variable_components=TIME)


def refused(*steps: FunctionStep, **changes: Any) -> list[tuple[int | None, str | None, str]]:
    """Step, key and sentence of each violation, on a plate without files."""
    plate, index = make_plate()
    with pytest.raises(CompilationError) as error:
        compile_plate(replace(plate, **changes), index, Pipeline(steps), output=output_plan())
    return [(each.step_number, each.key, each.message) for each in error.value.violations]


def kwargs(step: FunctionStep, **changes: Any) -> Mapping[str, Any]:
    """Parameters of the first call of a compiled step."""
    plate, index = make_plate()
    compiled = compile_plate(replace(plate, **changes), index, Pipeline([step]), output=output_plan())
    assert contexts_from_json(contexts_to_json(compiled.contexts)) == compiled.contexts
    values: Mapping[str, Any] = compiled.contexts["A01"].steps[0].routes[0].calls[0].kwargs.thaw()
    return values


def test_nuclei_cells_and_cytoplasm_are_kept_as_labels(small_plate: Path, tmp_path: Path) -> None:
    """In every well, related by their numbers, with a row a plane that says how nuclei were found; also 0 of them."""
    orchestrator = PipelineOrchestrator(small_plate, output=tmp_path, runner="threads").initialize()
    pipeline = Pipeline(
        [
            FunctionStep(create_max_projection, variable_components=Z),
            NUCLEI,
            CELLS,
            FunctionStep({"GFP": cytoplasm}, uncovered="pass", variable_components=TIME),
            FunctionStep({"GFP": (spots, {"diameter_px": 4})}, uncovered="pass", variable_components=TIME),
        ]
    )
    contexts = orchestrator.compile_pipelines(pipeline, well_filter="A01,A02")
    results = orchestrator.execute_compiled_plate(pipeline, contexts, max_workers=1)

    assert [result.error for result in results.values()] == [None, None]
    assert verify(tmp_path / "small").ok
    summary = pl.read_parquet(tmp_path / "small" / "tables" / "nuclei_summary.parquet")
    assert summary.columns[:3] == ["well", "site", "channel"] and len(summary) == 4
    for well in ("A01", "A02"):
        for site in (1, 2):
            field = open_plate(tmp_path / "small" / "images.zarr")[well][site]
            assert set(field.labels) == {"nuclei", "cells", "cytoplasm", "spots"}
            nuclei, cells, body = (np.asarray(field.label(name).array()) for name in ("nuclei", "cells", "cytoplasm"))
            (row,) = summary.filter(pl.col("well") == well, pl.col("site") == site).to_dicts()
            assert row["objects"] == nuclei.max() == cells.max()
            assert (cells[nuclei > 0] == nuclei[nuclei > 0]).all() and not body[nuclei > 0].any()


def test_a_pixel_size_is_asked_for_only_where_a_size_is_in_micrometres() -> None:
    """Without one, a plate runs as long as all is in pixels; what is in µm is refused before the run."""
    in_um = FunctionStep((segment_nuclei, {"minimum_area_um2": 30, "diameter_um": 9}))

    assert kwargs(FunctionStep(segment_nuclei), pixel_size_um=None) == {}
    assert kwargs(in_um, pixel_size_um=0.5)["pixel_size"] == 0.5
    assert kwargs(FunctionStep((segment_nuclei, {"diameter_um": 9, "pixel_size": 0.4})), pixel_size_um=0.5) == {
        "diameter_um": 9,
        "pixel_size": 0.4,
    }
    assert [(step, key) for step, key, _ in refused(in_um, pixel_size_um=None)] == [
        (1, "diameter_um"),
        (1, "minimum_area_um2"),
    ]
    assert all("the size of a pixel is not known" in message for *_, message in refused(in_um, pixel_size_um=None))


@pytest.mark.parametrize(
    ("step", "key", "sentence"),
    [
        ((segment_nuclei, {"minimum_area_px": -5}), "minimum_area_px", "segment_nuclei: minimum_area_px=-5 must be"),
        ((segment_nuclei, {"threshold": "mean"}), "threshold", "must be otsu, local, fit or a finite number"),
        ((segment_nuclei, {"border": None}), "border", "choose from exclude, keep"),
        ((spots, {}), "diameter_px", "needs the diameter of a spot"),
        ((spots, {"diameter_px": 0}), "diameter_px", "above 0"),
    ],
)
def test_wrong_parameters_are_refused_before_the_run(step: Any, key: str, sentence: str) -> None:
    """With the step and the parameter."""
    found = [message for number, wrong, message in refused(FunctionStep(step)) if (number, wrong) == (1, key)]
    assert found and sentence in found[0]


def test_cells_need_nuclei_and_cytoplasm_cells_or_a_ring() -> None:
    """Known before the run; an earlier function's, or of the step's own parameters."""
    ring = FunctionStep((cytoplasm, {"ring_px": 5}))
    plate, index = make_plate()

    assert refused(CELLS)[0][1] == "nuclei"
    assert [(number, key) for number, key, _ in refused(NUCLEI, FunctionStep(cytoplasm))] == [(2, "ring_px")]
    assert compile_plate(plate, index, Pipeline([NUCLEI, ring]), output=output_plan())
    linked = compile_plate(plate, index, Pipeline([NUCLEI, CELLS, FunctionStep(cytoplasm)]), output=output_plan())
    (call,) = linked.contexts["A01"].steps[2].routes[0].calls
    assert [each.name for each in call.side_inputs] == ["nuclei", "cells"]


def _odd(gain: int = 2, **unused: object) -> Iterator[tuple[str, str]]:
    if gain % 2:
        yield "gain", f"gain={gain} must be even."


@checked_by(_odd)
@numpy
@special_inputs(optional=("z_step", "model"))
def amplify(stack: Array, gain: int = 2, z_step: float | None = None, model: object = None) -> Array:
    """A user's own function with a check and optional inputs."""
    return stack * np.asarray(gain, stack.dtype)


def _raises(**unused: object) -> Iterator[tuple[str, str]]:
    raise KeyError("gain")


@checked_by(_raises)
def cannot_be_asked(stack: Array) -> Array:
    """Its check is broken."""
    return stack


def test_a_function_of_ones_own_may_check_its_parameters() -> None:
    """All violations at once; a check that raises is one of them. Optional inputs keep their defaults."""
    found = refused(FunctionStep((amplify, {"gain": 3})), FunctionStep(cannot_be_asked))

    assert found == [
        (1, "gain", "amplify: gain=3 must be even."),
        (2, "cannot_be_asked", "cannot_be_asked: asking its check about its parameters raised KeyError: 'gain'."),
    ]
    assert kwargs(FunctionStep(amplify), z_step_um=None) == {}
    assert kwargs(FunctionStep(amplify), z_step_um=1.5) == {"z_step": 1.5}


def test_parameters_can_be_set_by_their_names() -> None:
    """On a command line, as texts: a threshold is a method or a number, and what it is not is refused."""
    steps = [NUCLEI]
    values = {
        "segment_nuclei.threshold": "800",
        "segment_nuclei.minimum_area_px": "30",
        "segment_nuclei.split": "false",
    }

    for text, expected in (("800", 800), ("otsu", "otsu")):
        changed = configured(steps, {**values, "segment_nuclei.threshold": text})
        plate, index = make_plate()
        compiled = compile_plate(plate, index, changed, output=output_plan())
        given = compiled.contexts["A01"].steps[0].routes[0].calls[0].kwargs.thaw()
        assert given == {"threshold": expected, "minimum_area_px": 30, "split": False}
    with pytest.raises(CompilationError, match="threshold"):
        configured(steps, {"segment_nuclei.threshold": "mean"})
