"""Real exports through the command line, against what is known of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from openhcs_engine.ngff.reading.reader import open_plate
from tests.cli.test_cli import PIPELINES, openhcs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the user stands: a folder with a file of pipelines."""
    (tmp_path / "lab.py").write_text(PIPELINES)
    return tmp_path


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_metaxpress_export_gives_the_known_projections(data_dir: Path, folder: Path) -> None:
    """Exit 0 with warnings for what the HTD promises; maxima bit for bit; the raw folder as it was."""
    plate = data_dir / "metaxpress_3434_mixed"
    before = digests(plate)

    ended = openhcs(folder, "run", plate, "--pipeline", "lab:project", "--output", folder / "out")

    assert ended.code == 0
    assert "wave 4" in ended.err and "3 z steps" in ended.err
    published = open_plate(folder / "out" / "metaxpress_3434_mixed" / "images.zarr")
    facts = json.loads((data_dir / "facts.json").read_text())["metaxpress_3434_mixed"]
    compared = 0
    for stack in facts["stacks"]:
        field = published[stack["well"]][stack["site"]]
        pixels = field.plane(channel=stack["channel"])
        known = stack.get("max_projection") or stack["instrument_projection"]
        assert pixels is not None
        assert hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest() == known["sha256"]
        compared += 1
    assert compared == 12
    assert field.channel_labels == ("DAPI", "FITC", "Texas Red") and field.pixel_size_um == 1.3672
    assert digests(plate) == before
    assert openhcs(folder, "verify", folder / "out" / "metaxpress_3434_mixed").code == 0


def test_thumbnails_are_never_data(data_dir: Path, folder: Path) -> None:
    """No row of ``planes`` is a thumbnail."""
    rows = json.loads(openhcs(folder, "planes", data_dir / "ix_singlechannel_zstep", "--json").out)

    assert len(rows) == 6 and not any("_thumb" in row["path"] for row in rows)
    assert sorted(row["kind"] for row in rows) == ["plane"] * 4 + ["projection"] * 2


@pytest.mark.parametrize(
    ("name", "wells"),
    [
        ("ix_singlechannel_zstep", ["E08"]),
        ("ix_timelapse_zmix", ["C07"]),
        ("operetta_ball_384", ["C03"]),
        ("cv7000_hipsc_png", ["B03"]),
        ("omezarr_v04_3434_dapi.zarr", ["B02", "B03"]),
        ("nf1_cytation", ["B07", "D06"]),
        ("examplehuman", ["D03"]),
    ],
)
def test_every_vendors_export_goes_through_the_engine(
    data_dir: Path, folder: Path, name: str, wells: list[str]
) -> None:
    """Detected, compiled, run and verified without an option."""
    ended = openhcs(folder, "run", data_dir / name, "--pipeline", "lab:project", "--output", folder / "out")

    (output,) = (folder / "out").iterdir()
    assert ended.code == 0, ended.err
    assert sorted(path.stem for path in (output / "wells").glob("*.json")) == wells
    assert openhcs(folder, "verify", output).code == 0


@pytest.mark.parametrize("name", ["phenix_BR00121482_xml_only", "cv7000_z_processed_meta_only"])
def test_exports_of_metadata_only_are_refused_in_one_sentence(data_dir: Path, folder: Path, name: str) -> None:
    """The table is complete, and there is nothing to run."""
    rows = json.loads(openhcs(folder, "planes", data_dir / name, "--json").out)
    ended = openhcs(folder, "run", data_dir / name, "--pipeline", "lab:project", "--output", folder / "out")

    assert rows and not any(row["present"] for row in rows)
    assert ended.code == 2 and "none of their image files is in" in ended.err
