"""What functions make and take beside their stacks: declared, linked, checked, handed on, kept with the well."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile
import zarr
from scipy import ndimage

from openhcs_engine import FunctionStep, GroupBy, Pipeline, PipelineOrchestrator, VariableComponents
from openhcs_engine.compiler import compile_plate
from openhcs_engine.errors import CompilationError, Violation
from openhcs_engine.execution import WellResult, WellStatus
from openhcs_engine.functions import create_composite, create_max_projection, generate_positions
from openhcs_engine.memory import numpy, side_data_of, special_inputs, special_outputs
from openhcs_engine.memory.stack import Array
from openhcs_engine.model.artifacts import PLATE_VALUES, ArtifactKind, PlateValue, SideOutput
from openhcs_engine.model.plate import Grid
from openhcs_engine.ngff.reading.reader import open_plate
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json
from tests.engine import side_functions as sides
from tests.engine.plates import add, explode, first_plane, make_plate, output_plan

REPO = Path(__file__).resolve().parents[3]
Z, CHANNEL, SITE = VariableComponents.Z_INDEX, VariableComponents.CHANNEL, VariableComponents.SITE
PROJECT = FunctionStep(create_max_projection, variable_components=[Z])
COMPOSE = FunctionStep(create_composite, variable_components=[CHANNEL])
NUCLEI = FunctionStep({"DAPI": sides.find_nuclei}, uncovered="pass", variable_components=[Z])
both_runners = pytest.mark.parametrize("runner", ["threads", "processes"])


def run(
    plate: Path, output: Path, *steps: FunctionStep, runner: str = "threads", wells: str = "A01,A02", **options: Any
) -> dict[str, WellResult]:
    """Compile and execute in one go."""
    orchestrator = PipelineOrchestrator(plate, output=output, runner=runner, **options).initialize()  # type: ignore[arg-type]
    pipeline = Pipeline(steps)
    contexts = orchestrator.compile_pipelines(pipeline_definition=pipeline, well_filter=wells)
    return orchestrator.execute_compiled_plate(pipeline, contexts, max_workers=2)


def run_well(plate: Path, output: Path, *steps: FunctionStep, **options: Any) -> WellResult:
    """Well A01 alone, which must not fail."""
    (result,) = run(plate, output, *steps, wells="A01", **options).values()
    assert result.error is None
    return result


def error_of(plate: Path, output: Path, *steps: FunctionStep) -> str:
    """Why well A01 fails."""
    (result,) = run(plate, output, *steps, wells="A01").values()
    assert not (output / "small" / "wells" / "A01.json").exists()
    return str(result.error)


def table(output: Path, name: str, well: str = "A01") -> pl.DataFrame:
    """A published table of one well."""
    return pl.read_parquet(output / "small" / "tables" / name / f"{well}.parquet")


def raw(plate: Path, well: str, site: int, channel: int) -> Array:
    """The z planes of one channel, read by other means than ours."""
    files = sorted(plate.rglob(f"*_{well}_s{site}_w{channel}.*"))
    return np.stack([tifffile.imread(file) for file in files if "thumb" not in file.name])


def compiled(*steps: FunctionStep, **changes: Any) -> dict[str, ProcessingContext]:
    """Steps on a plate without files."""
    plate, index = make_plate()
    return compile_plate(replace(plate, **changes), index, Pipeline(steps), output=output_plan()).contexts


def violations(*steps: FunctionStep, **changes: Any) -> tuple[Violation, ...]:
    """Why the steps are refused."""
    with pytest.raises(CompilationError) as refused:
        compiled(*steps, **changes)
    return refused.value.violations


# Declaring.


def test_the_function_stays_itself_and_the_order_of_decorators_does_not_matter() -> None:
    """Names with kinds, in order; a plain name has the kind of that name, or is an object."""

    def function(stack: Array) -> Array:
        return stack

    for decorators in ([numpy, special_inputs("grid_dimensions")], [special_inputs("grid_dimensions"), numpy]):
        decorated: Callable[..., Any] = function
        for decorator in (*decorators, special_outputs("positions", ("cells", "table"), "model")):
            decorated = decorator(decorated)  # type: ignore[operator]
        assert decorated is function
    assert side_data_of(function).inputs == ("grid_dimensions",)
    assert side_data_of(function).outputs == (
        SideOutput("positions", ArtifactKind.POSITIONS),
        SideOutput("cells", ArtifactKind.TABLE),
        SideOutput("model", ArtifactKind.OBJECT),
    )


@pytest.mark.parametrize(
    ("declare", "sentence"),
    [
        (lambda: special_outputs(("cells", "tabel")), "unknown kind 'tabel'; the kinds are table, positions, labels"),
        (lambda: special_outputs("my cells"), "'my cells' cannot name side data"),
        (lambda: special_outputs("NUL"), "'NUL' cannot name side data: Windows keeps the name"),
        (lambda: special_outputs("a", ("a", "table")), "special_outputs names 'a' twice"),
        (lambda: special_outputs(), "@special_outputs needs at least one name"),
        (lambda: special_outputs(3), "3 declares no side output"),  # type: ignore[arg-type]
        (lambda: special_inputs("a", "a"), "special_inputs names 'a' twice"),
        (lambda: special_inputs("../x"), "'../x' cannot name side data"),
        (lambda: special_outputs("x")(special_outputs("y")(lambda stack: stack)), "has special outputs already"),
        (lambda: special_inputs("x")(special_inputs("y")(lambda stack: stack)), "has special inputs already"),
        (lambda: special_outputs("x")(numpy(slice_by_slice=True)(lambda stack: stack)), "with a part of a stack"),
        (lambda: numpy(slice_by_slice=True)(special_outputs("x")(lambda stack: stack)), "with a part of a stack"),
    ],
)
def test_declarations_that_make_no_sense_are_refused_at_once(declare: Callable[[], object], sentence: str) -> None:
    """Where the function is defined, whatever the order of the decorators."""
    with pytest.raises(ValueError) as refused:  # its sentence is compared below
        declare()
    assert sentence in str(refused.value)


# Compiling.


def test_links_are_part_of_the_frozen_plan() -> None:
    """Producer's step and call; the plan says the same after a round trip through JSON."""
    steps = (
        COMPOSE,
        FunctionStep([add, (generate_positions, {"grid_dimensions": [1, 2]})]),
        FunctionStep(sides.assemble),
    )

    contexts = compiled(*steps)

    (link,) = contexts["A01"].steps[2].routes[0].calls[0].side_inputs
    assert [(each.step, each.route, each.call) for each in link.sources] == [(2, None, 1)]
    assert contexts_from_json(contexts_to_json(contexts)) == contexts


def test_a_step_for_other_wells_before_a_link_makes_no_well_stale() -> None:
    """The linked steps have other numbers then; the link is the same one."""
    steps = (FunctionStep(sides.fit), FunctionStep(add), FunctionStep(sides.apply_model))
    plain = compiled(*steps)
    longer = compiled(FunctionStep(explode, wells="A02"), *steps)

    assert longer["A01"].fingerprint == plain["A01"].fingerprint
    assert longer["A02"].fingerprint != plain["A02"].fingerprint
    assert compiled(steps[1], steps[0], steps[2])["A01"].fingerprint != plain["A01"].fingerprint


def test_values_of_the_plate_are_frozen_into_the_parameters() -> None:
    """Of every well alike; a parameter that the step gives stays as given."""
    facts = {"grid": Grid(rows=1, columns=2), "pixel_size_um": 0.65}
    given = FunctionStep((sides.what_the_plate_says, {"pixel_size": 2.0}))

    (plain,) = compiled(FunctionStep(sides.what_the_plate_says), **facts)["A01"].steps[0].routes[0].calls
    (own,) = compiled(given, **facts)["A01"].steps[0].routes[0].calls

    assert plain.kwargs.thaw() == {"grid_dimensions": (1, 2), "pixel_size": 0.65, "channel_names": ("DAPI", "GFP")}
    assert own.kwargs["pixel_size"] == 2.0 and own.side_inputs == ()


@special_inputs("positions")
def lacks_the_parameter(stack: Array) -> Array:
    """Cannot be given what it wants."""
    return stack


@numpy(slice_by_slice=True)
@special_inputs("nuclei")
def in_batches(stack: Array, nuclei: Array) -> Array:
    """Labels of a whole stack, but perhaps a part of the stack."""
    return stack


@numpy
@special_outputs(("cells", "positions"))
def cells_as_positions(stack: Array) -> Any:
    """Another kind under the same name."""
    return stack, np.zeros((len(stack), 2))


@numpy
@special_inputs("cells")
def takes_cells(stack: Array, cells: object) -> Array:
    """A table, which belongs to its stack."""
    return stack


@numpy
@special_outputs(("CELLS", "positions"))
def upper_case(stack: Array) -> Any:
    """Positions are kept as a table, too."""
    return stack, np.zeros((len(stack), 2))


@numpy
@special_inputs("coordinates")
def coordinates_as_side_input(stack: Array, coordinates: object) -> Array:
    """There is an option for it."""
    return stack


TAKES = FunctionStep(sides.assemble, name="takes")
MAKES = FunctionStep(sides.one_position, name="makes")
LABELS = FunctionStep(sides.find_nuclei, variable_components=[Z])
JOIN = FunctionStep(create_max_projection, variable_components=[SITE], name="all sites")
CELLS = FunctionStep({"DAPI": sides.find_nuclei}, uncovered="pass")
BY_SITE: dict[str, Any] = {"group_by": GroupBy.SITE, "uncovered": "pass", "variable_components": [Z]}
OF_SITE_1 = FunctionStep({1: sides.find_nuclei}, **BY_SITE)


@pytest.mark.parametrize(
    ("steps", "number", "key", "sentence"),
    [
        (
            (CELLS, TAKES),
            2,
            "positions",
            "no step before it makes and the plate does not give. Earlier steps make: cells",
        ),
        ((TAKES,), 1, "positions", "known of every plate: channel_names, channel_numbers, grid_dimensions"),
        ((TAKES, MAKES), 1, "positions", 'one_position of step 2 "makes", which makes it, does not run before it'),
        ((FunctionStep([sides.assemble, sides.one_position]),), 1, "positions", "does not run before it"),
        (
            (MAKES, FunctionStep(sides.one_position)),
            2,
            "positions",
            'which one_position of step 1 "makes" makes of the',
        ),
        ((FunctionStep([sides.one_position, sides.one_position]),), 1, "positions", "of the same planes, too"),
        ((CELLS, FunctionStep(cells_as_positions)), 2, "cells", "as positions, but find_nuclei of step 1"),
        ((MAKES, FunctionStep(lacks_the_parameter)), 2, "positions", "has no parameter of that name"),
        ((FunctionStep(sides.one_position, wells="A01"), TAKES), 2, "positions", "but not for well A02"),
        ((OF_SITE_1, FunctionStep({2: sides.mean_in_nuclei}, **BY_SITE)), 2, "nuclei", "but of other planes"),
        ((CELLS, FunctionStep(takes_cells)), 2, "cells", 'step 1 "find_nuclei" makes, but not for channel GFP; let it'),
        ((CELLS, FunctionStep(upper_case)), 2, "CELLS", "differs from 'cells' of find_nuclei of step 1"),
        ((CELLS, FunctionStep(in_batches)), 2, "nuclei", "is for all planes of the stack; leave slice_by_slice out"),
        ((LABELS, JOIN), 1, "nuclei", "step 'all sites' leaves one image for all sites"),
        ((FunctionStep(coordinates_as_side_input),), 1, "coordinates", "declare coordinates=True"),
        (
            (FunctionStep(sides.what_the_plate_says),),
            1,
            "pixel_size",
            "the metadata of plate P1 do not say it; give it",
        ),
        ((FunctionStep(sides.what_the_plate_says),), 1, "grid_dimensions", '{"grid_dimensions": …}'),
        ((FunctionStep(sides.where_planes_lie),), 1, "stage_positions", "does not say where site 1 of well A01 was"),
    ],
)
def test_what_cannot_be_linked_is_refused_before_the_run(
    steps: tuple[FunctionStep, ...], number: int, key: str, sentence: str
) -> None:
    """With the step, the name, and a sentence that says what would be right."""
    found = [violation for violation in violations(*steps) if violation.key == key]

    assert [violation.step_number for violation in found] == [number]
    assert sentence in found[0].message


def test_routes_and_wells_are_scopes_of_their_own() -> None:
    """The same name for two channels, or for different wells, is no contradiction."""
    assert compiled(FunctionStep({"DAPI": sides.find_nuclei, "GFP": (sides.find_nuclei, {"threshold": 9})}))
    assert compiled(FunctionStep(sides.one_position, wells="A01"), FunctionStep(sides.one_position, wells="not:A01"))


@pytest.mark.parametrize(
    "steps",
    [
        (CELLS, FunctionStep({"DAPI": takes_cells}, uncovered="pass")),
        (CELLS, FunctionStep({"GFP": sides.mean_in_nuclei}, uncovered="pass")),
        (FunctionStep({"DAPI": sides.find_nuclei}, uncovered="drop"), FunctionStep(takes_cells)),
        (CELLS, FunctionStep(takes_cells, variable_components=[CHANNEL, SITE])),
        (FunctionStep({"DAPI": sides.find_nuclei, "GFP": sides.find_nuclei}), FunctionStep(takes_cells)),
        (CELLS, FunctionStep(first_plane, variable_components=[CHANNEL]), FunctionStep(takes_cells)),
    ],
    ids=[
        "its channel",
        "labels lie on the field",
        "no other channel",
        "all channels in one stack",
        "each channel",
        "perhaps one plane",
    ],
)
def test_a_table_of_one_channel_is_enough_for_stacks_of_that_channel(steps: tuple[FunctionStep, ...]) -> None:
    """And for stacks that run along the channels."""
    assert compiled(*steps)


def test_a_resolver_of_ones_own_gives_what_the_plate_says(small_plate: Path, tmp_path: Path) -> None:
    """Handed in where the plate is compiled; one that raises is a violation, as one that does not know is."""
    own: Mapping[str, PlateValue] = PLATE_VALUES | {"magnification": lambda plate: 2 * len(plate.channels)}
    wrong: Mapping[str, PlateValue] = {"magnification": lambda plate: 1 // 0}

    run_well(small_plate, tmp_path, FunctionStep(sides.magnify), plate_values=own)

    pixels = np.asarray(open_plate(tmp_path / "small" / "images.zarr")["A01"][1].array())
    np.testing.assert_array_equal(pixels[0, 0], raw(small_plate, "A01", 1, 1) * 4)
    with pytest.raises(CompilationError, match="takes 'magnification', but asking the plate for it raised ZeroDiv"):
        run(small_plate, tmp_path, FunctionStep(sides.magnify), plate_values=wrong)


# Running.


@both_runners
def test_two_outputs_are_not_swapped(small_plate: Path, tmp_path: Path, runner: str) -> None:
    """They come in the order declared, whatever their names."""
    result = run_well(small_plate, tmp_path, FunctionStep(sides.two_tables, variable_components=[Z]), runner=runner)

    assert table(tmp_path, "zebra").columns == ["well", "site", "channel", "timepoint", "stripes"]
    assert table(tmp_path, "zebra")["stripes"].to_list() == [12] * 4
    assert table(tmp_path, "apple")["seeds"].to_list() == [5] * 4
    assert [record.summary for record in result.steps[0].side_outputs] == [
        "table zebra: 4 rows of 4 stacks", "table apple: 4 rows of 4 stacks",
    ]  # fmt: skip
    assert verify(tmp_path / "small").ok


@both_runners
def test_tables_and_labels_are_published_with_their_well(small_plate: Path, tmp_path: Path, runner: str) -> None:
    """Rows with the coordinates of their stacks, labels on their image; zarr and our reader see what SciPy found."""
    run_well(small_plate, tmp_path, NUCLEI, runner=runner)

    cells = table(tmp_path, "cells")
    assert cells.columns == ["well", "site", "channel", "timepoint", "plane", "label", "area_px"]
    for site in (1, 2):
        planes = raw(small_plate, "A01", site, 1)
        expected = np.stack([ndimage.label(plane > 700)[0] for plane in planes])
        field = open_plate(tmp_path / "small" / "images.zarr")["A01"][site]
        assert field.labels == ("nuclei",)
        np.testing.assert_array_equal(field.label("nuclei").array()[0], expected)
        stored = zarr.open_array(tmp_path / "small" / "images.zarr" / "A" / "01" / str(site - 1) / "labels/nuclei/0")
        np.testing.assert_array_equal(np.asarray(stored[0]), expected)
        rows = cells.filter(pl.col("site") == site)
        assert len(rows) == sum(int(plane.max()) for plane in expected) > 0
        assert int(rows["area_px"].to_numpy().sum()) == np.count_nonzero(expected)
    assert set(cells["channel"]) == {1} and verify(tmp_path / "small").ok
    assert pl.read_parquet(tmp_path / "small" / "tables" / "cells.parquet").equals(cells)


def test_labels_open_in_another_program(small_plate: Path, tmp_path: Path) -> None:
    """ngio lists the label and reads the same numbers."""
    ngio = pytest.importorskip("ngio")

    run_well(small_plate, tmp_path, NUCLEI)

    place = tmp_path / "small" / "images.zarr"
    container = ngio.open_ome_zarr_container(place / "A" / "01" / "0")
    assert container.list_labels() == ["nuclei"]
    ours = np.asarray(open_plate(place)["A01"][1].label("nuclei").array())
    np.testing.assert_array_equal(np.squeeze(np.asarray(container.get_label("nuclei").get_array())), np.squeeze(ours))


def test_tiff_outputs_hold_labels_beside_their_planes(small_plate: Path, tmp_path: Path) -> None:
    """One file a plane, named as the plane that it lies on; part of the well, verified."""
    run_well(small_plate, tmp_path, NUCLEI, backend="disk")

    folder = tmp_path / "small" / "images" / "A01"
    expected = ndimage.label(raw(small_plate, "A01", 2, 1)[1] > 700)[0]
    stored = tifffile.imread(folder / "A01_s2_w1_z2_t1_label-nuclei.ome.tif")
    np.testing.assert_array_equal(stored, expected)
    assert stored.dtype == np.uint32 and len(list(folder.glob("*_label-nuclei.ome.tif"))) == 6
    assert verify(tmp_path / "small").ok


def test_each_channel_has_labels_and_rows_of_its_own(small_plate: Path, tmp_path: Path) -> None:
    """Two entries of a dict make the same names, each for its channel."""
    by_channel = FunctionStep({1: sides.find_nuclei, 2: (sides.find_nuclei, {"threshold": 0})}, variable_components=[Z])

    run_well(small_plate, tmp_path, by_channel)

    field = open_plate(tmp_path / "small" / "images.zarr")["A01"][1]
    assert set(field.labels) == {"nuclei_w1", "nuclei_w2"}
    assert np.asarray(field.label("nuclei_w2").array()).min() == 1  # everything is above 0
    cells = table(tmp_path, "cells")
    assert set(cells.filter(pl.col("channel") == 2)["area_px"]) == {40 * 48}


def test_labels_of_one_channel_serve_the_others(small_plate: Path, tmp_path: Path) -> None:
    """What lies in the nuclei of DAPI is measured in every channel, plane by plane."""
    run_well(small_plate, tmp_path, NUCLEI, FunctionStep(sides.mean_in_nuclei, variable_components=[Z]))

    pixels = np.asarray(open_plate(tmp_path / "small" / "images.zarr")["A01"][2].array())
    nuclei = raw(small_plate, "A01", 2, 1) > 700
    for channel in (1, 2):
        expected = raw(small_plate, "A01", 2, channel)[nuclei].mean()
        np.testing.assert_allclose(pixels[0, channel - 1, 0], expected, rtol=1e-6)


@both_runners
def test_positions_of_composites_assemble_the_raw_planes(small_plate: Path, tmp_path: Path, runner: str) -> None:
    """Made once for all channels and planes, taken by every stack over sites of the plate's own planes."""
    result = run_well(
        small_plate,
        tmp_path,
        PROJECT,
        COMPOSE,
        FunctionStep(generate_positions, variable_components=[SITE]),
        FunctionStep(sides.assemble, variable_components=[SITE], input_source="start"),
        runner=runner,
    )

    places = table(tmp_path, "positions")
    assert places.columns == ["well", "site", "timepoint", "y_px", "x_px"]
    assert places.select("site", "y_px", "x_px").rows() == [(1, 0.0, 0.0), (2, 0.0, pytest.approx(48 * 0.9))]
    pixels = np.asarray(open_plate(tmp_path / "small" / "images.zarr")["A01"][None].array())
    assert pixels.shape == (1, 2, 3, 40, 48 + 43)
    for channel in (1, 2):
        np.testing.assert_array_equal(pixels[0, channel - 1, :, :, 43:], raw(small_plate, "A01", 2, channel))
        np.testing.assert_array_equal(pixels[0, channel - 1, :, :, :43], raw(small_plate, "A01", 1, channel)[..., :43])
    assert result.steps[2].side_outputs[0].summary == "positions positions: 2 rows of 1 stack"


def test_a_chain_hands_objects_from_call_to_call(small_plate: Path, tmp_path: Path) -> None:
    """Each stack its own; nothing of them is on disk, and the result says so."""
    result = run_well(small_plate, tmp_path, FunctionStep([sides.fit, sides.apply_model]))

    assert result.steps[0].side_outputs[0].summary == "object model of 6 stacks, which lives within the well only"
    assert not (tmp_path / "small" / "tables").exists()


def test_what_the_plate_and_its_planes_say_reaches_the_function(small_plate: Path, tmp_path: Path) -> None:
    """Grid, pixel size, names of channels; the stage's positions in the order of the planes."""
    orchestrator = PipelineOrchestrator(small_plate).initialize()
    plate, index = orchestrator.locate()
    assert plate.grid is not None and plate.pixel_size_um is not None

    run_well(small_plate, tmp_path, FunctionStep(sides.what_the_plate_says), FunctionStep(sides.where_planes_lie))

    names = " ".join(channel.label for channel in plate.channels)
    seen = table(tmp_path, "seen").select("rows", "columns", "um", "names").unique().rows()
    assert seen == [(plate.grid.rows, plate.grid.columns, plate.pixel_size_um, names)]
    stage = table(tmp_path, "stage").select("place", "y_um", "x_um").unique().sort("place").rows()
    assert stage == [(each.site, each.y_um, each.x_um) for each in index.for_well("A01").site_positions()]


def test_objects_of_several_stacks_cannot_serve_one(small_plate: Path, tmp_path: Path) -> None:
    """A model of each z plane is no model of a stack of them; the sentence names both and the remedy."""
    sentence = error_of(
        small_plate,
        tmp_path,
        FunctionStep(sides.fit, variable_components=[SITE]),
        FunctionStep(sides.apply_model, variable_components=[Z]),
    )

    assert "apply_model takes 'model', but 3 of them belong to site 1, channel 1, timepoint 1" in sentence
    assert "run their stacks along the same axes (variable_components)" in sentence


def test_objects_of_one_channel_are_none_of_another() -> None:
    """Only what lies on the field, as labels do, serves all channels; refused before the run."""
    (found,) = violations(FunctionStep({1: sides.fit}, uncovered="pass"), FunctionStep(sides.apply_model))

    assert (found.step_number, found.key) == (2, "model")
    assert 'fit of step 1 "fit" makes, but not for channel GFP; let it be made of all' in found.message


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (sides.forgets_one, "forgets_one must return a tuple of 3, (stack, cells, nuclei), but returned a tuple of 2"),
        (sides.returns_the_stack_alone, "must return a tuple of 2, (stack, cells), but returned one ndarray"),
        (sides.returns_a_tuple, "returned a tuple of 2; return the stack alone, or declare what comes behind it"),
        (
            sides.labels_of_other_size,
            "labels_of_other_size returned as 'labels' (labels): an array of int32 with shape",
        ),
        (sides.labels_below_zero, "numbers from -1 to -1; objects are counted from 1"),
        (sides.one_position, "positions are numbers of shape (2, 2), y and x in pixels for each plane"),
        (sides.no_table, "no_table returned as 'table' (table): Well A01: table 'table' cannot be stored"),
        (
            sides.other_site,
            "other_site returned as 'table' (table): Well A01: table 'table' has 77 in its column 'site'",
        ),
    ],
)
def test_what_is_not_as_declared_fails_with_its_name(
    small_plate: Path, tmp_path: Path, function: Callable[..., Any], sentence: str
) -> None:
    """The well fails, nothing of it is published, and the sentence has step, function and output."""
    axes = [Z] if function is sides.other_site else [SITE]

    told = error_of(small_plate, tmp_path, FunctionStep(function, variable_components=axes, name="odd"))

    assert told.startswith('Well A01, step 1 "odd": ') and sentence in told


def test_labels_of_planes_that_are_no_image_fail_with_a_sentence(small_plate: Path, tmp_path: Path) -> None:
    """Where a function puts sites together without having said so, the labels of each have no image."""
    told = error_of(small_plate, tmp_path, NUCLEI, FunctionStep(first_plane, variable_components=[SITE]))

    assert "is one of label 'nuclei', but its field has no image" in told


def test_a_call_that_is_repeated_makes_its_outputs_once(small_plate: Path, tmp_path: Path) -> None:
    """A function that runs out of memory is tried again, and with it those before it that made its stack."""
    sides.failed.clear()

    result = run_well(small_plate, tmp_path, FunctionStep([sides.two_tables, sides.out_of_memory_once]))

    assert [rung.outcome for rung in result.steps[0].rungs] == ["helped"] and result.steps[0].rungs[0].stacks == 6
    assert len(table(tmp_path, "zebra")) == 6 and len(table(tmp_path, "tries")) == 6


# Publishing.


def test_the_command_line_and_the_log_say_what_was_made(small_plate: Path, tmp_path: Path) -> None:
    """Rows and planes of all wells below the summary, those of each well in the log and in its manifest."""
    command = [sys.executable, "-m", "openhcs_engine.cli", "run", str(small_plate), "--output", str(tmp_path)]
    command += ["--pipeline", "tests.engine.side_functions:PIPELINE", "--wells", "A01,A02"]

    shown = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True).stdout

    rows = sum(len(table(tmp_path, "cells", well)) for well in ("A01", "A02"))
    assert f"table cells: {rows} rows of 2 wells" in shown and "labels nuclei: 24 planes of 2 wells" in shown
    (log,) = (tmp_path / "small" / "logs").iterdir()
    told = f"table cells: {len(table(tmp_path, 'cells'))} rows of 4 stacks"
    assert f"made {told}" in log.read_text()
    assert told in (tmp_path / "small" / "wells" / "A01.json").read_text()


def test_a_second_run_changes_nothing(small_plate: Path, tmp_path: Path) -> None:
    """Wells with side data are known again by their fingerprint, and their tables stay."""
    run(small_plate, tmp_path, NUCLEI)
    before = (tmp_path / "small" / "tables" / "cells" / "A02.parquet").stat().st_mtime_ns

    again = run(small_plate, tmp_path, NUCLEI)

    assert {result.status for result in again.values()} == {WellStatus.UNCHANGED}
    assert (tmp_path / "small" / "tables" / "cells" / "A02.parquet").stat().st_mtime_ns == before


def test_a_well_that_is_run_with_another_pipeline_loses_its_old_tables(small_plate: Path, tmp_path: Path) -> None:
    """What no manifest lists is not there."""
    run(small_plate, tmp_path, NUCLEI, wells="A01")
    run(small_plate, tmp_path, FunctionStep(add), wells="A01")

    assert not (tmp_path / "small" / "tables").exists() or not list((tmp_path / "small" / "tables").rglob("*.parquet"))
    assert open_plate(tmp_path / "small" / "images.zarr")["A01"][1].labels == ()


def test_a_killed_well_leaves_nothing(small_plate: Path, tmp_path: Path) -> None:
    """Neither its worker's death nor an error in a later step leaves a table or a label."""
    killed = run(small_plate, tmp_path, NUCLEI, FunctionStep(sides.kill_self, wells="A02"), runner="processes")
    failed = run(small_plate, tmp_path / "other", NUCLEI, FunctionStep(explode), wells="A01")

    assert killed["A01"].success and not killed["A02"].success and not failed["A01"].success
    left = {path.name for path in (tmp_path / "small" / "tables").rglob("*.parquet")}
    assert left == {"A01.parquet", "cells.parquet"}
    assert list((tmp_path / "other").rglob("*.parquet")) == []
    assert verify(tmp_path / "small").missing == ("A02",) and not verify(tmp_path / "small").foreign


def test_wells_without_rows_have_the_columns_all_the_same(small_plate: Path, tmp_path: Path) -> None:
    """A stack without objects adds no row, and its columns keep their type."""
    by_channel = FunctionStep(
        {1: sides.find_nuclei, 2: (sides.find_nuclei, {"threshold": 65535})},
        variable_components=[Z],
        group_by=GroupBy.CHANNEL,
    )

    run_well(small_plate, tmp_path, by_channel)

    cells = table(tmp_path, "cells")
    assert set(cells["channel"]) == {1} and cells.schema["area_px"] == pl.Int64
