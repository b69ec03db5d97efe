"""``openhcs verify`` as its users and their scripts see it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from openhcs_engine.output.bucket.objects import Bucket
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.cli.test_cli import openhcs

LAB = """
from openhcs_engine import FunctionStep, Pipeline, VariableComponents
from openhcs_engine.functions import create_max_projection

project = Pipeline([FunctionStep(create_max_projection, variable_components=[VariableComponents.Z_INDEX])])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plate of two wells, and a pipeline."""
    write_imagexpress(tmp_path / "small", SyntheticPlate(name="small", rows=1, columns=2, sites=1, z=2, shape=(40, 48)))
    (tmp_path / "lab.py").write_text(LAB)
    return tmp_path


def test_damage_is_found_dropped_and_made_again(folder: Path) -> None:
    """verify exits with 1, verify --repair with 0, and the next run computes just the well that was dropped."""
    run = ("run", folder / "small", "--pipeline", "lab:project", "--output", folder / "out", "--fsync")
    output = folder / "out" / "small"
    assert openhcs(folder, *run).code == 0
    shard = next(path for path in (output / "images.zarr" / "A" / "02").rglob("c.*") if path.is_file())
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)

    found = openhcs(folder, "verify", output)
    assert found.code == 1 and "well A02" in found.out and shard.relative_to(output).as_posix() in found.out
    told = openhcs(folder, "verify", output, "--json")
    printed = json.loads(told.out)
    assert told.code == 1 and not printed["ok"] and printed["dropped"] is None
    assert [damage["well"] for damage in printed["damaged"]] == ["A02"] and printed["whole"] == ["A01"]
    assert PlateFolder(output, "zarr").wells() == ("A01", "A02"), "looking must not drop anything"

    repaired = openhcs(folder, "verify", output, "--repair")
    assert repaired.code == 0 and "dropped: well A02" in repaired.out
    assert openhcs(folder, "verify", output).code == 1, "the dropped well is missing until it is made again"
    assert "1 done, 1 unchanged" in openhcs(folder, *run).out
    assert json.loads(openhcs(folder, "verify", output, "--json", "--repair").out) == {
        "ok": True, "expected": ["A01", "A02"], "whole": ["A01", "A02"], "missing": [], "damaged": [], "foreign": [],
        "replaced": [], "plans": printed["plans"], "other_versions": [], "dropped": [],
        "missing_fits": [], "dropped_fits": [],
    }  # fmt: skip


def test_the_old_version_of_a_well_that_was_set_aside_is_named_with_what_becomes_of_it(folder: Path) -> None:
    """On the terminal and in JSON; the run that follows puts it back and computes nothing."""
    run = ("run", folder / "small", "--pipeline", "lab:project", "--output", folder / "out", "--runner", "threads")
    assert openhcs(folder, *run).code == 0
    output = folder / "out" / "small"
    aside = output / ".replaced" / "A01-0a1b2c3d"
    for path in ("wells/A01.json", "images.zarr/A/01"):
        (aside / path).parent.mkdir(parents=True, exist_ok=True)
        (output / path).rename(aside / path)

    found = openhcs(folder, "verify", output)
    assert found.code == 1 and "replaced: .replaced/A01-0a1b2c3d was set aside by a run" in found.out
    assert "the next run puts an old well back, or removes it" in found.out
    assert json.loads(openhcs(folder, "verify", output, "--json").out)["replaced"] == [".replaced/A01-0a1b2c3d"]

    assert "2 unchanged" in openhcs(folder, *run).out
    again = openhcs(folder, "verify", output)
    assert again.code == 0 and "replaced:" not in again.out


def test_a_url_that_takes_no_results_is_refused(folder: Path) -> None:
    """Before anything is read or a folder of that name is made."""
    before = set(folder.iterdir())
    run = openhcs(folder, "run", folder / "small", "--pipeline", "lab:project", "--output", "sftp://host/results")
    assert run.code == 2 and "sftp://host/results is a URL of a kind that takes no results" in run.err
    assert set(folder.iterdir()) == before


def test_an_output_in_an_object_store(folder: Path, bucket: str) -> None:
    """A run, a second one, a damaged object that is found and mended; what needs a folder is refused or told."""
    root = f"{bucket}/{uuid.uuid4().hex}"
    run = ("run", folder / "small", "--pipeline", "lab:project", "--output", root)
    first = openhcs(folder, *run)
    assert first.code == 0 and "2 done" in first.out and f"output: {root}/small" in first.out
    assert "no overview of the plate is drawn" in first.err
    assert openhcs(folder, "verify", f"{root}/small").code == 0

    objects = Bucket(f"{root}/small")
    shard = next(path for path in sorted(objects.objects("images.zarr/A/02")) if "/c." in path)
    objects.put(shard, bytes(objects.objects()[shard].size))
    found = openhcs(folder, "verify", f"{root}/small")
    assert found.code == 1 and "well A02" in found.out and shard in found.out
    assert openhcs(folder, "verify", f"{root}/small", "--repair").code == 0
    assert "1 done, 1 unchanged" in openhcs(folder, *run).out
    assert openhcs(folder, "verify", f"{root}/small").code == 0

    drawn = openhcs(folder, "overview", f"{root}/small")
    assert drawn.code == 2 and "needs a folder of this host" in drawn.err
    assert not (folder / "s3:").exists()
