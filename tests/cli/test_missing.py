"""What is missing, on the command line: one number in every command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.cli.test_cli import PIPELINES, openhcs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the user stands: a folder with a file of pipelines."""
    (tmp_path / "lab.py").write_text(PIPELINES)
    return tmp_path


def test_every_command_counts_the_same_missing_planes(folder: Path) -> None:
    """The table, its JSON, the planes, and the run's last lines."""
    spec = SyntheticPlate(name="plate", rows=1, columns=2, sites=1, z=2, shape=(40, 48), thumbnails=False)
    plate = write_imagexpress(folder / "plate", spec)
    for path in plate.rglob("*_w2.tif"):
        path.unlink()

    shown = openhcs(folder, "inspect", plate).out
    inspected = json.loads(openhcs(folder, "inspect", plate, "--json").out)
    planes = json.loads(openhcs(folder, "planes", plate, "--json").out)
    ended = openhcs(folder, "run", plate, "--pipeline", "lab:project", "--output", folder / "out")

    assert "4 planes in A01, A02" in shown and 'promises wave 2 ("GFP")' in shown
    assert len(inspected["missing"]) == 4 and not any(row["present"] for row in inspected["missing"])
    assert [row for row in planes if not row["present"]] == inspected["missing"]
    assert len(planes) == 8
    assert ended.code == 0
    assert "2 wells have gaps: 4 planes are missing in A01, A02" in ended.out


def test_the_real_export_counts_what_its_warnings_tell(data_dir: Path, folder: Path) -> None:
    """The wave and the z step that the copy lacks, and nothing for the waves that were never stacks."""
    plate = data_dir / "metaxpress_3434_mixed"
    inspected = json.loads(openhcs(folder, "inspect", plate, "--json").out)

    assert {(row["channel"], row["z_index"]) for row in inspected["missing"]} == {(1, 3), (4, 1)}
    assert len(inspected["missing"]) == 8
