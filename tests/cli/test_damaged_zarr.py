"""A damaged well of an OME-Zarr plate, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.synthetic import SyntheticPlate, write_ome_zarr
from tests.cli.test_cli import openhcs
from tests.cli.test_verify import LAB
from tests.engine.damaged_zarr import DAMAGES, Version


@pytest.mark.parametrize(
    ("version", "what"), [("0.4", "a chunk is cut off"), ("0.5", "the well's document is missing")]
)
def test_a_run_with_a_damaged_well_exits_with_1_and_does_the_others(
    tmp_path: Path, version: Version, what: str
) -> None:
    """The failed well is named on the terminal and is not published; the others are."""
    spec = SyntheticPlate(name="raw", rows=1, columns=3, sites=1, z=1, shape=(32, 32))
    plate = write_ome_zarr(tmp_path / "raw", spec, version)
    (tmp_path / "lab.py").write_text(LAB)
    next(damage for damage in DAMAGES if damage.what == what).harm(plate / "A" / "02", version)

    done = openhcs(tmp_path, "run", plate, "--pipeline", "lab:project", "--output", tmp_path / "out")

    assert done.code == 1 and "A02" in done.out + done.err and "Traceback" not in done.out + done.err
    assert PlateFolder(tmp_path / "out" / "raw", "zarr").wells() == ("A01", "A03")
