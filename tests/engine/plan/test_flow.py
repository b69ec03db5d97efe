"""Planes, pixel types and bytes through the steps: one law, and what a run really writes and holds keeps to it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from openhcs_engine import FunctionStep, GroupBy, InputSource, Materialize, PipelineOrchestrator, VariableComponents
from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.execution import WellResult
from openhcs_engine.functions import create_max_projection, generate_positions
from openhcs_engine.memory import numpy
from openhcs_engine.memory.stack import Array
from openhcs_engine.model.quantities.sizes import format_bytes
from openhcs_engine.ngff.options import ImageOptions
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.facts import facts_of_plan
from openhcs_engine.plan.flow import WellFlow, flows_of, output_bytes
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.engine.plates import add
from tests.engine.side_functions import assemble, find_nuclei

Z, SITE, CHANNEL = VariableComponents.Z_INDEX, VariableComponents.SITE, VariableComponents.CHANNEL
SIDE_BY_SIDE = {"grid_dimensions": (1, 2), "overlap": 0.0}


@numpy(dtype="float32")
def as_float(stack: Array) -> Array:
    """Twice the bytes of uint16."""
    return np.asarray(stack, np.float32)


@numpy(dtype="float64")
def as_double(stack: Array) -> Array:
    """Four times the bytes of uint16."""
    return np.asarray(stack, np.float64)


@numpy(dtype="uint8")
def as_byte(stack: Array) -> Array:
    """Half the bytes of uint16."""
    return np.asarray(stack % 256, np.uint8)


@numpy(dtype="native")
def chosen_by_itself(stack: Array) -> Array:
    """A type that no plan knows."""
    return np.asarray(stack, np.float32)


@dataclass(frozen=True)
class Case:
    """A pipeline, and how its results are written."""

    steps: tuple[FunctionStep, ...]
    backend: str = "zarr"
    levels: int = 1


CASES = {
    "the same type": Case((FunctionStep(add),)),
    "float32, resolutions": Case((FunctionStep(as_float),), levels=3),
    "float64 as TIFF": Case((FunctionStep(as_double),), "disk"),
    "smaller, then larger": Case((FunctionStep(as_byte), FunctionStep(as_float))),
    "larger, then smaller": Case((FunctionStep(as_double), FunctionStep(as_byte))),
    "a type of its own": Case((FunctionStep(chosen_by_itself), FunctionStep(add))),
    "projected": Case((FunctionStep(create_max_projection, variable_components=[Z]), FunctionStep(as_float))),
    "one channel grows while the other shrinks": Case(
        (
            FunctionStep(add),
            FunctionStep(
                {"DAPI": as_double, "GFP": create_max_projection}, variable_components=[Z], group_by=GroupBy.CHANNEL
            ),
        ),
        "disk",
    ),
    "a composite": Case((FunctionStep([as_float, create_max_projection], variable_components=[CHANNEL]),)),
    "a channel passes": Case((FunctionStep({"DAPI": as_double}, variable_components=[Z], uncovered="pass"),), "disk"),
    "a channel is dropped": Case((FunctionStep({"DAPI": as_double}, variable_components=[Z], uncovered="drop"),)),
    "kept as zarr beside TIFF": Case(
        (FunctionStep(as_double, materialize=Materialize(sub_folder="wide", backend="zarr")), FunctionStep(as_byte)),
        "disk",
        3,
    ),
    "kept as TIFF beside zarr": Case(
        (FunctionStep(as_double, materialize=Materialize(sub_folder="wide", backend="disk")), FunctionStep(as_byte)),
        levels=3,
    ),
    "from the plate again": Case(
        (FunctionStep(as_double), FunctionStep(as_float, input_source=InputSource.PIPELINE_START))
    ),
    "labels": Case((FunctionStep(find_nuclei, variable_components=[Z]), FunctionStep(as_byte)), levels=3),
    "labels beside TIFF": Case((FunctionStep(find_nuclei),), "disk"),
    "a mosaic": Case(
        (
            FunctionStep((generate_positions, SIDE_BY_SIDE), variable_components=[SITE]),
            FunctionStep(assemble, variable_components=[SITE]),
            FunctionStep(as_float, variable_components=[Z]),
        )
    ),
}


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two wells of 2 sites, 2 channels and 3 z planes of 264 x 300 pixels, which have two resolutions."""
    spec = SyntheticPlate(name="P", rows=1, columns=2, sites=2, z=3, shape=(264, 300))
    return write_imagexpress(tmp_path_factory.mktemp("raw") / "P", spec)


def plan(
    plate: Path, output: Path, case: Case, **options: object
) -> tuple[PipelineOrchestrator, dict[str, ProcessingContext]]:
    """Ready to run, one well."""
    settings = {"backend": case.backend, "images": ImageOptions(levels=case.levels), "runner": "threads", **options}
    orchestrator = PipelineOrchestrator(plate, output=output, **settings).initialize()  # type: ignore[arg-type]
    return orchestrator, orchestrator.compile_pipelines(list(case.steps), well_filter="A01")


def run(plate: Path, output: Path, case: Case, **options: object) -> tuple[WellFlow, WellResult]:
    """What the plan says of the only well, and how it ended."""
    orchestrator, contexts = plan(plate, output, case, **options)
    (flow,) = flows_of(contexts)
    return flow, orchestrator.execute_compiled_plate(list(case.steps), contexts, 1)["A01"]


def bytes_of_images(folder: Path) -> int:
    """Bytes of all arrays and TIFF pages of an output, resolutions included, uncompressed."""
    import tifffile

    total = 0
    for path in folder.rglob("zarr.json"):
        array = json.loads(path.read_text())
        if array["node_type"] == "array":
            total += int(np.prod(array["shape"])) * np.dtype(array["data_type"]).itemsize
    for path in folder.rglob("*.tif"):
        total += tifffile.imread(path).nbytes
    return total


@pytest.mark.parametrize("name", CASES)
def test_a_well_writes_and_holds_no_more_than_its_plan_says(plate: Path, tmp_path: Path, name: str) -> None:
    """Images, labels and kept planes fit into ``output``; planes between steps into ``held``, to the byte."""
    case = CASES[name]

    flow, result = run(plate, tmp_path / "out", case)

    assert result.error is None
    written = bytes_of_images(tmp_path / "out" / "P")
    assert written <= flow.output
    assert (
        flow.output <= written * 4 / 3 + 8 if name != "labels" else True
    )  # its labels are one of a stack's planes each
    least, enough = (
        run(plate, tmp_path / str(size), case, memory_budget=size)[1] for size in (flow.held - 1, flow.held)
    )
    assert "do not fit into the memory budget" in str(least.error) and enough.error is None


def room(monkeypatch: pytest.MonkeyPatch, folder: Path, free: int) -> None:
    """A disk with so many bytes left; nothing is filled."""
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))


@pytest.mark.parametrize("name", ["float32, resolutions", "float64 as TIFF", "kept as zarr beside TIFF", "labels"])
def test_a_run_without_room_for_what_it_may_write_is_refused(
    plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """By the number that the printed plan tells; the same run with that much room is let start."""
    orchestrator, contexts = plan(plate, tmp_path / "out", CASES[name])
    needed = facts_of_plan(contexts).plate.output
    plain = output_bytes(flows_of(plan(plate, tmp_path / "out", CASES["the same type"])[1]))

    assert needed > plain
    room(monkeypatch, tmp_path, needed - 1)
    with pytest.raises(OutputPlaceError, match="free space") as refused:
        orchestrator.execute_compiled_plate(list(CASES[name].steps), contexts, 1)
    assert f"need up to {format_bytes(needed)}" in str(refused.value) and not (tmp_path / "out").exists()
    room(monkeypatch, tmp_path, needed)
    results: Mapping[str, WellResult] = orchestrator.execute_compiled_plate(list(CASES[name].steps), contexts, 1)
    assert results["A01"].error is None


def test_a_mosaic_is_no_plane_of_one_tile(plate: Path, tmp_path: Path) -> None:
    """Its size is unknown before the run; it may be as large as all tiles together, and nobody is told the tile's."""
    _, contexts = plan(plate, tmp_path, CASES["a mosaic"])
    tiles, mosaic = facts_of_plan(contexts).steps[1:]

    assert [facts.name() for facts in tiles.stacks] == ["2 planes 264 x 300 uint16"]
    assert [facts.name() for facts in mosaic.stacks] == ["3 planes uint16"]
    assert mosaic.read == tiles.read


def test_nothing_flows_through_no_wells() -> None:
    """So that a run whose wells are all unchanged needs no room."""
    assert output_bytes(flows_of({})) == 0
