"""Positions that are refined by what neighbours have in common, against the truth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.stitching import EDGE, PlantedTiles, plant
from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator, VariableComponents
from openhcs_engine.compiler import compile_plate
from openhcs_engine.errors import CompilationError
from openhcs_engine.functions import create_max_projection, refine_tile_positions
from openhcs_engine.functions.tiles.correlation import best_shift, overlap_correlation
from openhcs_engine.functions.tiles.refinement import PairOutcome, neighbours, refine_positions
from openhcs_engine.memory import numpy, special_inputs, special_outputs
from tests.engine.plates import make_plate, output_plan

STEP = 461


@pytest.fixture(scope="module")
def four() -> PlantedTiles:
    """Four by four tiles; one corner is empty, and one site missing."""
    return plant(4, 4, seed=1, empty=(3,), missing=(9,))


def test_positions_of_four_by_four_tiles_are_right_to_half_a_pixel(four: PlantedTiles) -> None:
    """Over the tiles that accepted pairs connect: all but the empty corner, whatever the camera's offset."""
    refined = refine_positions(four.tiles, four.stage)
    connected = np.array(refined.groups) == 1

    assert connected.sum() == 14 and not connected[3]
    assert four.error_px(refined.positions, connected) <= 0.5
    assert four.error_px(four.stage, connected) > 5  # what there was to refine


def test_positions_of_eight_by_eight_tiles_are_right_to_seven_tenths_of_a_pixel() -> None:
    """Errors do not add up over a larger mosaic."""
    planted = plant(8, 8, seed=2, empty=(0,), missing=(27,))
    refined = refine_positions(planted.tiles, planted.stage)
    connected = np.array(refined.groups) == 1

    assert connected.sum() == 62
    assert planted.error_px(refined.positions, connected) <= 0.7


@pytest.mark.parametrize("seed", [0, 1])
def test_overlaps_of_a_few_pixels_do_not_draw_the_others_aside(seed: int) -> None:
    """Tiles of 256 pixels that share 25, less than what the stage may be wrong by: half a pixel all the same."""
    planted = plant(4, 4, seed=seed, edge=256, empty=(0,), missing=(6,))
    refined = refine_positions(planted.tiles, planted.stage)
    connected = np.array(refined.groups) == 1

    assert connected.sum() == 14
    assert planted.error_px(refined.positions, connected) <= 0.5


def test_shifts_are_known_to_a_few_hundredths_of_a_pixel(four: PlantedTiles) -> None:
    """And to about what is said of each: noise that is twice as strong is told by a larger standard error."""
    errors = []
    for noise in (10, 20):
        planted = plant(1, 4, seed=7, noise=noise)
        pairs = refine_positions(planted.tiles, planted.stage).pairs
        assert all(pair.outcome is PairOutcome.ACCEPTED for pair in pairs)
        for pair in pairs:
            true = planted.true[pair.second] - planted.true[pair.first]
            assert pair.shift == pytest.approx(true, abs=0.1)
        errors.append([pair.error for pair in pairs])

    assert all(less < more < 0.1 for less, more in zip(*errors, strict=True))


def test_the_offset_of_the_camera_changes_nothing(four: PlantedTiles) -> None:
    """Neither the shifts nor the correlations, whose means are taken away."""
    plain = refine_positions(four.tiles, four.stage)
    brighter = refine_positions(four.tiles + np.uint16(20_000), four.stage)

    np.testing.assert_allclose(brighter.positions, plain.positions, atol=1e-3)
    assert [pair.outcome for pair in brighter.pairs] == [pair.outcome for pair in plain.pairs]


def test_a_tile_without_texture_keeps_the_stages_position_and_is_named(four: PlantedTiles) -> None:
    """Exactly where the stage stood, in the frame of the others, with the reason; the others have no remark."""
    tiles = four.tiles.copy()
    tiles[0] = 500  # and one that is constant
    refined = refine_positions(tiles, four.stage)

    assert refined.positions[[0, 3]].tolist() == four.stage[[0, 3]].tolist()
    assert refined.remark(0) == "no pair was accepted (no texture); lies where the stage stood"
    assert refined.remark(3) == "no pair was accepted (no better than chance); lies where the stage stood"
    assert {refined.remark(number) for number in range(len(tiles))} == {refined.remark(0), refined.remark(3), None}


def test_a_second_group_keeps_the_stages_offset_and_is_named() -> None:
    """Two rows below each other, with an empty row between: each is right in itself, and lies as the stage stood."""
    planted = plant(3, 3, seed=4, empty=(3, 4, 5))
    refined = refine_positions(planted.tiles, planted.stage)
    groups = np.array(refined.groups)

    assert groups.tolist() == [1, 1, 1, 0, 0, 0, 2, 2, 2]
    for group in (1, 2):
        members = groups == group
        assert planted.error_px(refined.positions, members) <= 0.5
        np.testing.assert_allclose(
            refined.positions[members].mean(axis=0), planted.stage[members].mean(axis=0), atol=1e-9
        )
    assert refined.remark(6) == "belongs to group 2, which lies to the others as the stage stood"


@pytest.mark.parametrize("smooth_px", [0, 1, 3, 8, 20])
def test_no_pair_is_accepted_from_noise(smooth_px: float) -> None:
    """Of camera noise, and of patterns as coarse as cells, on vignetted tiles that have nothing in common."""
    y, x = np.mgrid[-1 : 1 : EDGE * 1j, -1 : 1 : EDGE * 1j]
    noise = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(9, EDGE, EDGE)), (0, smooth_px, smooth_px))
    tiles = ((2000 + 100 * noise / noise.std()) * (1 - 0.2 * (y**2 + x**2))).astype(np.uint16)
    stage = np.indices((3, 3)).reshape(2, -1).T * float(STEP)
    refined = refine_positions(tiles, stage)

    assert len(refined.pairs) == 12
    assert not any(pair.outcome is PairOutcome.ACCEPTED for pair in refined.pairs)
    assert refined.positions.tolist() == stage.tolist()


def test_tiles_that_do_not_overlap_lie_where_the_stage_stood_and_it_says_so() -> None:
    """No pair is even tried, as far apart as the tiles' edges or further."""
    tiles = np.random.default_rng(5).integers(0, 1000, (4, 64, 64)).astype(np.uint16)
    for apart in (64.0, 80.0):
        stage = np.indices((2, 2)).reshape(2, -1).T * apart
        refined = refine_positions(tiles, stage)

        assert refined.pairs == () and refined.positions.tolist() == stage.tolist()
        assert refined.remark(2) == "the tiles do not overlap; all lie where the stage stood"


@pytest.mark.parametrize("overlap", [0.05, 0.1, 0.3, 0.45])
def test_pairs_are_never_neighbours_by_a_corner(overlap: float) -> None:
    """However much they overlap: of the tiles of a grid, only those beside or below each other."""
    grid = np.indices((3, 4)).reshape(2, -1).T
    pairs = neighbours(grid * (100 * (1 - overlap)), (100, 100))

    assert len(pairs) == 17
    assert all((grid[first] == grid[second]).any() for first, second in pairs)


def test_a_poor_pair_is_dropped_by_quality_and_named(four: PlantedTiles) -> None:
    """Below the correlation that is asked for, with both tiles and what it reached; the others hold the tile."""
    tiles = four.tiles.copy()
    # A tile that shows half of its own piece and half of another.
    other = np.random.default_rng(5).permutation(tiles[5].ravel()).reshape(EDGE, EDGE)
    tiles[5] = (tiles[5] // 2 + other // 2).astype(np.uint16)
    refined = refine_positions(tiles, four.stage, minimum_correlation=0.9)
    poor = [pair for pair in refined.pairs if pair.outcome is PairOutcome.POOR]

    assert poor and all(pair.correlation is not None and pair.correlation < 0.9 for pair in poor)
    assert {5} & {tile for pair in poor for tile in (pair.first, pair.second)}


def test_a_shift_that_contradicts_the_others_is_left_out_and_named(four: PlantedTiles) -> None:
    """A strip that lies elsewhere in one tile agrees well with its neighbour, and less with all others."""
    tiles = four.tiles.copy()
    strip = 90
    # What tile 5 shows at its right edge, 12 pixels lower: tile 6 agrees with it at a wrong shift.
    tiles[6][:, :strip] = np.roll(tiles[6][:, :strip], 12, axis=0)
    refined = refine_positions(tiles, four.stage)
    wrong = [pair for pair in refined.pairs if pair.outcome is PairOutcome.CONTRADICTED]

    assert [(pair.first, pair.second) for pair in wrong] == [(5, 6)]
    assert four.error_px(refined.positions, np.array(refined.groups) == 1) <= 0.5


def test_a_shift_beyond_the_window_is_no_shift(four: PlantedTiles) -> None:
    """A window that is too small accepts nothing from its edge; no position moves further than its pairs say."""
    refined = refine_positions(four.tiles, four.stage, window_px=4)

    for pair in refined.pairs:
        if pair.outcome is PairOutcome.ACCEPTED:
            assert np.abs(np.array(pair.shift) - (four.true[pair.second] - four.true[pair.first])).max() < 1
    assert any(pair.outcome is not PairOutcome.ACCEPTED for pair in refined.pairs)


def test_the_score_is_the_correlation_of_the_overlap() -> None:
    """Masked: only pixels that both have count, at each shift of the window. Tiles are written to by nobody."""
    whole = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(200, 300)), 3)
    first, second = whole[10:138, 20:148], whole[17:145, 110:238]
    for tile in (first, second):
        tile.flags.writeable = False
    peak = best_shift(first, second, (0.0, 100.0), 20)

    assert peak is not None and peak.significant
    assert peak.shift == pytest.approx((7, 90), abs=0.05)
    # A surface was taken from either strip, which leaves no more than nearly all of the correlation.
    assert peak.correlation == pytest.approx(1, abs=0.05)
    assert peak.overlap == (128 - 7) * (128 - 90)
    assert overlap_correlation(first, second, peak.shift) == pytest.approx(1)


CHANNEL, SITE, Z = VariableComponents.CHANNEL, VariableComponents.SITE, VariableComponents.Z_INDEX


@numpy
@special_inputs("positions", "plane_keys")
@special_outputs(("taken", "table"))
def takes_positions(
    stack: NDArray[Any], positions: NDArray[np.float64], plane_keys: Any
) -> tuple[NDArray[Any], dict[str, list[float]]]:
    """Write down the positions that a stack of any channel is given."""
    return stack, {"site": [key["site"] for key in plane_keys], "y": list(positions[:, 0]), "x": list(positions[:, 1])}


@pytest.fixture(scope="module")
def real_tables(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of a real plate of two wells, whose positions were refined by the channel DAPI alone."""
    output = tmp_path_factory.mktemp("real")
    orchestrator = PipelineOrchestrator(data_dir / "metaxpress_3434_mixed", output=output, runner="threads")
    pipeline = Pipeline(
        [
            FunctionStep(create_max_projection, variable_components=[Z]),
            FunctionStep({"DAPI": refine_tile_positions}, uncovered="pass", variable_components=[SITE]),
            FunctionStep(takes_positions, variable_components=[SITE]),
        ]
    )
    contexts = orchestrator.initialize().compile_pipelines(pipeline_definition=pipeline)
    results = orchestrator.execute_compiled_plate(pipeline, contexts, max_workers=1)
    assert [result.error for result in results.values()] == [None, None]
    return output / "metaxpress_3434_mixed" / "tables"


def test_overlaps_of_a_real_plate_agree_better_than_where_the_stage_stood(real_tables: Path, data_dir: Path) -> None:
    """On the mean of both wells and the channels that show cells; the shift that is taken is that of channel 2, too."""
    pairs = pl.read_parquet(real_tables / "tile_pairs.parquet")
    positions = pl.read_parquet(real_tables / "positions.parquet")
    folder = data_dir / "metaxpress_3434_mixed" / "TimePoint_1" / "ZStep_1"
    by_stage, by_image = [], []
    for well in ("B02", "B03"):
        pair = pairs.row(by_predicate=pl.col("well") == well, named=True)
        refined = np.diff(positions.filter(well=well).sort("site").select("y_px", "x_px").to_numpy(), axis=0)[0]
        for channel in (1, 2):
            first, second = (tifffile.imread(folder / f"9987_{well}_s{site}_w{channel}.TIF") for site in (1, 2))
            by_stage.append(overlap_correlation(first, second, (pair["stage_y_px"], pair["stage_x_px"])))
            by_image.append(overlap_correlation(first, second, (refined[0], refined[1])))
    other = best_shift(first, second, (0.0, 230.4), 40)

    assert pairs["outcome"].to_list() == ["no better than chance", "accepted"]
    assert np.mean(by_image) > np.mean(by_stage)
    assert all(image >= stage for image, stage in zip(by_image, by_stage, strict=True))
    assert other is not None and np.abs(refined - other.shift).max() < 0.5


def test_the_positions_of_one_channel_serve_the_others(real_tables: Path) -> None:
    """Through the artifact, each channel's stack gets the very same positions."""
    positions = pl.read_parquet(real_tables / "positions.parquet").sort("well", "site")
    taken = pl.read_parquet(real_tables / "taken.parquet").sort("channel", "well", "site")

    assert sorted(taken["channel"].unique()) == [1, 2, 3]
    for channel in (1, 2, 3):
        own = taken.filter(channel=channel)
        assert own.select("y", "x").rows() == positions.select("y_px", "x_px").rows()


def test_positions_are_those_in_a_mosaic_of_the_well(real_tables: Path) -> None:
    """The topmost tile of each well has y = 0, the leftmost one x = 0, wherever images moved them."""
    positions = pl.read_parquet(real_tables / "positions.parquet")

    assert {"site", "y_px", "x_px"} <= set(positions.columns)
    assert positions.group_by("well").agg(pl.col("y_px", "x_px").min()).select("y_px", "x_px").rows() == [(0, 0)] * 2


def test_tables_name_the_tiles_that_images_did_not_place(real_tables: Path) -> None:
    """By well and site, in columns that are the same whether or not there is anything to say."""
    tiles = pl.read_parquet(real_tables / "tiles.parquet").sort("well", "site")

    assert tiles["group"].to_list() == [0, 0, 1, 1]
    assert tiles["remark"].to_list()[2:] == [None, None]
    assert "lies where the stage stood" in tiles["remark"].to_list()[0]
    assert dict(tiles.schema)["remark"] == pl.String


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"window_px": 0}, "window_px=0 must be a whole number of pixels, at least 1"),
        ({"window_px": 2.5}, "window_px=2.5 must be a whole number"),
        ({"minimum_correlation": 0.0}, "minimum_correlation=0.0 must lie above 0, at most at 1"),
        ({"minimum_correlation": True}, "minimum_correlation=True must lie above 0"),
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, Any], sentence: str) -> None:
    """When the pipeline is compiled, and when the function is called."""
    plate, index = make_plate()
    with pytest.raises(CompilationError) as caught:
        step = FunctionStep((refine_tile_positions, parameters), variable_components=[SITE])
        compile_plate(plate, index, Pipeline([step]), output=output_plan())

    assert any(sentence in violation.message for violation in caught.value.violations)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        refine_positions(np.zeros((1, 8, 8)), [[0, 0]], **parameters)


@pytest.mark.parametrize("stage", [[[0.0, 0.0]], [[0.0, 0.0], [0.0, float("nan")]], [0.0, 0.0]])
def test_positions_that_are_none_are_refused(stage: Any) -> None:
    """As many finite pairs as there are tiles."""
    with pytest.raises(ValueError, match="got 2 tiles, and needs a finite pair"):
        refine_positions(np.zeros((2, 8, 8)), stage)


def test_a_single_tile_lies_where_the_stage_stood() -> None:
    """It is the only one there is."""
    refined = refine_positions(np.zeros((1, 8, 8)), [[3.0, 4.0]])

    assert refined.positions.tolist() == [[3.0, 4.0]] and refined.groups == (0,)
