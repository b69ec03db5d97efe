"""The benchmark of plans measures what it says, and large plates stay within what is promised of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import plans
from openhcs_engine.raw.stamps import stamp


@pytest.mark.parametrize("names", ["template", "sizes"])
def test_the_document_of_1536_wells_is_below_a_megabyte(names: str) -> None:
    """Ten steps and 36 planes a well, whose names follow a template, also where each file has a size of its own."""
    measured = plans.measure(names, (32, 48), folder=None)

    assert measured.planes == 1536 * 36
    assert measured.document_bytes < 1_000_000


@pytest.mark.parametrize("names", ["guid", "bare"])
def test_planes_with_a_guid_each_take_60_bytes(names: str) -> None:
    """All of the document, steps and wells included."""
    assert plans.measure(names, (16, 24), folder=None).bytes_a_plane <= 60


@pytest.mark.slow
def test_a_plate_of_1536_wells_compiles_within_200_mb(tmp_path: Path) -> None:
    """In a process of its own, with the plate's index and everything that it imports."""
    document = tmp_path / "runs.json"

    assert plans.main(["--names", "bare", "--repeat", "1", "--no-files", "--json", str(document)]) == 0

    (run,) = json.loads(document.read_text())
    assert run["peak_mb"] < 200
    assert min(run[name] for name in run if name.endswith("_s")) > 0


def test_the_files_are_there_as_the_index_says(tmp_path: Path) -> None:
    """The compiler finds the sizes and times in the folder that the index without a folder states."""
    _, stated = plans.make_plate("guid", (2, 2), None)
    plate, listed = plans.make_plate("guid", (2, 2), tmp_path)

    assert not any(plane.is_stamped for plane in listed)
    assert stamp(listed, plate.root) == stated


def test_a_workers_document_does_not_grow_with_the_planes_of_other_wells() -> None:
    """Four times the wells: each is sent its own slice, and of the others only their names."""
    small, large = (plans.measure("sizes", wells, folder=None) for wells in ((2, 4), (4, 8)))

    assert large.one_well_bytes - small.one_well_bytes < 24 * len('"A01",') + 100
