"""``openhcs overview``: the plate as one small image, in a channel of one's choice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from openhcs_engine import FunctionStep, PipelineOrchestrator, VariableComponents
from openhcs_engine.cli.commands import openhcs
from openhcs_engine.functions import create_max_projection
from openhcs_engine.ngff.groups import read_attributes
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

PROJECT = [FunctionStep(create_max_projection, variable_components=[VariableComponents.Z_INDEX])]


def processed(folder: Path, backend: str = "zarr") -> Path:
    """The output of a plate of two wells, DAPI and GFP."""
    spec = SyntheticPlate(name="P1", rows=1, columns=2, sites=1, z=1, shape=(32, 32))
    plate = PipelineOrchestrator(
        write_imagexpress(folder / "P1", spec), output=folder / "out", runner="threads", backend=backend
    ).initialize()
    plate.execute_compiled_plate(PROJECT, plate.compile_pipelines(PROJECT), max_workers=1)
    return folder / "out" / "P1"


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        openhcs(["overview", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_channel_is_the_one_that_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The picture takes the place of the former one; the command says where it is, and the output stays whole."""
    output = processed(tmp_path)

    assert run(str(output)) == 0
    first = capsys.readouterr().out
    assert run(str(output), "--channel", "GFP", "--json") == 0
    told = json.loads(capsys.readouterr().out)

    assert f"{output}/report/overview.zarr: DAPI, 2 wells; black is" in first
    assert (told["folder"], told["channel"], told["wells"]) == (
        f"{output}/report/overview.zarr",
        "GFP",
        ["A01", "A02"],
    )
    assert told["window"][0] < told["window"][1]
    (channel,) = read_attributes(output / "report" / "overview.zarr")["ome"]["omero"]["channels"]
    assert channel["label"] == "GFP"
    assert verify(output).ok and not verify(output).foreign


def test_an_unknown_channel_is_refused_and_the_picture_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence names the channels that there are; nothing is drawn instead."""
    output = processed(tmp_path)
    assert run(str(output), "--channel", "GFP") == 0

    assert run(str(output), "--channel", "Cy5") == 2

    assert "channel='Cy5' is not in these images (has: DAPI, GFP)." in capsys.readouterr().err
    (channel,) = read_attributes(output / "report" / "overview.zarr")["ome"]["omero"]["channels"]
    assert channel["label"] == "GFP"


@pytest.mark.parametrize("kind", ["nowhere", "empty", "disk"])
def test_without_an_ome_zarr_well_there_is_nothing_to_draw(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is not there, one that is no output, and an output of TIFF files."""
    (tmp_path / "empty").mkdir()
    output = processed(tmp_path, "disk") if kind == "disk" else tmp_path / kind

    assert run(str(output)) == 2

    said = capsys.readouterr().err
    assert "holds no published OME-Zarr well to draw" in said
    assert "Traceback" not in said


def test_a_picture_of_wells_that_are_gone_goes_too(tmp_path: Path) -> None:
    """It would be believed."""
    output = processed(tmp_path)
    assert run(str(output)) == 0
    for manifest in (output / "wells").iterdir():
        manifest.unlink()
    shutil.rmtree(output / "images.zarr" / "A")

    assert run(str(output)) == 2

    assert not (output / "report" / "overview.zarr").exists()
