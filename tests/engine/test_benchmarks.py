"""The benchmark compares like with like."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from benchmarks import cast_loss, end_to_end, indexing, pixels, revision, storage
from benchmarks.measure import CommandFailedError, run_measured
from benchmarks.pipelines import benchmark_pipeline
from benchmarks.plain_script import find_files, halve, project_channel
from benchmarks.plates import NAME, PlateShape, write_plate
from openhcs_engine.functions import create_composite, create_max_projection, stack_percentile_normalize
from openhcs_engine.memory.conversion.cast_loss import can_lose
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.ngff.writing import pyramid
from openhcs_engine.synthetic import LAYOUTS, SyntheticPlate

SHAPE = PlateShape(wells=2, sites=2, channels=2, z_planes=3, size=64)


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small plate as the benchmark writes it."""
    folder = tmp_path_factory.mktemp("bench")
    assert [*write_plate(folder, SHAPE)][-1] == SHAPE.planes
    return folder / NAME


def test_the_plate_is_an_imagexpress_plate(plate: Path) -> None:
    """The engine reads it whole and without a warning."""
    read, index = detect_microscope(plate).read_plate()

    assert (read.wells, read.sites, read.z_indexes) == (("A01", "A02"), (1, 2), (1, 2, 3))
    assert len(index) == SHAPE.planes
    assert read.warnings == ()


def test_a_plate_is_written_once(plate: Path) -> None:
    """A second call finds it done, and touches nothing."""
    before = {path: path.stat().st_mtime_ns for path in plate.rglob("*")}

    assert [*write_plate(plate.parent, SHAPE)] == [SHAPE.planes]

    assert {path: path.stat().st_mtime_ns for path in plate.rglob("*")} == before


def test_the_plain_script_makes_the_engines_pixels(plate: Path) -> None:
    """Reading, normalising and projecting by hand gives what the pipeline's functions give."""
    files = find_files(plate)["A02"][1][2]
    stack = np.stack([tifffile.imread(files[z]) for z in (1, 2, 3)])

    expected = create_max_projection(stack_percentile_normalize(stack))

    np.testing.assert_array_equal(project_channel(files), expected[0])
    assert [step.func for step in benchmark_pipeline] == [
        stack_percentile_normalize,
        create_max_projection,
        create_composite,
    ]


def test_the_plain_script_makes_the_engines_pyramid() -> None:
    """Levels are rounded alike, an odd last row and column left out."""
    plane = np.random.default_rng(3).integers(0, 65536, (65, 31), dtype=np.uint16)

    np.testing.assert_array_equal(halve(plane), pyramid.halve(plane))


def test_both_codecs_store_the_same_pixels(tmp_path: Path) -> None:
    """The script's two variants, as processes: all numbers are there, and the pixels are equal."""
    options = ["--plates", "2x1x2x2", "--size", "64", "--variants", "a", "a2", "--repeat", "1"]
    document = tmp_path / "runs.json"

    code = end_to_end.main([*options, "--cache", str(tmp_path), "--json", str(document)])

    (comparison,) = json.loads(document.read_text())
    assert code == 0
    assert comparison["different"] == {"a": [], "a2": []}
    assert all(cost["wall_s"] > 0 and cost["cpu_s"] > 0 and cost["process_mb"] > 0 for cost in comparison["runs"]["a"])
    assert comparison["medians"]["a"]["output_mb"] > 0


def test_another_commits_engine_and_graph_take_their_turns_before_those_of_now(tmp_path: Path) -> None:
    """From its own tree and environment; what has no twin, such as the plain script, runs once."""
    earlier = revision.Revision("v1", tmp_path, tmp_path / ".venv" / "bin" / "python")

    chosen = end_to_end._chosen(["a", "b", "c"], earlier)

    assert list(chosen) == ["a", "b@v1", "b", "c@v1", "c"]
    assert all(variant.command[0].startswith(str(tmp_path)) == ("@" in name) for name, variant in chosen.items())
    assert chosen["b@v1"].revision.environ["PYTHONPATH"] == str(tmp_path)
    assert chosen["c@v1"].command[1] == str(tmp_path / "benchmarks" / "graph_run.py")


def test_all_numbers_of_a_document_are_compared() -> None:
    """Each by where it stands; texts and truths are none."""
    document = {"wells": 8, "runs": [{"s": 0.5, "ok": True}, {"s": 2}], "name": "x"}

    assert dict(revision.numbers(document)) == {"wells": 8.0, "runs[0].s": 0.5, "runs[1].s": 2.0}


def test_a_differing_level_is_named() -> None:
    """Other pixels and missing levels both count as different."""
    assert pixels.differences({"A/1/0/0": "x", "A/1/0/1": "y"}, {"A/1/0/0": "z"}) == ["A/1/0/0", "A/1/0/1"]
    assert pixels.differences({"A/1/0/0": "x"}, {"A/1/0/0": "x"}) == []


def test_a_failing_variant_shows_its_output(tmp_path: Path) -> None:
    """The benchmark ends with the words of the program that failed."""
    with pytest.raises(CommandFailedError, match=r"exit code 3:\nno luck"):
        run_measured(["/bin/sh", "-c", "echo no luck; exit 3"], {}, tmp_path / "log", tmp_path)


@pytest.mark.parametrize("layout", ["imagexpress", "phenix", "cellvoyager"])
def test_walks_and_index_see_the_same_plate(tmp_path: Path, layout: str) -> None:
    """The bare walks pass every file that the index names, and the sizes they add up are those of the files."""
    spec = SyntheticPlate(rows=1, columns=2, sites=2, channels=indexing.CHANNELS, z=1, shape=(32, 32), thumbnails=False)
    plate = LAYOUTS[layout](tmp_path / "plate", spec)

    measured = indexing.measure(plate, layout, 2, repeat=1)

    files = [path for path in plate.rglob("*") if path.is_file()]
    assert measured.planes == 20 < indexing.scandir_walk(plate) == len(files)
    assert measured.planes <= indexing.least_walk(plate) <= len(files)
    assert indexing.stat_walk(plate) == sum(path.stat().st_size for path in files)


def test_growth_compares_plates_of_one_layout() -> None:
    """Only a layout's own larger plate is set against its smaller one."""
    small, large = (
        indexing.Indexed(layout="imagexpress", sites=n, planes=n, scandir=n, stat=n, least=n, index=2 * n)
        for n in (1, 4)
    )
    other = indexing.Indexed(layout="phenix", sites=1, planes=1, scandir=1, stat=1, least=1, index=1)

    assert indexing.growths([small, large, other]) == [
        "imagexpress: 4.0 times the planes take 4.00 times as long (scandir 4.00, stat 4.00)."
    ]


def test_the_storage_benchmark_stores_the_same_pixels_on_both_sides(tmp_path: Path) -> None:
    """It compares every plane itself, and counts everything that it prints."""
    stored = storage.measure(storage.WellShape(sites=2, channels=1, z=2, size=300), 1, tmp_path)
    assert stored.megabytes == pytest.approx(2 * 2 * 300 * 300 * 2 / 1e6)
    assert min(stored.ours_write, stored.script_write, stored.ours_fsync, stored.ours_read, stored.checksums) > 0
    ours = {path.name for path in (tmp_path / "out" / "raw" / "images.zarr" / "A" / "01" / "0").iterdir()}
    script = {path.name for path in (tmp_path / "script" / "1").iterdir()}
    assert {"0", "zarr.json"} <= ours & script


def test_the_cost_of_measuring_casts_is_that_of_casts_that_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Every pair of pixel types is one that is measured at all, and both ways are timed as often."""
    cast_loss.main(["--planes", "1", "--size", "64", "--repeat", "2"])

    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line[:20].strip() for line in lines] == [f"{source} to {wanted}" for source, wanted in cast_loss.PAIRS]
    assert all(can_lose(np.dtype(source), np.dtype(wanted)) for source, wanted in cast_loss.PAIRS)
