"""Options that say how a plate is read, as users of the command line give them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.orchestrator import PipelineOrchestrator
from openhcs_engine.output.manifest import read_manifest
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.cli.test_cli import PIPELINES, openhcs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the user stands: a folder with a file of pipelines and one of odd images."""
    (tmp_path / "lab.py").write_text(PIPELINES)
    (tmp_path / "odd").mkdir()
    for well in ("b2", "b3"):
        for channel in ("DAPI", "GFP"):
            tifffile.imwrite(tmp_path / "odd" / f"{well}-{channel}.tif", np.full((40, 48), 7, np.uint16))
    return tmp_path


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """Two wells of an ImageXpress."""
    return write_imagexpress(tmp_path / "plate", SyntheticPlate(name="plate", rows=1, columns=2, shape=(40, 48), z=2))


def inspect(folder: Path, *arguments: object) -> dict[str, object]:
    """What ``inspect --json`` prints."""
    ended = openhcs(folder, "inspect", *arguments, "--json")
    assert ended.code == 0, ended.err
    return json.loads(ended.out)  # type: ignore[no-any-return]


def test_a_pattern_reads_any_folder(folder: Path) -> None:
    """Named groups say what a file is; the same option works for a run."""
    pattern = r"(?P<well>[a-p]\d+)-(?P<channel>\w+)\.tif"

    found = inspect(folder, folder / "odd", "--pattern", pattern)
    compiled = openhcs(folder, "compile", folder / "odd", "--pattern", pattern, "--pipeline", "lab:project", "--json")
    ran = openhcs(
        folder, "run", folder / "odd", "--pattern", pattern, "--pipeline", "lab:project", "--output", folder / "out"
    )

    assert found["wells"] == ["B02", "B03"]
    assert [channel["name"] for channel in found["channels"]] == ["DAPI", "GFP"]  # type: ignore[index,attr-defined]
    assert compiled.code == ran.code == 0
    assert set(json.loads(compiled.out)["wells"]) == {"B02", "B03"}


def test_a_table_of_planes_reads_any_folder(folder: Path) -> None:
    """Paths are relative to the plate folder."""
    (folder / "planes.csv").write_text("path,well,channel\nb2-DAPI.tif,B2,1\nb2-GFP.tif,B2,2\nb3-GFP.tif,B3,2\n")

    assert inspect(folder, folder / "odd", "--planes-csv", "planes.csv")["wells"] == ["B02", "B03"]


def test_wells_counted_from_0_and_numbered_wells_reach_every_door(folder: Path) -> None:
    """The command line, its run and the orchestrator read the same wells."""
    for name in ("r0-c1", "r1-c0", "7"):
        tifffile.imwrite(folder / "odd" / f"{name}.tif", np.full((40, 48), 7, np.uint16))
    pattern, numbered = r"r(?P<row>\d)-c(?P<column>\d)\.tif", r"(?P<well>\d)\.tif"
    options = ["--pattern", pattern, "--count-from", "0", "--pipeline", "lab:project"]

    compiled = openhcs(folder, "compile", folder / "odd", *options, "--json")
    shown = inspect(folder, folder / "odd", "--pattern", numbered, "--plate-wells", "24")
    by_code = PipelineOrchestrator(folder / "odd", pattern=pattern, count_from=0).initialize()

    assert set(json.loads(compiled.out)["wells"]) == set(by_code.plate.wells) == {"A02", "B01"}
    assert shown["wells"] == ["B01"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--pattern", "(?P<well>x)", "--count-from", "2"], "count_from=2 is unknown (choose 0 or 1"),
        (["--preset", "scanr", "--plate-wells", "100"], "plate_wells=100 is no plate"),
        (["--plate-wells", "96"], "imagexpress, which says itself where its wells are"),
        (["--microscope", "abacus"], "microscope='abacus' is unknown (choose from imagexpress, opera_phenix"),
        (["--microscope", "cellvoyager"], "is not a plate"),
        (["--preset", "abacus"], "cytation"),
        (["--pattern", "(?P<well"], "pattern"),
        (["--pattern", "(?P<colour>x)"], "colour"),
        (["--preset", "cytation", "--pattern", "x"], "Give either a preset"),
        (["--preset", "cytation", "--microscope", "imagexpress"], "give one"),
        (["--planes-csv", "absent.csv"], "absent.csv"),
        (["--plate-map", "absent.csv"], "absent.csv"),
    ],
)
def test_wrong_options_are_refused_with_the_valid_ones(
    folder: Path, plate: Path, options: list[str], sentence: str
) -> None:
    """Exit code 2 and a sentence."""
    ended = openhcs(folder, "inspect", plate, *options)
    assert ended.code == 2 and sentence in " ".join(ended.err.split())


def test_every_command_that_reads_plates_refuses_wrong_options(folder: Path, plate: Path) -> None:
    """In the same words."""
    compile_it = ["compile", plate, "--pipeline", "lab:project"]
    run = ["run", plate, "--pipeline", "lab:project", "--output", folder / "out"]
    for command in (["inspect", plate], ["planes", plate], compile_it, run):
        ended = openhcs(folder, *command, "--preset", "cytation", "--pattern", "x")
        assert ended.code == 2 and "Give either a preset" in " ".join(ended.err.split())


def test_a_plate_map_travels_with_the_plate(folder: Path) -> None:
    """Conditions and roles are shown, and recorded with each well that was made; a well not acquired is a note."""
    gone = ImageKey("A03", None, None, None, None)
    spec = SyntheticPlate(name="plate", rows=1, columns=3, sites=1, shape=(40, 48), z=1, missing=(gone,))
    plate = write_imagexpress(folder / "three", spec)
    (folder / "map.csv").write_text("Well;Drug;Kind\nA1;DMSO;-1\nA2;taxol;1\nA3;taxol;1\n")
    declaration = {"table": "map.csv", "compound": "Drug", "role": "Kind", "roles": {"-1": "negative", "1": "positive"}}
    (folder / "map.json").write_text(json.dumps(declaration))

    found = inspect(folder, plate, "--plate-map", "map.json")
    openhcs(folder, "run", plate, "--pipeline", "lab:project", "--output", folder / "out", "--plate-map", "map.json")
    manifest = read_manifest(folder / "out" / "three" / "wells" / "A02.json")

    assert found["plate_map"] == {
        "A01": {"compound": "DMSO", "role": "negative"},
        "A02": {"compound": "taxol", "role": "positive"},
    }
    assert any("A03" in note for note in found["notes"])  # type: ignore[attr-defined]
    assert manifest is not None
    assert manifest.provenance["role"] == "positive"
    assert manifest.provenance["conditions"] == {"compound": "taxol"}


def test_a_well_of_the_map_that_the_plate_cannot_have_is_an_error(folder: Path, plate: Path) -> None:
    """The cell is named."""
    (folder / "map.csv").write_text("Well,Drug\nA01,DMSO\nP24,taxol\n")

    ended = openhcs(folder, "inspect", plate, "--plate-map", "map.csv")

    assert ended.code == 2 and "P24" in ended.err and "A3" in ended.err


def test_a_channel_that_is_only_a_projection_is_marked_in_the_output(folder: Path, tmp_path: Path) -> None:
    """It enters as one plane a site; contexts, images and manifest say where it comes from."""
    spec = SyntheticPlate(name="p", rows=1, columns=1, sites=1, shape=(40, 48), z=2, projections=True)
    plate = write_imagexpress(tmp_path / "p", spec)
    for file in plate.rglob("*ZStep_[12]/*_w2*"):
        file.unlink()

    ended = openhcs(folder, "run", plate, "--pipeline", "lab:project", "--output", folder / "out")

    assert ended.code == 0, ended.err
    image = json.loads((folder / "out" / "p" / "images.zarr" / "A" / "01" / "0" / "zarr.json").read_text())
    manifest = read_manifest(folder / "out" / "p" / "wells" / "A01.json")
    assert image["attributes"]["openhcs"]["source"] == {"2": "projection"}
    assert manifest is not None and manifest.provenance["projections"] == (2,)


def test_positions_are_in_the_plates_own_frame(folder: Path, plate: Path) -> None:
    """Each site once, with the frame stated; they can be left out."""
    found = inspect(folder, plate)

    assert found["stage_frame"] == {"origin": "plate", "y_axis": "down"}
    assert [(place["well"], place["site"]) for place in found["positions"]] == [  # type: ignore[index,attr-defined]
        ("A01", 1), ("A01", 2), ("A02", 1), ("A02", 2),
    ]  # fmt: skip
    assert inspect(folder, plate, "--no-positions")["positions"] == []


def test_metadata_without_images_can_be_inspected_and_not_run(folder: Path, plate: Path) -> None:
    """The whole table is there, nothing is present, and a run is refused in one sentence."""
    shutil.rmtree(plate / "TimePoint_1")

    rows = json.loads(openhcs(folder, "planes", plate, "--json").out)
    ended = openhcs(folder, "run", plate, "--pipeline", "lab:project", "--output", folder / "out")

    assert len(rows) == 2 * 2 * 2 * 2 and not any(row["present"] for row in rows)
    assert inspect(folder, plate)["wells"] == ["A01", "A02"]
    assert ended.code == 2 and "none of their image files is in" in ended.err


@pytest.mark.parametrize("layout", ["imagexpress", "phenix", "cellvoyager", "omezarr"])
def test_every_layout_is_written_read_and_run(folder: Path, layout: str) -> None:
    """``synth --layout`` gives a plate that goes through the whole engine."""
    openhcs(folder, "synth", folder / layout, "--layout", layout, "--rows", 1, "--columns", 2, "--size", 64)

    assert openhcs(folder, "run", folder / layout, "--pipeline", "lab:composite", "--output", folder / "out").code == 0
    assert openhcs(folder, "verify", folder / "out" / layout).code == 0
